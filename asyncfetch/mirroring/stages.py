"""What happens to one section: fetched and proved, written layer by layer, committed last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio

from asyncfetch.geometry import full_to_tier, tiles_of
from asyncfetch.imaging import decode, halve, prepare_source, warp
from asyncfetch.mirroring.plan import interpolation_of
from asyncfetch.store import Commit, SectionAffine
from asyncfetch.store.layout import shard_shape

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Client, Jpeg
    from asyncfetch.geometry import Box
    from asyncfetch.imaging import Pool
    from asyncfetch.mirroring.plan import SectionPlan, ViewPlan
    from asyncfetch.settings import Layer, Settings
    from asyncfetch.store import SectionLevels, StoreWriter

__all__ = ["mirror_section", "write_layers"]


async def mirror_section(
    client: Client, writer: StoreWriter, view_plan: ViewPlan, plan: SectionPlan, settings: Settings
) -> Commit:
    """Bring one section into the store.

    The budget is reserved before the request opens and held until the commit. A body can only be proved whole by
    decoding it, so the first decoding is part of the request: where it fails, the API is asked again.

    What the store holds already and vouches for stays as it is: with the same JPEG, only the layers that are
    missing are written, and the old commit holds until the new one takes its place.

    Raises
    ------
    AsyncFetchError
        The section could not be had; nothing of it is committed.
    """
    async with client.reserve(plan.working_bytes) as reservation:
        jpeg, pixels = await client.fetch_jpeg(
            plan.request,
            expected_shape=plan.shape,
            check=partial(decode, reduce=plan.proof_halvings),
            parked=reservation.lent,
        )
        return await write_layers(client.pool, writer, view_plan, plan, jpeg, pixels, settings)


async def write_layers(
    pool: Pool,
    writer: StoreWriter,
    view_plan: ViewPlan,
    plan: SectionPlan,
    jpeg: Jpeg,
    pixels: NDArray[np.uint8] | None,
    settings: Settings,
) -> Commit:
    """Make the layers of one section from its JPEG, and commit it; nothing is fetched.

    Parameters
    ----------
    pool : Pool
        The threads that the work is done on.
    writer : StoreWriter
        The store; the view is begun.
    view_plan : ViewPlan
        The view that the section belongs to.
    plan : SectionPlan
        What is made of the section; what the store vouches for is kept.
    jpeg : Jpeg
        The image, as the server sent it.
    pixels : (y, x, 3) array of uint8, optional
        The JPEG, decoded with `SectionPlan.proof_halvings`; without them it is decoded here.
    settings : Settings
        How planes are sampled and pixels compressed.

    Returns
    -------
    Commit
        As it stands in the store.

    Raises
    ------
    CorruptImageError
        The JPEG does not decode to its end.
    StoreError
        The store cannot be written.
    """
    commit = await pool.run(_describe, view_plan, plan, jpeg, settings)
    kept = _kept_layers(plan, commit)
    layers = [layer for layer in plan.layers if layer not in kept]
    place = (view_plan.data_set.id, plan.view, plan.section.id)
    await pool.run(partial(writer.begin_section, *place, keep=kept))
    if "source" in layers:
        await pool.run(writer.write_source, *place, jpeg.data, (*jpeg.shape, jpeg.n_components))
    if "sections" in layers:
        if pixels is None or plan.proof_halvings:
            pixels = await pool.run(decode, jpeg.data)
        await _write_sections(pool, writer, view_plan, plan, pixels)
    if "registered" in layers:
        if pixels is None or plan.n_halvings != plan.proof_halvings:
            pixels = await pool.run(partial(decode, jpeg.data, reduce=plan.n_halvings))
        await _write_registered(pool, writer, view_plan, plan, pixels, settings)
    await pool.run(writer.commit, commit)
    return commit


def _kept_layers(plan: SectionPlan, commit: Commit) -> tuple[Layer, ...]:
    """Return the layers that the store holds and that need not be written again."""
    stored = plan.stored
    if stored is None:
        return ()
    is_same_jpeg = (stored.sha256, stored.downsample) == (commit.sha256, commit.downsample)
    kept = set(stored.layers) if is_same_jpeg else set()
    if plan.grid_to_image is not None and stored.um != commit.um:
        kept.discard("registered")
    elif plan.grid_to_image is None and "registered" in stored.layers:
        # no plane was asked for, so the one there is stays
        kept.add("registered")
    return tuple(layer for layer in stored.layers if layer in kept)


async def _write_sections(
    pool: Pool, writer: StoreWriter, view_plan: ViewPlan, plan: SectionPlan, pixels: NDArray[np.uint8]
) -> None:
    """Write all levels; the shards of a level are written side by side, each by one thread."""
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
    pool: Pool,
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
    shape = view_plan.grid.shape
    grid_to_source = full_to_tier(plan.downsample + plan.n_halvings) @ plan.grid_to_image
    interpolation = interpolation_of(plan.view, settings)
    if interpolation != "nearest":
        pixels, grid_to_source = await pool.run(prepare_source, pixels, grid_to_source)
    place = (view_plan.data_set.id, plan.view, plan.z)

    def register(box: Box) -> None:
        tile = warp(pixels, grid_to_source, shape, box=box, interpolation=interpolation)
        writer.write_registered(*place, tile, origin=(box.y0, box.x0))

    # shard by shard: a plane at the pitch of the image is as large as the image, and nobody reserved that
    async with anyio.create_task_group() as tasks:
        for box in tiles_of(shape, shard_shape(shape)):
            tasks.start_soon(pool.run, register, box)


def _describe(view_plan: ViewPlan, plan: SectionPlan, jpeg: Jpeg, settings: Settings) -> Commit:
    section = plan.section
    um, interpolation, parallel = None, interpolation_of(plan.view, settings), settings.parallel
    if plan.grid_to_image is not None and view_plan.grid is not None:
        um = view_plan.grid.um
    elif plan.stored is not None and "registered" in plan.stored.layers:
        um, interpolation, parallel = plan.stored.um, plan.stored.interpolation, plan.stored.parallel
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
        um=um,
        codec=settings.codec,
        interpolation=interpolation,
        parallel=parallel,
        image_to_reference=SectionAffine.of(view_plan.data_set, section),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
