"""A virtual machine whose kernel serves: started once, called many times, and gone with its owner.

Calls go over a socket that QEMU joins to the machine's virtio serial port (`docs/bare-protocol.md`); what the kernel
prints on its other serial line is kept, so that a machine that dies can be asked why.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from axiom.bare.child import ending_with_this_process
from axiom.bare.kernel import BareError, Status
from axiom.bare.protocol import VERSION, ErrorClass, Inbox, Kind, Message, Reader, Receiver, frames
from axiom.bare.qemu import Machine, command, status_of
from axiom.engine import StopFlag
from axiom.errors import (
    ContextLengthError,
    MemoryBudgetError,
    ModelFormatError,
    NumericError,
    PassStopped,
    UnsupportedModelError,
)

__all__ = ["Greeting", "ServingMachine"]

# A machine that says nothing for so long has died: while it computes or loads, it says so every second or so, between
# layers; a layer that never ends is found by its own watchdog, as a rule sooner.
PATIENCE_S = 120.0
# How long a start may take: firmware, where it is emulated, is slow.
START_S = 120.0
_QUIT_S = 2.0
# How often a flag is looked at while a pass runs.
_POLL_S = 0.02
_LAST_LINES = 40

_EXCEPTIONS: dict[int, type[Exception]] = {
    ErrorClass.ARGUMENT: ValueError,
    ErrorClass.MODEL_FORMAT: ModelFormatError,
    ErrorClass.UNSUPPORTED_MODEL: UnsupportedModelError,
    ErrorClass.MEMORY_BUDGET: MemoryBudgetError,
    ErrorClass.CONTEXT_LENGTH: ContextLengthError,
    ErrorClass.NUMERIC: NumericError,
    ErrorClass.STOPPED: PassStopped,
    ErrorClass.IO: OSError,
    ErrorClass.DEFECT: RuntimeError,
}


class Greeting(NamedTuple):
    """What a machine says of itself."""

    n_core: int
    bytes_free: int
    clock_khz: int
    kernels: str
    source: str
    """Where it found a model, or nothing."""


class ServingMachine:
    """A machine that runs, and the line to it. One call at a time; not thread-safe.

    It ends with `close`, with this object, with the interpreter, and with the process.
    """

    def __init__(self, machine: Machine, *, start_s: float = START_S, patience_s: float = PATIENCE_S) -> None:
        """Start `machine`, with `serve=1` among the kernel's options, and greet it.

        Raises `BareError` if QEMU or the kernel is missing, or the machine does not come up.
        """
        ours, theirs = socket.socketpair()
        arguments = [*command(machine), *_line_arguments(machine, theirs.fileno())]
        self._socket = ours
        self._process = _Process(arguments, theirs)
        self._finalizer = weakref.finalize(self, _end, self._process, ours, os.getpid())
        self._receiver, self._inbox = Receiver(), Inbox()
        self._number = 0
        self._failure: str | None = None
        self._silent_s = 0.0
        self.patience_s = start_s
        try:
            self.greeting = self._greet()
        except BaseException:
            self.close()
            raise
        self.patience_s = patience_s

    @property
    def pid(self) -> int:
        """The process of QEMU."""
        return self._process.pid

    @property
    def lines(self) -> list[str]:
        """The last lines of its serial line."""
        return self._process.lines()

    def close(self) -> None:
        """End the machine. Closing twice does nothing."""
        if self._finalizer.alive and self._failure is None:
            # It ends by itself in a moment; if not, it is ended.
            with contextlib.suppress(Exception):
                self._send(Kind.QUIT, b"")
                self._process.wait(_QUIT_S)
        self._finalizer()

    def call(
        self,
        kind: Kind,
        payload: bytes = b"",
        *,
        stop: StopFlag | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> bytes:
        """Send a request and return the payload of its answer.

        `stop` and Ctrl-C cancel it; the answer is waited for all the same, so that the next call finds the line clear.
        Raises what the machine says went wrong, and `BareError` if it says nothing more.
        """
        if self._failure is not None:
            raise BareError(self._failure)
        self._send(kind, payload)
        number, interrupt, is_cancelled = self._number, None, False
        n_again, n_damage = 0, self._receiver.n_damage
        while True:
            try:
                message = self._receive(_POLL_S if stop is not None or is_cancelled else 1.0)
                if message is None and (interrupt is not None or (stop is not None and stop.is_set())):
                    # Again each time: nothing else tells whether it has come.
                    self._write(Kind.CANCEL, number, b"")
                    is_cancelled = True
            except KeyboardInterrupt as error:
                if interrupt is not None:
                    self._fail("a call was interrupted twice")
                    raise
                interrupt, message = error, None
                self._write(Kind.CANCEL, number, b"")
            if self._receiver.n_damage != n_damage:
                raise self._fail("what the machine sent was damaged on the way")
            if message is None:
                continue
            if message.kind == Kind.DAMAGED:
                # Nothing was done for what came damaged; what came whole is not done twice.
                n_again += 1
                if n_again > 3:
                    raise self._fail("the machine got three requests damaged")
                self._write(kind, number, payload)
            elif message.number != number:
                continue
            elif message.kind == Kind.PROGRESS:
                if on_progress is not None:
                    reader = Reader(message.payload)
                    on_progress(reader.u64(), reader.u64())
            elif interrupt is not None:
                raise interrupt
            elif message.kind == Kind.ERROR:
                reader = Reader(message.payload)
                exception = _EXCEPTIONS.get(reader.u32(), BareError)
                raise exception(reader.rest().decode(errors="replace"))
            elif message.kind == kind + Kind.ANSWER:
                return message.payload
            else:
                raise self._fail(f"the machine answered {kind.name} with a message of kind {message.kind:#x}")

    def _greet(self) -> Greeting:
        reader = Reader(self.call(Kind.HELLO))
        version = reader.u32()
        if version != VERSION:
            raise BareError(
                f"the kernel speaks version {version} of the protocol, and this package {VERSION}; "
                "build the kernel again: make kernel"
            )
        return Greeting(reader.u64(), reader.u64(), reader.u64(), reader.text(), reader.text())

    def _send(self, kind: Kind, payload: bytes) -> None:
        self._number += 1
        self._silent_s = 0.0
        self._write(kind, self._number, payload)

    def _write(self, kind: Kind, number: int, payload: bytes) -> None:
        """Send a message; while it goes out, what comes in is taken, so that neither side waits for the other."""
        waiting = memoryview(b"".join(frame.encode() for frame in frames(kind, number, payload)))
        while waiting:
            readable, writable = self._wait(1.0, "listened", writes=True)
            if readable:
                self._take()
            if writable:
                try:
                    waiting = waiting[self._socket.send(waiting, socket.MSG_DONTWAIT) :]
                except BlockingIOError:
                    continue
                except OSError:
                    raise self._fail("the machine has ended") from None

    def _receive(self, timeout_s: float) -> Message | None:
        """The next message, if one is whole in time."""
        while (frame := self._receiver.pop()) is None:
            if not self._wait(timeout_s, "said anything")[0]:
                return None
            self._take()
        try:
            return self._inbox.take(frame)
        except ValueError as error:
            raise self._fail(str(error)) from None

    def _wait(self, timeout_s: float, what: str, *, writes: bool = False) -> tuple[bool, bool]:
        """Wait until the line can be read or written; give up when that has not come for as long as patience lasts."""
        # select() knows the first 1,024 descriptors of a process alone.
        poll = select.poll()
        poll.register(self._socket, select.POLLIN | (select.POLLOUT if writes else 0))
        events = sum(event for _, event in poll.poll(timeout_s * 1000))
        readable, writable = events & ~select.POLLOUT, events & select.POLLOUT
        if not events:
            # What was waited, not what passed: while this process is stopped, so may the machine be.
            self._silent_s += timeout_s
            if self._silent_s > self.patience_s:
                raise self._fail(f"the machine has not {what} for {self.patience_s:.0f} s")
        return bool(readable), bool(writable)

    def _take(self) -> None:
        try:
            data = self._socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            raise self._fail("the machine has ended")
        self._silent_s = 0.0
        self._receiver.push(data)

    def _fail(self, what: str) -> BareError:
        """End the machine, which is of no more use, and say why."""
        self._process.wait(0.5)
        status = self._process.status()
        self._finalizer()
        ended = "" if status is None else f" with status {status.name}"
        lines = self._process.lines()
        said = "".join(f"\n  {line}" for line in lines) or " nothing"
        self._failure = f"{what}{ended}; open the model again. Its last lines:{said}"
        return BareError(self._failure)


def _line_arguments(machine: Machine, fd: int) -> list[str]:
    # A port that is no console: that would drop what this side does not take at once.
    arguments = ["-chardev", f"socket,id=line,fd={fd}"]
    if machine.board == "microvm":
        arguments += ["-global", "virtio-mmio.force-legacy=false", "-device", "virtio-serial-device"]
    else:
        arguments += ["-device", "virtio-serial-pci,disable-legacy=on"]
    return [*arguments, "-device", "virtserialport,chardev=line,nr=1"]


class _Process:
    """QEMU, and the thread that started it, reads its serial line and lives as long as it.

    The thread matters: QEMU ends with it.
    """

    def __init__(self, arguments: list[str], line: socket.socket) -> None:
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._started = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, args=(arguments, line), name="axiom-bare", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            raise BareError(f"{arguments[0]} cannot be started: {self._error}")

    def _run(self, arguments: list[str], line: socket.socket) -> None:
        try:
            self._process = subprocess.Popen(
                ending_with_this_process(arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[line.fileno()],
                # Ctrl-C is for this process, which ends the machine by itself.
                start_new_session=True,
            )
        except OSError as error:
            self._error = error
            return
        finally:
            line.close()
            self._started.set()
        assert self._process.stdout is not None
        with self._process.stdout as serial:
            for text in serial:
                self._lines.append(text.decode(errors="replace").rstrip())
        self._process.wait()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def lines(self) -> list[str]:
        return [line for line in list(self._lines) if line]

    def status(self) -> Status | None:
        """What the kernel ended with; None if it did not end by itself."""
        code = None if self._process is None else self._process.returncode
        if code is None or code < 0:
            return None
        return status_of(code)

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended and everything that it said is here."""
        self._thread.join(timeout_s)

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._thread.join(5.0)


def _end(process: _Process, line: socket.socket, pid: int) -> None:
    """End the machine, in whichever way its owner went."""
    line.close()
    # A child of this process that was forked has a copy of this object, but the machine is not its own.
    if os.getpid() == pid:
        process.kill()
