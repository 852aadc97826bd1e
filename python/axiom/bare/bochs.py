"""Starting an image in Bochs: an emulator that knows instruction sets which neither this processor nor QEMU may have.

It is slow, and honest about vectors: AVX-512 with byte products included.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from axiom.bare.kernel import BareError, Status
from axiom.bare.qemu import Ending

__all__ = ["run"]

CONFIGURATION = """
config_interface: textconfig
display_library: {display}
cpu: model={processor}, count=1, ips=200000000, reset_on_triple_fault=0
megs: {memory_mib}
romimage: file={firmware}/BIOS-bochs-latest, options=fastboot
vgaromimage: file={firmware}/VGABIOS-lgpl-latest
boot: disk
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=flat, path={image}, cylinders=0
com1: enabled=1, mode=file, dev={serial}
log: {log}
panic: action=fatal
error: action=report
info: action=ignore
plugin_ctrl: speaker=0
clock: sync=none
"""

FIRMWARE = Path("/usr/share/bochs")


def run(image: Path, *, processor: str, memory_mib: int = 256, limit_s: float) -> Ending:
    """Start `image` on an emulated processor, by Bochs's name for it, until the kernel says what it ends with.

    The kernel is to be started with `exit=bochs`, so that the emulator ends with it.

    Raises `BareError` if Bochs is not installed, or does not know that processor.
    """
    if shutil.which("bochs") is None or not FIRMWARE.is_dir():
        raise BareError("bochs is not installed (on Debian and Ubuntu: apt-get install bochs bochsbios vgabios)")
    if processor not in _help("cpu").split():
        raise BareError(f"this bochs emulates no processor {processor}; install a newer one")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serial, configuration = folder / "serial", folder / "bochsrc"
        configuration.write_text(
            CONFIGURATION.format(
                # The only display that needs no screen in every package of Bochs: a server that nobody has to look at.
                display='rfb, options="timeout=0"',
                processor=processor,
                memory_mib=memory_mib,
                firmware=FIRMWARE,
                image=image.resolve(),
                serial=serial,
                log=folder / "log",
            )
        )
        command = ["bochs", "-q", "-f", str(configuration)]
        if "-rc " in _help():
            # It is built with a debugger, which waits for the word to go on.
            go_on = folder / "go-on"
            go_on.write_text("c\n")
            command += ["-rc", str(go_on)]
        start = time.monotonic()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder
        ) as process:
            try:
                output, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                process.kill()
                output, _ = process.communicate()
        text = serial.read_text(errors="replace") if serial.exists() else ""
        return Ending(_status(text), text, output.decode(errors="replace"), time.monotonic() - start)


def _help(*topics: str) -> str:
    done = subprocess.run(["bochs", "--help", *topics], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return done.stdout + done.stderr


def _status(text: str) -> Status | None:
    """What the kernel said last."""
    for line in reversed(text.splitlines()):
        if line.startswith("axiom: status "):
            value = int(line.split()[2], 16)
            return Status(value) if value in Status._value2member_map_ else None
    return None
