"""Images that are cut off, damaged or forged: each is refused, with what is wrong and what to do."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

import axiom
from axiom.cli import verify_image
from axiom.errors import AxiomError, ModelFormatError
from axiom.model_file.image_file import HEADER_BYTES, ROOT_OFFSET, ImageFile, image_digest
from tests.backends import BACKENDS
from tests.images import TOKENS, Packed

NATIVE = BACKENDS[1:]


def refusal(path: Path, backend: str) -> str | None:
    """What keeps an image from being opened and computed from, or None."""
    try:
        with axiom.Runtime(path, backend=backend) as runtime:
            runtime.logits(TOKENS[:2])
    except (AxiomError, ValueError) as error:
        return str(error)
    return None


def is_refused(path: Path, backend: str) -> bool:
    """Whether an image is refused, with one clear line that says what to do."""
    said = refusal(path, backend)
    return said is not None and "\n" not in said and any(word in said for word in ("again", "give the path", "update"))


@pytest.mark.parametrize("backend", NATIVE)
def test_every_truncated_image_is_refused(backend: str, packed: Packed, tmp_path: Path) -> None:
    _, image = packed(fmt="Q4_0", n_layer=1)
    whole = image.read_bytes()
    path = tmp_path / "cut.axiom"
    choose = random.Random(1)
    lengths = [0, 1, 7, 8, 4095, 4096, len(whole) - 1, *(choose.randrange(len(whole)) for _ in range(993))]
    for length in lengths:
        path.write_bytes(whole[:length])
        assert is_refused(path, backend), f"{length} of {len(whole)} bytes"
    path.write_bytes(whole + b"\0")
    assert is_refused(path, backend), "a byte too many"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flipped_bit_anywhere_is_found(backend: str, packed: Packed, tmp_path: Path) -> None:
    _, image = packed(fmt="Q4_0", n_layer=2)
    whole = image.read_bytes()
    opened = ImageFile(image)
    path = tmp_path / "flipped.axiom"
    choose = random.Random(2)
    head_end = opened.extents[0].offset
    places = [0, 8, 16, 24, 32, 96, 104, 168, ROOT_OFFSET, HEADER_BYTES, head_end - 1]
    places += [choose.randrange(head_end) for _ in range(40)]
    for at in opened.extents:
        places += [at.offset, at.offset + at.n_bytes - 1, *(at.offset + choose.randrange(at.n_bytes) for _ in range(5))]
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << choose.randrange(8)
        path.write_bytes(damaged)
        assert is_refused(path, backend), f"byte {place}"
        result = CliRunner().invoke(verify_image.command, [str(path)])
        assert result.exit_code == 1, f"byte {place}"


def sealed(forged: bytearray, path: Path) -> Path:
    """Writes an image whose head has been changed, under a digest of that."""
    n_head = int.from_bytes(forged[24:32], "little")
    forged[ROOT_OFFSET:HEADER_BYTES] = image_digest(bytes(forged[:ROOT_OFFSET] + forged[HEADER_BYTES:n_head]))
    path.write_bytes(forged)
    return path


@pytest.mark.parametrize(
    ("place", "number", "message"),
    [
        (24, 4096 + 512, "length of the head: expected a multiple of 4096 up to"),
        (32, 1 << 63, "section of the metadata: expected a place in the head"),
        (48, 0, "section of the directory: expected a place in the head"),
        (56, 48, "length of the directory: expected"),
        (64, 1 << 40, "section of the names: expected a place in the head"),
        (80, (1 << 64) - 1, "section of the extents: expected a place in the head"),
        (88, 47, "length of the table of extents: expected entries of 48 bytes"),
        (96, 1 << 62, "length of the directory: expected"),
        (None, 1 << 62, "extent 0: expected a place in the file"),
    ],
)
def test_claims_under_a_right_digest_are_checked(
    place: int | None, number: int, message: str, packed: Packed, tmp_path: Path
) -> None:
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    table = int.from_bytes(forged[80:88], "little")
    at = table if place is None else place
    forged[at : at + 8] = number.to_bytes(8, "little")
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=message):
        ImageFile(path)


# A field of 8 bytes of the configuration or of an entry, its number, and what is said of it.
FORGED = {
    "other pairing": (("config", 9), 1, "rope_pairing of the configuration: expected 0, as the metadata say, got 1"),
    "no pairing": (("config", 9), 7, "rope_pairing"),
    "other base": (
        ("config", 8),
        0x40F86A0000000000,
        "rope_base of the configuration: expected 10000.0, .* got 100000",
    ),
    "a flag of later": (("config", 18), 4, "flags of the configuration: expected 0, as the metadata say, got 4"),
    "a tensor elsewhere": (("fourth tensor", 4), 1024, "blk.0.attn_k.weight.*expected .* bytes at .* of extent 1, got"),
    "a tensor cut": (("fourth tensor", 5), 64, "blk.0.attn_k.weight.*expected .* of extent 1, got 64 bytes"),
    "extents that overlap": (("extent", 0), 20480, "(place of an extent|extent 1): expected"),
    "a long extent": (("extent", 1), 4096 * 9, "(length of an extent|extent 0): expected .* got 36864"),
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_that_contradicts_itself_is_refused_by_every_body(
    backend: str, case: str, packed: Packed, tmp_path: Path
) -> None:
    (table, field), number, message = FORGED[case]
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    directory, extents = (int.from_bytes(forged[at : at + 8], "little") for at in (48, 80))
    at = {"config": 168, "fourth tensor": directory + 3 * 48, "extent": extents}[table] + 8 * field
    forged[at : at + 8] = number.to_bytes(8, "little")
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=message):
        axiom.Runtime(path, backend=backend)
    if "native" in backend:
        from axiom._native import Engine

        # The core reads no metadata, and finds what its own part of the head says.
        if case not in ("other pairing", "other base"):
            with pytest.raises(ModelFormatError):
                Engine.from_image(path, n_ctx=16, n_seq_max=1)


def test_an_image_is_verified_in_bounded_memory(packed: Packed, tmp_path: Path) -> None:
    """Of a file with holes, anything may be claimed to be padding, or an extent."""
    _, image = packed(fmt="Q4_0", n_layer=1)
    whole, hole = image.read_bytes(), 256 << 20
    n_file, (n_head, table) = len(whole), (int.from_bytes(whole[at : at + 8], "little") for at in (24, 80))
    n_extents, last = len(ImageFile(image).extents), ImageFile(image).extents[-1]

    def with_a_hole(path: Path, *numbers: tuple[int, int]) -> Path:
        forged = bytearray(whole[:n_head])
        for at, number in ((16, n_file + hole), *numbers):
            forged[at : at + 8] = number.to_bytes(8, "little")
        with sealed(forged, path).open("r+b") as file:
            file.truncate(n_file + hole)
            file.seek(n_head + hole)
            file.write(whole[n_head:])
        return path

    moved = [(table + 48 * i, at.offset + hole) for i, at in enumerate(ImageFile(image).extents)]
    gap = with_a_hole(tmp_path / "gap.axiom", *moved)
    long = with_a_hole(tmp_path / "long.axiom", (table + 48 * (n_extents - 1) + 8, last.n_bytes + hole))
    tracemalloc.start()
    try:
        opened = ImageFile(gap)
        assert all(right for _, right in opened.verify())
        assert opened.padding_is_zero()
        with pytest.raises(ModelFormatError, match=rf"extent {n_extents - 1}: expected {last.n_bytes} bytes at"):
            list(ImageFile(long).verify())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    with gap.open("r+b") as file:
        file.seek(n_head + hole - 1)
        file.write(b"\1")
    assert not ImageFile(gap).padding_is_zero()


def test_metadata_that_are_damaged_are_named_by_their_byte_in_the_file(packed: Packed, tmp_path: Path) -> None:
    forged = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    metadata = int.from_bytes(forged[32:40], "little")
    forged[metadata + 16] = 0xFF
    path = sealed(forged, tmp_path / "forged.axiom")
    with pytest.raises(ModelFormatError, match=f"byte {metadata + 8}: name of metadata key 0: expected UTF-8"):
        ImageFile(path)


def test_an_image_of_a_later_version_says_so(packed: Packed, tmp_path: Path) -> None:
    whole = bytearray(packed(fmt="Q4_0", n_layer=1)[1].read_bytes())
    whole[8] = 2
    path = tmp_path / "later.axiom"
    path.write_bytes(whole)
    with pytest.raises(ModelFormatError, match="version: expected 1, which this program reads, got 2; update"):
        ImageFile(path)
