"""What a run has to do: each section of a data set compared with the commits of the store. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.allen import ImageRequest
from asyncfetch.errors import AlignmentError, AsyncFetchError
from asyncfetch.geometry import (
    REFERENCE_BOXES_UM,
    Box,
    ReferenceGrid,
    full_to_tier,
    last_tier,
    tier_for,
    tier_of_shape,
    tier_shape,
)
from asyncfetch.imaging import PlaneWarp, n_means_of
from asyncfetch.mirroring.regions import aligned, block_side, blocks_of, full_box, hull, tier_box
from asyncfetch.mirroring.remarks import Remarks, lies_outside
from asyncfetch.store import ViewLayout

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.geometry import Affine2D
    from asyncfetch.mirroring.region_of_space import Ranges, RegionOfSpace
    from asyncfetch.settings import Interpolation, Layer, Settings, View
    from asyncfetch.store import Commit

__all__ = [
    "SectionPlan",
    "ViewPlan",
    "interpolation_of",
    "is_numeric",
    "plan_view",
    "registered_grid",
    "replanned",
    "resolved",
    "tier_of",
    "view_layout",
]

#: Views whose colours are codes: mixing two of them would invent a third.
_CODED_VIEWS = frozenset({"expression", "tumor_feature_annotation", "tumor_feature_boundary"})

#: The largest image whose bytes are known has 0.16 a pixel (2980 x 1888 in 898 kB, IMG-8).
_PIXELS_A_JPEG_BYTE = 6

#: libjpeg decodes at 1/2, 1/4 and 1/8 of the size.
_MOST_HALVINGS = 3

#: Boxes of one image in flight: the next ones come while one is decoded and written.
_BLOCKS_AT_ONCE = 4

_SHARD_PIXELS = 2048 * 2048


class SectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Say how one view of one section is fetched and what is made of it.

    Attributes
    ----------
    section : SectionImage
        The record of the section.
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
    stored : Commit or None
        What the store holds of the section, where that is not all that is asked for.
    region : Box or None
        The part of the tier that is wanted; None means all of it.
    blocks : tuple of Box
        The boxes of the tier that are asked for one by one; none where the image is asked for as a whole.
    n_means : int
        How often the decoded image is halved once more, by means, for the registered plane.
    tier : int or None
        The tier that the image is, where the server gives another one than is asked for.
    """

    section: SectionImage
    view: View
    request: ImageRequest
    shape: tuple[int, int]
    layers: tuple[Layer, ...]
    z: int | None = None
    grid_to_image: Affine2D | None = None
    n_halvings: int = 0
    stored: Commit | None = None
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
        """Return the tier that an image of a shape is of this section, None where it is none."""
        return tier_of_shape(shape, self.section.shape, self.asked, _last_tier_of(self.section))

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
        return self.n_pixels // _PIXELS_A_JPEG_BYTE

    @property
    def proof_halvings(self) -> int:
        """How often the image is halved by the first decoding, which proves that the body is whole."""
        if "sections" in self.layers and not self.blocks:
            return 0
        # without pixels to store, the decoding that costs the least is proof enough
        return self.n_halvings if self.is_plane_of_jpeg else _MOST_HALVINGS

    @property
    def working_bytes(self) -> int:
        """Most bytes of the JPEG and of decoded pixels held at once while the section is worked on."""
        n_pixels = self.shape[0] * self.shape[1]
        full = 3 * n_pixels
        # as it came, and as it is kept
        bodies = 2 * n_pixels // _PIXELS_A_JPEG_BYTE
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
        return min(_BLOCKS_AT_ONCE, len(self.blocks))

    def _bytes_of_blocks(self) -> int:
        """Most bytes held while an image comes in boxes, row by row."""
        block = max(height * width for height, width in (each.shape for each in self.blocks))
        n_columns = len({each.x0 for each in self.blocks})
        # decoded twice at most, for the levels and for the plane
        size = self.n_blocks_at_once * (
            2 * block // _PIXELS_A_JPEG_BYTE + 3 * block + (3 * block >> 2 * self.n_halvings)
        )
        if "sections" in self.layers:
            # a shard of every coarser level for each column waits for the row below
            size += 6 * n_columns * _SHARD_PIXELS
        if self.is_plane_of_blocks:
            # the boxes that the plane is made of wait, and are put together once more
            height, width = self.extent.shape
            size += 2 * (3 * height * width >> 2 * self.n_halvings)
        return size


class ViewPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Say what there is to do for one view of one data set.

    Attributes
    ----------
    data_set : SectionDataSet
        The record with its sections.
    grid : ReferenceGrid or None
        The grid of the registered planes, where planes are made.
    to_fetch : tuple of SectionPlan
        Sections that the store does not hold as wanted.
    committed : tuple of int
        Ids of the images that it does hold.
    unplaced : tuple of (SectionImage, AlignmentError)
        Sections that cannot be registered, and why.
    notes : tuple of str
        What else is worth knowing.
    """

    data_set: SectionDataSet
    view: View
    grid: ReferenceGrid | None
    to_fetch: tuple[SectionPlan, ...]
    committed: tuple[int, ...]
    unplaced: tuple[tuple[SectionImage, AlignmentError], ...]
    notes: tuple[str, ...] = ()

    @property
    def n_sections(self) -> int:
        """How many sections were compared."""
        return len(self.to_fetch) + len(self.committed)


def registered_grid(data_set: SectionDataSet, settings: Settings) -> ReferenceGrid:
    """Return the grid on which the planes of a data set are registered.

    Raises
    ------
    AlignmentError
        The plane of section or the extent of the reference space is not known. Only the boxes of the spaces
        9 and 10 are documented (REC-4).
    """
    box_um = REFERENCE_BOXES_UM.get(data_set.reference_space_id or 0)
    if box_um is None:
        raise AlignmentError(
            f"data set {data_set.id} cannot be registered: the extent of reference space "
            f"{data_set.reference_space_id} is not known; mirror it with --layers source"
        )
    return ReferenceGrid(plane=data_set.plane, um=_pitch_um(data_set, settings), box_um=box_um)


def view_layout(data_set: SectionDataSet, view: View, settings: Settings) -> ViewLayout:
    """Return what of one view of a data set is going to be stored."""
    grid = None
    if "registered" in settings.layers:
        try:
            grid = registered_grid(data_set, settings)
        except AsyncFetchError:
            grid = None  # the plan says of every section why it has no place
    return ViewLayout.of_data_set(
        data_set,
        view,
        layers=settings.layers,
        codec=settings.codec,
        grid=grid,
        interpolation=interpolation_of(view, settings),
        parallel=settings.parallel,
        numeric_expression=is_numeric(view, settings),
        fill=settings.fill,
    )


def plan_view(
    data_set: SectionDataSet,
    view: View,
    settings: Settings,
    commits: Mapping[int, Commit],
    slots: Mapping[int, int],
    image_ids: Collection[int] | None = None,
    region: RegionOfSpace | None = None,
) -> ViewPlan:
    """Compare the sections of a data set with what the store holds.

    Parameters
    ----------
    data_set : SectionDataSet
        The record with all its sections.
    view : str
        The view to be stored.
    settings : Settings
        Layers, pitch and tier.
    commits : mapping of int to Commit
        What the store holds of this view, by image id.
    slots : mapping of int to int
        The slot z of each image that has one, by image id.
    image_ids : collection of int, optional
        The images that are wanted; None means all.
    region : RegionOfSpace, optional
        The region of the reference space that is wanted, where the settings name one.

    Returns
    -------
    ViewPlan
        Sections in the order of their section numbers.

    Raises
    ------
    SelectionError
        The region is not known in the space of the data set.
    """
    roi_um = None if region is None else region.in_space_of(data_set)
    remarks = Remarks()
    wants_planes = "registered" in settings.layers
    grid: ReferenceGrid | None = None
    no_grid: AlignmentError | None = None
    if wants_planes:
        try:
            grid = registered_grid(data_set, settings)
        except AlignmentError as error:
            no_grid = error
    to_fetch: list[SectionPlan] = []
    committed: list[int] = []
    unplaced: list[tuple[SectionImage, AlignmentError]] = []
    for section in sorted(data_set.section_images, key=lambda each: (each.section_number or 0, each.id)):
        if image_ids is not None and section.id not in image_ids:
            continue
        remarks.n_sections += 1
        stored = commits.get(section.id)
        downsample = tier_of(section, settings)
        if settings.downsample is not None and settings.downsample > _last_tier_of(section):
            remarks.too_deep.append(section)
        if settings.has_region or settings.fetch == "tiles":
            # a box of a tier that the server does not have would come with the size of the box
            downsample = min(downsample, _last_tier_of(section))
        if stored is not None and settings.downsample is None:
            # asking for more of a section never makes what is stored of it coarser
            downsample = min(downsample, stored.downsample)
        plan = _plan_section(section, view, settings, downsample)
        try:
            if wants_planes:
                plan = _placed(plan, data_set, settings, grid, no_grid, slots.get(section.id))
                if grid and plan.grid_to_image and lies_outside(data_set, section, grid, plan.grid_to_image):
                    remarks.outside.append(section)
            if settings.has_region:
                seen = _region(plan, data_set, settings, roi_um)
                if seen is None or not plan.layers:
                    remarks.beside.append(section)
                    continue
                plan = msgspec.structs.replace(plan, region=seen)
        except AlignmentError as error:
            unplaced.append((section, error))
            if settings.has_region:
                continue
        if stored is not None and _fulfils(stored, plan, settings, grid):
            committed.append(section.id)
        else:
            to_fetch.append(_with_blocks(plan if stored is None else _beside(plan, stored), settings))
    return ViewPlan(
        data_set=data_set,
        view=view,
        grid=grid,
        to_fetch=tuple(to_fetch),
        committed=tuple(committed),
        unplaced=tuple(unplaced),
        notes=remarks.sentences(data_set, settings),
    )


def resolved(
    plan: SectionPlan, shape: tuple[int, int], grid: ReferenceGrid | None, settings: Settings
) -> SectionPlan:
    """Return a plan for the image that came: its real size, and the tier that it is by its size.

    Whatever the size, the scale of a tier is exactly 2^n, and pixel 0 lies at the corner of the section.
    """
    if shape == plan.shape:
        return plan
    tier = plan.tier_of(shape)
    before = None if plan.region is None else full_box(plan.region, plan.downsample)
    plan = msgspec.structs.replace(plan, shape=shape, tier=None if tier == plan.asked else tier)
    if plan.grid_to_image is not None and grid is not None:
        n_halvings, n_means = _halvings(plan, grid, plan.grid_to_image, settings)
        plan = msgspec.structs.replace(plan, n_halvings=n_halvings, n_means=n_means)
    if before is not None:
        region = tier_box(before, plan.downsample, shape)
        region = aligned(region, plan.n_halvings + plan.n_means, shape)
        plan = msgspec.structs.replace(plan, region=region)
    if plan.blocks:
        plan = msgspec.structs.replace(plan, blocks=_blocks(plan, settings))
    return plan


def replanned(
    plan: SectionPlan, shape: tuple[int, int], grid: ReferenceGrid | None, settings: Settings
) -> SectionPlan:
    """Return a plan for an image that will come in another size than was expected; in boxes, if it is too large."""
    whole = msgspec.structs.replace(plan, blocks=())
    return _with_blocks(resolved(whole, shape, grid, settings), settings)


def interpolation_of(view: View, settings: Settings) -> Interpolation:
    """Return how a view is sampled: views whose colours are codes are never mixed, but levels are."""
    is_coded = view in _CODED_VIEWS and not is_numeric(view, settings)
    return "nearest" if is_coded else settings.interpolation


def is_numeric(view: View, settings: Settings) -> bool:
    """Tell whether the colours of a view are turned into levels."""
    return view == "expression" and settings.numeric_expression


def tier_of(section: SectionImage, settings: Settings) -> int:
    """Return the tier that is fetched for a section: fixed, full, or picked by the pitch of the grid."""
    if settings.downsample is not None:
        return settings.downsample
    if settings.um == "full" or not section.resolution:
        return 0
    return tier_for(settings.um, section.resolution, section.tier_count)


def _last_tier_of(section: SectionImage) -> int:
    """Return the last tier of an image, as its record says or its size."""
    if section.tier_count is None or section.tier_count < 1:
        return last_tier(*section.shape)
    return section.tier_count - 1


def _pitch_um(data_set: SectionDataSet, settings: Settings) -> float:
    if settings.um != "full":
        return settings.um
    pitches = [section.resolution for section in data_set.section_images if section.resolution]
    if not pitches:
        raise AlignmentError(
            f'data set {data_set.id} cannot be registered at um = "full": none of its sections has a resolution'
        )
    return min(pitches)


def _plan_section(section: SectionImage, view: View, settings: Settings, downsample: int) -> SectionPlan:
    """Plan a section without its place on the grid."""
    return SectionPlan(
        section=section,
        view=view,
        request=ImageRequest(
            image_id=section.id,
            downsample=downsample or None,
            view=None if view == "image" else view,
        ),
        shape=tier_shape(*section.shape, downsample),
        layers=tuple(layer for layer in settings.layers if layer != "registered"),
    )


def _placed(
    plan: SectionPlan,
    data_set: SectionDataSet,
    settings: Settings,
    grid: ReferenceGrid | None,
    no_grid: AlignmentError | None,
    z: int | None,
) -> SectionPlan:
    """Return the plan with a registered plane, or say why there is none."""
    section = plan.section
    if grid is None:
        raise no_grid or AlignmentError(f"data set {data_set.id} has no registered grid")
    if z is None:
        raise AlignmentError(f"image {section.id} has no section number, so it has no place in the data set")
    grid_to_image = grid.grid_to_image(
        data_set.geometry(section),
        parallel=settings.parallel,
        detection_xy=_detection_xy(section, settings),
    )
    n_halvings, n_means = _halvings(plan, grid, grid_to_image, settings)
    return msgspec.structs.replace(
        plan,
        layers=settings.layers,
        z=z,
        grid_to_image=grid_to_image,
        n_halvings=n_halvings,
        n_means=n_means,
    )


def _detection_xy(section: SectionImage, settings: Settings) -> tuple[float, float] | None:
    height, width = section.shape
    return (width / 2, height / 2) if settings.parallel else None


def _halvings(
    plan: SectionPlan, grid: ReferenceGrid, grid_to_image: Affine2D, settings: Settings
) -> tuple[int, int]:
    """Return how often an image is halved for a plane: while it is decoded, and by means afterwards."""
    # halving mixes pixels, which nearest never does
    if interpolation_of(plan.view, settings) == "nearest":
        return 0, 0
    n_halvings = 0
    # levels are known once colours were decoded in full
    if plan.section.resolution and plan.view not in _CODED_VIEWS:
        n_halvings = min(_MOST_HALVINGS, tier_for(grid.um, plan.section.resolution * 2**plan.downsample))
    shape = (-(-plan.shape[0] >> n_halvings), -(-plan.shape[1] >> n_halvings))
    return n_halvings, n_means_of(full_to_tier(plan.downsample + n_halvings) @ grid_to_image, shape)


def _region(
    plan: SectionPlan, data_set: SectionDataSet, settings: Settings, roi_um: Ranges | None
) -> Box | None:
    """Return the pixels of the tier that the settings ask for, None where the section has none of them."""
    region = None
    if isinstance(settings.roi, tuple):
        region = tier_box(settings.roi, plan.downsample, plan.shape)
    else:
        assert roi_um is not None, "the region of the reference space is found out before anything is planned"
        region = _reference_region(plan, data_set, settings, roi_um)
    if region is None or region.is_empty:
        return None
    return aligned(region, plan.n_halvings + plan.n_means, plan.shape)


def _reference_region(
    plan: SectionPlan,
    data_set: SectionDataSet,
    settings: Settings,
    roi_um: Ranges,
) -> Box | None:
    """Return the pixels of the tier that a region of the reference space sees of a section."""
    grid = registered_grid(data_set, settings)
    plane, parallel = grid.plane, settings.parallel
    geometry, detection_xy = data_set.geometry(plan.section), _detection_xy(plan.section, settings)
    first_um = 0.0 if parallel else grid.um / 2
    rows, columns = (
        (math.ceil((low - first_um) / grid.um), math.floor((high - first_um) / grid.um) + 1)
        for low, high in (roi_um[plane.y_axis], roi_um[plane.x_axis])
    )
    wanted = Box(rows[0], columns[0], rows[1], columns[1]).intersect(Box.of_shape(grid.shape))
    if wanted.is_empty:
        return None
    to_reference = grid.grid_to_reference(geometry, parallel=parallel, detection_xy=detection_xy)
    corners = [(x, y, 1) for x in (wanted.x0, wanted.x1 - 1) for y in (wanted.y0, wanted.y1 - 1)]
    across = [float(to_reference[plane.slice_axis] @ corner) for corner in corners]
    low, high = roi_um[plane.slice_axis]
    if max(across) < low or min(across) > high:
        return None
    grid_to_image = grid.grid_to_image(geometry, parallel=parallel, detection_xy=detection_xy)
    n_halvings, n_means = _halvings(plan, grid, grid_to_image, settings)
    scale = 2 ** (n_halvings + n_means)
    n_halved = plan.downsample + n_halvings + n_means
    warp = PlaneWarp(
        full_to_tier(n_halved) @ grid_to_image,
        grid.shape,
        (-(-plan.shape[0] // scale), -(-plan.shape[1] // scale)),
        interpolation=interpolation_of(plan.view, settings),
        averaged=n_halved > 0,
    )
    reach = warp.reach(wanted)
    return Box(*(scale * side for side in reach)).intersect(Box.of_shape(plan.shape))


def _beside(plan: SectionPlan, stored: Commit) -> SectionPlan:
    """Return the plan with what the store holds of the section, none of which is taken away."""
    others = tuple(layer for layer in stored.layers if layer not in plan.layers)
    region = plan.region
    if region is not None:
        if stored.region is None:
            region = None
        else:
            both = hull(region, tier_box(stored.region, plan.downsample, plan.shape))
            region = aligned(both, plan.n_halvings + plan.n_means, plan.shape)
    return msgspec.structs.replace(plan, layers=(*plan.layers, *others), stored=stored, region=region)


def _with_blocks(plan: SectionPlan, settings: Settings) -> SectionPlan:
    """Cut into boxes what is a region, or too large for the budget."""
    if plan.region is None:
        is_of_pixels = "sections" in plan.layers or (
            plan.grid_to_image is not None and ("source" not in plan.layers or plan.n_halvings == 0)
        )
        is_wanted = settings.fetch == "tiles" or (
            settings.fetch == "auto" and plan.working_bytes > settings.memory_bytes
        )
        if not (is_of_pixels and is_wanted):
            return plan
    return msgspec.structs.replace(plan, blocks=_blocks(plan, settings))


def _blocks(plan: SectionPlan, settings: Settings) -> tuple[Box, ...]:
    return blocks_of(plan.extent, block_side(settings.memory_bytes))


def _fulfils(commit: Commit, plan: SectionPlan, settings: Settings, grid: ReferenceGrid | None) -> bool:
    """Tell whether what is stored serves as what is wanted: all layers, at the pitch and the tier, or finer."""
    if not set(plan.layers) <= set(commit.layers):
        return False
    if plan.layers != ("source",) and commit.numeric_expression != is_numeric(plan.view, settings):
        return False
    if "registered" in plan.layers and (grid is None or commit.um != grid.um):
        return False
    if commit.region is not None:
        stored = tier_box(commit.region, plan.downsample, plan.shape)
        if plan.region is None or plan.region.intersect(stored) != plan.region:
            return False
    tiers = {
        commit.downsample,
        commit.downsample if commit.asked_downsample is None else commit.asked_downsample,
    }
    if settings.downsample is not None:
        return plan.downsample in tiers
    return min(tiers) <= plan.downsample
