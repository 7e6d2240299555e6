"""The layers of one section as jobs: from decoded pixels, whole or in boxes, to what the store holds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from asyncfetch.geometry import Box, full_to_tier
from asyncfetch.imaging import Jobs, PlaneWarp, average
from asyncfetch.layers.pixels import Decoded, Pixels
from asyncfetch.layers.plane import PlaneJobs
from asyncfetch.layers.pyramid import LevelJobs
from asyncfetch.layout.paths import plane_chunking

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.client import Jpeg
    from asyncfetch.imaging import Buffers
    from asyncfetch.layers.sink import Sink
    from asyncfetch.planning import SectionPlan
    from asyncfetch.settings import Layer

__all__ = ["LayerJobs"]


class LayerJobs:
    """The jobs that turn the JPEGs of a section into its layers.

    First `begin`, then `add_levels` and `add_plane` with the boxes in which pixels are going to come, then `bring` for
    each JPEG; what is in `jobs` can be done from then on.

    Parameters
    ----------
    buffers : Buffers
        Lends the large arrays.
    sink : Sink
        Where the view of the section is written.
    plan : SectionPlan
        What is to be done.

    Attributes
    ----------
    jobs : Jobs
        What there is to do.
    """

    def __init__(
        self,
        buffers: Buffers,
        sink: Sink,
        plan: SectionPlan,
    ) -> None:
        self.jobs = Jobs()
        self._buffers = buffers
        self._sink = sink
        self._plan = plan

    @property
    def are_heavy(self) -> bool:
        """Whether there is work for more than one thread."""
        grid = self._plan.grid
        is_large = grid is not None and len(list(plane_chunking(grid.shape).places())) > 1
        return "sections" in self._plan.layers or ("registered" in self._plan.layers and is_large)

    def begin(self, kept: Collection[Layer], jpeg: Jpeg | None) -> None:
        """Make room in the store for all but the layers that are kept, and write the JPEG where it is wanted."""
        self._sink.begin_section(self._plan.section.id, keep=kept)
        if jpeg is not None and "source" in self._plan.layers and "source" not in kept:
            self._sink.write_source(self._plan.section.id, jpeg.data)

    def add_levels(self, boxes: Sequence[Box]) -> list[Pixels]:
        """Write the layer ``sections`` from boxes of the tier, which are returned to be brought."""
        plan = self._plan
        levels = self._sink.create_levels(
            plan.section.id,
            plan.shape,
            codec=plan.recipe.codec,
            downsample=plan.downsample,
            resolution_um=plan.section.resolution,
        )
        sources = [Pixels(box) for box in boxes]
        LevelJobs(self.jobs, self._buffers, levels, sources)
        return sources

    def add_plane(self, boxes: Sequence[Box], brought: Sequence[Pixels] = ()) -> list[Pixels]:
        """Write the registered plane from boxes of the tier, each halved while it is decoded.

        Parameters
        ----------
        boxes : sequence of Box
            In pixels of the tier.
        brought : sequence of Pixels
            The same boxes as they are going to come for the levels; used where the plane needs them unreduced.

        Returns
        -------
        list of Pixels
            In the order of the boxes; to be brought.
        """
        plan, grid, recipe = self._plan, self._plan.grid, self._plan.recipe
        if grid is None or plan.grid_to_image is None or plan.z is None:
            raise AssertionError(
                "a section planned for the layer registered has a grid, a position on it and a slot"
            )
        decoded = list(brought)
        if plan.n_halvings or not decoded:
            decoded = [Pixels(_halved(box, plan.n_halvings)) for box in boxes]
        grid_to_tier = full_to_tier(plan.downsample + plan.n_halvings) @ plan.grid_to_image
        sources = [self._averaged(each) for each in decoded] if plan.n_means else decoded
        whole = _averaged_box(_halved(Box.of_shape(plan.shape), plan.n_halvings), plan.n_means)
        window = _averaged_box(_halved(plan.extent, plan.n_halvings), plan.n_means)
        warp = PlaneWarp(
            full_to_tier(plan.n_means) @ grid_to_tier if plan.n_means else grid_to_tier,
            grid.shape,
            whole.shape,
            interpolation=recipe.interpolation,
            fill=recipe.fill,
            averaged=plan.downsample + plan.n_halvings + plan.n_means > 0,
            window=window,
        )
        write = partial(self._sink.write_registered_shard, plan.z)
        PlaneJobs(self.jobs, self._buffers, warp, grid.shape, sources, write, fill=recipe.fill)
        return decoded

    def bring(
        self,
        jpeg: Jpeg,
        targets: Sequence[Pixels],
        decoded: tuple[int, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Bring a JPEG for everything that is made of its box.

        Parameters
        ----------
        jpeg : Jpeg
            The image or the box.
        targets : sequence of Pixels
            What is to be filled; those that are smaller than the JPEG are halved while it is decoded.
        decoded : (int, (y, x, 3) array of uint8), optional
            The JPEG as it was decoded already, and how often it was halved; it stays the caller's.
        """
        for target in targets:
            n_halvings = 0 if target.box.shape == jpeg.shape else self._plan.n_halvings
            if decoded is not None and decoded[0] == n_halvings:
                target.fill(decoded[1])
                self.jobs.arrive(target)
            else:
                self.jobs.add(target, partial(self._decode, jpeg, n_halvings, target))

    def _decode(self, jpeg: Jpeg, n_halvings: int, target: Pixels) -> None:
        decoded = Decoded(
            self._buffers,
            n_halvings,
            shape=target.box.shape,
            has_levels=self._plan.recipe.numeric_expression,
            fill=self._plan.recipe.fill,
        )
        target.fill(decoded.decode(jpeg.data), decoded.give_back)

    def _averaged(self, source: Pixels) -> Pixels:
        target = Pixels(_averaged_box(source.box, self._plan.n_means))
        source.expect()

        def make() -> None:
            target.fill(average(source.array, self._plan.n_means))
            source.release()

        self.jobs.add(target, make, [source])
        return target


def _halved(box: Box, n_halvings: int) -> Box:
    """Return the pixels that a box becomes when it is halved while it is decoded: libjpeg rounds up."""
    y0, x0, y1, x1 = box
    return Box(y0 >> n_halvings, x0 >> n_halvings, -(-y1 >> n_halvings), -(-x1 >> n_halvings))


def _averaged_box(box: Box, n_means: int) -> Box:
    """Return the pixels that a box becomes when its means are taken: an incomplete last one is dropped."""
    y0, x0, y1, x1 = (side >> n_means for side in box)
    return Box(y0, x0, y1, x1)
