"""The file of a saved session: which model, which tokens, and the engine's state after them.

    magic "AXIOMSES" · u32 version 1 · u32 n_tokens · 32 bytes header digest of the model · u64 n_state
    n_tokens x u32 · n_state bytes · 32 bytes SHA-256 of everything before

All little-endian. The state is what `Engine.seq_save` returned, the same bytes from every body.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable, Iterator, Sequence

from axiom.files import checked_path, sha256, write_whole

__all__ = ["read_session_file", "write_session_file"]

_MAGIC = b"AXIOMSES"
_VERSION = 1
_HEAD = struct.Struct("<8sII32sQ")
_N_CHECK = 32


def write_session_file(
    path: str | os.PathLike[str],
    model: bytes,
    tokens: Sequence[int],
    n_state: int,
    state: Iterable[bytes],
    *sources: str | os.PathLike[str],
) -> None:
    """Write a session file, whole or not at all, and over none of `sources`. `state` has `n_state` bytes, in parts."""
    head = _HEAD.pack(_MAGIC, _VERSION, len(tokens), model, n_state)
    body = struct.pack(f"<{len(tokens)}I", *tokens)
    write_whole(path, _checked(itertools.chain((head, body), state)), *sources)


def _checked(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the parts of a file, and their checksum after them."""
    check = sha256()
    for part in parts:
        check.update(part)
        yield part
    yield check.digest()


def read_session_file(path: str | os.PathLike[str], model: bytes) -> tuple[list[int], bytes]:
    """Return the tokens and the state. Raises `ValueError` if the file is damaged or of another model than `model`."""
    content = checked_path(path, "session").read_bytes()
    name = os.fspath(path)
    if len(content) < _HEAD.size + _N_CHECK:
        raise ValueError(f"{name}: expected a saved session, got a file of {len(content)} bytes")
    magic, version, n_tokens, of_model, n_state = _HEAD.unpack_from(content)
    if magic != _MAGIC:
        raise ValueError(f"{name}: expected a saved session, got a file that begins with {magic!r}")
    if version != _VERSION:
        raise ValueError(f"{name}: expected session version {_VERSION}, got {version}; save it again with this version")
    n_expected = _HEAD.size + 4 * n_tokens + n_state + _N_CHECK
    if len(content) != n_expected:
        raise ValueError(f"{name}: expected {n_expected} bytes, got {len(content)}; the file is incomplete")
    if sha256(content[:-_N_CHECK]).digest() != content[-_N_CHECK:]:
        raise ValueError(f"{name}: the checksum does not match; the file is damaged")
    if of_model != model:
        raise ValueError(
            f"{name}: the session is of another model; open the runtime with the model that it was saved with"
        )
    at_state = _HEAD.size + 4 * n_tokens
    tokens = struct.unpack_from(f"<{n_tokens}I", content, _HEAD.size)
    return list(tokens), content[at_state : at_state + n_state]
