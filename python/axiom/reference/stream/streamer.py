"""A cyclic scan of extents through a few landing slots: the twin of `stream/streamer.rs`, without the bytes.

Every pass needs the streamed extents in the same order, so what will be needed next is known: the window, as many
extents from the one that is due as there are landing slots. An extent of the window that is in no slot goes into one
that is free; a slot that holds anything else is emptied.

Of what comes after something that is needed sooner, only a share is under way at a time: after the first extent on a
device that shares its rate out among all requests, and after rows of the embedding that a pass begins with on any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from axiom.reference.memory.weight_pool import WeightPool
from axiom.reference.stream.requests import Request, Requests

# A device that answers nothing for so long will not answer any more; one wait counts for so much at most.
_SILENCE_US, _WAIT_MAX_US = 30_000_000, 1_000_000

# While something is on its way that is needed sooner, of an extent only this share may be under way at a
# time, or two requests.
_SHARE_AHEAD = 6


@dataclass(frozen=True)
class StreamedExtent:
    """An extent that is not pinned: its number, where it begins, its length."""

    extent: int
    offset: int
    n_bytes: int


@dataclass(frozen=True)
class Completion:
    """The end of a request: bytes read from its beginning, or why none."""

    tag: int
    result: int | str


class BlockDevice(Protocol):
    """What `platform::BlockDevice` promises; its clock is asked too, since only waiting takes time here."""

    align: int
    bytes_request_max: int
    n_request_max: int
    is_in_order: bool
    now_us: int

    def submit(self, tag: int, offset: int, n_bytes: int) -> bool:
        """Begins to read; False if the device has as many requests as it takes."""
        ...

    def poll(self) -> Completion | None:
        """The next completion that is there."""
        ...

    def wait(self) -> None:
        """Waits for a moment."""
        ...


@dataclass
class _Load:
    """A load: when it began and ended, bytes asked for and come, requests under way, the first fault."""

    index: int = 0
    start_us: int = 0
    end_us: int = 0
    asked: int = 0
    came: int = 0
    n_pending: int = 0
    fault: tuple[int, str] | None = None
    n_bytes: int = 0


@dataclass
class Counts:
    """What streaming has done so far."""

    bytes_read: int = 0
    n_request: int = 0
    n_retry: int = 0
    n_stall: int = 0


@dataclass
class Streamer:
    """The scan of `order` through the landing `slots` of a pool, with the largest requests that the device takes."""

    order: Sequence[StreamedExtent]
    slots: range
    pool: WeightPool
    device: BlockDevice
    fetches: bool = False
    """Whether each pass begins with a fetch."""
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        """Refuses a scan that cannot be."""
        device, n_least = self.device, min(2, len(self.order))
        self._bytes_request = device.bytes_request_max // device.align * device.align
        if len(self.slots) < n_least:
            raise _refused("landing slots", n_least, len(self.slots))
        if self._bytes_request == 0:
            raise _refused("bytes of a request", device.align, 0)
        for at in self.order:
            if at.offset % device.align or at.n_bytes % device.align:
                raise _refused("alignment of an extent", device.align, at.extent)
        self._loads = {slot: _Load() for slot in self.slots}
        self._fetched = _Load()
        self._requests = Requests(device.n_request_max)
        self._due = 0
        self._awaits_fetch = self.fetches
        self._known: set[int] = set()
        self._broken: OSError | None = None

    def pump(self) -> None:
        """Takes completions, empties what is not wanted, starts what is, and sends what the device takes."""
        self._collect()
        window = [(self._due + i) % len(self.order) for i in range(min(len(self.slots), len(self.order)))]
        for slot, load in self._loads.items():
            state, _ = self.pool.state(slot)
            if load.index in window:
                continue
            if state == "Resident":
                self.pool.unload(slot)
            elif state == "Streaming" and load.n_pending == 0:
                self.pool.fail(slot)
        for index in window:
            if self.pool.slot_of(self.order[index].extent) is None:
                free = [slot for slot in self.slots if self.pool.state(slot)[0] == "Unloaded"]
                if not free:
                    break
                self.pool.start(free[0], self.order[index].extent)
                self._loads[free[0]] = _Load(index, start_us=self.device.now_us)
        # What is needed first has the device to itself, or nearly.
        n_before_fetch = len(window)
        if self.fetches:
            n_before_fetch = 1 if self._awaits_fetch else len(self.order) - self._due + 1
        is_first = True
        for i, index in enumerate(window):
            holder = self.pool.slot_of(self.order[index].extent)
            if holder is not None and self.pool.state(holder)[0] == "Streaming":
                share = max(self.order[index].n_bytes // _SHARE_AHEAD, 2 * self._bytes_request)
                is_next = is_first or self.device.is_in_order
                self._ask(holder, None if is_next and i < n_before_fetch else share)
                is_first = False

    def begin(self, extent: int) -> tuple[int, tuple[int, int, int], bool]:
        """Waits until an extent is whole, and begins to compute from it.

        Returns its slot; when its load began and ended and of how many bytes it was; whether it has been loaded for the
        first time. OSError if it cannot be read.
        """
        index = next((i for i, at in enumerate(self.order) if at.extent == extent), None)
        if index is None:
            raise _refused("a streamed extent", len(self.order), extent)
        self._due = index
        self._awaits_fetch = False
        waited_us, has_waited = 0, False
        while True:
            self.pump()
            slot = self.pool.slot_of(extent)
            if slot is not None and self.pool.state(slot)[0] == "Resident":
                break
            if slot is not None:
                load = self._loads[slot]
                if load.fault is not None and load.n_pending == 0:
                    self.pool.fail(slot)
                    raise _unreadable(extent, *load.fault)
            self.counts.n_stall += not has_waited
            has_waited = True
            waited_us = self._await_some(waited_us)
        self.pool.begin(slot)
        is_first = index not in self._known
        self._known.add(index)
        load = self._loads[slot]
        return slot, (load.start_us, load.end_us, load.n_bytes), is_first

    def end(self, slot: int) -> None:
        """The layer is done with its extent: the slot is free for the next load, which begins at once."""
        self._due = (self._loads[slot].index + 1) % len(self.order)
        self._awaits_fetch = self.fetches and self._due == 0
        self.pool.end(slot)
        self.pump()

    def fetch(self, extent: int, pieces: Sequence[tuple[int, int]]) -> None:
        """Reads some pieces of an extent, each (offset, bytes), that somebody waits for; OSError if one is not read."""
        self._check()
        most, waited_us = self._bytes_request, 0
        left = [
            Request(None, offset + start, min(most, n_bytes - start))
            for offset, n_bytes in pieces
            for start in range(0, n_bytes, most)
        ]
        self._fetched = _Load()
        while left or self._fetched.n_pending:
            while left and self._fetched.fault is None and self._send(left[0]):
                del left[0]
            if self._fetched.fault is not None and self._fetched.n_pending == 0:
                break
            waited_us = self._await_some(waited_us)
        if self._fetched.fault is not None:
            raise _unreadable(extent, *self._fetched.fault)

    def distrust(self, extent: int) -> None:
        """Forgets that an extent has been loaded before: it was found damaged."""
        self._known -= {i for i, at in enumerate(self.order) if at.extent == extent}

    # Requests and completions

    def _load_of(self, slot: int | None) -> _Load:
        return self._fetched if slot is None else self._loads[slot]

    def _ask(self, slot: int, most: int | None) -> None:
        load = self._loads[slot]
        extent = self.order[load.index]
        while load.asked < extent.n_bytes and load.fault is None:
            if most is not None and len(self._requests) * self._bytes_request >= most:
                return
            n_bytes = min(self._bytes_request, extent.n_bytes - load.asked)
            if not self._send(Request(slot, extent.offset + load.asked, n_bytes)):
                return
            load.asked += n_bytes

    def _send(self, request: Request) -> bool:
        if not self._requests.has_room():
            return False
        tag = self._requests.add(request)
        if not self.device.submit(tag, request.offset, request.n_bytes):
            self._requests.take(tag)
            return False
        self._load_of(request.slot).n_pending += 1
        self.counts.n_request += 1
        return True

    def _collect(self) -> bool:
        """Takes the completions that are there. After one that cannot be, nothing more is asked of the device."""
        self._check()
        has_come = False
        while (completion := self.device.poll()) is not None:
            has_come = True
            try:
                self._complete(completion)
            except OSError as error:
                self._broken = error
                raise
        return has_come

    def _check(self) -> None:
        """Raises the error after which nothing more is asked of the device, if there was one."""
        if self._broken is not None:
            raise self._broken

    def _await_some(self, waited_us: int) -> int:
        """Waits a moment for completions, and takes them; OSError where none has come for long.

        Takes and returns for how long none has come.
        """
        start_us = self.device.now_us
        self.device.wait()
        if self._collect():
            return 0
        waited_us += min(self.device.now_us - start_us, _WAIT_MAX_US)
        if waited_us > _SILENCE_US:
            self._broken = OSError(
                f"the disk has not answered any of {len(self._requests)} requests for {waited_us // 1_000_000} s; "
                "check the disk and its connection, and open the model again"
            )
            raise self._broken
        return waited_us

    def _complete(self, completion: Completion) -> None:
        request, result = self._requests.take(completion.tag), completion.result
        load = self._load_of(request.slot)
        load.n_pending -= 1
        if isinstance(result, str):
            again = Request(request.slot, request.offset, request.n_bytes, is_retry=True)
            if request.is_retry or not self._send(again):
                load.fault = load.fault or (request.offset, result)
            else:
                self.counts.n_retry += 1
        elif result > request.n_bytes:
            raise OSError(
                f"the disk says that request {completion.tag:#x} read {result} bytes of {request.n_bytes}; "
                "its driver is at fault"
            )
        else:
            # What is whole is kept, and the rest is asked for again; nothing at all counts as a failure.
            whole = result if result == request.n_bytes else result // self.device.align * self.device.align
            load.came += whole
            self.counts.bytes_read += whole
            if whole < request.n_bytes:
                is_retry = request.is_retry or whole == 0
                rest = Request(request.slot, request.offset + whole, request.n_bytes - whole, is_retry)
                if (whole == 0 and request.is_retry) or not self._send(rest):
                    load.fault = load.fault or (rest.offset, "the device gave fewer bytes than were asked for")
        if request.slot is None:
            return
        if load.n_pending == 0 and load.fault is None and load.came == self.order[load.index].n_bytes:
            load.end_us, load.n_bytes = self.device.now_us, load.came
            self.pool.finish(request.slot)


def _refused(what: str, expected: int, got: int) -> RuntimeError:
    return RuntimeError(f"streaming: {what}: expected {expected}, got {got}; use a larger memory budget")


def _unreadable(extent: int, offset: int, fault: str) -> OSError:
    return OSError(
        f"extent {extent} of the model cannot be read at byte {offset}: {fault}; check the disk and the file"
    )
