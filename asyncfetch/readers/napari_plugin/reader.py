"""What napari calls with a path: it takes stores of ours and parts of them, and gives layers."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from asyncfetch.errors import AsyncFetchError, SelectionError
from asyncfetch.readers.images import OpenedStore, is_local_store
from asyncfetch.readers.napari_plugin.layers import (
    World,
    layer_in_space,
    layers_in_place,
    layers_side_by_side,
)
from asyncfetch.readers.parts import part_of
from asyncfetch.readers.reading import ViewReader
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asyncfetch.readers.images import PlacedImage
    from asyncfetch.readers.napari_plugin.layers import LayerData
    from asyncfetch.readers.parts import Part

    type Paths = str | Sequence[str]

__all__ = ["Arrangement", "get_reader", "get_reader_in_place", "read_layers"]

type Arrangement = Literal["side by side", "in place"]

#: More layers than this help nobody, and a list of them takes minutes to add.
_MAX_LAYERS = 200


def get_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return what reads a path, or paths to be shown together, if all are stores of ours; sections lie side by side."""
    return _read_side_by_side if _are_ours(path) else None


def get_reader_in_place(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """Return the same, but that sections lie where they are in the reference space."""
    return _read_in_place if _are_ours(path) else None


def read_layers(*paths: str, sections: Arrangement = "side by side") -> list[LayerData]:
    """Return the layers of stores, or of parts of them, in one space.

    Parameters
    ----------
    *paths : str
        Paths or addresses: of a store, which gives its registered planes (a volume where there are none); of a data set
        or a view, which gives planes and volumes, and sections where there are neither; or of an image.
    sections : str
        Where sections lie: ``side by side``, each in its own frame, or ``in place`` in the reference space.

    Returns
    -------
    list of tuple
        (levels, options, "image") for each layer, in order of the paths. The first is visible, and of each further data
        set none is.

    Raises
    ------
    SelectionError
        There is nothing to show, or more than 200 images.
    StoreError
        As `asyncfetch.open`.
    """
    images = [image for path in paths for image in _images_of(part_of(path))]
    if not images:
        raise SelectionError(
            f"{', '.join(paths)} has no images to show: neither planes nor a volume; mirror it with the layer "
            "registered, or open its sections"
        )
    flat = [image for image in images if image.kind == "section"]
    placed = [image for image in images if image.kind != "section"]
    world = World.of(placed or flat)
    layers = [layer_in_space(image, world, is_visible=number == 0) for number, image in enumerate(placed)]
    if sections == "side by side":
        return [*layers, *layers_side_by_side(flat)]
    in_place = list(layers_in_place(flat, world))
    if flat and not in_place and not layers:
        raise SelectionError(
            f"none of the sections of {', '.join(paths)} has an alignment; open them side by side"
        )
    return [*layers, *in_place]


def _read_side_by_side(path: Paths) -> list[LayerData]:
    return read_layers(*_listed(path), sections="side by side")


def _read_in_place(path: Paths) -> list[LayerData]:
    return read_layers(*_listed(path), sections="in place")


def _listed(path: Paths) -> list[str]:
    return [path] if isinstance(path, str) else [str(each) for each in path]


def _are_ours(path: Paths) -> bool:
    return bool(path) and all(_is_ours(part_of(each).location) for each in _listed(path))


def _is_ours(location: str) -> bool:
    if "://" not in location:
        return is_local_store(location)
    # napari asks for addresses that look like a Zarr store alone
    with contextlib.suppress(AsyncFetchError):
        return OpenedStore(location).store is not None
    return False


def _images_of(part: Part) -> list[PlacedImage]:
    opened = OpenedStore(part.location)
    if part.data_set_id is not None:
        return list(_images_of_data_set(opened, part.data_set_id, part))
    ids = opened.store.read_data_set_ids()
    if len(ids) > _MAX_LAYERS:
        raise SelectionError(
            f"{opened.store.location} holds {counted(len(ids), 'data set')}, too many to show at once; "
            f"open one of them, such as {opened.store.location}/data_sets/{ids[0]}"
        )
    images = []
    for data_set_id in ids:
        for view in opened.store.data_set(data_set_id).read_views():
            reader = ViewReader(opened, data_set_id, view)
            image = reader.registered() or reader.volume()
            images += [] if image is None else [image]
    return images


def _images_of_data_set(opened: OpenedStore, data_set_id: int, part: Part) -> Iterator[PlacedImage]:
    # a web server lists no views: one that was named is looked at as it is
    views = opened.store.data_set(data_set_id).read_views() if part.view is None else (part.view,)
    for view in views:
        reader = ViewReader(opened, data_set_id, view)
        if part.image == "sections":
            yield from _some_sections(reader, opened)
        elif part.image is not None:
            yield reader.image(part.image)
        else:
            found = [image for image in (reader.registered(), reader.volume()) if image is not None]
            yield from found or _some_sections(reader, opened)


def _some_sections(reader: ViewReader, opened: OpenedStore) -> Iterator[PlacedImage]:
    if len(reader.sections) > _MAX_LAYERS:
        raise SelectionError(
            f"data set {reader.data_set.id} of {opened.store.location} has {counted(len(reader.sections), 'section')}, "
            "too many to show at once; open single ones"
        )
    return reader.section_images()
