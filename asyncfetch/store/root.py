"""The root of a store: whether a place is one of ours, of which layout, and how a new one is made."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore

from asyncfetch.errors import SettingsError, StoreAccessError, StoreLayoutError
from asyncfetch.layout.citation import SOURCE
from asyncfetch.layout.paths import LAYOUT_VERSION, LOCK_PATH
from asyncfetch.store.checksums import CHECKSUM, checksum_problem
from asyncfetch.store.folder import PARTIAL

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from asyncfetch.settings import Ngff
    from asyncfetch.store.objects import Place

__all__ = [
    "UPGRADING",
    "check_root",
    "choose_ngff",
    "is_empty",
    "is_made",
    "lost_root",
    "missing_folders",
    "new_root",
    "ngff_of",
    "remove_folders",
]

#: The field of ``attributes.asyncfetch`` of the root by which a store says that its upgrade has not ended.
UPGRADING = "upgrading"
#: The field by which it says which version of NGFF its images follow, where that is not 0.5.
_NGFF = "ngff"


def check_root(place: Place, *, create: bool) -> None:
    """Make sure that this is a store of ours, or make it one where there is nothing yet.

    Where the root's metadata are missing or cannot be read, the data sets below tell that this is a store of
    ours; with `create` the metadata are written again, without the unfinished runs that they named.

    Raises
    ------
    StoreLayoutError, StoreAccessError
        As `is_made`; or there is nothing, and `create` is false.
    """
    if not is_made(place, create=create):
        place.write_group("", {"asyncfetch": new_root()}, keep=True)
        # what lies below is known by it
        place.settle("zarr.json")
    elif not place.store.read_only and _layout_of(place.attributes("")) != LAYOUT_VERSION:
        place.write_group("", {"asyncfetch": lost_root(place)})


def is_made(place: Place, *, create: bool, of_any_version: bool = False) -> bool:
    """Tell whether this is a store of ours already, or a place where one can be made.

    Parameters
    ----------
    place : Place
        Where to look.
    create : bool
        Whether there may be nothing yet.
    of_any_version : bool
        Take a store of an earlier layout version, too, and one whose upgrade has not ended.

    Raises
    ------
    StoreLayoutError
        The place is a file, another kind of store, a directory with other things in it, or a store of
        another layout version. It is left as it was.
    StoreAccessError
        There is nothing, and `create` is false; or the place cannot be reached.
    """
    if isinstance(place.store, LocalStore):
        _check_directory(place, place.store.root, create=create)
    # before the metadata are read, because another run may be making the store
    names = place.names_below("") if place.can_list else []
    attributes = place.attributes("")
    layout = _layout_of(attributes)
    # a number that was changed is damage where the sections below name another
    is_changed = layout not in {None, LAYOUT_VERSION} and _is_changed(attributes)
    if layout is not None and not (is_changed and _holds_data_sets(place, of_any_version=of_any_version)):
        _check_layout(place, layout, of_any_version=of_any_version, is_upgrading=_is_upgrading(attributes))
        return True
    if place.can_list and _holds_data_sets(place, of_any_version=of_any_version):
        if "zarr.json" not in place.damage.found:
            place.damage.add("zarr.json", "is missing or does not name the layout of the store")
        return True
    if attributes is not None:
        raise StoreLayoutError(
            f"{place.name} is a Zarr store of another kind; choose another directory", location=place.name
        )
    # A process killed while it made the store leaves a temporary file, or an empty one, and nothing else.
    was_begun = place.damage.found.get("zarr.json") == "is empty"
    others = [
        name
        for name in names
        if not (name.endswith(PARTIAL) or name == LOCK_PATH or (was_begun and name == "zarr.json"))
    ]
    if others:
        raise StoreLayoutError(
            f"{place.name} is not an asyncfetch store and is not empty: it holds {others[0]}; "
            "choose another directory",
            location=place.name,
        )
    if not create:
        raise _missing(place)
    return False


def is_empty(place: Place) -> bool:
    """Tell whether there is nothing but the root that `check_root` makes, and perhaps a lock."""
    ours = {name: value for name, value in place.ours("").items() if name != _NGFF}
    is_bare = ours == new_root() and not place.others_in("")
    return is_bare and set(place.names_below("")) <= {"zarr.json", LOCK_PATH}


def ngff_of(place: Place) -> Ngff:
    """Return the version of NGFF that the images of a store follow."""
    return "0.6" if place.ours("").get(_NGFF) == "0.6" else "0.5"


def choose_ngff(place: Place, version: Ngff) -> None:
    """Let the images of a store follow a version of NGFF.

    Raises
    ------
    SettingsError
        There are images, which follow another one.
    """
    stands = ngff_of(place)
    if version == stands:
        return
    if place.names_below("data_sets"):
        raise SettingsError(
            f"the images of {place.name} follow NGFF {stands}, which is chosen when a store is made; mirror into a "
            f"new one with --ngff {version}, or leave --ngff out",
            setting="ngff",
        )
    ours = {name: value for name, value in place.ours("").items() if name != _NGFF}
    place.write_group("", {"asyncfetch": ours | ({} if version == "0.5" else {_NGFF: version})})


def _ngff_of_images(place: Place) -> dict[str, Any]:
    """Return the field of a root that was lost, as the first image tells it."""
    for data_set in place.names_below("data_sets"):
        for view in place.names_below(f"data_sets/{data_set}"):
            path = f"data_sets/{data_set}/{view}"
            images = [f"{path}/registered", f"{path}/sections"]
            images += [f"{path}/sections/{name}" for name in place.names_below(f"{path}/sections")[:1]]
            for image in images:
                ome = (place.attributes(image) or {}).get("ome")
                if isinstance(ome, dict) and "version" in ome:
                    return {_NGFF: "0.6"} if ome["version"] == "0.6" else {}
    return {}


def missing_folders(place: Place) -> list[Path]:
    """Return the directory of the store and those above it as far as they do not exist, the innermost first."""
    folder = place.folder
    return [] if folder is None else [each for each in (folder, *folder.parents) if not each.exists()]


def remove_folders(folders: Iterable[Path]) -> None:
    """Remove directories, each after what lies in it; one that is not empty stays, and those above it."""
    with contextlib.suppress(OSError):
        for each in folders:
            each.rmdir()


def new_root() -> dict[str, Any]:
    """Return ``attributes.asyncfetch`` of the root of a new store."""
    return {"layout": LAYOUT_VERSION, "tool": "asyncfetch", "data": SOURCE}


def lost_root(place: Place) -> dict[str, Any]:
    """Return ``attributes.asyncfetch`` of a root whose metadata were lost; the unfinished runs are not in it."""
    return new_root() | _ngff_of_images(place)


def _holds_data_sets(place: Place, *, of_any_version: bool) -> bool:
    """Tell whether there are data sets of ours, whatever the root's metadata say.

    Raises
    ------
    StoreLayoutError
        There are, of another layout version.
    """
    names = place.names_below("data_sets")
    for data_set in (name for name in names if name.isdecimal()):
        path = f"data_sets/{data_set}"
        for view in place.names_below(path):
            for image in place.names_below(f"{path}/{view}/sections"):
                if not image.isdecimal():
                    continue
                layout = _layout_of(place.attributes(f"{path}/{view}/sections/{image}"))
                if layout is not None:
                    _check_layout(place, layout, of_any_version=of_any_version)
                    return True
        if isinstance((place.attributes(path) or {}).get("asyncfetch"), dict):
            return True
    # a run that was killed before its first data set
    others = {name for name in place.names_below("") if not name.endswith(PARTIAL)} - {LOCK_PATH}
    return names == ["zarr.json"] and others <= {"zarr.json", "data_sets", "catalogue"}


def _missing(place: Place) -> StoreAccessError:
    return StoreAccessError(f"there is no store at {place.name}; check the path", location=place.name)


def _check_directory(place: Place, root: Path, *, create: bool) -> None:
    with place.mapped_errors():
        if root.is_file():
            raise StoreLayoutError(
                f"{root} is a file; a store is a directory: choose another directory", location=place.name
            )
        below = next((parent for parent in root.parents if parent.exists()), None)
        if below is not None and not below.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "a part of the path is a file", str(below))
        if root.is_dir():
            next(root.iterdir(), None)  # listing says at once that a directory cannot be read
        elif not create:
            raise _missing(place)


def _check_layout(place: Place, layout: int, *, of_any_version: bool, is_upgrading: bool = False) -> None:
    if layout > LAYOUT_VERSION:
        raise StoreLayoutError(
            f"{place.name} has layout version {layout}, and this asyncfetch knows versions up to {LAYOUT_VERSION}; "
            "use a newer asyncfetch",
            location=place.name,
        )
    if of_any_version or (layout == LAYOUT_VERSION and not is_upgrading):
        return
    if is_upgrading:
        raise StoreLayoutError(
            f"{place.name} is being upgraded to layout version {LAYOUT_VERSION}, and that is not finished; "
            f"continue it with: asyncfetch upgrade {place.name}",
            location=place.name,
        )
    raise StoreLayoutError(
        f"{place.name} is a store of layout version {layout}, and this asyncfetch reads version {LAYOUT_VERSION}; "
        f"upgrade it, offline, with: asyncfetch upgrade {place.name}",
        location=place.name,
    )


def _is_changed(attributes: dict[str, Any] | None) -> bool:
    """Tell whether a checksum says that attributes are not as they were written."""
    ours = (attributes or {}).get("asyncfetch")
    return isinstance(ours, dict) and CHECKSUM in ours and checksum_problem(attributes or {}) is not None


def _layout_of(attributes: dict[str, Any] | None) -> int | None:
    """Return the layout version that attributes of ours name, unless they were changed since."""
    ours = (attributes or {}).get("asyncfetch")
    layout = ours.get("layout") if isinstance(ours, dict) else None
    return layout if isinstance(layout, int) and not isinstance(layout, bool) and layout > 0 else None


def _is_upgrading(attributes: dict[str, Any] | None) -> bool:
    ours = (attributes or {}).get("asyncfetch")
    return isinstance(ours, dict) and UPGRADING in ours
