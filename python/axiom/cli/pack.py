"""`axiom pack`: make an image of a GGUF, which runs from memory or from the disk."""

from __future__ import annotations

import click

from axiom.cli.options import COUNT, backend_option
from axiom.cli.terminal import ProgressLine, format_bytes, printable, system_text

__all__ = ["command"]


@click.command("pack")
@click.argument("model", metavar="MODEL.gguf")
@click.argument("image", metavar="IMAGE.axiom")
@click.option("--threads", type=COUNT, metavar="N", help="Threads. Default: what affinity and cgroup quota allow.")
@backend_option
def command(model: str, image: str, threads: int | None, backend: str) -> None:
    """Pack MODEL.gguf (the first part, if split) into IMAGE.axiom.

    An image has the size of its GGUF. It starts faster, and runs in less memory than it has: `axiom run -m IMAGE.axiom
    --memory 2GiB`. The results are the same bits.
    """
    from axiom.image_writer import pack

    with ProgressLine("packing") as progress:
        path = pack(model, image, backend=backend, threads=threads, on_progress=progress)  # type: ignore[arg-type]
    click.echo(f"wrote {printable(system_text(path))}, {format_bytes(path.stat().st_size)}", err=True)
