"""The formats, by name. Another one is a module with a subclass of `Format`, and an entry here."""

from __future__ import annotations

import importlib
import typing
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from asyncfetch.errors import AsyncFetchError, SettingsError
from asyncfetch.names import did_you_mean, spelled_as
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncfetch.exporting.protocol import Format

__all__ = [
    "FORMATS",
    "Entry",
    "check_needs",
    "choices_of",
    "format_class",
    "format_of",
    "needed",
    "options_of",
]

_MAX_SHOWN = 80


class Entry(NamedTuple):
    """A format in the table.

    Attributes
    ----------
    home : str
        Module and class, with a colon between.
    one_liner : str
        What it is, and what reads it.
    """

    home: str
    one_liner: str


FORMATS: dict[str, Entry] = {
    "ome-tiff": Entry(
        "asyncfetch.exporting.ome_tiff:OmeTiff",
        "sections, registered planes or volumes as pyramids in tiles, for QuPath and Fiji",
    ),
    "nifti": Entry(
        "asyncfetch.exporting.nifti:Nifti", "registered planes or volumes, for ANTs, brainreg and ITK-SNAP"
    ),
    "nrrd": Entry("asyncfetch.exporting.nrrd:Nrrd", "registered planes or volumes, for 3D Slicer"),
    "neuroglancer": Entry(
        "asyncfetch.exporting.neuroglancer:Neuroglancer",
        "states that show a store that is served, in colour and in place",
    ),
    "ome-zarr-0.4": Entry(
        "asyncfetch.exporting.ome_zarr_04:OmeZarr04",
        "sections, registered planes or volumes in Zarr v2, for what does not read 0.5",
    ),
    "quicknii": Entry(
        "asyncfetch.exporting.quicknii:QuickNii",
        "sections as PNG with their anchorings, for QuickNII, VisuAlign and DeepSlice",
    ),
    "scene": Entry(
        "asyncfetch.exporting.scene:Scene",
        "sections in one folder, each with its place in the reference space (NGFF 0.6), for napari",
    ),
    "spatialdata": Entry(
        "asyncfetch.exporting.spatial_data:SpatialData",
        "sections as images, or planes or a volume as one, for SpatialData and Squidpy",
    ),
    "tiles": Entry(
        "asyncfetch.exporting.tiles:Tiles", "square tiles of sections with a table, for machine learning"
    ),
}


def format_class(name: str) -> type[Format]:
    """Return the class of a format.

    Raises
    ------
    SettingsError
        There is none of that name.
    """
    entry = FORMATS.get(spelled_as(name, FORMATS))
    if entry is None:
        hint = did_you_mean(name, tuple(FORMATS)) or f"; the formats are: {', '.join(FORMATS)}"
        raise SettingsError(f"there is no format {shown(name, _MAX_SHOWN)!r}{hint}", setting="format")
    module, _, kind = entry.home.partition(":")
    found: type[Format] = getattr(importlib.import_module(module), kind)
    return found


def options_of(kind: type[Format]) -> dict[str, msgspec.inspect.Field]:
    """Return the options of a format by name: their types, defaults and descriptions."""
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)
    return {field.name: field for field in described.fields}


def format_of(name: str, options: Mapping[str, Any]) -> Format:
    """Return a format with these options; those that are None count as not given.

    Values may be text, as they are typed.

    Raises
    ------
    SettingsError
        There is no such format, it has no such option, or a value is not allowed.
    """
    kind = format_class(name)
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in kind.__struct_fields__:
            takers = [each for each in FORMATS if option in format_class(each).__struct_fields__]
            where = f"it is one of {', '.join(takers)}" if takers else _known(kind)
            raise SettingsError(f"{option} is not an option of {name}; {where}", setting=option)
        given[option] = value = _spelled(kind, option, value)
        try:
            msgspec.convert(value, typing.get_type_hints(kind, include_extras=True)[option], strict=False)
        except msgspec.ValidationError:
            raise SettingsError(
                f"{option} = {shown(value, _MAX_SHOWN)} is not allowed: {_rule(options_of(kind)[option], value)}",
                setting=option,
            ) from None
    if missing := [
        each.name for each in options_of(kind).values() if each.required and each.name not in given
    ]:
        raise SettingsError(f"{missing[0]} is required by the format {name}", setting=missing[0])
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        # each option is right by itself, so that the format has looked at them together
        if isinstance(error.__cause__, SettingsError):
            raise error.__cause__ from None
        raise


def _known(kind: type[Format]) -> str:
    names = ", ".join(kind.__struct_fields__)
    return f"{names} are" if names else "it has none"


def choices_of(option: msgspec.inspect.Field) -> tuple[str, ...]:
    """Return the names that an option takes; none where it takes something else."""
    type_ = _bare(option)
    return tuple(map(str, type_.values)) if isinstance(type_, msgspec.inspect.LiteralType) else ()


def _spelled(kind: type[Format], option: str, value: Any) -> Any:
    choices = choices_of(options_of(kind)[option])
    return spelled_as(value.strip(), choices) if choices and isinstance(value, str) else value


def _rule(option: msgspec.inspect.Field, value: Any) -> str:
    """Return what a value of an option has to be, and the choice that was meant."""
    choices = choices_of(option)
    if choices:
        return f"one of {', '.join(choices)}{did_you_mean(str(value), choices)}"
    kind: Any = _bare(option)
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next(each for each in kind.types if not isinstance(each, msgspec.inspect.NoneType))
    if isinstance(kind, msgspec.inspect.BoolType):
        return "true or false"
    if not isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        return "a text"
    words = "a whole number" if isinstance(kind, msgspec.inspect.IntType) else "a number"
    low = (
        f" from {kind.ge}"
        if kind.ge is not None
        else f" greater than {kind.gt}"
        if kind.gt is not None
        else ""
    )
    high = "" if kind.le is None else f"{' and' if kind.gt is not None else ''} to {kind.le}"
    return words + low + high.replace("and to", "and up to")


def _bare(option: msgspec.inspect.Field) -> msgspec.inspect.Type:
    type_ = option.type
    while isinstance(type_, msgspec.inspect.Metadata):
        type_ = type_.type
    return type_


def check_needs(name: str) -> None:
    """See that the packages that a format imports are installed.

    Raises
    ------
    AsyncFetchError
        One is not; the message says what to install.
    """
    kind = format_class(name)
    missing = [each for each in kind.needs if find_spec(each) is None]
    if missing:
        raise AsyncFetchError(
            f"the format {name} requires {' and '.join(missing)}; install with: "
            f"pip install 'asyncfetch[{kind.extra}]'"
        )


def needed(module: str) -> Any:
    """Return a package of an extra, which is imported when a format writes its first file."""
    return importlib.import_module(module)
