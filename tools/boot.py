"""Boots the bare kernel in QEMU with the default model, and shows what it writes.

boot.py [name=value ...]     options of the kernel (docs/bare.md), such as prompt="Once upon a time" tokens=100
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from axiom.bare.kernel import BareError, Status
from axiom.bare.qemu import Machine, accelerator, command
from axiom.image_writer import pack

ROOT = Path(__file__).resolve().parents[1]
MODEL = ROOT / "python/axiom/models/storyteller.gguf"


def main() -> int:
    """Pack, start, and end as the machine ends."""
    options = dict(word.split("=", 1) for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "model.axiom"
        pack(MODEL, image)
        try:
            machine = Machine(options, module=image)
            print(f"starting QEMU with {accelerator()}", file=sys.stderr, flush=True)
            code = subprocess.run(command(machine), stdin=subprocess.DEVNULL, check=False).returncode
        except BareError as error:
            print(f"boot: {error}", file=sys.stderr)
            return 1
    return 0 if code == 2 * Status.DONE + 1 else 1


if __name__ == "__main__":
    sys.exit(main())
