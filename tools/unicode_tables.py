"""Write the Unicode class tables of the tokenizers, one Rust file and one Python file, from the same data.

The tables are pinned to Unicode 16.0.0, the version that the regular expressions of Hugging Face `tokenizers` know
(Oniguruma 6.9.10): a text must split the same way here and there, and a letter of a later version is not a letter to
either. `tests/peers/test_tokenizer_huggingface.py` compares every code point with an installed `tokenizers`.

A Python whose own `unicodedata` is 16.0.0 (3.14) runs this as it is; any other needs the package unicodedata2, 16.0.0.

    python tools/unicode_tables.py            # write both files
    python tools/unicode_tables.py --check    # exit 1 if a file differs from what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

VERSION = "16.0.0"
ROOT = Path(__file__).resolve().parent.parent
RUST = ROOT / "crates/axiom-core/src/text/unicode_tables.rs"
PYTHON = ROOT / "python/axiom/reference/text/unicode_tables.py"

# The number of each class, as `text/unicode.rs` and `text/unicode.py` name them. General categories that no
# pre-tokenizer tells apart share a number: all marks, all numbers, all punctuation, all symbols, all separators.
CLASSES = {"Lu": 1, "Ll": 2, "Lt": 3, "Lm": 4, "Lo": 5, "M": 6, "N": 7, "P": 8, "S": 9, "Z": 10}
OTHER = 0


def database() -> ModuleType:
    """Return a `unicodedata` module of the pinned version, or end with advice."""
    import unicodedata

    if unicodedata.unidata_version == VERSION:
        return unicodedata
    try:
        import unicodedata2
    except ImportError:
        unicodedata2 = None
    if unicodedata2 is None or unicodedata2.unidata_version != VERSION:
        sys.exit(
            f"needs Unicode {VERSION}, this Python has {unicodedata.unidata_version}; "
            f"pip install unicodedata2=={VERSION}"
        )
    return unicodedata2


def runs(ucd: ModuleType) -> list[tuple[int, int]]:
    """Return (first code point, class) of each maximal run of one class, in order, from U+0000 on."""
    found: list[tuple[int, int]] = []
    for cp in range(0x110000):
        category = ucd.category(chr(cp))
        number = CLASSES.get(category, CLASSES.get(category[0], OTHER))
        if not found or found[-1][1] != number:
            found.append((cp, number))
    return found


def rows(entries: list[tuple[int, int]], per_row: int) -> list[str]:
    """Format the packed entries, `first code point << 4 | class`, several to a line."""
    words = [f"0x{first << 4 | number:07X}" for first, number in entries]
    return ["    " + ", ".join(words[i : i + per_row]) + "," for i in range(0, len(words), per_row)]


def rust(entries: list[tuple[int, int]]) -> str:
    """Return the Rust file."""
    head = [
        f"//! Unicode {VERSION} general categories, written by `tools/unicode_tables.py`; do not edit.",
        "",
        "/// The Unicode version of these tables.",
        f'pub const UNICODE_VERSION: &str = "{VERSION}";',
        "",
        "/// The first code point of each run of one class, shifted left by 4, with the class in the low 4 bits.",
        "#[rustfmt::skip]",
        f"pub(super) static RUNS: [u32; {len(entries)}] = [",
    ]
    return "\n".join([*head, *rows(entries, 10), "];", ""])


def python(entries: list[tuple[int, int]]) -> str:
    """Return the Python file."""
    head = [
        f'"""Unicode {VERSION} general categories, written by `tools/unicode_tables.py`; do not edit."""',
        "",
        f'UNICODE_VERSION = "{VERSION}"',
        "",
        "# The first code point of each run of one class, shifted left by 4, with the class in the low 4 bits.",
        "# fmt: off",
        "RUNS = (",
    ]
    return "\n".join([*head, *rows(entries, 10), ")", "# fmt: on", ""])


def main() -> None:
    """Write the files, or compare them with `--check`."""
    entries = runs(database())
    stale = []
    for path, text in ((RUST, rust(entries)), (PYTHON, python(entries))):
        if "--check" in sys.argv[1:]:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                stale.append(path)
        else:
            path.write_text(text, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: {len(entries)} runs")
    if stale:
        sys.exit("out of date: " + ", ".join(str(p.relative_to(ROOT)) for p in stale))


if __name__ == "__main__":
    main()
