"""What a run has to do: each section of a data set compared with the commits of the store. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncfetch.allen import ImageRequest
from asyncfetch.errors import AlignmentError, AsyncFetchError
from asyncfetch.geometry import REFERENCE_BOXES_UM, ReferenceGrid, tier_for, tier_shape
from asyncfetch.store import ViewLayout

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.geometry import Affine2D
    from asyncfetch.settings import Interpolation, Layer, Settings, View
    from asyncfetch.store import Commit

__all__ = [
    "SectionPlan",
    "ViewPlan",
    "interpolation_of",
    "plan_view",
    "registered_grid",
    "tier_of",
    "view_layout",
]

#: Views whose colours are codes: mixing two of them would invent a third.
_CODED_VIEWS = frozenset({"expression", "tumor_feature_annotation", "tumor_feature_boundary"})

#: The largest image whose bytes are known has 0.16 a pixel (2980 x 1888 in 898 kB, FACTS.md section 4).
_PIXELS_A_JPEG_BYTE = 6

#: libjpeg decodes at 1/2, 1/4 and 1/8 of the size.
_MOST_HALVINGS = 3


class SectionPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Say how one view of one section is fetched and what is made of it.

    Attributes
    ----------
    section : SectionImage
        The record of the section.
    request : ImageRequest
        What is asked of the API.
    shape : tuple of int
        Height and width, in pixels, that the JPEG must have.
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

    @property
    def downsample(self) -> int:
        """The tier that is fetched."""
        return self.request.downsample or 0

    @property
    def n_pixels(self) -> int:
        """Pixels of the image that is fetched."""
        return self.shape[0] * self.shape[1]

    @property
    def estimated_bytes(self) -> int:
        """Bytes that the JPEG will have, about: more than most, because the largest known were the measure."""
        return self.n_pixels // _PIXELS_A_JPEG_BYTE

    @property
    def proof_halvings(self) -> int:
        """How often the image is halved by the first decoding, which proves that the body is whole."""
        if "sections" in self.layers:
            return 0
        # without pixels to store, the decoding that costs the least is proof enough
        return _MOST_HALVINGS if self.grid_to_image is None else self.n_halvings

    @property
    def working_bytes(self) -> int:
        """Most bytes of the JPEG and of decoded pixels held at once while the section is worked on."""
        full = 3 * self.n_pixels
        # as it came, and as it is kept
        bodies = 2 * self.n_pixels // _PIXELS_A_JPEG_BYTE
        if "sections" not in self.layers:
            return bodies + (full >> 2 * self.proof_halvings)
        # the pyramid adds a third; the reduced image is decoded after the pyramid is gone
        return bodies + full + max(full // 3, full >> 2 * self.n_halvings if self.n_halvings else 0)


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
    """

    data_set: SectionDataSet
    view: View
    grid: ReferenceGrid | None
    to_fetch: tuple[SectionPlan, ...]
    committed: tuple[int, ...]
    unplaced: tuple[tuple[SectionImage, AlignmentError], ...]

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
        9 and 10 are documented (FACTS.md section 5).
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
    )


def plan_view(
    data_set: SectionDataSet,
    view: View,
    settings: Settings,
    commits: Mapping[int, Commit],
    slots: Mapping[int, int],
    image_ids: Collection[int] | None = None,
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

    Returns
    -------
    ViewPlan
        Sections in the order of their section numbers.
    """
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
        stored = commits.get(section.id)
        downsample = tier_of(section, settings)
        if stored is not None and settings.downsample is None:
            # asking for more of a section never makes what is stored of it coarser
            downsample = min(downsample, stored.downsample)
        plan = _plan_section(section, view, settings, downsample)
        if "registered" in settings.layers:
            try:
                plan = _placed(plan, data_set, settings, grid, no_grid, slots.get(section.id))
            except AlignmentError as error:
                unplaced.append((section, error))
        if stored is None:
            to_fetch.append(plan)
        elif _fulfils(stored, plan, settings, grid):
            committed.append(section.id)
        else:
            others = tuple(layer for layer in stored.layers if layer not in plan.layers)
            to_fetch.append(msgspec.structs.replace(plan, layers=(*plan.layers, *others), stored=stored))
    return ViewPlan(
        data_set=data_set,
        view=view,
        grid=grid,
        to_fetch=tuple(to_fetch),
        committed=tuple(committed),
        unplaced=tuple(unplaced),
    )


def interpolation_of(view: View, settings: Settings) -> Interpolation:
    """Return how a view is sampled: views whose colours are codes are never mixed."""
    return "nearest" if view in _CODED_VIEWS else settings.interpolation


def tier_of(section: SectionImage, settings: Settings) -> int:
    """Return the tier that is fetched for a section: fixed, full, or picked by the pitch of the grid."""
    if settings.downsample is not None:
        return settings.downsample
    if settings.um == "full" or not section.resolution:
        return 0
    return tier_for(settings.um, section.resolution, section.tier_count)


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
    height, width = section.shape
    n_halvings = 0
    # halving mixes pixels, which nearest never does
    if section.resolution and interpolation_of(plan.view, settings) != "nearest":
        n_halvings = min(_MOST_HALVINGS, tier_for(grid.um, section.resolution * 2**plan.downsample))
    return msgspec.structs.replace(
        plan,
        layers=settings.layers,
        z=z,
        grid_to_image=grid.grid_to_image(
            data_set.geometry(section),
            parallel=settings.parallel,
            detection_xy=(width / 2, height / 2) if settings.parallel else None,
        ),
        n_halvings=n_halvings,
    )


def _fulfils(commit: Commit, plan: SectionPlan, settings: Settings, grid: ReferenceGrid | None) -> bool:
    """Tell whether what is stored serves as what is wanted: all layers, at the pitch and the tier, or finer."""
    if not set(plan.layers) <= set(commit.layers):
        return False
    if "registered" in plan.layers and (grid is None or commit.um != grid.um):
        return False
    if settings.downsample is not None:
        return commit.downsample == settings.downsample
    return commit.downsample <= plan.downsample
