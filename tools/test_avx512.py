"""Checks the AVX-512 kernels against the portable ones, bit for bit.

On a processor that has AVX-512 with byte products, by the core's own tests. Elsewhere the bare kernel runs the same
checks in Bochs, which emulates such a processor; that takes a minute or two, and excuses one thing: Bochs rounds f32
half-way between two f16 up, and such conversions are not compared.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from axiom.bare import bochs, disk_image
from axiom.bare.kernel import BareError, Status

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 900


def has_avx512() -> bool:
    """Whether this processor has all that the table needs."""
    needed = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "f16c"}
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    return any(needed <= set(line.split()) for line in lines if line.startswith("flags"))


def main() -> int:
    """Run the checks; 0 if all passed, or if nothing here can run them."""
    if has_avx512():
        return subprocess.run(["cargo", "test", "--quiet", "-p", "axiom-core"], cwd=ROOT, check=False).returncode
    subprocess.run(["make", "--quiet", "kernel"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "avx512.img"
        try:
            disk_image.write(image, {"test": "conformance", "kernels": "avx512", "exit": "bochs"})
            print("this processor has no AVX-512: emulating one that has, in Bochs", flush=True)
            ending = bochs.run(image, limit_s=LIMIT_S)
        except BareError as error:
            print(f"test-avx512: SKIPPED, nothing was tested: {error}", file=sys.stderr)
            return 0
    print("\n".join(ending.lines()))
    passed = ending.status is Status.DONE and "conformance of avx512: attention: every_head_size" in ending.text
    print(f"test-avx512: {'passed' if passed else 'FAILED'} after {ending.seconds:.0f} s")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
