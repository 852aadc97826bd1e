"""What `axiom inspect --memory` shows: what would stay in memory, what would be read for each token, and how fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from axiom.cli.terminal import format_bytes, format_facts

if TYPE_CHECKING:
    from axiom.model_file.model_config import KVFormat, ModelConfig
    from axiom.model_file.model_file import ModelFile

__all__ = ["plan_facts", "print_plan"]


def plan_facts(
    model: ModelFile, config: ModelConfig, *, memory: str, n_ctx: int | None, kv: KVFormat
) -> dict[str, Any]:
    """Plan a model for a process of `memory`, and measure the disk that it lies on, or memory where it all fits.

    Where it cannot run, `runs` is false and `why_not` says why. Raises `AxiomError` without the extension, which plans
    and measures.
    """
    from axiom.body import require_extension
    from axiom.errors import MemoryBudgetError
    from axiom.hardware import memory_budget, parse_memory, resident_bytes

    require_extension("leave out --memory")
    ceiling = parse_memory(memory)
    usable = memory_budget(ceiling).usable_bytes or 0
    facts: dict[str, Any] = {
        "memory_bytes": ceiling,
        "process_bytes": resident_bytes(),
        "usable_bytes": usable,
        "kv": kv,
        "weight_bytes": config.weight_bytes,
    }
    try:
        return {**facts, "runs": True, **_run_facts(model, config, usable, n_ctx=n_ctx, kv=kv)}
    except MemoryBudgetError as error:
        return {**facts, "runs": False, "why_not": str(error)}


def _run_facts(
    model: ModelFile, config: ModelConfig, usable: int, *, n_ctx: int | None, kv: KVFormat
) -> dict[str, Any]:
    """Plan and measure a run in `usable` bytes. Raises `MemoryBudgetError` if there can be none."""
    from axiom._native import disk_bandwidth, read_bandwidth
    from axiom.capacity import is_streamed, plan_capacity, plan_streamed
    from axiom.model_file.gguf_file import GGUFFile

    if not is_streamed(config, n_ctx=n_ctx, kv=kv, n_seq_max=None, usable_bytes=usable):
        capacity = plan_capacity(config, n_ctx=n_ctx, kv=kv, n_seq_max=None, usable_bytes=usable)
        rate = read_bandwidth()
        return {
            "streams": False,
            "n_ctx": capacity.n_ctx,
            "kv_bytes": capacity.kv_bytes_per_sequence,
            "read_bytes_per_second": rate,
            "tokens_per_second": rate / config.weight_bytes,
        }
    plan = plan_streamed(config, n_ctx=n_ctx, kv=kv, n_seq_max=None, usable_bytes=usable)
    rate, (disk, is_direct) = read_bandwidth(), disk_bandwidth(model.path)
    shown = plan.fields()
    del shown["capacity"], shown["pinned"]
    # Reading and computing go on side by side: the slower of them decides.
    slower = max(plan.streamed_bytes / disk, config.weight_bytes / rate)
    return {
        "streams": True,
        "needs_packing": isinstance(model, GGUFFile),
        "n_ctx": plan.capacity.n_ctx,
        "kv_bytes": plan.capacity.kv_bytes_per_sequence,
        **shown,
        "n_layer": config.n_layer,
        "n_layer_pinned": plan.n_layer_pinned,
        "embedding_pinned": plan.pinned[0],
        "read_bytes_per_second": rate,
        "disk_bytes_per_second": disk,
        "disk_direct": is_direct,
        "tokens_per_second": 1 / slower,
    }


def print_plan(facts: dict[str, Any]) -> None:
    """Show a plan to a person."""
    taken = facts["process_bytes"]
    rows = [
        [
            "memory",
            f"{format_bytes(facts['memory_bytes'])}, of which {format_bytes(facts['usable_bytes'])} can be used"
            + (f": {format_bytes(taken)} are Python's" if taken else ""),
        ],
    ]
    if facts["runs"]:
        rows += _run_rows(facts)
    else:
        rows.append(["to expect", f"it does not run: {facts['why_not']}"])
    click.echo("\n" + format_facts(rows))
    if facts.get("needs_packing"):
        click.echo("it runs like this from an image: make one with `axiom pack`")


def _run_rows(facts: dict[str, Any]) -> list[list[str]]:
    rows = [["context", f"{facts['n_ctx']} positions, {format_bytes(facts['kv_bytes'])} of cache in {facts['kv']}"]]
    if facts["streams"]:
        rows += _streaming_rows(facts)
    else:
        rows.append(["weights", f"{format_bytes(facts['weight_bytes'])}, all in memory: nothing is streamed"])
    rows.append(["memory speed", f"{facts['read_bytes_per_second'] / 1e9:.1f} GB/s, measured"])
    speed = facts["tokens_per_second"]
    rows.append(["to expect", f"up to {speed:.{0 if speed >= 100 else 2}f} tokens a second for one sequence"])
    return rows


def _streaming_rows(facts: dict[str, Any]) -> list[list[str]]:
    pinned = "output head" + (", embedding" if facts["embedding_pinned"] else "")
    disk = "past the page cache" if facts["disk_direct"] else "through the page cache: its file system has no other way"
    rows = [
        [
            "stays in memory",
            f"{facts['n_layer_pinned']} of {facts['n_layer']} layers, {pinned}: {format_bytes(facts['pinned_bytes'])}",
        ],
        ["landing slots", f"{facts['n_landing']} of {format_bytes(facts['landing_bytes'])}"],
        ["cache and work", format_bytes(facts["besides_bytes"])],
    ]
    if facts["rows_bytes"]:
        rows.append(["embedding rows", format_bytes(facts["rows_bytes"])])
    return [
        *rows,
        ["read each token", format_bytes(facts["streamed_bytes"])],
        ["disk speed", f"{facts['disk_bytes_per_second'] / 1e9:.2f} GB/s, measured, {disk}"],
    ]
