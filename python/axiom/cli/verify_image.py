"""`axiom verify-image`: check every byte of an image against its digests."""

from __future__ import annotations

import sys

import click

from axiom.cli.options import json_option
from axiom.cli.terminal import ProgressLine, echo_json, printable, system_text

__all__ = ["command"]


@click.command("verify-image")
@click.argument("image", metavar="IMAGE.axiom")
@json_option
def command(image: str, as_json: bool) -> None:
    """Read all of IMAGE.axiom and compare it with the digests in its head. Exit code 1 where something differs."""
    from axiom.model_file.image_file import ImageFile

    opened, name = ImageFile(image), system_text(image)
    with ProgressLine("reading") as progress:
        damaged = [extent for extent, right in opened.verify(progress) if not right]
        padding = opened.padding_is_zero()
    if as_json:
        facts = {"file": name, "extents": len(opened.extents), "damaged": damaged, "padding_is_zero": padding}
        echo_json({**facts, "source_sha256": opened.digest(), "whole": not damaged and padding})
    else:
        found = f"whole, {len(opened.extents)} extents, packed from the GGUF {opened.digest()}"
        if damaged:
            found = f"damaged in extents {', '.join(map(str, damaged))} of {len(opened.extents)}; pack it again"
        elif not padding:
            found = "bytes between extents are not zero; pack it again"
        click.echo(f"{printable(name)}: {found}")
    if damaged or not padding:
        sys.exit(1)
