"""`axiom plot`: the timeline of a run, load against compute."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from axiom.cli.terminal import printable, system_text

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["command"]

# Parts of a layer in the order in which they run, and their colours: waiting is red.
_PARTS = {
    "stream_us": ("waiting for weights", "#d62728"),
    "rms_us": ("norms", "#9e9e9e"),
    "attn_us": ("attention", "#1f77b4"),
    "ffn_proj_us": ("gate and up", "#2ca02c"),
    "ffn_act_us": ("activation", "#bcbd22"),
    "ffn_down_us": ("down", "#17becf"),
    "output_us": ("output head", "#9467bd"),
}
_LOAD_COLOUR = "#ff9e4a"


@click.command("plot")
@click.argument("telemetry", metavar="FILE.csv")
@click.option(
    "-o", "--output", metavar="FILE", help="Picture to write (.png, .svg, .pdf). Default: FILE.png beside it."
)
@click.option("--passes", default="0:3", show_default=True, metavar="A:B", help="Which passes to draw in the timeline.")
def command(telemetry: str, output: str | None, passes: str) -> None:
    """Draw what `axiom run --telemetry FILE.csv` wrote: the timeline of some passes, and every pass in sum.

    Needs matplotlib: pip install matplotlib.
    """
    from axiom.errors import AxiomError
    from axiom.files import checked_target, write_whole
    from axiom.telemetry import read_telemetry

    first, last = _range(passes)
    records = read_telemetry(telemetry)
    if not len(records):
        raise ValueError(f"{telemetry}: expected records, got none; the run computed nothing")
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise AxiomError(f"drawing needs matplotlib ({error}); install it with: pip install matplotlib") from error
    mpl.use("Agg")
    target = Path(output) if output is not None else Path(telemetry).with_suffix(".png")
    if not target.suffix and (target.is_file() or not target.exists()):
        # Not where it is a device, such as /dev/stdout.
        target = target.with_name(f"{target.name}.png")
    checked_target(target, telemetry, special=True)
    picture = io.BytesIO()
    _draw(records, first, last, Path(telemetry).name).savefig(picture, format=target.suffix[1:] or "png", dpi=110)
    write_whole(target, [picture.getvalue()], telemetry)
    click.echo(f"wrote {printable(system_text(target))}", err=True)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition(":")
    if not (first.isdecimal() and last.isdecimal() and int(first) < int(last)):
        raise click.BadParameter(f"expected A:B with A before B, such as 0:3, got {text!r}", param_hint="--passes")
    return int(first), int(last)


def _draw(records: npt.NDArray[np.int64], first: int, last: int, name: str) -> Any:
    import numpy as np
    from matplotlib.figure import Figure

    from axiom.engine import FIELDS

    column = {field: records[:, i] for i, field in enumerate(FIELDS)}
    # Passes by their order in the file: an engine may have computed others before.
    numbers, number_of = np.unique(column["pass"], return_inverse=True)
    shown = (number_of >= first) & (number_of < last)
    if not shown.any():
        raise ValueError(f"{name}: expected passes below {len(numbers)}, got {first}:{last}")
    figure = Figure(figsize=(13, 7), layout="constrained")
    timeline, sums = figure.subplots(2, 1, height_ratios=[3, 2])
    _draw_timeline(timeline, {field: values[shown] for field, values in column.items()})
    timeline.set_title(f"{name}: passes {first} to {min(last, len(numbers)) - 1} of {len(numbers)}")
    _draw_sums(sums, column, number_of)
    return figure


def _draw_timeline(axes: Any, column: dict[str, npt.NDArray[np.int64]]) -> None:
    """One row for each layer: what it computed, and below that when its weights were read."""
    origin = column["start_us"].min()
    n_layer = int(column["layer"].max())
    loaded = column["bytes_read"] > 0
    start = (column["start_us"] - origin) / 1e3
    for part, (label, colour) in _PARTS.items():
        width = column[part] / 1e3
        axes.barh(
            column["layer"], width, left=start, height=0.8 if not loaded.any() else 0.45, color=colour, label=label
        )
        start = start + width
    if loaded.any():
        begin = (column["load_start_us"][loaded] - origin) / 1e3
        width = (column["load_end_us"] - column["load_start_us"])[loaded] / 1e3
        y = column["layer"][loaded] + 0.4
        axes.barh(y, width, left=begin, height=0.3, color=_LOAD_COLOUR, label="reading its weights")
        axes.set_xlim(left=min(0.0, float(begin.min())))
    axes.set_ylim(n_layer + 0.8, -0.8)
    axes.set_xlabel("ms")
    axes.set_ylabel("layer (the last is the output head)")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=8, fontsize=8, frameon=False)


def _draw_sums(axes: Any, column: dict[str, npt.NDArray[np.int64]], number_of: npt.NDArray[np.intp]) -> None:
    """One column for each pass: its parts, one above the other."""
    import numpy as np

    n_pass = int(number_of.max()) + 1
    below = np.zeros(n_pass)
    for part, (_, colour) in _PARTS.items():
        height = np.bincount(number_of, weights=column[part], minlength=n_pass) / 1e3
        axes.bar(np.arange(n_pass), height, bottom=below, width=1.0, color=colour)
        below += height
    axes.set_xlim(-0.5, n_pass - 0.5)
    axes.set_xlabel("pass")
    axes.set_ylabel("ms of a pass")
