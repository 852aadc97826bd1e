"""`axiom image build`: a file that boots and runs its model, on a disk or a stick."""

from __future__ import annotations

from typing import Any

import click

from axiom.cli.options import model_argument
from axiom.cli.story_options import kernel_options, story_options
from axiom.cli.terminal import ProgressLine, format_bytes, printable, system_text

__all__ = ["command"]


@click.group("image", short_help="Images that boot.")
def command() -> None:
    """Images that boot: the kernel, a model, and what it is asked, in one file."""


@command.command("build", short_help="Write a disk image that boots by BIOS and by UEFI and runs a model.")
@model_argument("[MODEL]")
@click.option("-o", "--output", required=True, metavar="DISK.img", help="The file to write.")
@click.option(
    "--load",
    type=click.Choice(["firmware", "kernel"]),
    help="Who brings the model into memory: firmware, from any disk that it boots from, or the kernel, from NVMe and "
    "virtio disks, a model larger than memory too. Default: firmware, for models of up to 1 GiB.",
)
@click.option(
    "--menu", "menu_s", type=click.IntRange(0, 3600), default=0, metavar="S", help="Offer both for S seconds."
)
@click.option("--cores", type=click.IntRange(1, 64), metavar="N", help="Cores that compute. Default: all.")
@story_options
def build(model: str | None, output: str, load: Any, menu_s: int, cores: int | None, **options: Any) -> None:
    """Write DISK.img, which boots by BIOS and by UEFI, from MODEL: a GGUF or an image made by `axiom pack`.

    Without MODEL it is the one that AXIOM_MODEL names, or the small one that comes with the package. The text comes on
    the first serial line, at 115,200 baud. docs/hardware.md says what hardware it needs and how it is written to a
    stick.
    """
    from axiom.bare.disk_image import build
    from axiom.model_file.model_file import default_model_path

    words = {"telemetry": "tokens", **kernel_options(options)}
    if cores is not None:
        words["cores"] = str(cores)
    source = default_model_path() if model is None else model
    with ProgressLine("packing") as progress:
        path = build(source, output, words, load=load, menu_s=menu_s, on_progress=progress)
    name = printable(system_text(path))
    click.echo(f"wrote {name}, {format_bytes(path.stat().st_size)}; to try it: axiom boot {name}", err=True)
