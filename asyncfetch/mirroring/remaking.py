"""What a verification makes again: layers from a JPEG, levels from the finest one, voxels from planes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from asyncfetch.client import Jpeg
from asyncfetch.errors import AsyncFetchError
from asyncfetch.geometry import Box
from asyncfetch.imaging import Jobs, read_header
from asyncfetch.layers.pixels import Pixels
from asyncfetch.layers.pyramid import LevelJobs
from asyncfetch.layout.recipe import CHOSEN
from asyncfetch.mirroring.comparing import ComparingLevels
from asyncfetch.mirroring.volume_source import open_source
from asyncfetch.planning import plan_view
from asyncfetch.planning.regions import tier_box
from asyncfetch.settings import Settings, View
from asyncfetch.store.blocks import BlockArray, halve_block

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from numpy.typing import NDArray

    from asyncfetch.imaging import Pool
    from asyncfetch.mirroring.volume_source import VolumeSource
    from asyncfetch.planning import SectionPlan
    from asyncfetch.store import Commit, Problem, Store, StoredDataSet, VolumeLayout
    from asyncfetch.store.blocks import Region

__all__ = [
    "jpeg_of",
    "level_problem",
    "plans_of",
    "volume_difference",
    "volume_shards",
    "volume_source_of",
    "wrong_facts",
]


def plans_of(
    view: StoredDataSet, commits: Mapping[int, Commit], image_ids: Collection[int]
) -> dict[int, SectionPlan]:
    """Return how the layers of sections are made from their JPEGs, of those that were made so."""
    groups: dict[Settings, set[int]] = {}
    for image_id in image_ids:
        commit = commits[image_id]
        # what came in boxes was decoded in boxes
        if "source" in commit.layers and commit.fetch == "images" and commit.region is None:
            groups.setdefault(_settings_of(commit), set()).add(image_id)
    registered = view.read_registered_layout()
    slots = {} if registered is None else registered.z_by_image
    plans: dict[int, SectionPlan] = {}
    data_set = view.read_section_data_set()
    for settings, ids in groups.items():
        plan = plan_view(data_set, settings.views[0], settings, {}, slots, ids)
        for each in plan.to_fetch:
            if set(each.layers) == set(commits[each.section.id].layers):
                plans[each.section.id] = each
    return plans


def _settings_of(commit: Commit) -> Settings:
    recipe = commit.recipe
    asked = commit.downsample if commit.asked_downsample is None else commit.asked_downsample
    chosen = {name: getattr(recipe, name) for name in CHOSEN}
    # a section without a plane tells neither pitch nor space
    chosen = {name: value for name, value in chosen.items() if value is not None}
    chosen |= {
        "views": (msgspec.convert(commit.view, type=View),),
        "layers": commit.layers,
        "downsample": asked,
        "fetch": "images",
    }
    if commit.view == "expression" and not recipe.numeric_expression:
        chosen.pop("interpolation")
    return Settings(**chosen)


def jpeg_of(view: StoredDataSet, commit: Commit) -> Jpeg:
    """Return the stored JPEG of a section, with the shape that it says itself."""
    data = view.section(commit.image_id).read_jpeg()
    header = read_header(data)
    return Jpeg(data=data, shape=header.shape, n_components=header.n_components, url=commit.url)


#: What a commit says that follows from its record and its JPEG alone.
_FACTS = ("layers", "sha256", "size_bytes", "shape", "downsample", "resolution_um", "image_to_reference")


def wrong_facts(stored: Commit, made: Commit) -> list[str]:
    """Return the names of what a commit says otherwise than it would be said now."""
    wrong = [name for name in _FACTS if _fact(stored, name) != _fact(made, name)]
    return wrong + stored.recipe.differences(made.recipe)


def _fact(commit: Commit, name: str) -> Any:
    value = getattr(commit, name)
    return set(value) if name == "layers" else value


def level_problem(pool: Pool, view: StoredDataSet, commit: Commit) -> Problem | None:
    """Halve the finest level once more, a row of shards at a time, and compare the others with what it gives."""
    levels = ComparingLevels(view, commit)
    finest = view.section(commit.image_id).open_levels()[0]
    stored = Box.of_shape(commit.shape)
    if commit.region is not None:
        stored = tier_box(commit.region, commit.downsample, commit.shape)
    height = levels.shard_shape(0)[0]
    rows = [
        Box(top, 0, top + height, commit.shape[1]).intersect(stored)
        for top in range(0, commit.shape[0], height)
    ]
    sources = [Pixels(row) for row in rows if not row.is_empty]
    jobs = Jobs()
    LevelJobs(jobs, pool.buffers, levels, sources)
    for source in sources:
        pixels = np.asarray(finest[(slice(None), 0, *source.box.slices)])
        source.fill(pixels.transpose(1, 2, 0))
        jobs.arrive(source)
        jobs.finish()
    return levels.problem


def volume_source_of(store: Store, view: StoredDataSet, layout: VolumeLayout) -> VolumeSource | None:
    """Return what a volume is made from, None where that is no longer what it was made from."""
    source = open_source(store, view.id, view.view, layout.um, layout.max_gap_um, layout.codec, {})
    return source if source.layout == layout else None


def volume_shards(view: StoredDataSet, layout: VolumeLayout) -> Iterator[tuple[int, BlockArray, Region]]:
    """Yield the shards of a volume, each with its level."""
    for level, array in enumerate(view.volume_arrays(layout)):
        for region in array.shards():
            yield level, array, region


def volume_difference(
    view: StoredDataSet, source: VolumeSource, level: int, array: BlockArray, region: Region
) -> str | None:
    """Return what is wrong with the voxels of one shard."""
    try:
        levels = view.open_volume_levels()
        stored = np.asarray(levels[level][(slice(None), *region.slices)])
        if level:
            finer = np.asarray(levels[level - 1][(slice(None), *region.scaled(2).slices)])
            made: NDArray[np.uint8] = halve_block(finer.transpose(1, 2, 3, 0))
        else:
            made = source.voxels(region)
    except AsyncFetchError as error:
        return f"does not decode ({error.message})"
    is_same = np.array_equal(stored, made.transpose(3, 0, 1, 2))
    return None if is_same else "is not what the planes give"
