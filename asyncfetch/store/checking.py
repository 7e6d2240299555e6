"""Stored layers held against what their commits say: sizes and the ends of shards quickly, or every byte.

A shard ends with an index of its chunks and the checksum of that index, so that an emptied or cut file is found by
its last bytes. How many objects a layer has, and how long they are together, stands in the commit, because what is
nothing but the fill is not stored.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from asyncfetch.errors import StoreItemError
from asyncfetch.layout.commit import Objects
from asyncfetch.layout.ome import level_positions
from asyncfetch.layout.paths import (
    data_set_path,
    level_chunking,
    level_shapes,
    planes_path,
    section_path,
    sections_path,
    source_folder,
    source_key,
    volume_path,
)
from asyncfetch.store.arrays import image_document, one_chunk_key, open_array
from asyncfetch.store.blocks import BlockArray
from asyncfetch.store.checksums import checksum_problem
from asyncfetch.store.damage import parse_array, parse_group
from asyncfetch.store.objects import metadata_key
from asyncfetch.store.records import read_commits, summarize
from asyncfetch.store.shards import ImageArray, object_of, shard_problem
from asyncfetch.store.volume import read_volume_layout
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from numpy.typing import NDArray

    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.settings import Layer
    from asyncfetch.store.objects import Place

__all__ = [
    "Problem",
    "decoding_problems",
    "group_problem",
    "level_problem",
    "plane_problem",
    "section_problems",
    "summary_is_stale",
    "unvouched_problems",
    "volume_problems",
]


class Problem(NamedTuple):
    """What is wrong with one layer of a section.

    Attributes
    ----------
    layer : str
        The layer.
    path : str
        The object, or the folder of objects.
    words : str
        A phrase that follows the path.
    """

    layer: Layer
    path: str
    words: str


def section_problems(
    place: Place,
    commit: SectionSummary,
    registered: RegisteredLayout | None,
    *,
    full: bool = False,
    with_digest: bool = False,
    with_metadata: bool = True,
) -> list[Problem]:
    """Return what is wrong with the layers that a commit vouches for.

    Parameters
    ----------
    place : Place
        The store.
    commit : SectionSummary
        The section.
    registered : RegisteredLayout, optional
        The registered image of its view.
    full : bool
        Compare the checksum of every object, instead of looking at the ends of shards alone.
    with_digest : bool
        Compare the digest of the JPEG, not its size alone.
    with_metadata : bool
        Look at the metadata of the levels, too.
    """
    found: list[Problem] = []
    if "source" in commit.layers:
        found += _source_problems(place, commit, with_digest=with_digest)
    if "registered" in commit.layers:
        found += _plane_problems(place, commit, registered, full=full)
    if "sections" in commit.layers:
        found += _level_problems(place, commit, full=full, with_metadata=with_metadata)
    return found


def decoding_problems(
    place: Place, commit: SectionSummary, registered: RegisteredLayout | None
) -> list[Problem]:
    """Return which layers of pixels do not decode."""
    found: list[Problem] = []
    z = None if registered is None else registered.z_by_image.get(commit.image_id)
    if "registered" in commit.layers and z is not None:
        image = planes_path(commit.data_set_id, commit.view)
        found += _unreadable(place, "registered", image, z)
    if "sections" in commit.layers:
        section = section_path(commit.data_set_id, commit.view, commit.image_id)
        for level in range(len(level_shapes(commit.shape))):
            found += _unreadable(place, "sections", f"{section}/scale{level}/image", 0)
    return found


def plane_problem(
    place: Place, commit: SectionSummary, registered: RegisteredLayout | None
) -> Problem | None:
    """Return the first thing that is wrong with a registered plane, as the ends of its shards tell."""
    return next(_plane_problems(place, commit, registered, full=False), None)


def level_problem(place: Place, commit: SectionSummary) -> Problem | None:
    """Return the first thing that is wrong with the levels of a section, as the ends of their shards tell."""
    return next(_level_problems(place, commit, full=False), None)


def _source_problems(place: Place, commit: SectionSummary, *, with_digest: bool) -> Iterator[Problem]:
    key = source_key(commit.data_set_id, commit.view, commit.image_id)
    end = place.tail(key, 0)
    if end is None:
        yield Problem("source", key, "is missing")
    elif end[0] != commit.size_bytes:
        yield Problem("source", key, f"has {counted(end[0], 'byte')} instead of {commit.size_bytes}")
    elif with_digest:
        data = place.read(key, bytes, commit.max_jpeg_bytes)
        if hashlib.sha256(data or b"").hexdigest() != commit.sha256:
            yield Problem("source", key, "is not the JPEG that was committed")


def _plane_problems(
    place: Place, commit: SectionSummary, registered: RegisteredLayout | None, *, full: bool
) -> Iterator[Problem]:
    image = planes_path(commit.data_set_id, commit.view)
    z = None if registered is None else registered.z_by_image.get(commit.image_id)
    if registered is None or z is None:
        yield Problem("registered", image, f"has no slot for image {commit.image_id}")
        return
    array = ImageArray.of_planes(registered, commit.data_set_id, commit.view)
    found = yield from _object_problems(place, "registered", array, z, full=full)
    yield from _sum_problems(commit, "registered", f"{image}/c.0.{z}", found, full=full)


def _level_problems(
    place: Place, commit: SectionSummary, *, full: bool, with_metadata: bool = True
) -> Iterator[Problem]:
    section = section_path(commit.data_set_id, commit.view, commit.image_id)
    total = Objects()
    for level, shape in enumerate(level_shapes(commit.shape)):
        group = f"{section}/scale{level}"
        if with_metadata:
            yield from _metadata_problems(place, commit, group, level, shape)
        array = ImageArray(f"{group}/image", level_chunking(shape), commit.recipe.codec)
        total += yield from _object_problems(place, "sections", array, 0, full=full)
    yield from _sum_problems(commit, "sections", section, total, full=full)


def _metadata_problems(
    place: Place, commit: SectionSummary, group: str, level: int, shape: tuple[int, int]
) -> Iterator[Problem]:
    if place.read(metadata_key(group), parse_group) is None:
        yield Problem("sections", metadata_key(group), "is missing or cannot be read")
    found = place.read(metadata_key(f"{group}/image"), parse_array)
    # levels that were kept may have another codec than the commit says
    wanted = image_document(1, level_chunking(shape), commit.recipe.codec)
    if found is None or any(found.get(name) != wanted[name] for name in ("shape", "data_type", "chunk_grid")):
        yield Problem("sections", metadata_key(f"{group}/image"), "does not describe the level")
    for axis, n in zip("yx", shape, strict=True):
        positions = level_positions(n, commit.resolution_um or 1.0, commit.downsample + level)
        for key, words in _coordinate_problems(place, f"{group}/{axis}", positions):
            yield Problem("sections", key, words)


def _object_problems(
    place: Place, layer: Layer, array: ImageArray, z: int, *, full: bool
) -> Generator[Problem, None, Objects]:
    """Yield what is wrong with the objects of one z, and return which there are."""
    found = Objects()
    for key in array.keys(z):
        end = place.tail(key, 0)
        if end is None:
            continue
        data = place.get(key) if full else None
        found += (
            Objects(n=1, n_bytes=end[0]) if data is None else object_of(key, data, array.chunking.index_bytes)
        )
        words = shard_problem(place, key, array.chunking.index_bytes)
        if words is not None:
            yield Problem(layer, key, words)
    return found


def _sum_problems(
    commit: SectionSummary, layer: Layer, path: str, found: Objects, *, full: bool
) -> Iterator[Problem]:
    wanted = commit.objects.get(layer, Objects())
    if found.n != wanted.n:
        yield Problem(layer, path, f"has {counted(found.n, 'object')} of {wanted.n}")
    elif found.n_bytes != wanted.n_bytes:
        yield Problem(layer, path, f"has {counted(found.n_bytes, 'byte')} of {wanted.n_bytes}")
    elif full and wanted.crc32 != found.crc32:
        yield Problem(layer, path, "is not what was committed: its chunks have other checksums")


def _unreadable(place: Place, layer: Layer, path: str, z: int) -> Iterator[Problem]:
    """Decode all of one z, a row of shards at a time."""
    try:
        array = open_array(place, path)
        step = array.shards[2] if array.shards else array.shape[2]
        for top in range(0, array.shape[2], step):
            _ = array[:, z, top : top + step]
    except StoreItemError as error:
        yield Problem(layer, path, f"does not decode ({error.message})")


def unvouched_problems(
    place: Place,
    data_set_id: int,
    view: str,
    commits: Mapping[int, SectionSummary],
    registered: RegisteredLayout | None,
) -> list[tuple[int, Problem]]:
    """Return what lies in a view though no commit vouches for it: pairs of an image id and a problem."""
    found: list[tuple[int, Problem]] = []

    def look(image_id: int, layer: Layer, path: str) -> None:
        if image_id not in commits or layer not in commits[image_id].layers:
            found.append((image_id, Problem(layer, path, "is there, and no commit vouches for it")))

    for name in place.names_below(source_folder(data_set_id, view)):
        stem, _, ending = name.partition(".")
        if stem.isdecimal() and ending == "jpg":
            look(int(stem), "source", source_key(data_set_id, view, int(stem)))
    for name in place.names_below(sections_path(data_set_id, view)):
        if name.isdecimal() and place.names_below(f"{section_path(data_set_id, view, int(name))}/scale0"):
            look(int(name), "sections", f"{section_path(data_set_id, view, int(name))}/scale0")
    image = planes_path(data_set_id, view)
    images = {} if registered is None else {slot.z: slot.image_id for slot in registered.slots}
    for name in place.names_below(image):
        parts = name.split(".")
        image_id = images.get(int(parts[2])) if len(parts) == 5 and parts[2].isdecimal() else None
        if image_id is not None:
            look(image_id, "registered", f"{image}/{name}")
    return found


def summary_is_stale(place: Place, data_set_id: int, view: str) -> bool:
    """Tell whether the summary of a view says anything else than its commits."""
    summaries = place.ours(data_set_path(data_set_id)).get("summary")
    found = summaries.get(view) if isinstance(summaries, dict) else None
    if found is None:
        return False
    summary = summarize(place, read_commits(place, data_set_id, view).values())
    return bool(found != msgspec.json.decode(msgspec.json.encode(summary)))


def group_problem(place: Place, path: str) -> str | None:
    """Return what is wrong with a group that says something of ours, as a phrase that follows its path."""
    attributes = place.attributes(path)
    return "is missing or cannot be read" if attributes is None else checksum_problem(attributes)


def _volume_problems(place: Place, data_set_id: int, view: str, *, full: bool) -> Iterator[tuple[str, str]]:
    layout = read_volume_layout(place, data_set_id, view)
    if layout is None:
        return
    for level, shape in enumerate(layout.level_shapes):
        group = f"{volume_path(data_set_id, view)}/scale{level}"
        array = BlockArray(f"{group}/image", shape, layout.n_channels, layout.codec)
        found = place.read(metadata_key(array.path), parse_array)
        if found is None or found["shape"] != [layout.n_channels, *shape]:
            yield metadata_key(array.path), "does not describe the level"
            continue
        for axis, n in zip("zyx", shape, strict=True):
            positions = (np.arange(n, dtype=np.float64) + 0.5) * (layout.um * 2**level)
            yield from _coordinate_problems(place, f"{group}/{axis}", positions)
        for region in array.shards():
            words = array.problem(place, region)
            if words is None and full:
                words = _reading_problem(place, array.path, region.slices)
            if words is not None:
                yield array.key(region), words


def volume_problems(
    place: Place, data_set_id: int, view: str, *, full: bool = False
) -> list[tuple[str, str]]:
    """Return what is wrong with the volume of a view, as the ends of its shards tell, or every chunk."""
    return list(_volume_problems(place, data_set_id, view, full=full))


def _coordinate_problems(
    place: Place, path: str, positions: NDArray[np.float64]
) -> Iterator[tuple[str, str]]:
    found = place.read(metadata_key(path), parse_array)
    if found is None or found["shape"] != list(positions.shape):
        yield metadata_key(path), "is missing or cannot be read"
    if place.read(f"{path}/{one_chunk_key(1)}", bytes) != positions.astype("<f8").tobytes():
        yield f"{path}/{one_chunk_key(1)}", "is not as it was written"


def _reading_problem(place: Place, path: str, slices: tuple[slice, ...]) -> str | None:
    try:
        _ = open_array(place, path)[(slice(None), *slices)]
    except StoreItemError as error:
        return f"does not decode ({error.message})"
    return None
