"""The plan of one section: everything that is decided before a byte of it is asked for. Pure.

A plan is a value: it pickles, so that it can be carried out in another process, which asks neither the settings nor the
store what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from asyncfetch.allen import ImageRequest
from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import (
    Box,
    full_to_tier,
    last_tier,
    n_means_of,
    tier_for,
    tier_of_shape,
    tier_shape,
)
from asyncfetch.layout.commit import Commit, SectionAffine
from asyncfetch.layout.recipe import is_coded
from asyncfetch.planning.regions import aligned, block_side, blocks_of, full_box, tier_box

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.geometry import Affine2D, ReferenceGrid, SectionGeometry
    from asyncfetch.layout.recipe import Recipe
    from asyncfetch.settings import Fetch, Layer, Settings, View

__all__ = [
    "PIXELS_PER_JPEG_BYTE",
    "Delivery",
    "Origin",
    "SectionPlan",
    "Source",
    "detection_point",
    "last_tier_of",
    "placed",
    "plan_section",
    "tier_of",
]

#: The largest image whose bytes are known has 0.16 per pixel (2980 x 1888 in 898 kB, IMG-8).
PIXELS_PER_JPEG_BYTE = 6

#: libjpeg decodes at 1/2, 1/4 and 1/8 of the size.
_MAX_HALVINGS = 3

#: Boxes of one image in flight: the next ones come while one is decoded and written.
_MAX_BLOCKS_AT_ONCE = 4

_SHARD_PIXELS = 2048 * 2048


class Origin(NamedTuple):
    """What was fetched for a section: its address, the digest, and the bytes of the JPEG or of all boxes."""

    url: str
    sha256: str
    size_bytes: int


class Source(NamedTuple):
    """The JPEG from which stored layers were made: its digest, and the tier that it is."""

    sha256: str
    downsample: int


class Delivery(msgspec.Struct, frozen=True):
    """In which pieces images come.

    Attributes
    ----------
    fetch : str
        Whole ``images``, ``tiles``, or ``auto``: boxes for what is larger than the memory.
    memory_bytes : int
        What the pixels in flight may take.
    """

    fetch: Fetch = "images"
    memory_bytes: int = 2**30

    def is_cut(self, working_bytes: int) -> bool:
        """Tell whether an image that takes so much memory comes in boxes."""
        return self.fetch == "tiles" or (self.fetch == "auto" and working_bytes > self.memory_bytes)

    def blocks_of(self, region: Box) -> tuple[Box, ...]:
        """Return the boxes in which a region comes, row by row."""
        return blocks_of(region, block_side(self.memory_bytes))


class SectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How one view of one section is fetched, and what is made of it: everything is decided.

    Attributes
    ----------
    data_set_id : int
        The data set that the section belongs to.
    section : SectionImage
        The record of the section.
    view : str
        The view.
    recipe : Recipe
        How its pixels are made.
    stored_recipe : Recipe
        What the commit will say of that: of a plane that stays it tells how that was made.
    delivery : Delivery
        Whether the image comes whole or in boxes.
    geometry : SectionGeometry or None
        Where the section lies in the space of its plane; None where that is not known.
    own_geometry : SectionGeometry or None
        Where it lies in the space of its data set, where that is another one.
    request : ImageRequest
        What is asked of the API.
    shape : tuple of int
        Height and width, in pixels, that the JPEG is expected to have, or has.
    layers : tuple of str
        What is stored in the end: the layers asked for, less ``registered`` where the section cannot be placed, and
        those that the store holds already.
    z : int or None
        The slot in the registered array.
    grid_to_image : Affine2D or None
        From grid index (x, y) to full-resolution pixels (x, y); None where no plane is made.
    n_halvings : int
        How often the image is halved, while it is decoded, for the registered plane.
    source : Source or None
        The JPEG from which the stored layers were made, where some of them stay with the same one.
    kept, kept_of_another : tuple of str
        Stored layers that stay as they are where the same JPEG comes, and where another one does.
    region : Box or None
        The part of the tier that is wanted; None means all of it.
    blocks : tuple of Box
        The boxes of the tier that are asked for one by one; none where the image is asked for as a whole.
    n_means : int
        How often the decoded image is halved once more, by means, for the registered plane.
    tier : int or None
        The tier that the image is, where the server gives another one than is asked for.
    """

    data_set_id: int
    section: SectionImage
    view: View
    recipe: Recipe
    stored_recipe: Recipe
    delivery: Delivery
    geometry: SectionGeometry | None = None
    own_geometry: SectionGeometry | None = None
    request: ImageRequest
    shape: tuple[int, int]
    layers: tuple[Layer, ...]
    z: int | None = None
    grid_to_image: Affine2D | None = None
    n_halvings: int = 0
    source: Source | None = None
    kept: tuple[Layer, ...] = ()
    kept_of_another: tuple[Layer, ...] = ()
    region: Box | None = None
    blocks: tuple[Box, ...] = ()
    n_means: int = 0
    tier: int | None = None

    @property
    def asked(self) -> int:
        """The tier that is asked for."""
        return self.request.downsample or 0

    @property
    def downsample(self) -> int:
        """The tier that comes."""
        return self.asked if self.tier is None else self.tier

    def tier_of(self, shape: tuple[int, int]) -> int | None:
        """Return the tier that an image of a shape is of this section, None where it is not one."""
        return tier_of_shape(shape, self.section.shape, self.asked, last_tier_of(self.section))

    @property
    def grid(self) -> ReferenceGrid | None:
        """The grid of the plane that is made."""
        return self.recipe.grid

    def kept_layers(self, origin: Origin) -> tuple[Layer, ...]:
        """Return the layers that need not be written again, once it is known what came."""
        is_same = self.source == Source(origin.sha256, self.downsample)
        return self.kept if is_same else self.kept_of_another

    def commit(self, origin: Origin, time: str) -> Commit:
        """Return what the store will say of the section.

        Parameters
        ----------
        origin : Origin
            What was fetched.
        time : str
            When, ISO 8601 in UTC.
        """
        section = self.section
        geometry = self.own_geometry or self.geometry
        return Commit(
            image_id=section.id,
            data_set_id=self.data_set_id,
            view=self.view,
            layers=self.layers,
            record=section.record,
            url=origin.url,
            sha256=origin.sha256,
            size_bytes=origin.size_bytes,
            shape=self.shape,
            downsample=self.downsample,
            asked_downsample=None if self.tier is None else self.asked,
            resolution_um=section.resolution,
            section_number=section.section_number,
            recipe=self.stored_recipe.in_a_commit,
            fetch="tiles" if self.blocks else "images",
            region=None if self.region is None else full_box(self.region, self.downsample),
            image_to_reference=None if geometry is None else SectionAffine.of(geometry),
            time=time,
        )

    def admits(self, shape: tuple[int, int]) -> bool:
        """Tell whether the image can have a shape, be it rounded otherwise than is expected, or another tier's."""
        return self.tier_of(shape) is not None

    @property
    def n_pixels(self) -> int:
        """Pixels that are fetched."""
        if not self.blocks:
            return self.shape[0] * self.shape[1]
        return sum(height * width for height, width in (block.shape for block in self.blocks))

    @property
    def n_requests(self) -> int:
        """How many images and boxes are asked for."""
        return len(self.blocks) + self.is_one_jpeg

    @property
    def is_one_jpeg(self) -> bool:
        """Whether the image is asked for as a whole, be it for the layer ``source`` alone."""
        return not self.blocks or "source" in self.layers

    @property
    def extent(self) -> Box:
        """The part of the tier that is stored."""
        return Box.of_shape(self.shape) if self.region is None else self.region

    @property
    def is_plane_of_blocks(self) -> bool:
        """Whether the registered plane is made from boxes, because no JPEG halves the image while it is decoded."""
        return bool(self.blocks) and self.grid_to_image is not None and not self.is_plane_of_jpeg

    @property
    def is_plane_of_jpeg(self) -> bool:
        """Whether the registered plane is made from the image as a whole."""
        return self.grid_to_image is not None and (
            not self.blocks or ("source" in self.layers and self.n_halvings > 0)
        )

    @property
    def estimated_bytes(self) -> int:
        """Bytes that the JPEG will have, about: more than most, because the largest known were the measure."""
        return self.n_pixels // PIXELS_PER_JPEG_BYTE

    @property
    def proof_halvings(self) -> int:
        """How often the image is halved by the first decoding, which proves that the body is whole."""
        if "sections" in self.layers and not self.blocks:
            return 0
        # without pixels to store, the decoding that costs the least is proof enough
        return self.n_halvings if self.is_plane_of_jpeg else _MAX_HALVINGS

    @property
    def working_bytes(self) -> int:
        """Most bytes of the JPEG and of decoded pixels held at once while the section is worked on."""
        n_pixels = self.shape[0] * self.shape[1]
        full = 3 * n_pixels
        # as it came, and as it is kept
        bodies = 2 * n_pixels // PIXELS_PER_JPEG_BYTE
        if self.blocks:
            jpeg = bodies + (full >> 2 * self.proof_halvings) if self.is_one_jpeg else 0
            return max(jpeg, self._bytes_of_blocks())
        if "sections" not in self.layers:
            return bodies + (full >> 2 * self.proof_halvings)
        # the shards of the pyramid that wait for others are less than a third; the reduced image comes beside
        return bodies + full + max(full // 3, full >> 2 * self.n_halvings if self.n_halvings else 0)

    @property
    def n_blocks_at_once(self) -> int:
        """How many boxes of the image are in flight at once."""
        return min(_MAX_BLOCKS_AT_ONCE, len(self.blocks))

    def _bytes_of_blocks(self) -> int:
        """Most bytes held while an image comes in boxes, row by row."""
        block = max(height * width for height, width in (each.shape for each in self.blocks))
        n_columns = len({each.x0 for each in self.blocks})
        # decoded twice at most, for the levels and for the plane
        size = self.n_blocks_at_once * (
            2 * block // PIXELS_PER_JPEG_BYTE + 3 * block + (3 * block >> 2 * self.n_halvings)
        )
        if "sections" in self.layers:
            # a shard of every coarser level for each column waits for the row below
            size += 6 * n_columns * _SHARD_PIXELS
        if self.is_plane_of_blocks:
            # the boxes that the plane is made of wait, and are put together once more
            height, width = self.extent.shape
            size += 2 * (3 * height * width >> 2 * self.n_halvings)
        return size

    def of_shape(self, shape: tuple[int, int]) -> SectionPlan:
        """Return the plan for the image that came: its real size, and the tier that it is by its size.

        Whatever the size, the scale of a tier is exactly 2^n, and pixel 0 lies at the corner of the section.
        """
        if shape == self.shape:
            return self
        tier = self.tier_of(shape)
        before = None if self.region is None else full_box(self.region, self.downsample)
        plan = msgspec.structs.replace(self, shape=shape, tier=None if tier == self.asked else tier)
        if plan.grid_to_image is not None:
            n_halvings, n_means = plan.halvings(plan.grid_to_image)
            plan = msgspec.structs.replace(plan, n_halvings=n_halvings, n_means=n_means)
        if before is not None:
            region = tier_box(before, plan.downsample, shape)
            region = aligned(region, plan.n_halvings + plan.n_means, shape)
            plan = msgspec.structs.replace(plan, region=region)
        if plan.blocks:
            plan = msgspec.structs.replace(plan, blocks=plan.delivery.blocks_of(plan.extent))
        return plan

    def expecting(self, shape: tuple[int, int]) -> SectionPlan:
        """Return the plan for an image that will come in another size; in boxes, if it is too large."""
        return msgspec.structs.replace(self, blocks=()).of_shape(shape).with_blocks()

    def with_blocks(self) -> SectionPlan:
        """Return the plan, cut into boxes where it is a region, or too large for the budget."""
        if self.region is None:
            is_of_pixels = "sections" in self.layers or (
                self.grid_to_image is not None and ("source" not in self.layers or self.n_halvings == 0)
            )
            if not (is_of_pixels and self.delivery.is_cut(self.working_bytes)):
                return self
        return msgspec.structs.replace(self, blocks=self.delivery.blocks_of(self.extent))

    def halvings(self, grid_to_image: Affine2D) -> tuple[int, int]:
        """Return how often the image is halved for a plane: while it is decoded, and by means afterwards."""
        grid, section = self.grid, self.section
        # halving mixes pixels, which nearest never does
        if grid is None or self.recipe.interpolation == "nearest":
            return 0, 0
        n_halvings = 0
        # expression levels are known once colours were decoded in full
        if section.resolution and not is_coded(self.view):
            n_halvings = min(_MAX_HALVINGS, tier_for(grid.um, section.resolution * 2**self.downsample))
        shape = (-(-self.shape[0] >> n_halvings), -(-self.shape[1] >> n_halvings))
        return n_halvings, n_means_of(full_to_tier(self.downsample + n_halvings) @ grid_to_image, shape)


def plan_section(
    data_set: SectionDataSet,
    section: SectionImage,
    view: View,
    recipe: Recipe,
    layers: tuple[Layer, ...] = (),
    *,
    downsample: int,
    delivery: Delivery | None = None,
) -> SectionPlan:
    """Plan a section without its position on a grid."""
    try:
        geometry = data_set.geometry(section)
    except AlignmentError:
        geometry = None
    return SectionPlan(
        data_set_id=data_set.id,
        section=section,
        view=view,
        recipe=recipe,
        stored_recipe=recipe.without_grid,
        delivery=delivery or Delivery(),
        geometry=geometry,
        request=ImageRequest(
            image_id=section.id,
            downsample=downsample or None,
            view=None if view == "image" else view,
        ),
        shape=tier_shape(*section.shape, downsample),
        layers=layers,
    )


def placed(
    plan: SectionPlan, data_set: SectionDataSet, detection_xy: tuple[float, float] | None = None
) -> SectionPlan:
    """Return a plan with the position of its section on the grid.

    Parameters
    ----------
    plan : SectionPlan
        Of a section of the data set.
    data_set : SectionDataSet
        The record.
    detection_xy : tuple of float, optional
        The pixel (x, y) whose slice coordinate counts for all of a parallel plane; the centre by default.

    Raises
    ------
    AlignmentError
        Where the section lies is not known, or cannot be.
    """
    # what is not known was not known before, and is told now
    geometry, grid = plan.geometry or data_set.geometry(plan.section), plan.grid
    if grid is None:
        raise AlignmentError(f"data set {data_set.id} has no registered grid")
    point = detection_point(plan.section) if plan.recipe.parallel and detection_xy is None else detection_xy
    grid_to_image = grid.grid_to_image(geometry, parallel=plan.recipe.parallel, detection_xy=point)
    n_halvings, n_means = plan.halvings(grid_to_image)
    return msgspec.structs.replace(
        plan,
        grid_to_image=grid_to_image,
        stored_recipe=plan.recipe,
        n_halvings=n_halvings,
        n_means=n_means,
    )


def detection_point(section: SectionImage) -> tuple[float, float]:
    """Return the centre of an image, (x, y) in full-resolution pixels."""
    height, width = section.shape
    return width / 2, height / 2


def tier_of(section: SectionImage, settings: Settings) -> int:
    """Return the tier that is fetched for a section: fixed, full, or picked by the pitch of the grid."""
    if settings.downsample is not None:
        return settings.downsample
    if settings.um == "full" or not section.resolution:
        return 0
    return tier_for(settings.um, section.resolution, section.tier_count)


def last_tier_of(section: SectionImage) -> int:
    """Return the last tier of an image, as its record says or its size."""
    if section.tier_count is None or section.tier_count < 1:
        return last_tier(*section.shape)
    return section.tier_count - 1
