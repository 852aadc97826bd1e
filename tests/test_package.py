"""The package as users meet it: quick to import, and what README, help and docs say is what is there."""

from __future__ import annotations

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import axiom

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
README = (ROOT / "README.md").read_text()


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_import_is_quick() -> None:
    # Seconds of the import alone, in a fresh interpreter; the median, because other processes run beside this one.
    code = "import time; t = time.perf_counter(); import axiom; print(time.perf_counter() - t)"
    assert statistics.median(float(python(code)) for _ in range(5)) < 0.150


def test_import_brings_nothing_heavy() -> None:
    heavy = {"numpy", "jinja2", "axiom._native", "axiom.runtime", "asyncio"}
    assert not (heavy | {"click"}) & set(python("import sys, axiom; print(*sys.modules)").split())
    assert not heavy & set(python("import sys, axiom.cli; print(*sys.modules)").split())


def test_little_is_imported_before_ctrl_c_is_heeded() -> None:
    code = "import os, sys; before = {*sys.modules}; from axiom.cli import main; print(*{*sys.modules} - before)"
    env = {**os.environ, "PYTHONPATH": str(Path(axiom.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True, env=env)
    assert {*done.stdout.split()} <= {"__future__", "atexit", "axiom", "axiom.cli", "axiom.leaving"}


def test_every_public_name_is_there() -> None:
    for name in axiom.__all__:
        assert getattr(axiom, name) is not None
    assert set(axiom.__all__) <= set(dir(axiom))
    with pytest.raises(AttributeError, match="no attribute 'runtime_'"):
        _ = axiom.runtime_  # type: ignore[attr-defined]


def test_version_is_that_of_the_extension() -> None:
    from axiom import _native

    assert _native.info()["version"] == axiom.__version__


def test_extension_is_optimized_and_names_the_contract() -> None:
    from axiom import _native
    from axiom.body import CONTRACT

    info = _native.info()
    assert info["optimized"]
    assert info["contract"] == CONTRACT


def test_default_threads_agree_with_the_twin_in_python() -> None:
    from axiom import _native
    from axiom.hardware import cpu_budget

    budget, report = cpu_budget(), _native.default_threads()
    assert (budget.n_affinity, budget.n_cores, budget.quota, budget.n_threads) == (
        report["n_affinity"],
        report["n_cores"],
        report["quota"],
        report["n_threads"],
    )
    assert report["bounded_by"] in ("affinity", "cores", "quota")


def test_read_bandwidth() -> None:
    from axiom import _native

    assert _native.read_bandwidth(1, 0.0) > 1e8
    with pytest.raises(ValueError, match="threads: expected 1 to 1024, got 0"):
        _native.read_bandwidth(0)
    with pytest.raises(ValueError, match="seconds: expected 0 to 60, got -1"):
        _native.read_bandwidth(1, -1.0)


@pytest.fixture(scope="module")
def without_extension(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in Python alone."""
    folder = tmp_path_factory.mktemp("package")
    left_out = shutil.ignore_patterns("_native.*so", "*.pyd", "*.elf", "__pycache__")
    shutil.copytree(Path(axiom.__file__).parent, folder / "axiom", ignore=left_out)
    return folder


def test_the_reference_works_without_the_extension(without_extension: Path, tmp_path: Path) -> None:
    def command(*args: str, status: int = 0) -> str:
        env = {**os.environ, "PYTHONPATH": str(without_extension)}
        run = [sys.executable, "-m", "axiom", *args]
        done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    model = str(without_extension / "axiom" / "models" / "storyteller.gguf")
    reference = ["--backend", "reference"]
    story = command("run", "Once", *reference, "-n", "3", "-t", "0")
    assert story == axiom_command("run", "Once", "-n", "3", "-t", "0")
    assert command("tokenize", "Once", *reference) == axiom_command("tokenize", "Once")
    assert "Axiom Storyteller" in command("inspect")
    command("pack", model, "model.axiom", *reference)
    assert "whole" in command("verify-image", "model.axiom")
    assert command("run", "-m", "model.axiom", "Once", *reference, "-n", "3", "-t", "0") == story
    missing = "the extension axiom._native cannot be imported (No module named 'axiom._native'); install the package "
    for args in (["run", "Once"], ["tokenize", "Once"], ["pack", model, "another.axiom"], ["doctor"]):
        said = command(*args, status=1)
        assert f"{missing}with pip, or use backend='reference' (--backend reference)\n" in said
    assert f"axiom: error: {missing}with pip, or leave out --memory\n" in command(
        "inspect", "--memory", "1GiB", status=1
    )


def axiom_command(*args: str) -> str:
    return subprocess.run([sys.executable, "-m", "axiom", *args], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_and_file_names_in_docs_exist(path: Path) -> None:
    text = path.read_text()
    targets = [link for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text) if "://" not in link]
    missing = [target for target in targets if not (path.parent / target).exists()]
    # Code spans that name a file of the tree by its full path.
    spans = re.findall(r"`((?:crates|python|tests|benches|tools|docs)/[\w/.-]+)`", text)
    missing += [span for span in spans if not (ROOT / span).exists()]
    assert not missing


def test_readme_names_every_document() -> None:
    named = set(re.findall(r"\(docs/([\w.-]+)\)", README))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")}


def test_readme_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(python(example)) > 50


def test_readme_and_makefile_agree() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    # Only what stands in code counts: "make" is a word of sentences too.
    named = set(re.findall(r"(?:`|^)make ([a-z0-9-]+)", "\n".join(path.read_text() for path in DOCS), re.MULTILINE))
    assert "run" in named
    assert named <= targets
    assert {"run", "test", "test-peers", "lint", "bench", "clean"} <= targets


def test_readme_commands_exist() -> None:
    command = [sys.executable, "-c", "from axiom.cli import main; main()", "--help"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    commands = set(re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE))
    named = set(re.findall(r"^axiom ([a-z]+)", README, re.MULTILINE))
    assert named
    assert named <= commands


def test_readme_lists_what_is_supported() -> None:
    from axiom import _native
    from axiom.model_file.architectures import ARCHITECTURES

    for name in [*ARCHITECTURES, *_native.info()["formats"]]:
        assert re.search(rf"\b{name}\b", README), f"README.md does not name {name}"


def requirement_name(requirement: str) -> str:
    return re.split(r"[\s<>=!~\[;]", requirement, maxsplit=1)[0]


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    for extra in project["project"]["optional-dependencies"].values():
        names += extra
    for manifest in (ROOT / "crates").glob("*/Cargo.toml"):
        crate = tomllib.loads(manifest.read_text())
        tables = [crate, *crate.get("target", {}).values()]
        for table in tables:
            for kind in ("dependencies", "dev-dependencies", "build-dependencies"):
                names += [name for name in table.get(kind, {}) if not name.startswith("axiom-")]
    assert not [name for name in map(requirement_name, names) if f"`{name}`" not in text]


def test_every_crate_has_its_licence() -> None:
    notices = (ROOT / "THIRD-PARTY.md").read_text()
    names = {package["name"] for package in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]}
    assert not [name for name in names if not name.startswith("axiom-") and f"`{name}`" not in notices]


def test_nothing_outside_of_the_listed_packages_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    allowed = {requirement_name(name) for name in project["project"]["dependencies"]} | {"axiom"}
    allowed |= set(sys.stdlib_module_names)
    extras = {requirement_name(name) for name in project["project"]["optional-dependencies"]["plot"]}
    for path in (ROOT / "python").rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in runtime_imports(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level:
                continue
            for name in names:
                package = name.partition(".")[0]
                # What an extra brings is imported by the function that needs it, not with the module.
                is_extra = package in extras and node not in tree.body
                assert package in allowed or is_extra, f"{path}:{node.lineno} imports {name}"


def runtime_imports(tree: ast.AST) -> list[ast.Import | ast.ImportFrom]:
    """Imports that run: not those for the type checker alone."""
    found: list[ast.Import | ast.ImportFrom] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        found += runtime_imports(node)
    return found
