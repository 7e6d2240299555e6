"""What is worth knowing of a plan though nothing of it fails: a sentence each. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.planning.section import SectionPlan
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
    of_another_codec : list of SectionImage
        Those whose pixels are stored in another codec, and stay so.
    """

    n_sections: int = 0
    beside: list[SectionImage] = msgspec.field(default_factory=list)
    outside: list[SectionImage] = msgspec.field(default_factory=list)
    too_deep: list[SectionImage] = msgspec.field(default_factory=list)
    of_another_codec: list[SectionImage] = msgspec.field(default_factory=list)

    def sentences(self, data_set: SectionDataSet, settings: Settings) -> tuple[str, ...]:
        """Return what there is to tell of a data set."""
        of_set = f"of data set {data_set.id}"
        told = []
        if data_set.failed:
            told.append(f"data set {data_set.id} is marked as failed by the API")
        if self.beside and isinstance(settings.roi, tuple):
            told.append(
                f"the region lies outside {self._some(self.beside)} {of_set}; nothing is fetched for them"
            )
        elif self.beside and len(self.beside) == self.n_sections:
            told.append(f"the region touches no section {of_set}; nothing is fetched for it")
        if self.outside:
            space = data_set.reference_space_id
            told.append(f"{self._some(self.outside)} {of_set} outside the box of reference space {space}")
        if self.too_deep:
            told.append(
                f"tier {settings.downsample} is beyond the last tier of {self._some(self.too_deep)} {of_set}; what "
                "comes instead is known by its size"
            )
        if self.of_another_codec:
            told.append(
                f"{self._some(self.of_another_codec)} {of_set} stay in the codec they are stored in; to write them "
                f"again, use asyncfetch rebuild with --layers sections --codec {settings.codec}"
            )
        return tuple(told)

    def _some(self, sections: list[SectionImage]) -> str:
        n = len(sections)
        count = f"{'all ' if n == self.n_sections > 1 else ''}{counted(n, 'section')}"
        return f"{count} (image:{sections[0].id}{', …' if n > 1 else ''})"


def lies_outside(data_set: SectionDataSet, plan: SectionPlan) -> bool:
    """Tell whether no point of a section's image lies in the box of its reference space.

    Parameters
    ----------
    data_set : SectionDataSet
        The record.
    plan : SectionPlan
        Of a section of it, placed on its grid.
    """
    section, grid, grid_to_image = plan.section, plan.grid, plan.grid_to_image
    assert grid is not None and grid_to_image is not None, "the section is placed"  # noqa: PT018 - one condition
    # plain floats: numpy would take ten times as long, for every section of a plan
    n_rows, n_columns = grid.shape
    (ax, bx, x0), (ay, by, y0) = grid_to_image.matrix.tolist()
    if _is_beside(ax * (n_columns - 1), bx * (n_rows - 1), x0 + 0.5, section.width) or _is_beside(
        ay * (n_columns - 1), by * (n_rows - 1), y0 + 0.5, section.height
    ):
        return True
    trv = None if data_set.alignment3d is None else data_set.alignment3d.trv
    if trv is None or section.section_number is None or data_set.section_thickness is None:
        return False
    plane, box_um = grid.plane, grid.box_um
    *normal, offset = trv.matrix[2].tolist()
    across = normal[plane.slice_axis]
    depth_um = section.section_number * data_set.section_thickness - offset
    return _is_beside(
        -normal[plane.y_axis] / across * box_um[plane.y_axis],
        -normal[plane.x_axis] / across * box_um[plane.x_axis],
        depth_um / across,
        box_um[plane.slice_axis],
    )


def _is_beside(first: float, second: float, start: float, side: float) -> bool:
    """Tell whether start + a · first + b · second lies outside of 0 … side for all a and b from 0 to 1."""
    low = start + (first if first < 0 else 0.0) + (second if second < 0 else 0.0)
    high = start + (first if first > 0 else 0.0) + (second if second > 0 else 0.0)
    return high < 0 or low > side
