"""The plan of one view of a data set: each section compared with what the store holds of it. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.errors import AlignmentError
from asyncfetch.geometry import REFERENCE_BOXES_UM, Box, Footprint, ReferenceGrid, full_to_tier
from asyncfetch.layout.recipe import Recipe
from asyncfetch.layout.registered import ViewLayout
from asyncfetch.planning.difference import Wanted, compare
from asyncfetch.planning.regions import aligned, tier_box
from asyncfetch.planning.remarks import Remarks, lies_outside
from asyncfetch.planning.section import (
    Delivery,
    SectionPlan,
    Source,
    detection_point,
    last_tier_of,
    placed,
    plan_section,
    tier_of,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.planning.region_of_space import Ranges, RegionOfSpace
    from asyncfetch.settings import Settings, View

__all__ = ["ViewPlan", "plan_view", "registered_grid", "resolve_recipe", "view_layout"]


class ViewPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to do for one view of one data set.

    Attributes
    ----------
    data_set : SectionDataSet
        The record with its sections.
    recipe : Recipe
        How the pixels are made; with a grid where planes are.
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
    recipe: Recipe
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


def resolve_recipe(data_set: SectionDataSet, view: View, settings: Settings) -> Recipe:
    """Return how the pixels of a view are made; without a grid where none of it is registered.

    Why there is none is said of each section by `plan_view`.
    """
    return _seen(data_set, view, settings)[1]


def view_layout(data_set: SectionDataSet, view: View, settings: Settings) -> ViewLayout:
    """Return what of one view of a data set is going to be stored."""
    seen, recipe, _ = _seen(data_set, view, settings)
    return ViewLayout.of_data_set(seen, view, layers=settings.layers, recipe=recipe)


def plan_view(
    data_set: SectionDataSet,
    view: View,
    settings: Settings,
    commits: Mapping[int, SectionSummary],
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
    commits : mapping of int to SectionSummary
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
    seen, recipe, no_grid = _seen(data_set, view, settings)
    roi_um = None if region is None else region.in_space_of(seen)
    remarks = Remarks()
    to_fetch: list[SectionPlan] = []
    committed: list[int] = []
    unplaced: list[tuple[SectionImage, AlignmentError]] = []
    for section in sorted(data_set.section_images, key=lambda each: (each.section_number or 0, each.id)):
        if image_ids is not None and section.id not in image_ids:
            continue
        remarks.n_sections += 1
        if settings.downsample is not None and settings.downsample > last_tier_of(section):
            remarks.too_deep.append(section)
        stored = commits.get(section.id)
        if stored is not None and _is_served(section, settings, recipe, stored):
            # where it lies was told when it was stored
            committed.append(section.id)
            if "sections" in settings.layers and stored.recipe.codec != recipe.codec:
                remarks.of_another_codec.append(section)
            continue
        plan = _plan_section(data_set, section, view, settings, recipe, stored)
        try:
            if "registered" in settings.layers:
                plan = _placed(
                    _in_space_of(seen, plan, data_set), seen, settings, no_grid, slots.get(section.id)
                )
                if plan.grid and plan.grid_to_image and lies_outside(seen, plan):
                    remarks.outside.append(section)
            if settings.has_region:
                box = _region(plan, seen, settings, roi_um)
                if box is None or not plan.layers:
                    remarks.beside.append(section)
                    continue
                plan = msgspec.structs.replace(plan, region=box)
        except AlignmentError as error:
            unplaced.append((section, error))
            if settings.has_region:
                continue
        if (changed := _changed(plan, stored, settings)) is None:
            committed.append(section.id)
            if stored is not None and "sections" in plan.layers and stored.recipe.codec != recipe.codec:
                remarks.of_another_codec.append(section)
        else:
            to_fetch.append(changed.with_blocks())
    return ViewPlan(
        data_set=data_set,
        view=view,
        recipe=recipe,
        to_fetch=tuple(to_fetch),
        committed=tuple(committed),
        unplaced=tuple(unplaced),
        notes=remarks.sentences(seen, settings),
    )


def _seen(
    data_set: SectionDataSet, view: View, settings: Settings
) -> tuple[SectionDataSet, Recipe, AlignmentError | None]:
    """Return a data set in the space of its planes, the recipe of a view, and why it has no grid where one is due."""
    if "registered" not in settings.layers:
        return data_set, Recipe.of(view, settings, None), None
    try:
        seen = data_set.in_space(settings.space)
        grid = registered_grid(seen, settings)
    except AlignmentError as error:
        return data_set, Recipe.of(view, settings, None), error
    return seen, Recipe.of(view, settings, grid, seen.reference_space_id), None


def _in_space_of(seen: SectionDataSet, plan: SectionPlan, own: SectionDataSet) -> SectionPlan:
    """Return a plan whose section lies in the space of its plane; its commit tells the affine to its own space."""
    if seen is own or plan.geometry is None:
        return plan
    return msgspec.structs.replace(plan, geometry=seen.geometry(plan.section), own_geometry=plan.geometry)


def _plan_section(
    data_set: SectionDataSet,
    section: SectionImage,
    view: View,
    settings: Settings,
    recipe: Recipe,
    stored: SectionSummary | None,
) -> SectionPlan:
    """Plan a section without its position on the grid."""
    return plan_section(
        data_set,
        section,
        view,
        recipe,
        tuple(layer for layer in settings.layers if layer != "registered"),
        downsample=_downsample(section, settings, stored),
        delivery=Delivery(settings.fetch, settings.memory_bytes),
    )


def _downsample(section: SectionImage, settings: Settings, stored: SectionSummary | None) -> int:
    """Return the tier that is wanted of a section."""
    downsample = tier_of(section, settings)
    if settings.has_region or settings.fetch == "tiles":
        # a box of a tier that the server does not have would come with the size of the box
        downsample = min(downsample, last_tier_of(section))
    if stored is not None and settings.downsample is None:
        # asking for more of a section never makes what is stored of it coarser
        downsample = min(downsample, stored.downsample)
    return downsample


def _is_served(section: SectionImage, settings: Settings, recipe: Recipe, stored: SectionSummary) -> bool:
    """Tell whether what is stored of a section serves, whatever its position: all of it, with all layers.

    Most sections of a run that is repeated do, and planning one costs ten times as much as this.
    """
    if settings.has_region or stored.region is not None or not set(settings.layers) <= set(stored.layers):
        return False
    wanted = Wanted(
        recipe=recipe,
        layers=settings.layers,
        downsample=_downsample(section, settings, stored),
        is_tier_fixed=settings.downsample is not None,
        shape=stored.shape,
    )
    return compare(wanted, stored).is_served


def _changed(plan: SectionPlan, stored: SectionSummary | None, settings: Settings) -> SectionPlan | None:
    """Return the plan with what is done about what is stored, None where that serves."""
    wanted = Wanted(
        recipe=plan.stored_recipe,
        layers=plan.layers,
        downsample=plan.downsample,
        is_tier_fixed=settings.downsample is not None,
        shape=plan.shape,
        region=plan.region,
    )
    difference = compare(wanted, stored)
    if difference.is_served:
        return None
    if stored is None:
        return plan
    region = difference.region
    if region is not None:
        region = aligned(region, plan.n_halvings + plan.n_means, plan.shape)
    return msgspec.structs.replace(
        plan,
        layers=difference.layers,
        recipe=msgspec.structs.replace(plan.recipe, numeric_expression=difference.recipe.numeric_expression),
        stored_recipe=difference.recipe,
        region=region,
        source=Source(stored.sha256, stored.downsample),
        kept=difference.kept,
        kept_of_another=difference.kept_of_another,
    )


def _placed(
    plan: SectionPlan,
    data_set: SectionDataSet,
    settings: Settings,
    no_grid: AlignmentError | None,
    z: int | None,
) -> SectionPlan:
    """Return the plan with a registered plane, or say why there is none."""
    if no_grid is not None:
        raise no_grid
    if z is None:
        raise AlignmentError(
            f"image {plan.section.id} has no section number, so it has no position in the data set"
        )
    return msgspec.structs.replace(placed(plan, data_set), layers=settings.layers, z=z)


def _pitch_um(data_set: SectionDataSet, settings: Settings) -> float:
    if settings.um != "full":
        return settings.um
    pitches = [section.resolution for section in data_set.section_images if section.resolution]
    if not pitches:
        raise AlignmentError(
            f'data set {data_set.id} cannot be registered at um = "full": none of its sections has a resolution'
        )
    return min(pitches)


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
    geometry = plan.geometry or data_set.geometry(plan.section)
    detection_xy = detection_point(plan.section) if parallel else None
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
    recipe = Recipe.of(plan.view, settings, grid)
    n_halvings, n_means = msgspec.structs.replace(plan, recipe=recipe).halvings(grid_to_image)
    scale = 2 ** (n_halvings + n_means)
    n_halved = plan.downsample + n_halvings + n_means
    footprint = Footprint(
        full_to_tier(n_halved) @ grid_to_image,
        (-(-plan.shape[0] // scale), -(-plan.shape[1] // scale)),
        interpolation=recipe.interpolation,
        averaged=n_halved > 0,
    )
    reach = footprint.reach(wanted)
    return Box(*(scale * side for side in reach)).intersect(Box.of_shape(plan.shape))
