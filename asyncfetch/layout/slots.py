"""Which z of a registered image belongs to which section. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import msgspec

from asyncfetch.errors import AlignmentError
from asyncfetch.layout.bounds import Id, Position, SectionNumber  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncfetch.allen import SectionDataSet

__all__ = ["Slot", "plan_slots", "slot_spacing", "slots_of"]


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One z of a registered image.

    Attributes
    ----------
    z : int
        Index along the slice axis of the reference space, from 0.
    section_number : int
        The section number that belongs there.
    image_id : int or None
        The section image, or None where the set has no section of that number.
    plane : tuple of float or None
        (a, b, c, d) of the section's plane a·p + b·i + c·r + d = 0 in µm of the reference frame, the normal
        of unit length; None where the plane is not known.
    """

    z: Annotated[int, msgspec.Meta(ge=0)]
    section_number: SectionNumber
    image_id: Id | None = None
    plane: tuple[Position, Position, Position, Position] | None = None


def slot_spacing(section_numbers: Iterable[int]) -> int:
    """Return the greatest step of which all differences of section numbers are multiples.

    A set with one section number has no step; 1 is returned.
    """
    distinct = sorted(set(section_numbers))
    return math.gcd(*(number - distinct[0] for number in distinct)) or 1


def plan_slots(
    section_numbers: Mapping[int, int | None],
    planes: Mapping[int, tuple[float, float, float, float] | None] | None = None,
    *,
    descending: bool = False,
) -> tuple[Slot, ...]:
    """Give each section of a set its z: one for each step from the first section number to the last.

    Parameters
    ----------
    section_numbers : mapping of int to int or None
        The section number of every section image of the set by image id, failed sections too, so that the
        slots do not move when a section fails. A section without a number gets no slot.
    planes : mapping of int to tuple of float, optional
        Plane equations by image id.
    descending : bool
        Begin with the highest section number, where it lies first along the axis of the reference space.

    Returns
    -------
    tuple of Slot
        In order of z. Sections that share a number get one z each, in order of their ids; from there on z no
        longer counts steps, and `Slot.section_number` alone says which section is where.

    Examples
    --------
    >>> [(slot.z, slot.section_number, slot.image_id) for slot in plan_slots({7: 20, 8: 12, 9: 8})]
    [(0, 8, 9), (1, 12, 8), (2, 16, None), (3, 20, 7)]
    """
    images: dict[int, list[int]] = {}
    for image_id, number in sorted(section_numbers.items()):
        if number is not None:
            images.setdefault(number, []).append(image_id)
    if not images:
        return ()
    known = planes or {}
    slots: list[Slot] = []
    spacing = slot_spacing(images)
    numbers = range(min(images), max(images) + 1, spacing)
    for number in reversed(numbers) if descending else numbers:
        if number not in images:
            slots.append(Slot(z=len(slots), section_number=number))
        for image_id in images.get(number, ()):
            plane = known.get(image_id)
            slots.append(Slot(z=len(slots), section_number=number, image_id=image_id, plane=plane))
    return tuple(slots)


def slots_of(data_set: SectionDataSet, *, descending: bool = False) -> tuple[Slot, ...]:
    """Return the slots of a data set, with the plane of each section that can be placed."""
    numbers: dict[int, int | None] = {}
    planes: dict[int, tuple[float, float, float, float] | None] = {}
    for section in data_set.section_images:
        numbers[section.id] = section.section_number
        try:
            a, b, c, d = data_set.geometry(section).plane_equation().tolist()
        except AlignmentError:
            continue
        planes[section.id] = (a, b, c, d)
    return plan_slots(numbers, planes, descending=descending)
