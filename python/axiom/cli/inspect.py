"""`axiom inspect`: show what a model file holds, from its header alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from axiom.cli.memory_plan import plan_facts, print_plan
from axiom.cli.options import COUNT, SIZE, json_option, model_argument
from axiom.cli.terminal import echo_json, format_bytes, format_count, format_facts, format_table, printable, system_text

if TYPE_CHECKING:
    from axiom.model_file.model_config import KVFormat, ModelConfig
    from axiom.model_file.model_file import ModelFile

__all__ = ["command"]


@click.command("inspect")
@model_argument("[FILE]")
@click.option("--metadata", is_flag=True, help="Show every metadata key.")
@click.option("--tensors", is_flag=True, help="Show every tensor.")
@click.option("--template", is_flag=True, help="Print the chat template and nothing else.")
@click.option(
    "--digest", is_flag=True, help="Compute the SHA-256 that receipts name the model by; reads the whole file."
)
@click.option(
    "--memory", type=SIZE, metavar="SIZE", help="Plan for a process of this size, such as 2GiB; measures the disk."
)
@click.option("--n-ctx", type=COUNT, metavar="N", help="Positions to plan for. Default: what fits.")
@click.option(
    "--kv", type=click.Choice(["f16", "f32"]), default="f16", show_default=True, help="Format of the cache to plan for."
)
@json_option
def command(
    model: str | None,
    metadata: bool,
    tensors: bool,
    template: bool,
    digest: bool,
    memory: str | None,
    n_ctx: int | None,
    kv: str,
    as_json: bool,
) -> None:
    """Show architecture, sizes, and at which context the model of FILE fits in this machine's memory.

    Only the header is read. Without FILE it is the model that AXIOM_MODEL names, or the one that comes with the
    package. With --memory, shows what would stay in memory, what would be read from the disk for each token, and how
    fast that can be.
    """
    from axiom.model_file.model_file import open_model

    if memory is None and n_ctx is not None:
        raise click.UsageError("--n-ctx belongs to a plan: give --memory too")
    gguf = open_model(model)
    if template:
        click.echo(_template(gguf))
        return
    facts = _facts(gguf)
    if digest:
        facts["sha256"] = gguf.digest()
    if metadata:
        facts["metadata"] = {key: _plain(value) for key, value in gguf.metadata.items()}
    if tensors:
        facts["tensors"] = [
            {"name": info.name, "format": info.format.name, "shape": list(info.shape), "n_bytes": info.n_bytes}
            for info in gguf.tensors.values()
        ]
    if memory is not None:
        facts["plan"] = _plan(gguf, facts, memory=memory, n_ctx=n_ctx, kv=kv)
    if as_json:
        echo_json(facts)
    else:
        _print(facts)
        if memory is not None:
            print_plan(facts["plan"])


def _template(gguf: ModelFile) -> str:
    from axiom.chat import named_templates
    from axiom.errors import TemplateError

    named = named_templates(gguf.metadata)
    if "default" in named:
        return named["default"]
    if named:
        has = f"the chat templates {', '.join(sorted(named))} and no default one; --metadata --json shows them"
    else:
        has = "no chat template; it continues a text: `axiom run`"
    raise TemplateError(f"{gguf.path.name} has {has}")


def _plan(gguf: ModelFile, facts: dict[str, Any], **wishes: Any) -> dict[str, Any]:
    from axiom.model_file.model_config import ModelConfig

    if not facts["runs"]:
        raise click.UsageError(f"--memory: there is no plan for a model that does not run: {facts['why_not']}")
    return plan_facts(gguf, ModelConfig.from_gguf(gguf), **wishes)


def _facts(gguf: ModelFile) -> dict[str, Any]:
    from axiom.chat import named_templates
    from axiom.errors import AxiomError
    from axiom.hardware import memory_budget
    from axiom.model_file.gguf_file import GGUFFile, StringArray
    from axiom.model_file.model_config import ModelConfig

    sizes: dict[str, dict[str, int]] = {}
    for info in gguf.tensors.values():
        size = sizes.setdefault(info.format.name, {"n_tensors": 0, "n_weights": 0, "n_bytes": 0})
        size["n_tensors"] += 1
        size["n_weights"] += info.n_weights
        size["n_bytes"] += info.n_bytes
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    facts: dict[str, Any] = {
        "files": [system_text(path) for path in gguf.paths],
        "n_bytes": gguf.n_bytes,
        "kind": "GGUF" if isinstance(gguf, GGUFFile) else "image",
        "version": gguf.version,
        "name": _plain(gguf.metadata.get("general.name")),
        "architecture": _plain(gguf.metadata.get("general.architecture")),
        "n_tensors": len(gguf.tensors),
        "n_weights": sum(size["n_weights"] for size in sizes.values()),
        "formats": sizes,
        "tokenizer": {
            "model": _plain(gguf.metadata.get("tokenizer.ggml.model")),
            "pre": _plain(gguf.metadata.get("tokenizer.ggml.pre")),
            "n_vocab": len(tokens) if isinstance(tokens, StringArray) else None,
        },
        "chat_templates": sorted(named_templates(gguf.metadata)),
    }
    try:
        config = ModelConfig.from_gguf(gguf)
    except AxiomError as error:
        return {**facts, "runs": False, "why_not": str(error)}
    usable = memory_budget().usable_bytes
    facts |= {"runs": True, "config": config.as_dict(), "usable_memory_bytes": usable}
    facts["kv_bytes_per_position"] = {kv: config.kv_bytes_per_position(kv) for kv in ("f16", "f32")}
    facts["contexts"] = [_context(config, n_ctx, usable) for n_ctx in _context_lengths(config.n_ctx_max)]
    return facts


def _context_lengths(n_ctx_max: int) -> list[int]:
    """Return the model's own length and every fourth of it, down to about a thousand."""
    lengths = [n_ctx_max]
    while lengths[-1] // 4 >= 1024 and len(lengths) < 5:
        lengths.append(lengths[-1] // 4)
    return lengths[::-1]


def _context(config: ModelConfig, n_ctx: int, usable: int | None) -> dict[str, Any]:
    from axiom.capacity import plan_capacity
    from axiom.errors import MemoryBudgetError

    context: dict[str, Any] = {"n_ctx": n_ctx}
    formats: tuple[KVFormat, ...] = ("f16", "f32")
    for kv in formats:
        try:
            plan_capacity(config, n_ctx=n_ctx, kv=kv, n_seq_max=1, usable_bytes=usable)
            fits = True
        except MemoryBudgetError:
            fits = False
        n_bytes = config.weight_bytes + n_ctx * config.kv_bytes_per_position(kv)
        context[kv] = {"n_bytes": n_bytes, "fits": fits}
    return context


def _plain(value: Any) -> Any:
    """Return a metadata value as plain values, a long array as what it is and how it begins."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    items = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in value[:8]]
    return items if len(value) <= 8 else {"n_items": len(value), "first": items}


def _print(facts: dict[str, Any]) -> None:
    rows = [
        ["file", facts["files"][0] + (f" and {len(facts['files']) - 1} more parts" if len(facts["files"]) > 1 else "")],
        ["size", f"{format_bytes(facts['n_bytes'])}, {facts['kind']} version {facts['version']}"],
        ["name", str(facts["name"])],
        ["architecture", str(facts["architecture"])],
        ["parameters", format_count(facts["n_weights"])],
        ["tokenizer", _tokenizer(facts["tokenizer"])],
        ["chat templates", ", ".join(facts["chat_templates"]) or "none"],
    ]
    if "sha256" in facts:
        rows.append(["sha256", facts["sha256"]])
    if facts["runs"]:
        rows += _config_rows(facts)
    else:
        rows.append(["runs here", f"no: {facts['why_not']}"])
    click.echo(format_facts(rows))
    if facts["formats"]:
        by_size = sorted(facts["formats"].items(), key=lambda item: -item[1]["n_bytes"])
        sizes = [
            [name, str(size["n_tensors"]), format_count(size["n_weights"]), format_bytes(size["n_bytes"])]
            for name, size in by_size
        ]
        click.echo("\n" + format_table(["format", "tensors", "weights", "bytes"], sizes))
    if facts["runs"]:
        fits = [
            [
                str(context["n_ctx"]),
                *(f"{format_bytes(context[kv]['n_bytes'])} {_yes(context[kv]['fits'])}" for kv in ("f16", "f32")),
            ]
            for context in facts["contexts"]
        ]
        click.echo("\n" + format_table(["context", "f16 cache", "f32 cache"], fits, numbers_from=0))
        if facts["usable_memory_bytes"] is not None:
            click.echo(f"usable memory: {format_bytes(facts['usable_memory_bytes'])}")
    for key, value in facts.get("metadata", {}).items():
        click.echo(printable(f"{key} = {value!r}"[:200]))
    if "tensors" in facts:
        tensors = [
            [info["name"], info["format"], " x ".join(map(str, info["shape"])), format_bytes(info["n_bytes"])]
            for info in facts["tensors"]
        ]
        click.echo("\n" + format_table(["tensor", "format", "shape", "bytes"], tensors, numbers_from=2))


def _config_rows(facts: dict[str, Any]) -> list[list[str]]:
    config = facts["config"]
    heads = f"{config['n_head']} heads of {config['head_dim']}, {config['n_head_kv']} for keys and values"
    rope = f"base {config['rope_base']:g}, {config['rope_pairing']} pairs, scaling {config['rope_scaling']}"
    if config["rope_scaling"] != "none":
        rope += f" x {config['rope_factor']:g} over {config['rope_original_ctx']}"
    kv = facts["kv_bytes_per_position"]
    window = f", window {config['sliding_window']}" if config["sliding_window"] else ""
    return [
        ["layers", f"{config['n_layer']} of width {config['n_embd']}, feed-forward {config['n_ff']}"],
        ["attention", heads + window],
        ["rope", rope + (", own frequencies" if config["has_rope_freqs"] else "")],
        ["output head", "the token embedding" if config["tied_output"] else "its own"],
        ["context", f"{config['n_ctx_train']} positions"],
        ["cache", f"{format_bytes(kv['f16'])} for each position in f16, {format_bytes(kv['f32'])} in f32"],
        ["runs here", "yes"],
    ]


def _tokenizer(facts: dict[str, Any]) -> str:
    pre = f", words cut as {facts['pre']}" if facts["model"] == "gpt2" else ""
    return "none" if facts["model"] is None else f"{facts['model']}{pre}, {facts['n_vocab']} tokens"


def _yes(fits: bool) -> str:
    return "fits" if fits else "no"
