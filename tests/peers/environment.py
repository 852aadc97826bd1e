"""Makes the environment in which axiom meets its peers, and remakes only what changed.

    python3 tests/peers/environment.py --axiom dist

`.venv-peers` gets axiom's wheel (if one is given), llama-cpp-python built from its source package for this very
processor, Hugging Face tokenizers, and what the tests and benches need. The source package and its build are kept in
`target/peers`; the build is named by what it depends on, processor features included, so a cache that travels to
another machine is not run there by mistake. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv-peers"
CACHE = ROOT / "target" / "peers"

LLAMA_VERSION = "0.3.36"
LLAMA_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
LLAMA_SOURCE = CACHE / f"llama_cpp_python-{LLAMA_VERSION}"
# Native instructions, and neither the vision part nor the tools' common library, which nothing here calls. The package
# forces the latter on in the cache; a plain variable of the inner project goes before the cache.
CMAKE_ARGS = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE={}".format(
    Path(__file__).resolve().with_name("without_common.cmake")
)
REQUIREMENTS = ("gguf>=0.17", "hypothesis>=6.100", "numpy>=1.24", "pytest>=8", "tokenizers==0.23.*")


def say(line: str) -> None:
    print(f"peers: {line}", file=sys.stderr, flush=True)


def run(*command: str | Path, **environment: str) -> None:
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, **environment})


def processor_features() -> str:
    """What a native build depends on: the instructions of this processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def make_environment() -> Path:
    """The environment's Python."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        say(f"making {ENVIRONMENT.name}")
        venv.create(ENVIRONMENT, with_pip=True, clear=True)
    return python


def fetch_llama_source(python: Path) -> None:
    """Downloads and unpacks the source package, whose digest pip checks."""
    if LLAMA_SOURCE.is_dir():
        return
    say(f"downloading the source of llama-cpp-python {LLAMA_VERSION}")
    CACHE.mkdir(parents=True, exist_ok=True)
    pinned = CACHE / "llama.txt"
    pinned.write_text(f"llama-cpp-python=={LLAMA_VERSION} --hash=sha256:{LLAMA_SHA256}\n")
    run(python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=llama-cpp-python", "--require-hashes",
        "-d", CACHE, "-r", pinned, CMAKE_ARGS="")  # fmt: skip
    unpacking = CACHE / "unpacking"
    with tarfile.open(CACHE / f"{LLAMA_SOURCE.name}.tar.gz") as archive:
        # Its digest has been checked; the filter, which early releases of Python lack, only quietens their successors.
        archive.extractall(unpacking, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    # Renamed last, so that a broken-off unpacking is never taken for the whole.
    (unpacking / LLAMA_SOURCE.name).rename(LLAMA_SOURCE)
    unpacking.rmdir()


def build_llama(python: Path) -> Path:
    """The wheel of llama-cpp-python, built for this processor."""
    depends_on = "\n".join((LLAMA_SHA256, CMAKE_ARGS, sys.version, processor_features()))
    folder = CACHE / f"wheel-{hashlib.sha256(depends_on.encode()).hexdigest()[:16]}"
    wheels = list(folder.glob("llama_cpp_python-*.whl"))
    if not wheels:
        say("building llama.cpp for this processor: a few minutes, once")
        n_cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        run(python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, LLAMA_SOURCE,
            CMAKE_ARGS=CMAKE_ARGS, CMAKE_BUILD_PARALLEL_LEVEL=str(n_cpus))  # fmt: skip
        wheels = list(folder.glob("llama_cpp_python-*.whl"))
    return wheels[0]


def install_once(python: Path, wheel: Path) -> None:
    """Installs a wheel and what it requires, unless these very bytes are installed."""
    marker = ENVIRONMENT / f".installed-{wheel.name.split('-')[0]}"
    content = f"{wheel.name} {hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    if marker.exists() and marker.read_text() == content:
        return
    say(f"installing {wheel.name}")
    # The first command replaces a build of the same version, the second adds what is missing around it.
    run(python, "-m", "pip", "install", "-q", "--force-reinstall", "--no-deps", wheel)
    run(python, "-m", "pip", "install", "-q", wheel)
    marker.write_text(content)


def newest_wheel(path: Path) -> Path:
    """`path` itself, or the newest of axiom's wheels in it if it is a folder."""
    if not path.is_dir():
        return path.resolve()
    wheels = sorted(path.glob("axiom-*.whl"), key=lambda wheel: wheel.stat().st_mtime)
    if not wheels:
        raise SystemExit(f"peers: no axiom-*.whl in {path}; build one with `maturin build --release --out {path}`")
    return wheels[-1].resolve()


def install_requirements(python: Path) -> None:
    marker = ENVIRONMENT / ".installed-requirements"
    content = "\n".join(REQUIREMENTS)
    if marker.exists() and marker.read_text() == content:
        return
    say("installing the test tools")
    run(python, "-m", "pip", "install", "-q", *REQUIREMENTS)
    marker.write_text(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--axiom", type=Path, metavar="WHEEL", help="axiom's wheel, or the folder that holds it")
    args = parser.parse_args()
    wheel = newest_wheel(args.axiom) if args.axiom else None
    python = make_environment()
    install_requirements(python)
    fetch_llama_source(python)
    install_once(python, build_llama(python))
    if wheel is not None:
        install_once(python, wheel)
    say(f"ready: {python}")


if __name__ == "__main__":
    main()
