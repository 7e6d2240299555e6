"""Stores turned into what other programs read: one module per format, and the run that writes their files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.loading import loader

if TYPE_CHECKING:
    from asyncfetch.exporting.formats import FORMATS, format_class, format_of
    from asyncfetch.exporting.options import ExportOptions
    from asyncfetch.exporting.protocol import Format, Made, Output
    from asyncfetch.exporting.report import ExportReport
    from asyncfetch.exporting.run import export

__all__ = [
    "FORMATS",
    "ExportOptions",
    "ExportReport",
    "Format",
    "Made",
    "Output",
    "export",
    "format_class",
    "format_of",
]

_HOMES = {
    **dict.fromkeys(("FORMATS", "format_class", "format_of"), "asyncfetch.exporting.formats"),
    "ExportOptions": "asyncfetch.exporting.options",
    **dict.fromkeys(("Format", "Made", "Output"), "asyncfetch.exporting.protocol"),
    "ExportReport": "asyncfetch.exporting.report",
    "export": "asyncfetch.exporting.run",
}

# A type checker sees the names above; the command line asks for formats alone, and loads no run.
if not TYPE_CHECKING:
    __getattr__ = loader(__name__, _HOMES)
