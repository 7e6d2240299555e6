"""What a view of a data set looks like in the store: its layers, its codec, and its registered grid. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from asyncfetch.geometry import Plane, ReferenceGrid
from asyncfetch.layout.bounds import Level, Pitch  # noqa: TC001 - msgspec reads annotations
from asyncfetch.layout.slots import Slot, plan_slots, slot_spacing, slots_of
from asyncfetch.settings import Codec, Interpolation, Layer  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet

__all__ = ["RegisteredLayout", "ViewLayout"]


#: What must be the same of all planes of a registered image, in the order in which a difference is told.
_GRID_FIELDS = (
    "um",
    "plane",
    "box_um",
    "codec",
    "numeric_expression",
    "interpolation",
    "parallel",
    "fill",
    "section_thickness_um",
)


class RegisteredLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Say on which grid a view is registered; this is ``attributes.asyncfetch`` of ``registered``.

    Attributes
    ----------
    um : float
        Pitch of the grid in µm.
    plane : Plane
        Coronal (y = i, x = r), sagittal (y = i, x = p) or transverse (y = p, x = r).
    box_um : tuple of float
        Extent of the reference space along (p, i, r), in µm.
    reference_space_id : int or None
        The API's id of the space.
    slots : tuple of Slot
        One entry a z.
    spacing : int
        Section numbers from one slot to the next.
    section_thickness_um : float
        What one section number is worth along z of the volume frame, in µm.
    codec : str
        Compressor of the pixels.
    interpolation : str
        How the warp sampled.
    parallel : bool
        Grid points at k · um, with a constant slice coordinate, instead of voxel centres at (k + ½) · um on
        the section's own plane.
    numeric_expression : bool
        Whether voxels are levels of expression, three times the same, instead of the mask's colours.
    fill : int
        What pixels beside an image hold, and those of slots without one.
    frame, axes, unit : str
        What y and x of the image are measured in; z is the volume frame's.
    """

    um: Pitch
    plane: Plane
    box_um: tuple[Pitch, Pitch, Pitch]
    slots: tuple[Slot, ...]
    spacing: Annotated[int, msgspec.Meta(ge=1, le=2**32)]
    section_thickness_um: Pitch
    reference_space_id: int | None = None
    codec: Codec = "zstd"
    interpolation: Interpolation = "linear"
    parallel: bool = False
    numeric_expression: bool = False
    fill: Level = 0
    frame: str = "reference"
    axes: tuple[str, str, str] = ("p", "i", "r")
    unit: str = "micrometer"
    z_frame: str = "volume"

    @property
    def grid(self) -> ReferenceGrid:
        """The grid of one plane."""
        return ReferenceGrid(plane=self.plane, um=self.um, box_um=self.box_um)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the array."""
        return (len(self.slots), *self.grid.shape)

    @property
    def origin_um(self) -> float:
        """Where the first grid point of y and x lies, in µm."""
        return 0.0 if self.parallel else self.um / 2

    def differences(self, other: RegisteredLayout) -> list[str]:
        """Return the names of what makes the planes of two registered images differ, but for their slots."""
        return [name for name in _GRID_FIELDS if getattr(self, name) != getattr(other, name)]

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
        grid: ReferenceGrid,
        *,
        codec: Codec = "zstd",
        interpolation: Interpolation = "linear",
        parallel: bool = False,
        numeric_expression: bool = False,
        fill: int = 0,
    ) -> RegisteredLayout:
        """Lay out the registered image of all sections of a data set."""
        slots = slots_of(data_set)
        return cls(
            um=grid.um,
            plane=grid.plane,
            box_um=grid.box_um,
            slots=slots,
            spacing=slot_spacing(slot.section_number for slot in slots),
            section_thickness_um=_thickness_um(data_set),
            reference_space_id=data_set.reference_space_id,
            codec=codec,
            interpolation=interpolation,
            parallel=parallel,
            numeric_expression=numeric_expression,
            fill=fill,
        )


class ViewLayout(msgspec.Struct, frozen=True, kw_only=True):
    """Say what of one view of a data set is going to be stored.

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
    codec : str
        Compressor of ``sections``.
    section_thickness_um : float
        Extent of a section along z of the volume frame, in µm.
    registered : RegisteredLayout or None
        The registered image, None when that layer is not stored.
    """

    data_set_id: int
    view: str
    layers: tuple[Layer, ...]
    record: dict[str, Any]
    codec: Codec = "zstd"
    section_thickness_um: float = 1.0
    registered: RegisteredLayout | None = None

    @classmethod
    def of_data_set(
        cls,
        data_set: SectionDataSet,
        view: str,
        *,
        layers: tuple[Layer, ...],
        codec: Codec = "zstd",
        grid: ReferenceGrid | None = None,
        interpolation: Interpolation = "linear",
        parallel: bool = False,
        numeric_expression: bool = False,
        fill: int = 0,
    ) -> ViewLayout:
        """Lay out one view of a data set; without `grid` there is no registered image."""
        registered = None
        if grid is not None and "registered" in layers:
            registered = RegisteredLayout.of_data_set(
                data_set,
                grid,
                codec=codec,
                interpolation=interpolation,
                parallel=parallel,
                numeric_expression=numeric_expression,
                fill=fill,
            )
            registered = registered if registered.slots else None
        return cls(
            data_set_id=data_set.id,
            view=view,
            layers=layers,
            record=data_set.record,
            codec=codec,
            section_thickness_um=_thickness_um(data_set),
            registered=registered,
        )


def _thickness_um(data_set: SectionDataSet) -> float:
    # rows without a thickness, or with one that is not a length, exist; z then counts section numbers
    thickness_um = data_set.section_thickness
    return thickness_um if thickness_um is not None and 0 < thickness_um < math.inf else 1.0
