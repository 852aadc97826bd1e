"""The code of the documentation runs as it stands."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import axiom
from axiom.engine import FIELDS
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


@pytest.mark.parametrize(
    "kind",
    [
        axiom.Completion,
        axiom.Usage,
        axiom.Timings,
        axiom.TokenLogprob,
        axiom.Score,
        axiom.Verification,
        axiom.Session,
        axiom.Tokenizer,
    ],
)
def test_what_users_hold_is_documented(kind: type) -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    names = {name for name in [*vars(kind), *kind.__annotations__] if not name.startswith("_")}
    # What every record has, and how `Runtime.load_session` opens a session.
    names -= {"field_names", "from_file"}
    assert not [name for name in names if not re.search(rf"[`.]{name}\b", page)]


def test_the_columns_of_telemetry_are_documented() -> None:
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    assert not [column for column in FIELDS if f"`{column}`" not in page]


def test_the_list_of_files_is_complete() -> None:
    table = (ROOT / "docs/python.md").read_text(encoding="utf-8").partition("## Where things are")[2]
    here = {path for path in (ROOT / "python/axiom").iterdir() if not path.name.startswith("__")}
    names = {f"{path.name}/" if path.is_dir() else path.stem for path in here if path.is_dir() or path.suffix == ".py"}
    assert not [name for name in names if f"`{name}`" not in table]


def test_every_command_is_documented() -> None:
    from axiom.cli.group import COMMANDS

    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"axiom {name}" in page


def test_what_commands_that_compute_take_is_documented() -> None:
    import click

    from axiom.cli.options import runtime_options

    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    options = [name for option in click.command()(runtime_options(lambda: None)).params for name in option.opts]
    assert not [name for name in options if name.startswith("--") and f"`{name}" not in page]
