"""What happens to one section: fetched and proved, written layer by layer, committed last."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.lowlevel

from asyncfetch.errors import AsyncFetchError
from asyncfetch.geometry import Box
from asyncfetch.mirroring.layers import LayerJobs
from asyncfetch.mirroring.pixels import Decoded
from asyncfetch.mirroring.plan import interpolation_of, is_numeric
from asyncfetch.mirroring.regions import box_request, full_box
from asyncfetch.mirroring.report import first_error
from asyncfetch.store import Commit, SectionAffine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Client, Jpeg
    from asyncfetch.imaging import Pool
    from asyncfetch.mirroring.pixels import Pixels
    from asyncfetch.mirroring.plan import SectionPlan, ViewPlan
    from asyncfetch.settings import Layer, Settings
    from asyncfetch.store import StoreWriter

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
        if plan.blocks:
            # several requests at once cannot lend one reservation to others while one of them waits
            return await _mirror_blocks(client, writer, view_plan, plan, settings)
        decoded = Decoded(
            client.pool.buffers,
            plan.shape,
            plan.proof_halvings,
            has_levels=is_numeric(plan.view, settings),
        )
        layers = _Layers(client.pool.buffers, writer, view_plan, plan, settings)

        def write(jpeg: Jpeg, pixels: NDArray[np.uint8]) -> Commit | None:
            try:
                return layers.write(jpeg, pixels)
            finally:
                # before the thread takes the next image, for which the array would not be back from the event loop
                decoded.give_back()

        async with layers.helped_by(client.pool):
            _, commit = await client.fetch_jpeg(
                plan.request, plan.shape, check=decoded.decode, then=write, parked=reservation.lent
            )
        return await _whole(commit)


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
    layers = _Layers(pool.buffers, writer, view_plan, plan, settings)
    async with layers.helped_by(pool):
        commit = await pool.run(layers.write, jpeg, pixels)
    return await _whole(commit)


async def _whole(commit: Commit | None) -> Commit:
    """Return a commit; there is none only where the task was cancelled, which is raised here."""
    if commit is None:
        await anyio.lowlevel.checkpoint()
        raise AssertionError("the jobs of a section stop only where its task is cancelled")
    return commit


class _Layers(LayerJobs):
    """Make the layers of one section, and commit it, as :func:`write_layers` does.

    All of it is one visit to a thread: each costs as much as the writing of a file, and a decoded image that waits for
    the next one takes memory and leaves the cache. Other threads help where there is enough to do.
    """

    _call_help: Callable[[], None] | None = None

    @asynccontextmanager
    async def helped_by(self, pool: Pool) -> AsyncIterator[None]:
        """Let idle threads of a pool help with what is written within the block, if it is much."""
        if not self.are_heavy:
            yield
            return
        async with pool.helping(self.jobs) as self._call_help:
            yield

    def write(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> Commit | None:
        """Write and commit, on a thread of the pool; None where that was stopped before its end."""
        commit = self._bring_all(jpeg, pixels)
        if self._call_help is not None:
            self._call_help()
        if not self.jobs.finish():
            return None
        self._writer.commit(commit)
        return commit

    def _bring_all(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> Commit:
        plan = self._plan
        origin = _origin_of(jpeg)
        commit = _describe(self._view_plan, plan, origin, self._settings)
        kept = _kept_layers(plan, commit)
        self.begin(kept, jpeg)
        whole = [Box.of_shape(jpeg.shape)]
        targets: list[Pixels] = []
        if "sections" in plan.layers and "sections" not in kept:
            targets = self.add_levels(whole)
        if "registered" in plan.layers and "registered" not in kept:
            planes = self.add_plane(whole, targets)
            targets += [each for each in planes if each not in targets]
        self.bring(jpeg, targets, None if pixels is None else (plan.proof_halvings, pixels))
        return commit


async def _mirror_blocks(
    client: Client, writer: StoreWriter, view_plan: ViewPlan, plan: SectionPlan, settings: Settings
) -> Commit:
    """Bring one section into the store box by box; the layer ``source`` is still the JPEG of the whole image."""
    pool = client.pool
    work = LayerJobs(pool.buffers, writer, view_plan, plan, settings)
    kept = _kept_beside_blocks(plan)
    origin: _Origin | None = None
    if plan.is_one_jpeg:
        decoded = Decoded(
            pool.buffers, plan.shape, plan.proof_halvings, has_levels=is_numeric(plan.view, settings)
        )
        try:
            jpeg, pixels = await client.fetch_jpeg(
                plan.request, expected_shape=plan.shape, check=decoded.decode
            )
            origin = await pool.run(_origin_of, jpeg)
            await pool.run(work.begin, kept, jpeg)
            if plan.is_plane_of_jpeg:
                work.bring(jpeg, work.add_plane([Box.of_shape(jpeg.shape)]), (plan.proof_halvings, pixels))
                await pool.work(work.jobs)
        finally:
            decoded.give_back()
    else:
        await pool.run(work.begin, kept, None)
    boxes: list[Pixels] = []
    planes: list[Pixels] = []
    if "sections" in plan.layers and "sections" not in kept:
        boxes = await pool.run(work.add_levels, plan.blocks)
    if plan.is_plane_of_blocks and "registered" not in kept:
        planes = await pool.run(work.add_plane, plan.blocks, boxes)
    jpegs = await _bring_blocks(client, plan, work, boxes, planes, has_levels=is_numeric(plan.view, settings))
    if origin is None:
        origin = _Origin(
            url=plan.request.url(settings.base_url),
            sha256=hashlib.sha256("".join(digest for digest, _ in jpegs).encode()).hexdigest(),
            size_bytes=sum(size for _, size in jpegs),
        )
    commit = _describe(view_plan, plan, origin, settings)
    await pool.run(writer.commit, commit)
    return commit


async def _bring_blocks(
    client: Client,
    plan: SectionPlan,
    work: LayerJobs,
    boxes: list[Pixels],
    planes: list[Pixels],
    *,
    has_levels: bool,
) -> list[tuple[str, int]]:
    """Ask for the boxes of a section, row by row, and do what each makes possible before the next is asked for.

    Returns
    -------
    list of (str, int)
        Digest and size of the JPEG of each box.
    """
    pool, slide = client.pool, (plan.section.x or 0, plan.section.y or 0)
    found: dict[int, tuple[str, int]] = {}
    pending = iter(range(len(plan.blocks)))

    async def bring() -> None:
        for k in pending:
            block = plan.blocks[k]
            targets = [each[k] for each in (boxes, planes) if each]
            targets = targets[:1] if targets[0] is targets[-1] else targets
            n_halvings = 0 if boxes else plan.n_halvings
            decoded = Decoded(pool.buffers, block.shape, n_halvings, has_levels=has_levels)
            jpeg, pixels = await client.fetch_jpeg(
                box_request(plan.request, block, slide), expected_shape=block.shape, check=decoded.decode
            )
            found[k] = (hashlib.sha256(jpeg.data).hexdigest(), len(jpeg.data))
            targets[0].fill(pixels, decoded.give_back)
            work.jobs.arrive(targets[0])
            work.bring(jpeg, targets[1:])
            await pool.work(work.jobs)

    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(plan.n_blocks_at_once):
                tasks.start_soon(bring)
    except* AsyncFetchError as group:
        raise first_error(group) from None
    return [found[k] for k in range(len(plan.blocks))]


class _Origin(NamedTuple):
    """Say what was fetched."""

    url: str
    sha256: str
    size_bytes: int


def _origin_of(jpeg: Jpeg) -> _Origin:
    return _Origin(jpeg.url, hashlib.sha256(jpeg.data).hexdigest(), len(jpeg.data))


def _kept_beside_blocks(plan: SectionPlan) -> tuple[Layer, ...]:
    """Return the layers that stay when a section comes in boxes: its plane, where none was asked for."""
    stored = plan.stored
    keeps_plane = stored is not None and "registered" in stored.layers and plan.grid_to_image is None
    return ("registered",) if keeps_plane else ()


def _kept_layers(plan: SectionPlan, commit: Commit) -> tuple[Layer, ...]:
    """Return the layers that the store holds and that need not be written again."""
    stored = plan.stored
    if stored is None:
        return ()
    is_same_jpeg = (stored.sha256, stored.downsample) == (commit.sha256, commit.downsample)
    kept = set(stored.layers) if is_same_jpeg else set()
    if stored.numeric_expression != commit.numeric_expression:
        kept &= {"source"}
    if plan.grid_to_image is not None and stored.um != commit.um:
        kept.discard("registered")
    elif plan.grid_to_image is None and "registered" in stored.layers:
        # no plane was asked for, so the one there is stays
        kept.add("registered")
    return tuple(layer for layer in stored.layers if layer in kept)


def _describe(view_plan: ViewPlan, plan: SectionPlan, origin: _Origin, settings: Settings) -> Commit:
    section = plan.section
    um, interpolation = None, interpolation_of(plan.view, settings)
    parallel, fill = settings.parallel, settings.fill
    if plan.grid_to_image is not None and view_plan.grid is not None:
        um = view_plan.grid.um
    elif plan.stored is not None and "registered" in plan.stored.layers:
        um, interpolation = plan.stored.um, plan.stored.interpolation
        parallel, fill = plan.stored.parallel, plan.stored.fill
    return Commit(
        image_id=section.id,
        data_set_id=view_plan.data_set.id,
        view=plan.view,
        layers=plan.layers,
        record=section.record,
        url=origin.url,
        sha256=origin.sha256,
        size_bytes=origin.size_bytes,
        shape=plan.shape,
        downsample=plan.downsample,
        resolution_um=section.resolution,
        section_number=section.section_number,
        um=um,
        codec=settings.codec,
        interpolation=interpolation,
        parallel=parallel,
        numeric_expression=is_numeric(plan.view, settings),
        fill=fill,
        fetch="tiles" if plan.blocks else "images",
        region=None if plan.region is None else full_box(plan.region, plan.downsample),
        image_to_reference=SectionAffine.of(view_plan.data_set, section),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
    )
