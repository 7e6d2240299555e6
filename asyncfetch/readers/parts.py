"""Which part of a store a path names: the store itself, a data set, a view, or an image. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Part", "part_of"]

_BELOW = re.compile(
    r"""(?P<store>.+?)[/\\]data_sets
        (?:[/\\](?P<data_set>\d+)(?:\.ozx)?
            (?:[/\\](?P<view>[a-z_]+)
                (?:[/\\](?:(?P<image>registered|volume)|(?P<sections>sections)(?:[/\\](?P<section>\d+))?)
                    (?:[/\\]scale(?P<level>\d+)(?:[/\\]image)?)?
                )?
            )?
        )?[/\\]?""",
    re.VERBOSE | re.ASCII,
)


class Part(NamedTuple):
    """A store, and what of it is meant; what is None was not named.

    Attributes
    ----------
    location : str, Path or zarr Store
        Where the store lies.
    data_set_id : int or None
        A data set.
    view : str or None
        A view of it.
    image : str, int or None
        ``registered``, ``volume``, ``sections`` for all sections, or the id of one section.
    level : int or None
        A level of that image.
    """

    location: Any
    data_set_id: int | None = None
    view: str | None = None
    image: str | int | None = None
    level: int | None = None


def part_of(location: str | Path | Any) -> Part:
    """Return which part of a store a path or an address names; nothing is looked at.

    Examples
    --------
    >>> part_of("s3://atlas/brains.ome.zarr/data_sets/479/image/registered")[1:]
    (479, 'image', 'registered', None)
    >>> part_of("brains.ome.zarr").location
    'brains.ome.zarr'
    """
    # a Zarr store of the caller's has no path that could lead further
    if not (isinstance(location, str) or hasattr(location, "__fspath__")):
        return Part(location)
    named = _BELOW.fullmatch(str(location))
    if named is None:
        return Part(location)
    section, level = named["section"], named["level"]
    return Part(
        location=named["store"],
        data_set_id=None if named["data_set"] is None else int(named["data_set"]),
        view=named["view"],
        image=int(section) if section is not None else named["image"] or named["sections"],
        level=None if level is None else int(level),
    )
