"""ik_llama.cpp, the fork of llama.cpp with the fastest products for processors, weights repacked at load.

AXIOM_IK_LLAMA names the folder of its sources in which its shared libraries were built, and `ik_llama.c` is compiled
here against its header, once for each process.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from axiom.model_file.model_config import KVFormat

VARIABLE = "AXIOM_IK_LLAMA"
BRIDGE = Path(__file__).with_name("ik_llama.c")


def source_tree() -> Path:
    """The folder that AXIOM_IK_LLAMA names; FileNotFoundError if it holds no header or no library."""
    if VARIABLE not in os.environ:
        raise FileNotFoundError(f"{VARIABLE} is not set; it names the folder of ik_llama.cpp's sources, built there")
    folder = Path(os.environ[VARIABLE]).resolve()
    if not (folder / "include" / "llama.h").is_file():
        raise FileNotFoundError(f"{VARIABLE}={folder}: no include/llama.h there; it names the folder of the sources")
    return folder


def library(folder: Path, name: str) -> Path:
    """The newest shared library of that name in any build folder below `folder`."""
    found = sorted(folder.rglob(f"lib{name}.so"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"{folder}: no lib{name}.so below it; build it there, with shared libraries")
    return found[-1]


def build_bridge(folder: Path, bridge: Path) -> None:
    """Compiles ik_llama.c against the header and the libraries of `folder`."""
    command = ["cc", "-O2", "-shared", "-fPIC", "-o", str(bridge), str(BRIDGE)]
    command += [f"-I{folder / part}" for part in ("include", "ggml/include")]
    for name in ("llama", "ggml"):
        path = library(folder, name)
        command += [str(path), f"-Wl,-rpath,{path.parent}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{BRIDGE.name} does not fit the ik_llama.cpp in {folder}:\n{done.stderr}")


def commit(folder: Path) -> str:
    """Which version the sources are of, as far as their folder can tell."""
    command = ["git", "-C", str(folder), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "commit unknown"
    # A folder without a repository of its own may lie in another's.
    is_own = done.returncode == 0 and (folder / ".git").exists()
    return f"commit {done.stdout.strip()}" if is_own else "commit unknown"


class IkLlama:
    """ik_llama.cpp by its C interface: flash attention, run-time repacking, its own batch size."""

    def __init__(self, model: str, n_threads: int, n_ctx: int, kv: KVFormat, n_seq: int = 1) -> None:
        folder = source_tree()
        with tempfile.TemporaryDirectory() as build:
            build_bridge(folder, Path(build) / "bridge.so")
            lib = self._lib = ctypes.CDLL(str(Path(build) / "bridge.so"))
        ints, floats = ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_float)
        lib.bridge_features.restype, lib.bridge_features.argtypes = ctypes.c_char_p, []
        lib.bridge_open.restype = ctypes.c_void_p
        lib.bridge_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_bool]
        lib.bridge_n_vocab.restype, lib.bridge_n_vocab.argtypes = ctypes.c_int, [ctypes.c_void_p]
        lib.bridge_reset.restype, lib.bridge_reset.argtypes = None, [ctypes.c_void_p]
        for step in (lib.bridge_append, lib.bridge_together):
            step.restype, step.argtypes = floats, [ctypes.c_void_p, ints, ctypes.c_int]
        self._bridge = lib.bridge_open(model.encode(), n_threads, n_ctx, n_seq, kv == "f32")
        if not self._bridge:
            raise RuntimeError(f"ik_llama.cpp cannot load {model} for {n_ctx} positions of {n_seq} sequences")
        self._n_vocab = lib.bridge_n_vocab(self._bridge)
        features = lib.bridge_features().decode().strip(" |")
        self.version = f"ik_llama.cpp, {commit(folder)}, run-time repacking ({features})"

    def reset(self) -> None:
        self._lib.bridge_reset(self._bridge)

    def prefill(self, tokens: list[int]) -> np.ndarray:
        return self._step(self._lib.bridge_append, tokens, (self._n_vocab,))

    def decode(self, token: int) -> np.ndarray:
        return self.prefill([token])

    def decode_together(self, tokens: list[int]) -> np.ndarray:
        return self._step(self._lib.bridge_together, tokens, (len(tokens), self._n_vocab))

    def _step(self, function: ctypes._CFuncPtr, tokens: list[int], shape: tuple[int, ...]) -> np.ndarray:
        logits = function(self._bridge, (ctypes.c_int * len(tokens))(*tokens), len(tokens))
        if not logits:
            raise RuntimeError(f"llama_decode of {len(tokens)} tokens failed in ik_llama.cpp")
        return np.ctypeslib.as_array(logits, shape).copy()
