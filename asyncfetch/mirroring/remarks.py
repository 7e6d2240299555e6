"""What is worth knowing of a plan though nothing of it fails: a sentence each. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.geometry import Affine2D, ReferenceGrid
    from asyncfetch.settings import Settings

__all__ = ["Remarks", "lies_outside"]


class Remarks(msgspec.Struct):
    """What was seen while the sections of a data set were planned.

    Attributes
    ----------
    n_sections : int
        Sections that were compared.
    beside : list of SectionImage
        Those of which the region shows nothing.
    outside : list of SectionImage
        Those that lie outside of the reference space.
    too_deep : list of SectionImage
        Those that do not have the tier that was asked for.
    """

    n_sections: int = 0
    beside: list[SectionImage] = msgspec.field(default_factory=list)
    outside: list[SectionImage] = msgspec.field(default_factory=list)
    too_deep: list[SectionImage] = msgspec.field(default_factory=list)

    def sentences(self, data_set: SectionDataSet, settings: Settings) -> tuple[str, ...]:
        """Return what there is to tell of a data set."""
        of_set = f"of data set {data_set.id}"
        told = []
        if data_set.failed:
            told.append(f"data set {data_set.id} is marked as failed by the API")
        if self.beside and isinstance(settings.roi, tuple):
            told.append(
                f"the region lies beside {self._some(self.beside)} {of_set}; nothing is fetched of them"
            )
        elif self.beside and len(self.beside) == self.n_sections:
            told.append(f"the region touches no section {of_set}; nothing is fetched of it")
        if self.outside:
            space = data_set.reference_space_id
            told.append(f"{self._some(self.outside)} {of_set} outside of the box of reference space {space}")
        if self.too_deep:
            told.append(
                f"tier {settings.downsample} is beyond the last tier of {self._some(self.too_deep)} {of_set}; what "
                "comes instead is known by its size"
            )
        return tuple(told)

    def _some(self, sections: list[SectionImage]) -> str:
        n = len(sections)
        count = (
            f"all {n} sections" if n == self.n_sections > 1 else "1 section" if n == 1 else f"{n} sections"
        )
        return f"{count} (image:{sections[0].id}{', …' if n > 1 else ''})"


def lies_outside(
    data_set: SectionDataSet, section: SectionImage, grid: ReferenceGrid, grid_to_image: Affine2D
) -> bool:
    """Tell whether no point of a section's image lies in the box of its reference space.

    Parameters
    ----------
    data_set, section
        The records; the section can be placed.
    grid : ReferenceGrid
        The grid that it is registered on.
    grid_to_image : Affine2D
        From grid index (x, y) to full-resolution pixels (x, y).
    """
    height, width = grid.shape
    for (along_x, along_y, start), side in zip(
        grid_to_image.matrix.tolist(), (section.width, section.height), strict=True
    ):
        steps = (along_x * (width - 1), along_y * (height - 1))
        low, high = (
            start + sum(min(0.0, step) for step in steps),
            start + sum(max(0.0, step) for step in steps),
        )
        if high < -0.5 or low > side - 0.5:
            return True
    trv = None if data_set.alignment3d is None else data_set.alignment3d.trv
    if trv is None or section.section_number is None or data_set.section_thickness is None:
        return False
    plane = grid.plane
    *normal, offset = trv.matrix[2].tolist()
    # where the section's plane passes the four edges of the box that run across it
    slopes = [normal[axis] * grid.box_um[axis] for axis in (plane.y_axis, plane.x_axis)]
    depth = section.section_number * data_set.section_thickness - offset
    ends = (
        depth - sum(max(0.0, slope) for slope in slopes),
        depth - sum(min(0.0, slope) for slope in slopes),
    )
    across = sorted(end / normal[plane.slice_axis] for end in ends)
    return bool(across[1] < 0 or across[0] > grid.box_um[plane.slice_axis])
