"""The options of the command line.

Options that are settings stand in one table, `SETTING_OPTIONS`. A new one is a field of `Settings`, a row here and a
row of ``docs/reference/settings.md``: the commands that take its panel take it, and tests compare pages and table.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MACHINE",
    "RECIPE",
    "REGION",
    "SERVER",
    "SETTING_OPTIONS",
    "WRITING",
    "AsJson",
    "Centers",
    "Cluster",
    "DataSetId",
    "FailedImages",
    "Frozen",
    "LockFile",
    "LogJson",
    "Metrics",
    "Quiet",
    "Record",
    "ReportFile",
    "Selection",
    "SettingOption",
    "SettingOptions",
    "Store",
    "Ties",
    "Wait",
    "default_of",
    "flag_of",
    "parameters_of",
    "takes",
]

RECIPE = "What is stored"
REGION = "Which part is fetched"
SERVER = "How the API is asked"
MACHINE = "This machine"
WRITING = "How it is written"


class SettingOption(NamedTuple):
    """An option that is a setting.

    Attributes
    ----------
    panel : str
        Under which heading ``--help`` lists it; a command takes whole panels.
    setting : str
        The field of `Settings`.
    flag : str
        What is typed; ``--x/--no-x`` for a switch.
    metavar : str
        What stands for the value in the help; empty for a switch.
    help : str
        What it does.
    when_unset : str
        What happens where the setting is None.
    is_list : bool
        Whether it may be repeated.
    """

    panel: str
    setting: str
    flag: str
    metavar: str
    help: str
    when_unset: str = "none"
    is_list: bool = False


#: Every setting, in the order of ``--help`` and of the page of settings.
SETTING_OPTIONS = (
    SettingOption(
        RECIPE,
        "um",
        "--um",
        "PITCH",
        'Pitch of the registered grid in µm, or "full" for full resolution. A mirror fetches the coarsest tier that '
        "is fine enough for it.",
    ),
    SettingOption(
        RECIPE,
        "downsample",
        "--downsample",
        "N",
        "Fetch this tier instead: the image halved N times.",
        "by um",
    ),
    SettingOption(RECIPE, "views", "--view", "VIEWS", "The views, such as image,expression.", is_list=True),
    SettingOption(
        RECIPE, "layers", "--layers", "LAYERS", "Any of source, sections and registered.", is_list=True
    ),
    SettingOption(RECIPE, "codec", "--codec", "CODEC", "Compressor: zstd, blosc-lz4, jpegxl or none."),
    SettingOption(
        RECIPE,
        "interpolation",
        "--interpolation",
        "METHOD",
        "How registered planes are sampled: nearest, linear, cubic or lanczos.",
    ),
    SettingOption(
        RECIPE,
        "fill",
        "--fill",
        "LEVEL",
        "Grey level of registered planes beside the image, from 0 to 255.",
    ),
    SettingOption(
        RECIPE,
        "space",
        "--space",
        "ID",
        "Register in one reference space, 9 or 10; by default in that of each data set.",
    ),
    SettingOption(
        RECIPE,
        "ngff",
        "--ngff",
        "VERSION",
        "NGFF (OME-Zarr) version of a new store: 0.5, or 0.6 with a scene of sections.",
        "that of the store, 0.5 for a new one",
    ),
    SettingOption(
        RECIPE,
        "parallel",
        "--parallel/--no-parallel",
        "",
        "Register with atldld's approximation: sections parallel to the grid.",
    ),
    SettingOption(
        RECIPE,
        "numeric_expression",
        "--numeric-expression/--no-numeric-expression",
        "",
        "Store the view expression as expression levels from 0 to 255 instead of colours.",
    ),
    SettingOption(
        RECIPE,
        "pack",
        "--pack/--no-pack",
        "",
        "Pack each data set into one zip once it is finished.",
        "those that were packed",
    ),
    SettingOption(
        REGION,
        "fetch",
        "--fetch",
        "HOW",
        "Whole images, tiles (boxes of an image), or auto: tiles for regions and for images that exceed --memory.",
    ),
    SettingOption(
        REGION,
        "roi",
        "--roi",
        "X,Y,W,H|structure:NAME",
        "Only this region of every section, in full-resolution pixels; or the box around the centre of a structure, "
        "named by its acronym or id. Requires --layers without source.",
    ),
    SettingOption(
        REGION,
        "roi_um",
        "--roi-um",
        "P0:P1,I0:I1,R0:R1",
        "Only this region of the reference space, in µm. Requires --layers without source.",
    ),
    SettingOption(
        REGION,
        "roi_space",
        "--roi-space",
        "SPACE",
        "The reference space of --roi-um, 9 or 10; it is converted for data sets in the other one.",
    ),
    SettingOption(
        REGION,
        "pad_um",
        "--pad",
        "LENGTH",
        "How far the box around a structure extends from its centre, such as 1000um or 1mm.",
        "500um",
    ),
    SettingOption(SERVER, "base_url", "--base-url", "URL", "Address of the API."),
    SettingOption(
        SERVER,
        "trusted_hosts",
        "--trusted-hosts",
        "HOSTS",
        "Other hosts that redirects may lead to, such as *.example.org.",
        is_list=True,
    ),
    SettingOption(
        SERVER,
        "proxy",
        "--proxy",
        "URL|environment|none",
        "The proxy of every host; environment reads http_proxy, https_proxy, all_proxy and no_proxy.",
    ),
    SettingOption(
        SERVER,
        "jobs",
        "--jobs",
        "N",
        'Concurrent image requests; "auto" finds how many the server sustains.',
    ),
    SettingOption(SERVER, "max_jobs", "--max-jobs", "N", "Upper limit of --jobs auto."),
    SettingOption(
        SERVER, "requests_per_s", "--rate", "N", "Maximum number of requests started in any second."
    ),
    SettingOption(
        SERVER, "bytes_per_s", "--bandwidth", "SIZE", "Maximum bytes received per second, such as 4MB."
    ),
    SettingOption(SERVER, "attempts", "--attempts", "N", "Maximum number of times that one request is sent."),
    SettingOption(
        SERVER,
        "retry_base_s",
        "--retry-base",
        "SECONDS",
        "Upper bound of the first retry delay; it doubles with each attempt.",
    ),
    SettingOption(
        SERVER,
        "outage_patience_s",
        "--outage-patience",
        "SECONDS",
        "How long an outage is waited out before the run ends.",
    ),
    SettingOption(
        SERVER,
        "hedge",
        "--hedge/--no-hedge",
        "",
        "Send a second request for images that take longer than almost all others.",
    ),
    SettingOption(
        SERVER, "connect_timeout_s", "--connect-timeout", "SECONDS", "How long a connection may take."
    ),
    SettingOption(
        SERVER, "stall_timeout_s", "--stall-timeout", "SECONDS", "How long a reply may send nothing."
    ),
    SettingOption(
        SERVER,
        "min_speed_bytes_per_s",
        "--min-speed",
        "BYTES",
        "Minimum bytes per second of a reply; a slower one is requested again.",
    ),
    SettingOption(SERVER, "page_rows", "--page-rows", "N", "Rows per page of metadata."),
    SettingOption(
        MACHINE,
        "memory_bytes",
        "--memory",
        "SIZE",
        "Maximum size of decoded pixels in memory, such as 1GiB.",
    ),
    SettingOption(
        MACHINE, "workers", "--workers", "N", "Threads that decode, warp and write.", "one per core"
    ),
    SettingOption(
        WRITING,
        "sync",
        "--sync",
        "WHAT",
        "What has reached the disk when a section is committed: data, all (the commit, too) or none.",
    ),
)


@dataclass(frozen=True)
class SettingOptions:
    """The options that a command takes for settings: the annotation of its parameter `given`.

    Attributes
    ----------
    rows : tuple of SettingOption
        The options.
    defaults : mapping of str to str
        What is shown as the default of a setting instead of that of `Settings`.
    has_config : bool
        Whether it takes ``--config``, too.
    """

    rows: tuple[SettingOption, ...]
    defaults: Mapping[str, str] = field(default_factory=dict)
    has_config: bool = True


def takes(
    *wanted: str,
    defaults: Mapping[str, str] | None = None,
    helps: Mapping[str, str] | None = None,
    has_config: bool = True,
) -> SettingOptions:
    """Choose the options for settings that a command takes.

    Parameters
    ----------
    *wanted : str
        Panels and single settings.
    defaults, helps : mapping of str to str, optional
        By setting: a default and a help text for this command.
    has_config : bool
        Whether it takes ``--config``, too.
    """
    rows = [row for row in SETTING_OPTIONS if row.panel in wanted or row.setting in wanted]
    unknown = set(wanted) - {row.panel for row in rows} - {row.setting for row in rows}
    assert not unknown, f"no such settings or panels: {unknown}"
    rows = [row._replace(help=(helps or {}).get(row.setting, row.help)) for row in rows]
    return SettingOptions(tuple(rows), defaults or {}, has_config)


def flag_of(setting: str) -> str:
    """Return the option that sets a setting, as it is named in messages."""
    for row in SETTING_OPTIONS:
        if row.setting == setting:
            return row.flag.partition("/")[0]
    return f"--{setting.replace('_', '-')}"


def default_of(row: SettingOption) -> str:
    """Return the default of a setting as the help and the page of settings show it."""
    from asyncfetch.settings import Settings

    value = getattr(Settings(), row.setting)
    if value is None or value == ():
        return row.when_unset
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if row.setting == "memory_bytes":
        return f"{value / 2**30:g}GiB"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _complete_selection(incomplete: str) -> list[str]:
    """Return the selections that may be meant: kinds, and the names of the catalogue where there is one."""
    from asyncfetch.catalogue import CatalogueFile, catalogue_path
    from asyncfetch.errors import AsyncFetchError
    from asyncfetch.selecting.selection import KINDS
    from asyncfetch.settings import Settings

    kind, colon, begun = incomplete.partition(":")
    if not colon:
        return [f"{each}:" for each in KINDS if each.startswith(kind.lower())]
    path = catalogue_path(os.environ.get("ASYNCFETCH_BASE_URL") or Settings().base_url)
    with contextlib.suppress(AsyncFetchError):
        if path.is_file():
            with CatalogueFile(path) as file:
                return [f"{kind}:{name}" for name in file.names_beginning(kind.lower(), begun)]
    return []


Selection = Annotated[
    list[str] | None,
    typer.Argument(
        autocompletion=_complete_selection,
        metavar="SELECTION",
        help="dataset:ID, gene:ACRONYM, product:ID, specimen:ID, structure:ACRONYM, atlas:ID, image:ID, or @FILE with "
        "one of these per line (@- reads stdin). Several are allowed.",
    ),
]
LockFile = Annotated[
    str | None,
    typer.Option(
        "--lock", metavar="FILE", help="Write which data sets and images were chosen, by ids, to this file."
    ),
]
Frozen = Annotated[
    str | None,
    typer.Option("--frozen", metavar="FILE", help="Choose what a file of --lock says, and nothing else."),
]
ReportFile = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="FILE",
        help="Write a table with a row for each selection, as CSV, Parquet or JSON by its ending: what it was taken "
        "for, and what became of it.",
    ),
]
Store = Annotated[str, typer.Argument(metavar="OUT", help="The store.")]
DataSetId = Annotated[
    int | None,
    typer.Option("--dataset", metavar="ID", help="Which data set.", show_default="the only one"),
]
Centers = Annotated[
    str | None,
    typer.Option(
        "--centers",
        metavar="FILE",
        help="Structure centres instead of those of --store: rows of the model StructureCenter as JSON or CSV, or a "
        "reply that contains them.",
    ),
]
Ties = Annotated[
    str,
    typer.Option("--ties", metavar="WHICH", help="Of two equally near sections of --store: lower or higher."),
]
FailedImages = Annotated[
    str,
    typer.Option("--failed-images", metavar="HOW", help="Failed images of --store: include or exclude."),
]
# Every command that has it is recorded by `report_errors`.
Record = Annotated[
    Path | None,
    typer.Option(
        "--record",
        metavar="FILE",
        help="Keep every reply of the server, without secrets, for serve --replay.",
    ),
]
LogJson = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Append every event to this file, one JSON object per line."),
]
Metrics = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|:PORT", help="Metrics for Prometheus: a text file, or a port on this machine."
    ),
]
Wait = Annotated[
    bool,
    typer.Option("--wait", help="Wait until no other run is writing to the store.", show_default=False),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="local[:N]|ADDRESS|FILE",
        help="Do whole data sets in N processes of this machine, on the workers of a Dask scheduler such as "
        "tcp://HOST:8786, or on a cluster that a YAML file describes.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress on stderr.")]


def parameters_of(options: SettingOptions) -> list[tuple[str, Any]]:
    """Return the name and the annotation of each parameter that options stand for."""
    found = [(row.setting, _annotation(row, options.defaults.get(row.setting))) for row in options.rows]
    if options.has_config:
        config = typer.Option("--config", metavar="FILE", help="Read settings from this TOML file.")
        found.append(("config", Annotated[Path | None, config]))
    return found


def _annotation(row: SettingOption, default: str | None) -> Any:
    default = default or default_of(row)
    shown = "" if default in {"none", "false"} else f"  [default: {default}]"
    option = typer.Option(
        row.flag,
        metavar=row.metavar or None,
        help=row.help + shown,
        show_default=False,
        rich_help_panel=row.panel,
        autocompletion=None if not row.metavar else _completer(row),
    )
    kind: Any = bool if not row.metavar else list[str] if row.is_list else str
    return Annotated[kind | None, option]


def _completer(row: SettingOption) -> Any:
    def complete(incomplete: str) -> list[str]:
        from asyncfetch.settings import CHOICES

        choices = CHOICES.get(row.setting, ())
        if not row.is_list:
            return [each for each in choices if each.startswith(incomplete)]
        before, comma, last = incomplete.rpartition(",")
        left = set(choices) - set(before.split(","))
        return [f"{before}{comma}{each}" for each in choices if each in left and each.startswith(last)]

    return complete
