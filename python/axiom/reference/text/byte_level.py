"""The alphabet of byte-level vocabularies: each of the 256 bytes is written as one visible character.

Source: GPT-2 (`bytes_to_unicode` in its encoder.py). The bytes of visible Latin-1 characters stand for themselves, the
other 68 are written as U+0100, U+0101, … in order, so that a space is `Ġ` and a newline `Ċ`.
"""

from __future__ import annotations


def _alphabet() -> list[str]:
    chars, following = [], 0x100
    for byte in range(256):
        if 0x21 <= byte <= 0x7E or 0xA1 <= byte <= 0xAC or byte >= 0xAE:
            chars.append(chr(byte))
        else:
            chars.append(chr(following))
            following += 1
    return chars


CHAR_OF_BYTE = _alphabet()
BYTE_OF_CHAR = {c: byte for byte, c in enumerate(CHAR_OF_BYTE)}


def written(raw: bytes) -> bytes:
    """Return the UTF-8 bytes of `raw` as a byte-level vocabulary writes them."""
    return "".join(CHAR_OF_BYTE[byte] for byte in raw).encode()


def byte_decoded(text: bytes) -> bytes | None:
    """Return the bytes that `text` writes in the byte-level alphabet, None unless it is written in it throughout."""
    try:
        return bytes(BYTE_OF_CHAR[c] for c in text.decode())
    except (UnicodeDecodeError, KeyError):
        return None
