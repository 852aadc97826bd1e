"""The code of the documentation runs as it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from axiom.errors import AxiomError
from tests.models import CHATML

ROOT = Path(__file__).parent.parent


def python_blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["docs/python.md", "README.md"])
def test_code_runs(
    page: str, random_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("axiom._native", reason="the extension is not built; `make test` builds it")
    path = random_model(n_layer=1, n_embd=64, n_ff=96, n_vocab=300, n_ctx=256, fmt="Q8_0", chat_template=CHATML)
    shutil.copy(path, tmp_path / "model.gguf")
    monkeypatch.chdir(tmp_path)
    blocks = python_blocks(page)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def test_the_table_of_errors_is_complete() -> None:
    table = (ROOT / "docs/python.md").read_text(encoding="utf-8").partition("## Errors")[2]
    for kind in AxiomError.__subclasses__():
        assert f"| `{kind.__name__}` |" in table


def test_the_table_of_options_is_complete() -> None:
    from axiom.generation.request import GenerateOptions

    table = (ROOT / "docs/python.md").read_text(encoding="utf-8").partition("## Stream")[0]
    for name in GenerateOptions.__annotations__:
        assert f"`{name}`" in table


def test_every_command_is_documented() -> None:
    from axiom.cli.group import COMMANDS

    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"axiom {name}" in page
