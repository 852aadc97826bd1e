"""`axiom doctor`: what was detected on this machine, what is chosen, and why."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import Any

import click

from axiom.cli.options import json_option
from axiom.cli.terminal import echo_json, error_line, format_bytes, format_facts

__all__ = ["command"]


@click.command("doctor")
@json_option
@click.pass_context
def command(ctx: click.Context, /, as_json: bool) -> None:
    """Show versions, processor, kernels, threads and memory: what was detected, what is chosen, and why.

    Exit code 1 if something is wrong.
    """
    facts = _facts()
    if as_json:
        echo_json(facts)
    else:
        # A name stands once, before its first line.
        rows = [(name if i == 0 else "", line) for name, lines in _lines(facts) for i, line in enumerate(lines)]
        click.echo(format_facts(rows))
    ctx.exit(1 if facts["problems"] else 0)


def _facts() -> dict[str, Any]:
    import axiom
    from axiom.hardware import cpu_budget, memory_budget

    cpu, memory = cpu_budget(), memory_budget()
    facts: dict[str, Any] = {
        "versions": {
            "axiom": axiom.__version__,
            "python": platform.python_version(),
            **{name: _version(name) for name in ("numpy", "jinja2", "click")},
        },
        "machine": {"system": platform.platform(), "processor": _processor_name()},
        "cpu": {
            "n_affinity": cpu.n_affinity,
            "n_cores": cpu.n_cores,
            "quota": cpu.quota,
            "n_threads": cpu.n_threads,
        },
        "memory": {
            "available_bytes": memory.available_bytes,
            "cgroup_left_bytes": memory.limit_bytes,
            "usable_bytes": memory.usable_bytes,
        },
        "huge_pages": _huge_pages(),
        "direct_io": None,
        "environment": {name: os.environ.get(name) for name in ("AXIOM_KERNELS", "AXIOM_MODEL")},
        "problems": [],
    }
    missing = [name for name, version in facts["versions"].items() if version is None]
    facts["problems"] += [f"{name} is not installed; install it with: pip install {name}" for name in missing]
    facts["extension"] = _extension(facts["problems"])
    facts["default_model"] = _default_model(facts["problems"])
    named = facts["environment"]["AXIOM_MODEL"]
    facts["direct_io"] = _direct_io(named or facts["default_model"])
    if named and "why" in (facts["direct_io"] or {}):
        facts["problems"].append(f"AXIOM_MODEL: {facts['direct_io']['why']}")
    return facts


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _extension(problems: list[str]) -> dict[str, Any]:
    """Ask the extension what it sees; that it cannot be imported is the first thing to know."""
    from axiom.body import require_extension
    from axiom.errors import AxiomError

    try:
        require_extension()
    except AxiomError as error:
        problems.append(str(error))
        return {"loaded": False}
    from axiom import _native

    # What is forced is what the extension would take; a name that it refuses is a problem, and forces nothing.
    forced = os.environ.get("AXIOM_KERNELS") or None
    extension: dict[str, Any] = {"loaded": True, "file": Path(_native.__file__).name, **_native.info()}
    try:
        extension["kernels"] = _native.kernel_info(forced)
    except (AxiomError, ValueError) as error:
        problems.append(f"AXIOM_KERNELS: {error}")
        forced = None
    extension["forced"] = forced
    return extension


def _default_model(problems: list[str]) -> str | None:
    from axiom.model_file.model_file import default_model_path

    try:
        return str(default_model_path())
    except FileNotFoundError as error:
        problems.append(str(error))
        return None


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _huge_pages() -> str | None:
    try:
        setting = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
    except OSError:
        return None
    return setting.partition("[")[2].partition("]")[0] or None


def _direct_io(model: str | None) -> dict[str, Any] | None:
    """Whether the file of the model can be read past the page cache, as it is where weights are streamed."""
    from axiom.hardware import can_read_directly
    from axiom.model_file.open_file import OpenFile

    try:
        return None if model is None else {"file": model, "there": can_read_directly(OpenFile(model).path)}
    except OSError as error:
        return {"file": model, "there": False, "why": error_line(error)}


def _lines(facts: dict[str, Any]) -> list[tuple[str, list[str]]]:
    cpu, memory = facts["cpu"], facts["memory"]
    quota = "no cgroup quota" if cpu["quota"] is None else f"cgroup quota of {cpu['quota']:g} processors"
    threads = (
        f"{cpu['n_threads']} by default: {cpu['n_affinity']} processors by affinity on {cpu['n_cores']} cores, {quota}"
    )
    cgroup = memory["cgroup_left_bytes"]
    left = "no cgroup limit" if cgroup is None else f"{format_bytes(cgroup)} left of the cgroup limit"
    usable = memory["usable_bytes"]
    amount = "unknown" if usable is None else f"{format_bytes(usable)} usable"
    return [
        ("versions", [", ".join(f"{name} {version or 'missing'}" for name, version in facts["versions"].items())]),
        ("python", [sys.executable]),
        ("system", [facts["machine"]["system"]]),
        ("processor", [facts["machine"]["processor"]]),
        ("extension", _kernel_lines(facts["extension"])),
        ("threads", [threads]),
        ("memory", [f"{amount} ({left})"]),
        ("huge pages", [_huge_page_line(facts["huge_pages"])]),
        ("direct I/O", [_direct_io_line(facts["direct_io"])]),
        (
            "environment",
            [f"{name}={value}" for name, value in facts["environment"].items() if value] or ["nothing set"],
        ),
        ("default model", [facts["default_model"] or "missing"]),
        ("problems", facts["problems"] or ["none"]),
    ]


def _huge_page_line(policy: str | None) -> str:
    what = {
        "always": "the system gives them to all memory",
        "madvise": "the system gives them on request, and weights and cache are in them",
        "never": "switched off: weights and cache are in pages of 4 KiB",
    }
    return "the system has none" if policy is None else f"transparent, {policy}: {what.get(policy, 'unknown')}"


def _direct_io_line(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return "no model to try it on"
    if facts["there"]:
        return f"yes, for {facts['file']}: streamed weights go past the page cache"
    if "why" in facts:
        return f"not tried: {facts['why']}"
    return f"no, for {facts['file']}: streamed weights go through the page cache"


def _kernel_lines(extension: dict[str, Any]) -> list[str]:
    if not extension["loaded"]:
        return ["not loaded"]
    kernels = extension["kernels"]
    features = [name for name, there in kernels["cpu_features"].items() if there]
    built = "" if extension["optimized"] else ", built without optimisation: slow"
    lines = [
        f"{extension['file']} of version {extension['version']}{built}",
        f"processor has {', '.join(features) or 'no vector extension'}",
    ]
    for table in kernels["tables"]:
        why = "usable"
        if table["name"] == kernels["chosen"]:
            why = "chosen, " + ("as AXIOM_KERNELS says" if extension["forced"] else "the best that is usable")
        if table["missing"]:
            why = f"not usable: the processor lacks {', '.join(table['missing'])}"
        lines.append(f"kernels {table['name']}: {why}")
    return lines
