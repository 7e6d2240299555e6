"""What is known of layout version 1: how it differs from today's, and what a store of it says.

Nothing else knows of it.

::

    <view>/sections/<image_id>/scaleN/image/c/0/0/<row>/<column>    a shard of a level
    <view>/registered/scale0/image/c/0/<z>/<row>/<column>           a shard of a plane, slots by section number
    <view>/volume/scaleN/image/c/0/<z>/<y>/<x>                      a shard of a volume
    <view>/source/<image_id>/c.0.0.0                                the server's JPEG; c/0/0/0 in the oldest stores
    table/<column>/                                                 an array for each column of the table

Chunks were stored as (z, y, x, c) by a transpose and had no checksum, and each axis was a folder, so that none of these
names is one of today's: objects of both versions lie beside each other while a store is upgraded. A commit told how
many shards its layers had (``n_shards``), in the oldest stores not even that.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.commit import Commit
from asyncfetch.layout.paths import (
    CHUNK,
    LAYOUT_VERSION,
    level_chunking,
    level_shapes,
    planes_path,
    registered_path,
    section_path,
    source_folder,
    table_path,
)
from asyncfetch.layout.registered import RegisteredLayout
from asyncfetch.layout.table import section_rows
from asyncfetch.settings import Layer
from asyncfetch.store.arrays import open_array, write_array_metadata
from asyncfetch.store.damage import parse_array
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import check_commit
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    import zarr
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.settings import Codec
    from asyncfetch.store.objects import Place

__all__ = [
    "LAYOUT",
    "OldSection",
    "block_key",
    "check_levels",
    "codec_of",
    "delete_chunks",
    "delete_plane",
    "has_commit",
    "is_array",
    "mend_plane_array",
    "open_plane",
    "read_registered",
    "read_rows",
    "read_section",
    "read_source",
    "registered_today",
    "source_of",
    "sweep_levels",
    "table_names",
]

LAYOUT = 1

#: What says in the metadata of a registered image that its z is measured in the volume frame, as it was then.
_Z_FRAME = "z_frame"
#: What the recipe says now.
_SPACE = "reference_space_id"
#: The column of texts, which was an array beside those of numbers.
_IMAGE_TYPE = "image_type"
_COLUMNS = (
    *("image_id", "section_number", "width", "height", "x", "y", "image_width", "image_height", "resolution"),
    *("tier_count", "failed", "annotated", _IMAGE_TYPE, "tsv", "tvs", "image_to_reference", "plane"),
)
#: What chunks and shards of an array lie in.
_FOLDER = "c"
_INTERLEAVED = {"name": "transpose", "configuration": {"order": [1, 2, 3, 0]}}
_INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
_LZ4 = {"typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0}
_JPEGXL = {"effort": 1, "lossless": True, "numthreads": 1}
_CODECS: dict[Codec, list[dict[str, Any]]] = {
    "zstd": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1, "checksum": False}}],
    "blosc-lz4": [{"name": "bytes"}, {"name": "blosc", "configuration": _LZ4}],
    "jpegxl": [{"name": "imagecodecs_jpegxl", "configuration": _JPEGXL}],
    "none": [{"name": "bytes"}],
}


class OldSection(NamedTuple):
    """What the commit of a section says.

    Attributes
    ----------
    commit : Commit
        The same as a commit of today, without the objects of its layers.
    n_shards : dict of str to int
        How many shards its layers have; the oldest commits do not tell.
    """

    commit: Commit
    n_shards: dict[Layer, int]

    @property
    def n_plane_shards(self) -> int | None:
        """How many shards the registered plane has; -1 for some, None where nobody can tell."""
        known = self.n_shards.get("registered")
        if known is None and self.commit.view == "image" and self.commit.region is None:
            # the image of a section is never all of one grey
            return -1
        return known


def read_section(place: Place, data_set_id: int, view: str, image_id: int) -> OldSection | None:
    """Return what the commit of a section says; None where there is none of this version that can be read."""
    path = section_path(data_set_id, view, image_id)
    content = place.ours(path)
    if content.get("layout") != LAYOUT:
        return None
    told = {name: value for name, value in content.items() if name not in {"layout", "n_shards"}}
    try:
        commit = Commit.parsed(told | {"layout": LAYOUT_VERSION})
        n_shards = msgspec.convert(content.get("n_shards", {}), dict[Layer, int])
        check_commit(commit)
    except (msgspec.ValidationError, StoreItemError) as error:
        place.damage.add(metadata_key(path), f"cannot be read ({error})")
        return None
    if (commit.data_set_id, commit.view, commit.image_id) != (data_set_id, view, image_id):
        place.damage.add(metadata_key(path), "names another section than its path")
        return None
    return OldSection(commit, n_shards)


def has_commit(place: Place, data_set_id: int, view: str, image_id: int) -> bool:
    """Tell whether the commit of a section is of this version."""
    return place.ours(section_path(data_set_id, view, image_id)).get("layout") == LAYOUT


def source_of(data_set_id: int, view: str, image_id: int) -> str:
    """Return the folder of a JPEG."""
    return f"{source_folder(data_set_id, view)}/{image_id}"


def read_source(place: Place, commit: Commit) -> bytes:
    """Return the JPEG of a section, as it was committed.

    Raises
    ------
    StoreItemError
        It is missing, or another.
    """
    folder = source_of(commit.data_set_id, commit.view, commit.image_id)
    for key in (f"{folder}/c.0.0.0", f"{folder}/c/0/0/0"):
        data = place.get(key, commit.max_jpeg_bytes)
        if data is not None:
            if hashlib.sha256(data).hexdigest() != commit.sha256:
                raise place.damaged_item(key, "is not the JPEG that was committed")
            return data
    raise place.damaged_item(f"{folder}/c.0.0.0", "is missing")


def read_registered(place: Place, data_set_id: int, view: str) -> RegisteredLayout | None:
    """Return how a view was registered, its slots by section number; None where nothing of this version tells."""
    path = registered_path(data_set_id, view)
    content = place.ours(path)
    if _Z_FRAME not in content:
        return None
    try:
        told = {name: each for name, each in content.items() if name not in {_Z_FRAME, _SPACE}}
        layout = RegisteredLayout.parsed(told | {"space": content.get(_SPACE)})
    except msgspec.ValidationError as error:
        place.damage.add(metadata_key(path), f"cannot be read ({error})")
        return None
    if any(slot.z != z for z, slot in enumerate(layout.slots)):
        place.damage.add(metadata_key(path), "describes an image that cannot be")
        return None
    return layout


def registered_today(old: RegisteredLayout, data_set: SectionDataSet) -> RegisteredLayout:
    """Return the same registered image as it is laid out today: slots along the axis of the reference space."""
    placed = RegisteredLayout.of_data_set(data_set, old.recipe)
    sign = -1 if placed.spacing < 0 else 1
    # sections that share a number stay in the order of their ids
    slots = sorted(old.slots, key=lambda slot: sign * slot.section_number)
    return msgspec.structs.replace(
        placed,
        slots=tuple(msgspec.structs.replace(slot, z=z) for z, slot in enumerate(slots)),
        spacing=sign * old.spacing,
        section_thickness_um=old.section_thickness_um,
    )


def is_array(document: dict[str, Any] | None) -> bool:
    """Tell whether the metadata of an array of pixels are those of this version."""
    encoding = (document or {}).get("chunk_key_encoding")
    return isinstance(encoding, dict) and encoding.get("configuration") != {"separator": "."}


def codec_of(document: dict[str, Any]) -> Codec:
    """Return the compressor of an array of pixels, by the names of its codecs."""
    names = str(document.get("codecs"))
    found: dict[str, Codec] = {"jpegxl": "jpegxl", "'blosc'": "blosc-lz4", "'zstd'": "zstd"}
    for name, codec in found.items():
        if name in names:
            return codec
    return "none"


def mend_plane_array(place: Place, data_set_id: int, view: str, layout: RegisteredLayout) -> None:
    """Write the metadata of the array of registered planes again where they were lost, or a killed run had others."""
    path = planes_path(data_set_id, view)
    found = place.read(metadata_key(path), parse_array)
    if found is not None and found.get("shape") == [3, *layout.shape]:
        return
    shard = level_chunking(layout.grid.shape).shard
    inner = {
        "chunk_shape": [3, 1, CHUNK, CHUNK],
        "codecs": [_INTERLEAVED, *_CODECS[layout.recipe.codec]],
        "index_codecs": _INDEX,
        "index_location": "end",
    }
    document = {
        "shape": [3, *layout.shape],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 1, *shard]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": layout.recipe.fill,
        "codecs": [{"name": "sharding_indexed", "configuration": inner}],
        "attributes": {},
        "dimension_names": ["c", "z", "y", "x"],
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }
    write_array_metadata(place, path, document)


def open_plane(place: Place, old: OldSection, layout: RegisteredLayout) -> zarr.Array[Any]:
    """Open the array of registered planes, once all shards of the plane of a section are there.

    Raises
    ------
    StoreItemError
        The array is damaged, or a shard is missing; Zarr would read that as the fill.
    """
    commit = old.commit
    path = planes_path(commit.data_set_id, commit.view)
    z = layout.z_by_image.get(commit.image_id)
    if z is None:
        raise place.damaged_item(path, f"has no slot for image {commit.image_id}")
    folder, wanted = f"{path}/{_FOLDER}/0/{z}", old.n_plane_shards
    n_found = _n_shards(place, path, z)
    if wanted == -1 and not n_found:
        raise place.damaged_item(folder, "holds no pixels")
    if wanted not in {None, -1, n_found}:
        raise place.damaged_item(folder, f"has {counted(n_found, 'shard')} of {wanted}")
    return open_array(place, path, (3, *layout.shape))


def _n_shards(place: Place, path: str, z: int) -> int:
    """Return how many shards an image of an array has."""
    folder = f"{path}/{_FOLDER}/0/{z}"
    rows = [name for name in place.names_below(folder) if name.isdecimal()]
    return sum(name.isdecimal() for row in rows for name in place.names_below(f"{folder}/{row}"))


def check_levels(place: Place, old: OldSection) -> None:
    """Make sure that the levels of a section have all their shards, as far as its commit tells.

    Raises
    ------
    StoreItemError
        They do not.
    """
    commit = old.commit
    wanted = old.n_shards.get("sections")
    section = section_path(commit.data_set_id, commit.view, commit.image_id)
    paths = [f"{section}/scale{level}/image" for level in range(len(level_shapes(commit.shape)))]
    found = sum(_n_shards(place, path, 0) for path in paths)
    if wanted not in {None, found}:
        raise place.damaged_item(section, f"has {counted(found, 'shard')} of {wanted}")


def block_key(path: str, index: Iterable[int]) -> str:
    """Return the key of a shard of a volume by its index along z, y and x."""
    return f"{path}/{_FOLDER}/0/{'/'.join(map(str, index))}"


def delete_plane(place: Place, data_set_id: int, view: str, z: int) -> None:
    """Remove a registered plane."""
    place.delete_below(f"{planes_path(data_set_id, view)}/{_FOLDER}/0/{z}")


def delete_chunks(place: Place, path: str) -> None:
    """Remove the chunks that the arrays of a level have in folders: pixels, and coordinates of the oldest stores."""
    for name in ("image", "z", "y", "x"):
        if _FOLDER in place.names_below(f"{path}/{name}"):
            place.delete_below(f"{path}/{name}/{_FOLDER}")


def sweep_levels(place: Place, path: str) -> None:
    """Remove the temporary files that a killed upgrade left in an image and its levels."""
    place.sweep(path)
    for level in place.names_below(path):
        if level.startswith("scale"):
            for name in ("", "/image", "/z", "/y", "/x"):
                place.sweep(f"{path}/{level}{name}")


def read_rows(place: Place, data_set_id: int) -> list[dict[str, Any]] | None:
    """Return the rows of SectionImage of which a table was made; None where there is none of this version.

    Raises
    ------
    StoreItemError
        It is damaged.
    """
    path = table_path(data_set_id)
    names = table_names(place, data_set_id)
    if not names or "columns" not in place.ours(path):
        return None
    columns = {name: _read_column(place, f"{path}/{name}") for name in names}
    try:
        rows = section_rows(columns, data_set_id)
        types = columns[_IMAGE_TYPE].tolist()
        return [row | {_IMAGE_TYPE: kind or None} for row, kind in zip(rows, types, strict=True)]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise place.damaged_item(path, f"has columns that do not belong together ({error})") from error


def table_names(place: Place, data_set_id: int) -> tuple[str, ...]:
    """Return the names of the columns of a table, as far as it is not one of today; all where it does not say."""
    names = place.ours(table_path(data_set_id)).get("columns")
    if not isinstance(names, list):
        return _COLUMNS
    return tuple(name for name in names if isinstance(name, str)) if _IMAGE_TYPE in names else ()


def _read_column(place: Place, path: str) -> NDArray[Any]:
    array = open_array(place, path)
    keys = (f"{path}/{_FOLDER}{'.0' * array.ndim}", f"{path}/{_FOLDER}{'/0' * array.ndim}")
    if array.size and all(place.tail(key, 0) is None for key in keys):
        raise place.damaged_item(keys[0], "is missing")
    return np.asarray(array[...])
