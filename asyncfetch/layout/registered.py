"""What a view of a data set looks like in the store: its layers, its codec, and its registered grid. Pure."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
import numpy as np

from asyncfetch.layout.bounds import Pitch, Position  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.recipe import MadeByRecipe, Recipe
from asyncfetch.layout.slots import Slot, plan_slots, slot_spacing, slots_of
from asyncfetch.settings import Layer  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.geometry import ReferenceGrid

__all__ = ["RegisteredLayout", "ViewLayout", "thickness_um_of"]


#: A step between sections that no brain has; the alignment is not one then.
_MAX_PER_NUMBER_UM = 1e6


class RegisteredLayout(MadeByRecipe, frozen=True, kw_only=True):
    """The registered image of a view: its slots, and how its planes are made.

    This is ``attributes.asyncfetch`` of ``registered``.

    Attributes
    ----------
    recipe : Recipe
        The grid, and how the planes are made.
    slots : tuple of Slot
        One entry per z, ascending along the axis of the reference space across the planes.
    spacing : int
        Section numbers from one slot to the next; negative where they descend along that axis.
    section_thickness_um : float
        What one section number is worth along z of the volume frame, in µm.
    z_per_number_um, z_at_zero_um : float or None
        How far one section number leads along that axis, and where section number 0 would lie, at the middle of the
        other two, in µm of the reference space; None where the alignment of the data set does not tell.
    frame, axes, unit : str
        What z, y and x of the image are measured in.
    """

    _leading: ClassVar[tuple[str, ...]] = ("um", "plane", "box_um")
    _recipe_behind: ClassVar[str] = "z_at_zero_um"

    slots: tuple[Slot, ...]
    spacing: Annotated[int, msgspec.Meta(ge=-(2**32), le=2**32)]
    section_thickness_um: Pitch
    z_per_number_um: Position | None = None
    z_at_zero_um: Position | None = None
    frame: str = "reference"
    axes: tuple[str, str, str] = ("p", "i", "r")
    unit: str = "micrometer"

    def __post_init__(self) -> None:
        if self.recipe.grid is None:
            raise ValueError("a registered image needs um, plane and box_um")
        if not self.spacing:
            raise ValueError("a registered image needs a spacing other than 0")

    @property
    def grid(self) -> ReferenceGrid:
        """The grid of one plane."""
        grid = self.recipe.grid
        assert grid is not None, "it was looked at when this was made"
        return grid

    @property
    def reference_space_id(self) -> int | None:
        """The API's id of the reference space."""
        return self.recipe.space

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the array."""
        return (len(self.slots), *self.grid.shape)

    @property
    def origin_um(self) -> float:
        """Where the first grid point of y and x lies, in µm."""
        return self.recipe.origin_um

    @property
    def is_regular(self) -> bool:
        """Whether slots follow each other at one distance: they do not where sections share a number."""
        numbers = [slot.section_number for slot in self.slots]
        return all(later - number == self.spacing for number, later in itertools.pairwise(numbers))

    @property
    def z_step_um(self) -> float | None:
        """From one section number that has a slot to the next, in µm along that axis; None where it is not known."""
        return None if self.z_per_number_um is None else self.spacing * self.z_per_number_um

    @property
    def z_um(self) -> NDArray[np.float64] | None:
        """The (z,) positions of the slots along the axis across the planes, in µm; None where they are not known."""
        if self.z_at_zero_um is None or self.z_per_number_um is None:
            return None
        numbers = np.array([slot.section_number for slot in self.slots], dtype=np.float64)
        return numbers * self.z_per_number_um + self.z_at_zero_um

    def differences(self, other: RegisteredLayout) -> list[str]:
        """Return the names of what makes the planes of two registered images differ, but for their slots."""
        found = self.recipe.differences(other.recipe)
        if self.section_thickness_um != other.section_thickness_um:
            found.append("section_thickness_um")
        return found

    def extended_by(self, later: RegisteredLayout) -> RegisteredLayout | None:
        """Return a later registered image with the sections of both; None where planes would move away from each other.

        Sections that the later one does not have keep their slots; new ones fill free slots, or come behind the last or
        before the first, and then all planes move along by the same number of slots. The positions in µm are those of
        this one, where it has any.
        """
        filled = [slot for each in (self, later) for slot in each.slots if slot.image_id is not None]
        numbers: dict[int, int | None] = {
            slot.image_id: slot.section_number for slot in filled if slot.image_id is not None
        }
        planes = {slot.image_id: slot.plane for slot in filled if slot.image_id is not None}
        slots = plan_slots(numbers, planes, descending=later.spacing < 0)
        first = next(
            (slot.z for slot in slots if slot.section_number == self.slots[0].section_number), len(slots)
        )
        beside = slots[first : first + len(self.slots)]
        stays = len(beside) == len(self.slots) and all(
            slot.section_number == now.section_number and slot.image_id in {None, now.image_id}
            for slot, now in zip(self.slots, beside, strict=True)
        )
        if not stays:
            return None
        spacing = slot_spacing(slot.section_number for slot in slots) * (-1 if later.spacing < 0 else 1)
        extended = msgspec.structs.replace(later, slots=slots, spacing=spacing)
        if self.z_at_zero_um is None:
            return extended
        return msgspec.structs.replace(
            extended, z_per_number_um=self.z_per_number_um, z_at_zero_um=self.z_at_zero_um
        )

    def shift_to(self, extended: RegisteredLayout) -> int:
        """Return by how many slots the planes of this registered image move in an extended one."""
        z_by_image = extended.z_by_image
        return next((z_by_image[image_id] - z for image_id, z in self.z_by_image.items()), 0)

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
        grid, thickness_um = recipe.grid, thickness_um_of(data_set)
        assert grid is not None, "only what has a grid is laid out"
        trv = None if data_set.alignment3d is None else data_set.alignment3d.trv
        slope, origin_um = (trv and grid.slice_position_of(trv)) or (1.0, math.nan)
        slots = slots_of(data_set, descending=slope < 0)
        spacing = slot_spacing(slot.section_number for slot in slots) * (-1 if slope < 0 else 1)
        per_number_um = slope * thickness_um
        is_placed = math.isfinite(origin_um) and abs(per_number_um) <= _MAX_PER_NUMBER_UM
        return cls(
            recipe=recipe,
            slots=slots,
            spacing=spacing,
            section_thickness_um=thickness_um,
            z_per_number_um=per_number_um if is_placed else None,
            z_at_zero_um=origin_um if is_placed else None,
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
    registered : RegisteredLayout or None
        The registered image, None when that layer is not stored.
    """

    data_set_id: int
    view: str
    layers: tuple[Layer, ...]
    record: dict[str, Any]
    recipe: Recipe
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
            registered=registered,
        )


def thickness_um_of(data_set: SectionDataSet) -> float:
    """Return the extent of a section along z of the volume frame, in µm."""
    # rows without a thickness, or with one that is not a length, exist; z then counts section numbers
    thickness_um = data_set.section_thickness
    return thickness_um if thickness_um is not None and 0 < thickness_um < math.inf else 1.0
