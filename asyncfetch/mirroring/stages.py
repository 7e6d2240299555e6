"""What happens to one section: fetched and proved, written layer by layer, committed last."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from asyncfetch.geometry import Box, full_to_tier, tiles_of
from asyncfetch.imaging import Jobs, PlaneWarp, decode, n_means_of, prepare_source
from asyncfetch.mirroring.levels import LevelJobs
from asyncfetch.mirroring.pixels import Pixels
from asyncfetch.mirroring.plan import interpolation_of
from asyncfetch.mirroring.planes import PlaneJobs
from asyncfetch.store import Commit, SectionAffine
from asyncfetch.store.layout import shard_shape

if TYPE_CHECKING:
    from collections.abc import Buffer

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Client, Jpeg
    from asyncfetch.geometry import Affine2D
    from asyncfetch.imaging import Buffers, Pool
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
        decoded = Decoded(client.pool.buffers, plan.shape, plan.proof_halvings)
        try:
            jpeg, pixels = await client.fetch_jpeg(
                plan.request, expected_shape=plan.shape, check=decoded.decode, parked=reservation.lent
            )
            return await write_layers(client.pool, writer, view_plan, plan, jpeg, pixels, settings)
        finally:
            decoded.give_back()


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
    work = _SectionWork(pool.buffers, writer, view_plan, plan, settings)
    if not work.is_heavy:
        # what takes some milliseconds is one visit to a thread: each costs as much as the writing of a file
        return await pool.run(work.do_all, jpeg, pixels)
    await pool.run(work.begin, jpeg, pixels)
    await pool.work(work.jobs)
    return await pool.run(work.commit)


class Decoded:
    """Decode into arrays that are lent, and give them back at the end.

    Parameters
    ----------
    buffers : Buffers
        What lends them, once there is something to decode.
    shape : tuple of int
        (y, x) of the JPEG.
    reduce : int
        How often it is halved.
    """

    def __init__(self, buffers: Buffers, shape: tuple[int, int], reduce: int) -> None:
        self._buffers = buffers
        self._n_bytes = 3 * (-(-shape[0] >> reduce)) * (-(-shape[1] >> reduce))
        self._reduce = reduce
        self._lent: list[NDArray[np.uint8]] = []

    def decode(self, data: Buffer) -> NDArray[np.uint8]:
        """Decode a JPEG of that shape; raises what :func:`asyncfetch.imaging.decode` raises.

        An array whose decoding failed goes back at once: whoever asks again waits without it. Two answers to one
        question get an array each.
        """
        buffer = self._buffers.take(self._n_bytes)
        try:
            pixels = decode(data, reduce=self._reduce, buffer=buffer)
        except BaseException:
            self._buffers.give(buffer)
            raise
        self._lent.append(buffer)
        return pixels

    def give_back(self) -> None:
        """Give back what is lent; its pixels are lost."""
        while self._lent:
            self._buffers.give(self._lent.pop())


class _SectionWork:
    """Turn one JPEG into the layers of a section, job by job."""

    def __init__(
        self,
        buffers: Buffers,
        writer: StoreWriter,
        view_plan: ViewPlan,
        plan: SectionPlan,
        settings: Settings,
    ) -> None:
        self.jobs = Jobs()
        self._buffers = buffers
        self._writer = writer
        self._view_plan = view_plan
        self._plan = plan
        self._settings = settings
        self._place = (view_plan.data_set.id, plan.view, plan.section.id)
        self._commit: Commit | None = None

    @property
    def is_heavy(self) -> bool:
        """Whether there is work for more than one thread."""
        grid = self._view_plan.grid
        is_large = grid is not None and grid.shape != _first_shard(grid.shape)
        return "sections" in self._plan.layers or ("registered" in self._plan.layers and is_large)

    def do_all(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> Commit:
        self.begin(jpeg, pixels)
        self.jobs.work()
        if self.jobs.error is not None:
            raise self.jobs.error
        return self.commit()

    def begin(self, jpeg: Jpeg, pixels: NDArray[np.uint8] | None) -> None:
        """Make room in the store, write the JPEG, and find out which jobs there are."""
        plan, writer = self._plan, self._writer
        self._commit = _describe(self._view_plan, plan, jpeg, self._settings)
        kept = _kept_layers(plan, self._commit)
        layers = [layer for layer in plan.layers if layer not in kept]
        writer.begin_section(*self._place, keep=kept)
        if "source" in layers:
            writer.write_source(*self._place, jpeg.data, (*jpeg.shape, jpeg.n_components))
        decoded: dict[int, Pixels] = {}
        if "sections" in layers:
            levels = writer.create_levels(
                *self._place, plan.shape, downsample=plan.downsample, resolution_um=plan.section.resolution
            )
            decoded[0] = Pixels(Box.of_shape(plan.shape))
            LevelJobs(self.jobs, self._buffers, levels, [decoded[0]])
        if "registered" in layers:
            self._add_plane(
                decoded.setdefault(plan.n_halvings, Pixels(_reduced(plan.shape, plan.n_halvings)))
            )
        for n_halvings, target in decoded.items():
            if pixels is not None and n_halvings == plan.proof_halvings:
                target.fill(pixels)
                self.jobs.arrive(target)
            else:
                self.jobs.add(target, partial(self._decode, jpeg, n_halvings, target))

    def commit(self) -> Commit:
        if self._commit is None:
            raise AssertionError("a section is begun before it is committed")
        self._writer.commit(self._commit)
        return self._commit

    def _decode(self, jpeg: Jpeg, n_halvings: int, target: Pixels) -> None:
        decoded = Decoded(self._buffers, self._plan.shape, n_halvings)
        target.fill(decoded.decode(jpeg.data), decoded.give_back)

    def _add_plane(self, source: Pixels) -> None:
        plan, grid, settings = self._plan, self._view_plan.grid, self._settings
        if grid is None or plan.grid_to_image is None or plan.z is None:
            raise AssertionError(
                "a section planned for the layer registered has a grid, a place on it and a slot"
            )
        grid_to_source = full_to_tier(plan.downsample + plan.n_halvings) @ plan.grid_to_image
        interpolation = interpolation_of(plan.view, settings)
        n_means = 0 if interpolation == "nearest" else n_means_of(grid_to_source, source.box.shape)
        if n_means:
            source = self._averaged(source, grid_to_source, n_means)
            grid_to_source = full_to_tier(n_means) @ grid_to_source
        warp = PlaneWarp(grid_to_source, grid.shape, source.box.shape, interpolation=interpolation)
        write = partial(self._writer.write_registered_shard, self._view_plan.data_set.id, plan.view, plan.z)
        PlaneJobs(self.jobs, self._buffers, warp, grid.shape, [source], write)

    def _averaged(self, source: Pixels, grid_to_source: Affine2D, n_means: int) -> Pixels:
        height, width = source.box.shape
        averaged = Pixels(Box(0, 0, height >> n_means, width >> n_means))
        source.expect()

        def average() -> None:
            averaged.fill(prepare_source(source.array, grid_to_source)[0])
            source.release()

        self.jobs.add(averaged, average, [source])
        return averaged


def _reduced(shape: tuple[int, int], n_halvings: int) -> Box:
    """Return all pixels of an image that is halved while it is decoded: libjpeg rounds up."""
    return Box(0, 0, -(-shape[0] >> n_halvings), -(-shape[1] >> n_halvings))


def _first_shard(shape: tuple[int, int]) -> tuple[int, int]:
    return next(tiles_of(shape, shard_shape(shape))).shape


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
