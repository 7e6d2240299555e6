"""What happens to one section: fetched and proved, written layer by layer, committed last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio

from asyncfetch.geometry import full_to_tier
from asyncfetch.imaging import decode, halve, prepare_source, warp
from asyncfetch.mirroring.plan import interpolation_of
from asyncfetch.store import Commit, SectionAffine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Client, Jpeg
    from asyncfetch.geometry import Affine2D
    from asyncfetch.mirroring.plan import SectionPlan, ViewPlan
    from asyncfetch.settings import Interpolation, Settings
    from asyncfetch.store import SectionLevels, StoreWriter

__all__ = ["mirror_section"]

#: Decoding at an eighth reads the whole JPEG and costs the least: the proof that a body is complete.
_PROOF_HALVINGS = 3


async def mirror_section(
    client: Client, writer: StoreWriter, view_plan: ViewPlan, plan: SectionPlan, settings: Settings
) -> Commit:
    """Bring one section into the store.

    The budget is reserved before the request opens and held until the commit. A body can only be proved whole by
    decoding it, so the first decoding is part of the request: where it fails, the API is asked again.

    Raises
    ------
    AsyncFetchError
        The section could not be had; nothing of it is committed.
    """
    async with client.reserve(plan.working_bytes):
        jpeg, pixels = await client.fetch_jpeg(
            plan.request, expected_shape=plan.shape, check=partial(decode, reduce=_first_reduction(plan))
        )
        place = (view_plan.data_set.id, plan.view, plan.section.id)
        pool = client.pool
        await pool.run(writer.begin_section, *place)
        if "source" in plan.layers:
            await pool.run(writer.write_source, *place, jpeg.data, (*jpeg.shape, jpeg.n_components))
        if "sections" in plan.layers:
            await _write_sections(client, writer, view_plan, plan, pixels)
            if "registered" in plan.layers and plan.n_halvings:
                pixels = await pool.run(partial(decode, jpeg.data, reduce=plan.n_halvings))
        if "registered" in plan.layers:
            await _write_registered(client, writer, view_plan, plan, pixels, settings)
        commit = _describe(view_plan, plan, jpeg, settings)
        await pool.run(writer.commit, commit)
    return commit


def _first_reduction(plan: SectionPlan) -> int:
    if "sections" in plan.layers:
        return 0
    return plan.n_halvings if "registered" in plan.layers else _PROOF_HALVINGS


async def _write_sections(
    client: Client, writer: StoreWriter, view_plan: ViewPlan, plan: SectionPlan, pixels: NDArray[np.uint8]
) -> None:
    """Write all levels; the shards of a level are written side by side, each by one thread."""
    pool = client.pool
    create = partial(writer.create_levels, downsample=plan.downsample, resolution_um=plan.section.resolution)
    levels: SectionLevels = await pool.run(
        create, view_plan.data_set.id, plan.view, plan.section.id, plan.shape
    )
    for level, (height, width) in enumerate(levels.shapes):
        if level:
            pixels = await pool.run(halve, pixels)
        step_y, step_x = levels.shard_shape(level)
        async with anyio.create_task_group() as tasks:
            for y in range(0, height, step_y):
                for x in range(0, width, step_x):
                    shard = pixels[y : y + step_y, x : x + step_x]
                    tasks.start_soon(pool.run, levels.write, level, (y, x), shard)


async def _write_registered(
    client: Client,
    writer: StoreWriter,
    view_plan: ViewPlan,
    plan: SectionPlan,
    pixels: NDArray[np.uint8],
    settings: Settings,
) -> None:
    if view_plan.grid is None or plan.grid_to_image is None or plan.z is None:
        raise AssertionError(
            "a section planned for the layer registered has a grid, a place on it and a slot"
        )
    grid_to_source = full_to_tier(plan.downsample + plan.n_halvings) @ plan.grid_to_image
    plane = await client.pool.run(
        _register, pixels, grid_to_source, view_plan.grid.shape, interpolation_of(plan.view, settings)
    )
    await client.pool.run(writer.write_registered, view_plan.data_set.id, plan.view, plan.z, plane)


def _register(
    pixels: NDArray[np.uint8],
    grid_to_source: Affine2D,
    shape: tuple[int, int],
    interpolation: Interpolation,
) -> NDArray[np.uint8]:
    if interpolation != "nearest":
        pixels, grid_to_source = prepare_source(pixels, grid_to_source)
    return warp(pixels, grid_to_source, shape, interpolation=interpolation)


def _describe(view_plan: ViewPlan, plan: SectionPlan, jpeg: Jpeg, settings: Settings) -> Commit:
    section = plan.section
    registered = "registered" in plan.layers and view_plan.grid is not None
    return Commit(
        image_id=section.id,
        data_set_id=view_plan.data_set.id,
        view=plan.view,
        layers=plan.layers,
        record=section.record,
        url=jpeg.url,
        sha256=hashlib.sha256(jpeg.data).hexdigest(),
        size_bytes=len(jpeg.data),
        shape=jpeg.shape,
        downsample=plan.downsample,
        resolution_um=section.resolution,
        section_number=section.section_number,
        um=view_plan.grid.um if registered and view_plan.grid else None,
        codec=settings.codec,
        interpolation=interpolation_of(plan.view, settings),
        parallel=settings.parallel,
        image_to_reference=SectionAffine.of(view_plan.data_set, section),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
