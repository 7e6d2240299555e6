"""The options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = [
    "AsJson",
    "Bandwidth",
    "BaseUrl",
    "Chosen",
    "Config",
    "Downsample",
    "Fetch",
    "Hedge",
    "Jobs",
    "Layers",
    "LogJson",
    "Memory",
    "Metrics",
    "NumericExpression",
    "Pad",
    "Quiet",
    "Rate",
    "Record",
    "Roi",
    "RoiSpace",
    "RoiUm",
    "Um",
    "Views",
    "Wait",
    "Workers",
]

BaseUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the API answers.", show_default="https://api.brain-map.org"),
]
Chosen = Annotated[
    list[str],
    typer.Argument(
        metavar="SELECTION...",
        help="dataset:ID, gene:ACRONYM, product:ID, atlas:ID, image:ID, or @FILE with one of these on each line "
        "(@- reads stdin); several allowed.",
    ),
]
Um = Annotated[
    str | None,
    typer.Option(
        metavar="PITCH",
        help='Pitch of the registered grid in µm, which picks the tier that is fetched; "full" fetches and '
        "registers at full resolution.",
        show_default="25",
    ),
]
Downsample = Annotated[
    str | None, typer.Option(metavar="N", help="Fix the tier that is fetched: halved N times.")
]
Views = Annotated[
    list[str] | None,
    typer.Option(metavar="VIEWS", help="Such as image,expression; several allowed.", show_default="image"),
]
Layers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="LAYERS",
        help="Of source, sections and registered; several allowed.",
        show_default="source,registered",
    ),
]
NumericExpression = Annotated[
    bool | None,
    typer.Option(
        "--numeric-expression",
        help="Store the view expression as levels from 0 to 255 instead of colours.",
        show_default=False,
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help='Image requests in flight; "auto" finds how many the server bears.',
        show_default="auto",
    ),
]
Fetch = Annotated[
    str | None,
    typer.Option(
        metavar="HOW",
        help="images, tiles (boxes of an image), or auto: tiles for regions and for images beyond the budget.",
        show_default="auto",
    ),
]
Roi = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H|structure:NAME",
        help="Fetch this region of every section alone, in full-resolution pixels, or the box around the centre of a "
        "structure, by acronym or id; needs --layers without source.",
    ),
]
RoiUm = Annotated[
    str | None,
    typer.Option(
        "--roi-um",
        metavar="P0:P1,I0:I1,R0:R1",
        help="Fetch this region of the reference space alone, in µm; needs --layers without source.",
    ),
]
RoiSpace = Annotated[
    str | None,
    typer.Option(
        "--roi-space",
        metavar="SPACE",
        help="The reference space that --roi-um is in, 9 or 10; it is converted for data sets in the other.",
        show_default="9",
    ),
]
Pad = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help="How far the box around a structure reaches from its centre, such as 1000um or 1mm.",
        show_default="500um",
    ),
]
Rate = Annotated[
    str | None,
    typer.Option("--rate", metavar="N", help="Most requests started in any second.", show_default="10"),
]
Bandwidth = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Most bytes received a second, such as 4MB.", show_default="no limit"),
]
Hedge = Annotated[
    bool | None,
    typer.Option(
        "--hedge",
        help="Ask a second time for images that take longer than almost all others.",
        show_default=False,
    ),
]
LogJson = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Add every event to a file, as a line of JSON."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|:PORT", help="Figures for Prometheus: a text file, or a port of this machine to ask."
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="SIZE", help="Budget for decoded pixels, such as 1GiB.", show_default="1GiB"
    ),
]
Workers = Annotated[
    str | None, typer.Option(metavar="N", help="Threads that decode, warp and write.", show_default="cores")
]
Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Settings as a TOML file.")]
# Every command that has it is recorded by `report_errors`.
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Keep every answer of the server, without secrets, for serve --replay.",
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait until a run that writes to the store has ended.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
