"""What happens to one section: fetched and proved, written layer by layer, committed last."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from asyncfetch.engine.groups import share_out
from asyncfetch.errors import ImageSizeError, ImageTierError
from asyncfetch.geometry import Box
from asyncfetch.layers.pixels import Decoded
from asyncfetch.layers.section import LayerJobs
from asyncfetch.mirroring.sizes import SizeLog
from asyncfetch.planning import Origin
from asyncfetch.planning.regions import box_request, is_box_shape

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Client, Jpeg
    from asyncfetch.engine import Acceptance, Companion
    from asyncfetch.imaging import Pool
    from asyncfetch.layers.pixels import Pixels
    from asyncfetch.layers.sink import Sink
    from asyncfetch.layout.commit import Commit
    from asyncfetch.planning import SectionPlan

__all__ = ["mirror_section", "write_layers"]


async def mirror_section(
    client: Client,
    sink: Sink,
    plan: SectionPlan,
    sizes: SizeLog | None = None,
    companion: Companion | None = None,
) -> Commit:
    """Bring one section into the store.

    The budget is reserved before the request opens and held until the commit. A body can only be proved whole by
    decoding it, so the first decoding is part of the request: where it fails, the API is asked again. An image that
    comes in another size than was expected is taken as what it is, where it is the section at all; one that is much
    larger is asked for once more, with the memory that it needs.

    What the store holds already and vouches for stays as it is: with the same JPEG, only the layers that are
    missing are written, and the old commit holds until the new one takes its place. The companion goes along with every
    request of the section.

    Raises
    ------
    AsyncFetchError
        The section is unavailable; nothing of it is committed.
    """
    sizes = SizeLog() if sizes is None else sizes
    shape = sizes.expected_shape(plan)
    if shape != plan.shape:
        plan = plan.expecting(shape)
    try:
        commit = await _mirror(client, sink, plan, sizes, companion)
    except ImageTierError as error:
        larger = error.actual
        if larger is None or larger == plan.shape or not plan.is_one_jpeg:
            raise
        plan = plan.expecting(larger)
        commit = await _mirror(client, sink, plan, sizes, companion)
    sizes.saw(plan, commit)
    return commit


async def _mirror(
    client: Client,
    sink: Sink,
    plan: SectionPlan,
    sizes: SizeLog,
    companion: Companion | None,
) -> Commit:
    async with client.reserve(plan.working_bytes) as reservation:
        if plan.blocks:
            # several requests at once cannot lend one reservation to others while one of them waits
            return await _mirror_blocks(client, sink, plan, sizes, companion)
        has_levels = plan.recipe.numeric_expression
        decoded = Decoded(client.pool.buffers, plan.proof_halvings, has_levels=has_levels)
        layers = _Layers(client.pool.buffers, sink, plan)

        def write(jpeg: Jpeg, accept: Acceptance) -> Commit:
            try:
                pixels = decoded.decode(jpeg.data)
                accept()
                return layers.write(jpeg, pixels)
            finally:
                # before the thread takes the next image, for which the array would not be back from the event loop
                decoded.give_back()

        async with layers.helped_by(client.pool):
            _, commit = await client.fetch_jpeg(
                plan.request,
                plan.shape,
                admits=plan.admits,
                check=write,
                parked=reservation.lent,
                companion=companion,
            )
        return commit


async def write_layers(
    pool: Pool,
    sink: Sink,
    plan: SectionPlan,
    jpeg: Jpeg,
    pixels: NDArray[np.uint8] | None = None,
) -> Commit:
    """Make the layers of one section from its JPEG, and commit it; nothing is fetched.

    Parameters
    ----------
    pool : Pool
        The threads that the work is done on.
    sink : Sink
        Where the view of the section is written.
    plan : SectionPlan
        What is made of the section; what the store vouches for is kept.
    jpeg : Jpeg
        The image, as the server sent it.
    pixels : (y, x, 3) array of uint8, optional
        The JPEG, decoded with `SectionPlan.proof_halvings`; without them it is decoded here.

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
    layers = _Layers(pool.buffers, sink, plan)
    async with layers.helped_by(pool):
        return await pool.run(layers.write, jpeg, pixels)


class _Layers(LayerJobs):
    """The layers of one section while they are made and committed, as :func:`write_layers` does.

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

    def write(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> Commit:
        """Write and commit, on a thread of the pool."""
        commit = self._bring_all(jpeg, pixels)
        if self._call_help is not None:
            self._call_help()
        self.jobs.finish()
        self._sink.commit(commit)
        return commit

    def _bring_all(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> Commit:
        proof_halvings = self._plan.proof_halvings
        plan = self._plan = self._plan.of_shape(jpeg.shape)
        origin = _origin_of(jpeg)
        kept = plan.kept_layers(origin)
        self.begin(kept, jpeg)
        whole = [Box.of_shape(jpeg.shape)]
        targets: list[Pixels] = []
        if "sections" in plan.layers and "sections" not in kept:
            targets = self.add_levels(whole)
        if "registered" in plan.layers and "registered" not in kept:
            planes = self.add_plane(whole, targets)
            targets += [each for each in planes if each not in targets]
        self.bring(jpeg, targets, None if pixels is None else (proof_halvings, pixels))
        return plan.commit(origin, _now())


async def _mirror_blocks(
    client: Client,
    sink: Sink,
    plan: SectionPlan,
    sizes: SizeLog,
    companion: Companion | None,
) -> Commit:
    """Bring one section into the store box by box; the layer ``source`` is still the JPEG of the whole image."""
    pool = client.pool
    # what comes in boxes is not the JPEG that is stored
    kept = plan.kept_of_another
    has_levels = plan.recipe.numeric_expression
    origin: Origin | None = None
    if plan.is_one_jpeg:
        decoded = Decoded(pool.buffers, plan.proof_halvings, has_levels=has_levels)
        try:
            jpeg, pixels = await client.fetch_jpeg(
                plan.request,
                expected_shape=plan.shape,
                admits=plan.admits,
                check=lambda jpeg, _accept: decoded.decode(jpeg.data),
                companion=companion,
            )
            n_halvings = plan.proof_halvings
            plan = plan.of_shape(jpeg.shape)
            work = LayerJobs(pool.buffers, sink, plan)
            origin = await pool.run(_origin_of, jpeg)
            await pool.run(work.begin, kept, jpeg)
            if plan.is_plane_of_jpeg:
                work.bring(jpeg, work.add_plane([Box.of_shape(jpeg.shape)]), (n_halvings, pixels))
                await pool.work(work.jobs)
        finally:
            decoded.give_back()
    else:
        work = LayerJobs(pool.buffers, sink, plan)
        await pool.run(work.begin, kept, None)
    boxes: list[Pixels] = []
    planes: list[Pixels] = []
    if "sections" in plan.layers and "sections" not in kept:
        boxes = await pool.run(work.add_levels, plan.blocks)
    if plan.is_plane_of_blocks and "registered" not in kept:
        planes = await pool.run(work.add_plane, plan.blocks, boxes)
    bring = _Boxes(client, plan, work, boxes, planes, companion)
    jpegs = await bring.bring_all()
    for _ in range(bring.n_rounded):
        sizes.saw_box(plan.data_set_id)
    if origin is None:
        origin = Origin(
            url=plan.request.url(client.settings.base_url),
            sha256=hashlib.sha256("".join(digest for digest, _ in jpegs).encode()).hexdigest(),
            size_bytes=sum(size for _, size in jpegs),
        )
    commit = plan.commit(origin, _now())
    await pool.run(sink.commit, commit)
    return commit


class _Boxes:
    """The boxes of a section, brought row by row; what each makes possible is done before the next is asked for.

    Attributes
    ----------
    n_rounded : int
        How many came a pixel larger or smaller than was asked for.
    """

    def __init__(
        self,
        client: Client,
        plan: SectionPlan,
        work: LayerJobs,
        boxes: list[Pixels],
        planes: list[Pixels],
        companion: Companion | None,
    ) -> None:
        self.n_rounded = 0
        self._client = client
        self._plan = plan
        self._work = work
        self._boxes = boxes
        self._planes = planes
        self._companion = companion
        self._found: dict[int, tuple[str, int]] = {}

    async def bring_all(self) -> list[tuple[str, int]]:
        """Return digest and size of the JPEG of each box, once all have come."""
        n_blocks = len(self._plan.blocks)
        await share_out(range(n_blocks), self._bring_one, self._plan.n_blocks_at_once)
        return [self._found[k] for k in range(n_blocks)]

    async def _bring_one(self, k: int) -> None:
        pool = self._client.pool
        targets = [each[k] for each in (self._boxes, self._planes) if each]
        targets = targets[:1] if targets[0] is targets[-1] else targets
        decoded = Decoded(
            pool.buffers,
            0 if self._boxes else self._plan.n_halvings,
            shape=targets[0].box.shape,
            has_levels=self._plan.recipe.numeric_expression,
            fill=self._plan.recipe.fill,
        )
        jpeg, pixels = await self._fetch(self._plan.blocks[k], decoded.decode)
        self._found[k] = (hashlib.sha256(jpeg.data).hexdigest(), len(jpeg.data))
        targets[0].fill(pixels, decoded.give_back)
        self._work.jobs.arrive(targets[0])
        self._work.bring(jpeg, targets[1:])
        await pool.work(self._work.jobs)

    async def _fetch[T](self, block: Box, check: Callable[[bytes], T]) -> tuple[Jpeg, T]:
        plan = self._plan
        slide = (plan.section.x or 0, plan.section.y or 0)
        request = box_request(plan.request, block, plan.downsample, slide)
        try:
            jpeg, made = await self._client.fetch_jpeg(
                request,
                expected_shape=block.shape,
                admits=lambda shape: is_box_shape(shape, block, plan.downsample),
                check=lambda jpeg, _accept: check(jpeg.data),
                companion=self._companion,
            )
        except ImageSizeError as error:
            if error.actual is not None and plan.admits(error.actual):
                height, width = block.shape
                asked = f"the whole image came where a box of {height} x {width} pixels was asked for"
                error.args = (
                    f"{error.message}; {asked}: mirror it with --fetch images and without a region",
                )
            raise
        self.n_rounded += jpeg.shape != block.shape
        return jpeg, made


def _origin_of(jpeg: Jpeg) -> Origin:
    return Origin(jpeg.url, hashlib.sha256(jpeg.data).hexdigest(), len(jpeg.data))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
