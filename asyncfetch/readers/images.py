"""Images of a store and where they lie: shapes, positions and labels at once, pixels when they are asked for.

What is said here comes from the metadata of groups, so that a store of 10^3 data sets is described in seconds; an array
is opened when its first pixel is wanted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from asyncfetch.store import Location, Store

__all__ = ["UNKNOWN", "About", "Level", "OpenedStore", "PlacedImage", "is_local_store"]

#: What stands for a number that is not known: no id and no section number is negative.
UNKNOWN = -1

type Kind = Literal["registered", "volume", "section"]


class _Root(msgspec.Struct):
    layout: int


class _Attributes(msgspec.Struct):
    asyncfetch: _Root


class _RootGroup(msgspec.Struct):
    attributes: _Attributes


def is_local_store(location: Any) -> bool:
    """Tell whether a path is the directory of a store of ours, of any layout version, by its root alone."""
    if not isinstance(location, str | os.PathLike):
        return False
    try:
        msgspec.json.decode((Path(location) / "zarr.json").read_bytes(), type=_RootGroup)
    except (OSError, ValueError, TypeError):
        return False
    return True


class OpenedStore:
    """A store, open for reading, that can be sent to another process, where it is opened again."""

    def __init__(self, location: Location) -> None:
        self.location = location

    def __repr__(self) -> str:
        return f"OpenedStore({self.location!r})"

    def __reduce__(self) -> tuple[type[OpenedStore], tuple[Location]]:
        return OpenedStore, (self.location,)

    @cached_property
    def store(self) -> Store:
        """The store; the errors of `asyncfetch.open` come from here."""
        return open_store(self.location)


@dataclass(frozen=True, kw_only=True)
class About:
    """What an image shows, in words and numbers that people choose by.

    Attributes
    ----------
    data_set_id : int
        The data set.
    view : str
        The view of its sections.
    gene : str
        Acronyms of its genes, with commas between them; empty where there is none.
    plane : str
        How it was cut: ``coronal``, ``sagittal`` or ``transverse``; empty where that is not known.
    age : str
        How old the mouse was, such as ``P56``; empty where the record does not tell.
    specimen_id : int
        The specimen, -1 where the record does not tell.
    reference_space_id : int
        The API's id of the space that the image lies in, -1 where it is not known.
    """

    data_set_id: int
    view: str
    gene: str
    plane: str
    age: str
    specimen_id: int
    reference_space_id: int


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of an image: (c, z, y, x) uint8.

    Attributes
    ----------
    shape : tuple of int
        (c, z, y, x).
    chunks : tuple of int
        (c, z, y, x) of what is read at once: an object of the store.
    pitch, origin : tuple of float
        From one pixel centre to the next along z, y and x, and where the first lies; in the unit of the image.
    opener : callable
        What opens the array. It can be sent to another process.
    """

    shape: tuple[int, int, int, int]
    chunks: tuple[int, int, int, int]
    pitch: tuple[float, float, float]
    origin: tuple[float, float, float]
    opener: Callable[[], Any]

    def open(self) -> Any:
        """Open the array: a Zarr array, or an array of NumPy where the pixels come from a JPEG.

        Raises
        ------
        StoreError, SelectionError
            It cannot be read, or is not there any more.
        StoreItemError
            The image has grown since the store was opened.
        """
        array = self.opener()
        if tuple(array.shape) != self.shape:
            raise StoreItemError(
                f"the image has the shape {tuple(array.shape)} now, and had {self.shape} when the store was opened; "
                "open the store again"
            )
        return array

    def positions(self, axis: int) -> NDArray[np.float64]:
        """Return the (n,) pixel centres along z, y or x (0, 1 or 2), in the unit of the image."""
        steps = np.arange(self.shape[1 + axis], dtype=np.float64)
        return steps * self.pitch[axis] + self.origin[axis]


@dataclass(frozen=True, kw_only=True)
class PlacedImage:
    """An image of a store: its levels, what it shows, and where it lies.

    Attributes
    ----------
    kind : str
        ``registered``, ``volume`` or ``section``.
    path : str
        Its group, below the root of the store.
    name : str
        What viewers call it.
    about : About
        What it shows.
    levels : tuple of Level
        The finest first.
    channels : tuple of str
        What the channels are.
    axes : tuple of int or None
        Which axes of (p, i, r) z, y and x are; None for a section, which lies in its own frame.
    units : tuple of str or None
        Of z, y and x: ``micrometer``, or None where the API does not tell what a step is.
    z_um : (z,) array of float64 or None
        Where the slots of a registered image lie, which are not always evenly spaced; None where that is not known.
    image_ids, section_numbers : (z,) array of int64
        The section of each z, -1 for a slot without one; empty for volumes.
    is_stored : (z,) array of bool
        Whether the pixels of that section are stored: a slot is empty without.
    affine : (3, 3) array of float64 or None
        For a section: (x, y, 1) in its own frame to (p, i, r) in µm, in the reference space of its data set.
    across_um : (3,) array of float64 or None
        For a section: how far (p, i, r) the next section number lies, in µm.
    region : tuple of int or None
        The part of a section that is stored: x, y, width and height in full-resolution pixels; None means all.
    """

    kind: Kind
    path: str
    name: str
    about: About
    levels: tuple[Level, ...]
    channels: tuple[str, ...]
    axes: tuple[int, int, int] | None
    units: tuple[str | None, str | None, str | None]
    z_um: NDArray[np.float64] | None = None
    image_ids: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    section_numbers: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    is_stored: NDArray[np.bool] = field(default_factory=lambda: np.empty(0, dtype=np.bool))
    affine: NDArray[np.float64] | None = None
    across_um: NDArray[np.float64] | None = None
    region: tuple[int, int, int, int] | None = None

    def positions(self, level: int, axis: int) -> NDArray[np.float64]:
        """Return the (n,) pixel centres of a level along z, y or x (0, 1 or 2), in the unit of that axis."""
        if axis == 0 and self.z_um is not None:
            return self.z_um
        return self.levels[level].positions(axis)


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(_RootGroup)
