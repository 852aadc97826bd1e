"""Checks axiom on 64-bit ARM, under emulation where this machine is none.

First the core's lints and tests. Then the wheel: it is built for ARM and installed beside a Python for ARM. There the
engine must equal the reference, and tell a story whose receipt verifies on this machine. Where this machine is ARM,
`make test` is that second half.

What is needed comes from rustup, Debian's packages (`tools/set_up.sh arm`) and PyPI; if something cannot be had, the
run is skipped and says why.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import axiom

ROOT = Path(__file__).resolve().parents[1]
TARGET = "aarch64-unknown-linux-gnu"
C_LIBRARY = Path("/usr/aarch64-linux-gnu")
LINTS = ["cargo", "clippy", "-p", "axiom-core", "--all-targets"]
TESTS = ["cargo", "test", "-p", "axiom-core"]
EQUAL_TO_REFERENCE = ["tests/test_identity_engine.py", "tests/test_identity_kernels.py"]
PYTHON_PACKAGES = ["python3", "libstdc++6"]
"""Of Debian: the interpreter, and what numpy is linked with beyond it."""


def main() -> int:
    """Run all of it; 0 if it passed, or if nothing here can run it."""
    os.chdir(ROOT)
    if platform.machine() in ("aarch64", "arm64"):
        run(*LINTS, "--", "-D", "warnings")
        run(*TESTS)
        return 0
    emulator = prepare()
    run(*LINTS, "--target", TARGET, "--", "-D", "warnings")
    run(*TESTS, "--target", TARGET)
    with tempfile.TemporaryDirectory() as folder:
        python = Python(emulator, Path(folder))
        python.install(build_wheel(Path(folder)))
        python.run("-m", "pytest", "--quiet", "-p", "no:cacheprovider", *EQUAL_TO_REFERENCE)
        receipt = str(Path(folder) / "receipt.json")
        python.run("-m", "axiom", "run", "Once upon a time", "--seed", "1", "--receipt", receipt)
        run(sys.executable, "-m", "axiom", "verify", receipt)
    print("test-arm: passed")
    return 0


def run(*command: str, **variables: str) -> None:
    """Run a command with these variables in its environment; the first that fails ends the run."""
    if subprocess.run(command, env={**os.environ, **variables}, check=False).returncode:
        print(f"test-arm: FAILED: {' '.join(command)}", file=sys.stderr)
        sys.exit(1)


def skip(why: str) -> NoReturn:
    """End without a result."""
    print(f"test-arm: SKIPPED, not all was tested: {why}", file=sys.stderr)
    sys.exit(0)


def succeeds(*command: str) -> bool:
    """Whether a command does; what it says is shown."""
    return bool(shutil.which(command[0])) and subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def prepare() -> str:
    """What cross-compiling needs; returns the emulator, which cargo then runs tests with."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    if not (Path(sysroot) / "lib/rustlib" / TARGET).is_dir() and not succeeds("rustup", "target", "add", TARGET):
        skip(f"this Rust has no standard library for {TARGET}, and rustup cannot add it")
    linker = shutil.which("aarch64-linux-gnu-gcc")
    emulator = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not linker or not emulator or not (C_LIBRARY / "lib/crt1.o").is_file():
        skip("a linker, a C library or an emulator for ARM is missing; tools/set_up.sh arm says which package has it")
    os.environ["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] = linker
    os.environ["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER"] = f"{emulator} -L {C_LIBRARY}"
    return emulator


def build_wheel(folder: Path) -> Path:
    """The wheel for ARM."""
    maturin = str(Path(sys.executable).with_name("maturin"))
    run(maturin, "build", "--release", "--quiet", "--target", TARGET, "--out", str(folder / "dist"))
    (wheel,) = (folder / "dist").glob("axiom-*.whl")
    return wheel


class Python:
    """Debian's Python for ARM with its libraries, in a folder of its own, under the emulator."""

    def __init__(self, emulator: str, folder: Path) -> None:
        apt, root = folder / "apt", folder / "root"
        for directory in ("lists/partial", "archives/partial", "state"):
            (apt / directory).mkdir(parents=True)
        (apt / "status").touch()
        places = {"State": apt / "state", "State::Lists": apt / "lists", "State::Status": apt / "status", "Cache": apt}
        options = ["-qq", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
        options += [word for name, place in places.items() for word in ("-o", f"Dir::{name}={place}")]
        fetch = ["install", "-y", "--download-only", "--no-install-recommends", *PYTHON_PACKAGES]
        if not (succeeds("apt-get", *options, "update") and succeeds("apt-get", *options, *fetch)):
            skip("apt-get could not download Python for ARM, which it can on Debian")
        for package in sorted((apt / "archives").glob("*.deb")):
            run("dpkg", "-x", str(package), str(root))
        self.site = folder / "site"
        self.command = [emulator, "-L", str(root), str(root / "usr/bin/python3")]

    def run(self, *arguments: str) -> None:
        """Run it; what is installed is found."""
        run(*self.command, *arguments, PYTHONPATH=str(self.site))

    def install(self, wheel: Path) -> None:
        """Install the wheel and what its tests need."""
        asked = [
            *self.command,
            "-c",
            "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.libc_ver()[1])",
        ]
        version, libc = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
        minors = range(17, int(libc.split(".")[1]) + 1)
        platforms = [word for minor in minors for word in ("--platform", f"manylinux_2_{minor}_aarch64")]
        run(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--target", str(self.site), "--only-binary", ":all:"),
            *("--python-version", version, *platforms, f"axiom[test] @ {wheel.as_uri()}"),
        )


if __name__ == "__main__":
    print(f"checking axiom {axiom.__version__} on 64-bit ARM", flush=True)
    sys.exit(main())
