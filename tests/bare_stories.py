"""Stories of the bare machine, as tests compare them with the native body's."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import axiom
from axiom.bare.kernel import Status
from axiom.bare.qemu import Ending

MODEL = Path(axiom.__file__).parent / "models" / "storyteller.gguf"
PROMPT = "Once upon a time"


@cache
def native(prompt: str, n_token: int, model: Path = MODEL, **sampling: Any) -> tuple[str, str]:
    """The text, and the last link of its receipt."""
    with axiom.Runtime(model) as runtime:
        completion = runtime.generate(prompt, max_tokens=n_token, receipt=True, **sampling)
    assert completion.receipt is not None
    return completion.text, completion.receipt.links[-1]


def told(text: str) -> tuple[str, str]:
    """The same of what a machine wrote on its serial line."""
    text = text.replace("\r", "")
    story = text.partition("axiom: text follows\n")[2].partition("\naxiom: end of text")[0]
    receipt = re.search(r"axiom: receipt ([0-9a-f]{64}) after", text)
    assert receipt is not None, text
    assert ", 0 after" in text, "allocations after initialisation"
    return story, receipt[1]


def skip_if_lacking(table: str, text: str) -> None:
    """QEMU before 7.2 emulates no vectors of 256 bits, and a host lends what it has."""
    if "this machine lacks" in text:
        pytest.skip(f"the machine of the test lacks what the table {table} needs")


def story(ending: Ending) -> tuple[str, str]:
    """The same of a machine that ended as it should."""
    assert ending.status is Status.DONE, ending
    return told(ending.text)
