"""Checks a kernel table that this processor may lack against the portable one, bit for bit: `avx512` or `avxvnni`.

On a processor that has its instructions, by the core's own tests. Elsewhere the bare kernel runs the same checks in
Bochs, which emulates such a processor, and tells a story whose receipt must be that of this processor. That takes a few
minutes, and excuses one thing: Bochs rounds f32 half-way between two f16 up. Such conversions are not compared, and the
story's keys and values are kept in f32.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import axiom
from axiom import _native
from axiom.bare import bochs, disk_image
from axiom.bare.kernel import BareError, Status

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 900
MODEL = ROOT / "python/axiom/models/storyteller.gguf"
PROMPT, N_TOKEN = "Once upon a time", 8
PROCESSORS = {"avx512": "corei7_icelake_u", "avxvnni": "arrow_lake"}
"""Of each table, what Bochs calls a processor that runs it."""


def main(table: str) -> int:
    """Run the checks; 0 if all passed, or if nothing here can run them."""
    if table in _native.testing.kernels.tables():
        return subprocess.run(["cargo", "test", "--quiet", "-p", "axiom-core"], cwd=ROOT, check=False).returncode
    subprocess.run(["make", "--quiet", "kernel"], cwd=ROOT, check=True)
    print(f"this processor cannot run {table}: emulating one that can, in Bochs", flush=True)
    try:
        checks = boot(table, {"test": "conformance"})
        told = boot(table, {"prompt": PROMPT, "tokens": str(N_TOKEN), "temperature": "0", "kv": "f32"}, MODEL)
    except BareError as error:
        print(f"test-{table}: SKIPPED, nothing was tested: {error}", file=sys.stderr)
        return 0
    failed = []
    if f"conformance of {table}: attention: every_head_size" not in checks:
        failed.append("the checks")
    with axiom.Runtime(MODEL, kv="f32") as runtime:
        completion = runtime.generate(PROMPT, max_tokens=N_TOKEN, temperature=0.0, seed=0, receipt=True)
    assert completion.receipt is not None
    if f"axiom: receipt {completion.receipt.links[-1]} after" not in told:
        failed.append(f"the story, whose receipt here is {completion.receipt.links[-1]}")
    print(f"test-{table}: {'FAILED: ' + ', '.join(failed) if failed else 'passed'}")
    return 1 if failed else 0


def boot(table: str, options: dict[str, str], model: Path | None = None) -> str:
    """What the kernel with that table prints in Bochs, nothing if it does not end well."""
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / f"{table}.img"
        options = {**options, "kernels": table, "telemetry": "none", "exit": "bochs"}
        if model is None:
            disk_image.write(image, options)
        else:
            disk_image.build(model, image, options)
        ending = bochs.run(image, processor=PROCESSORS[table], limit_s=LIMIT_S)
    print("\n".join(ending.lines()), flush=True)
    return ending.text if ending.status is Status.DONE else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
