"""What a view of a data set looks like in the store: its layers, its codec, and its registered grid. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec

from asyncfetch.layout.bounds import Pitch  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.recipe import MadeByRecipe, Recipe
from asyncfetch.layout.slots import Slot, plan_slots, slot_spacing, slots_of
from asyncfetch.settings import Layer  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet
    from asyncfetch.geometry import ReferenceGrid

__all__ = ["RegisteredLayout", "ViewLayout", "thickness_um_of"]


class RegisteredLayout(MadeByRecipe, frozen=True, kw_only=True):
    """The registered image of a view: its slots, and how its planes are made.

    This is ``attributes.asyncfetch`` of ``registered``.

    Attributes
    ----------
    recipe : Recipe
        The grid, and how the planes are made.
    reference_space_id : int or None
        The API's id of the space.
    slots : tuple of Slot
        One entry a z.
    spacing : int
        Section numbers from one slot to the next.
    section_thickness_um : float
        What one section number is worth along z of the volume frame, in µm.
    frame, axes, unit : str
        What y and x of the image are measured in; z is the volume frame's.
    """

    _leading: ClassVar[tuple[str, ...]] = ("um", "plane", "box_um")
    _recipe_behind: ClassVar[str] = "reference_space_id"

    slots: tuple[Slot, ...]
    spacing: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    section_thickness_um: Pitch
    reference_space_id: int | None = None
    frame: str = "reference"
    axes: tuple[str, str, str] = ("p", "i", "r")
    unit: str = "micrometer"
    z_frame: str = "volume"

    def __post_init__(self) -> None:
        if self.recipe.grid is None:
            raise ValueError("a registered image needs um, plane and box_um")

    @property
    def grid(self) -> ReferenceGrid:
        """The grid of one plane."""
        grid = self.recipe.grid
        assert grid is not None, "it was looked at when this was made"
        return grid

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the array."""
        return (len(self.slots), *self.grid.shape)

    @property
    def origin_um(self) -> float:
        """Where the first grid point of y and x lies, in µm."""
        return self.recipe.origin_um

    def differences(self, other: RegisteredLayout) -> list[str]:
        """Return the names of what makes the planes of two registered images differ, but for their slots."""
        found = self.recipe.differences(other.recipe)
        if self.section_thickness_um != other.section_thickness_um:
            found.append("section_thickness_um")
        return found

    def extended_by(self, later: RegisteredLayout) -> RegisteredLayout | None:
        """Return a later registered image with the sections of both; None where planes would have to move.

        Sections that the later one does not have keep their slots; new ones fill free slots, or come at the end.
        """
        filled = [slot for each in (self, later) for slot in each.slots if slot.image_id is not None]
        numbers: dict[int, int | None] = {
            slot.image_id: slot.section_number for slot in filled if slot.image_id is not None
        }
        planes = {slot.image_id: slot.plane for slot in filled if slot.image_id is not None}
        slots = plan_slots(numbers, planes)
        stays = len(slots) >= len(self.slots) and all(
            slot.section_number == now.section_number and slot.image_id in {None, now.image_id}
            for slot, now in zip(self.slots, slots, strict=False)
        )
        if not stays:
            return None
        spacing = slot_spacing(slot.section_number for slot in slots)
        return msgspec.structs.replace(later, slots=slots, spacing=spacing)

    def is_same_grid(self, other: RegisteredLayout) -> bool:
        """Tell whether planes of a later registered image can stand beside those of this one."""
        return not self.differences(other) and self.extended_by(other) is not None

    @property
    def z_by_image(self) -> dict[int, int]:
        """The z of each section image that has a slot."""
        return {slot.image_id: slot.z for slot in self.slots if slot.image_id is not None}

    @classmethod
    def of_data_set(
        cls,
        data_set: SectionDataSet,
        recipe: Recipe,
    ) -> RegisteredLayout:
        """Lay out the registered image of all sections of a data set, by a recipe with a grid."""
        slots = slots_of(data_set)
        return cls(
            recipe=recipe,
            slots=slots,
            spacing=slot_spacing(slot.section_number for slot in slots),
            section_thickness_um=thickness_um_of(data_set),
            reference_space_id=data_set.reference_space_id,
        )


class ViewLayout(msgspec.Struct, frozen=True, kw_only=True):
    """What of one view of a data set is going to be stored.

    Attributes
    ----------
    data_set_id : int
        The data set.
    view : str
        The view.
    layers : tuple of str
        Which of ``source``, ``sections`` and ``registered``.
    record : dict
        The API's row of the data set, verbatim, from which `StoredDataSet.geometry` is made.
    recipe : Recipe
        How the pixels are made.
    section_thickness_um : float
        Extent of a section along z of the volume frame, in µm.
    registered : RegisteredLayout or None
        The registered image, None when that layer is not stored.
    """

    data_set_id: int
    view: str
    layers: tuple[Layer, ...]
    record: dict[str, Any]
    recipe: Recipe
    section_thickness_um: float = 1.0
    registered: RegisteredLayout | None = None

    @classmethod
    def of_data_set(
        cls,
        data_set: SectionDataSet,
        view: str,
        *,
        layers: tuple[Layer, ...],
        recipe: Recipe,
    ) -> ViewLayout:
        """Lay out one view of a data set; without a grid in its recipe there is no registered image."""
        registered = None
        if recipe.grid is not None and "registered" in layers:
            registered = RegisteredLayout.of_data_set(data_set, recipe)
            registered = registered if registered.slots else None
        return cls(
            data_set_id=data_set.id,
            view=view,
            layers=layers,
            record=data_set.record,
            recipe=recipe,
            section_thickness_um=thickness_um_of(data_set),
            registered=registered,
        )


def thickness_um_of(data_set: SectionDataSet) -> float:
    """Return the extent of a section along z of the volume frame, in µm."""
    # rows without a thickness, or with one that is not a length, exist; z then counts section numbers
    thickness_um = data_set.section_thickness
    return thickness_um if thickness_um is not None and 0 < thickness_um < math.inf else 1.0
