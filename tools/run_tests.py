"""Runs the tests of both languages, passes their output on, and sums it up in one line.

    python tools/run_tests.py [pytest arguments]

Arguments choose among the Python tests; the Rust tests then stay out. The exit status is 0 only if everything passed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The extension is tested from Python; a program that links it would need a Python library beside the interpreter.
RUST = ["cargo", "test", "--quiet", "--workspace", "--exclude", "axiom-python"]
# The bare kernel is a workspace of its own; what it shares with nothing but itself is tested here.
KERNEL = ["cargo", "test", "--quiet", "--lib", "--manifest-path", "bootkernel/Cargo.toml"]
PYTHON = [sys.executable, "-m", "pytest", "--quiet"]


def run(command: list[str]) -> tuple[int, str]:
    """Run `command`, show what it writes as it comes, and return its status and all of that."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdout is not None
        written = bytearray()
        while chunk := process.stdout.read1(1 << 16):
            written += chunk
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    return process.returncode, written.decode(errors="replace")


def rust_counts(output: str) -> Counter[str]:
    """Sum up the closing lines of cargo's test programs."""
    counts: Counter[str] = Counter()
    for passed, failed, ignored in re.findall(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", output):
        counts.update(passed=int(passed), failed=int(failed), skipped=int(ignored))
    return counts


def python_counts(output: str) -> Counter[str]:
    """Read pytest's closing line."""
    counts: Counter[str] = Counter()
    lines = [line for line in output.splitlines() if re.search(r"\bin [0-9.:]+s\b", line)]
    for number, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed)", lines[-1] if lines else ""):
        counts[{"error": "failed", "errors": "failed", "xfailed": "skipped"}.get(word, word)] += int(number)
    return counts


def main() -> int:
    """Run both and return the exit status."""
    arguments = sys.argv[1:]
    parts, ok = [], True
    for language, command, count in (
        ("Rust", RUST, rust_counts),
        ("kernel", KERNEL, rust_counts),
        ("Python", PYTHON, python_counts),
    ):
        if arguments and language != "Python":
            continue
        status, output = run(command + (arguments if language == "Python" else []))
        counts = count(output)
        # Without a single test passed, something other than the tests went wrong.
        passed = status == 0 and counts["passed"] > 0
        ok = ok and passed
        state = "" if passed or counts["failed"] else f", exit status {status}"
        parts.append(
            f"{language}: {counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped{state}"
        )
    print(f"tests {'passed' if ok else 'FAILED'} ({'; '.join(parts)})")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
