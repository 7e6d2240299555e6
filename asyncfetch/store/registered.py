"""The registered image of a view: begun, extended by new sections, and mended where its metadata are damaged.

The layout names the slot of every section. Where it is lost, planes that are still where they belong are adopted: the
commits say how they were made. Otherwise their commits cease to vouch for them, and they are made again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from asyncfetch.errors import SettingsError
from asyncfetch.layout.ome import registered_attributes
from asyncfetch.layout.paths import plane_chunking, registered_path
from asyncfetch.layout.recipe import Recipe
from asyncfetch.layout.registered import RegisteredLayout
from asyncfetch.layout.scene import as_06, reference_system
from asyncfetch.store.arrays import Axis, delete_levels, image_document, mend_array_metadata, mend_coordinates
from asyncfetch.store.damage import parse_array
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_commits, read_registered_layout
from asyncfetch.store.root import ngff_of
from asyncfetch.store.shards import ImageArray

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import NDArray

    from asyncfetch.layout.commit import Commit
    from asyncfetch.store.objects import Place

__all__ = ["UPSTREAM_FIELDS", "begin_registered", "coordinates_of", "document_of", "write_registered"]

#: What a difference is a contradiction of: the API's records, which no option changes.
UPSTREAM_FIELDS = frozenset({"slots", "plane", "box_um", "section_thickness_um"})

_IN_PLANE: tuple[Axis, ...] = ("y", "x")
# What another rebuild changes, and the option for it.
_REBUILD_OPTIONS = {"um": "--um {:g}", "codec": "--codec {}", "space": "--space {}"}


def begin_registered(
    place: Place,
    data_set_id: int,
    view: str,
    wanted: RegisteredLayout,
    disown: Callable[[Commit], Any],
    *,
    title: str,
) -> RegisteredLayout:
    """Make sure that the registered image of a view is there, and return its layout.

    Parameters
    ----------
    place : Place
        The store.
    data_set_id, view : int, str
        The view.
    wanted : RegisteredLayout
        As it would be were there nothing yet.
    disown : callable
        Lets a commit cease to vouch for its plane.
    title : str
        Of the view, for viewers.

    Returns
    -------
    RegisteredLayout
        As it stands: with the slots of sections that the data set no longer has, and of new ones.

    Raises
    ------
    SettingsError
        What is stored has another pitch, codec, interpolation or grid, or its slots would move; `setting` names the
        first that differs.
    StoreItemError
        The layout could not be read back; nothing is written.
    """
    path = registered_path(data_set_id, view)
    for each in (path, f"{path}/scale0/image"):
        place.sweep(each)
    stored = read_registered_layout(place, data_set_id, view)
    where = f"data set {data_set_id}, view {view},"
    if stored is not None:
        layout = _joined(stored, wanted, where, place.name, data_set_id)
        is_new = False
        if shift := stored.shift_to(layout):
            place.withdraw_group(path)
            _shift_planes(place, ImageArray.of_planes(stored, data_set_id, view), stored, shift)
    else:
        layout = wanted
        is_new = not _adopt(place, data_set_id, view, wanted, disown, where)
    content = layout.to_attributes()
    if stored != layout:
        written = msgspec.json.decode(msgspec.json.encode(content))
        RegisteredLayout.from_attributes(written, location=path)
    if is_new:
        delete_levels(place, path)
    write_registered(place, data_set_id, view, layout, title)
    return layout


def write_registered(place: Place, data_set_id: int, view: str, layout: RegisteredLayout, title: str) -> None:
    """Write the metadata of a registered image, those of its group last; its planes stay as they are."""
    path = registered_path(data_set_id, view)
    _write_arrays(place, path, layout)
    attributes = registered_attributes(f"{title}, registered {layout.grid.um:g} µm", layout)
    if ngff_of(place) == "0.6":
        attributes = as_06(attributes, reference_system(layout.reference_space_id))
    place.write_group(path, {"ome": attributes, "asyncfetch": layout.to_attributes()}, vouches_for=(path,))


def _shift_planes(place: Place, array: ImageArray, stored: RegisteredLayout, shift: int) -> None:
    """Move all planes along, because the data set has sections before the first.

    The layout is taken away before, and the array has its new length behind: a run that is killed in between finds
    planes without a layout in an array of another length, and they are made again.
    """
    for z in sorted(stored.z_by_image.values(), reverse=shift > 0):
        for before, after in zip(array.keys(z), array.keys(z + shift), strict=True):
            place.rename(before, after)


def _joined(
    stored: RegisteredLayout, wanted: RegisteredLayout, where: str, location: str, data_set_id: int
) -> RegisteredLayout:
    for name in stored.differences(wanted):
        raise _contradiction(name, _value(stored, name), _value(wanted, name), where, location, data_set_id)
    joined = stored.extended_by(wanted)
    if joined is None:
        raise SettingsError(
            f"{where} has other section numbers at the API than when it was registered in {location}, so that its "
            f"planes would move; lay them out again from the stored JPEGs with: asyncfetch rebuild {location} "
            f"--dataset {data_set_id}, then mirror it again",
            setting="slots",
        )
    return joined


def _value(layout: RegisteredLayout, name: str) -> object:
    return getattr(layout.recipe if name in Recipe.__struct_fields__ else layout, name)


def _contradiction(
    name: str, before: object, now: object, where: str, location: str, data_set_id: int
) -> SettingsError:
    if name in UPSTREAM_FIELDS:
        return SettingsError(
            f"{where} has {name} = {now} at the API and was registered in {location} with {before}; register it again "
            f"from the stored JPEGs with: asyncfetch rebuild {location} --dataset {data_set_id}",
            setting=name,
        )
    stands = f"{where} is registered in {location} with {name} = {before}, not {now}"
    if name in _REBUILD_OPTIONS:
        advice = (
            f"use {before} again, another store, or change what is stored with: "
            f"asyncfetch rebuild {location} --dataset {data_set_id} {_REBUILD_OPTIONS[name].format(now)}"
        )
    else:
        advice = f"use {before} again, or another store"
    return SettingsError(f"{stands}; {advice}", setting=name)


def _adopt(
    place: Place,
    data_set_id: int,
    view: str,
    wanted: RegisteredLayout,
    disown: Callable[[Commit], Any],
    where: str,
) -> bool:
    """Tell whether planes without a layout are those that are wanted; if not, no commit vouches for them any more."""
    commits = [
        commit
        for commit in read_commits(place, data_set_id, view).values()
        if "registered" in commit.layers and commit.recipe.um is not None
    ]
    for commit in commits:
        differing = commit.recipe.differences(wanted.recipe.in_a_commit)
        if differing:
            name = differing[0]
            before, now = getattr(commit.recipe, name), getattr(wanted.recipe, name)
            raise _contradiction(name, before, now, where, place.name, data_set_id)
    if commits and _are_in_place(place, registered_path(data_set_id, view), wanted, commits):
        return True
    for commit in commits:
        disown(commit)
    return False


def _are_in_place(place: Place, path: str, wanted: RegisteredLayout, commits: list[Commit]) -> bool:
    """Tell whether the array has the wanted shape, and a plane in the slot of every commit."""
    found = place.read(metadata_key(f"{path}/scale0/image"), parse_array)
    if found is None or found["shape"] != [3, *wanted.shape]:
        return False
    numbers = {slot.image_id: slot.section_number for slot in wanted.slots}
    if any(numbers.get(commit.image_id) != commit.section_number for commit in commits):
        return False
    filled = {
        name.split(".")[2] for name in place.names_below(f"{path}/scale0/image") if name.startswith("c.0.")
    }
    return filled <= {str(wanted.z_by_image[commit.image_id]) for commit in commits}


def _write_arrays(place: Place, path: str, layout: RegisteredLayout) -> None:
    """Write what is missing, damaged or too small of the array and of its coordinates."""
    level = f"{path}/scale0"
    for axis, (positions, unit) in coordinates_of(layout).items():
        mend_coordinates(place, level, axis, positions, unit)
    mend_array_metadata(place, f"{level}/image", document_of(layout))
    place.write_group(level, {}, keep=True)


def coordinates_of(layout: RegisteredLayout) -> dict[Axis, tuple[NDArray[np.float64], str | None]]:
    """Return the positions along z, y and x of a registered image, and their unit; None where z counts slots."""
    n_y, n_x = layout.grid.shape
    z_um = layout.z_um
    z = (np.arange(len(layout.slots), dtype=np.float64), None) if z_um is None else (z_um, layout.unit)
    in_plane: dict[Axis, tuple[NDArray[np.float64], str | None]] = {
        axis: (np.arange(n, dtype=np.float64) * layout.grid.um + layout.recipe.origin_um, layout.unit)
        for axis, n in zip(_IN_PLANE, (n_y, n_x), strict=True)
    }
    return {"z": z, **in_plane}


def document_of(layout: RegisteredLayout) -> dict[str, Any]:
    """Return the metadata of the array of a registered image."""
    recipe = layout.recipe
    return image_document(len(layout.slots), plane_chunking(layout.grid.shape), recipe.codec, recipe.fill)
