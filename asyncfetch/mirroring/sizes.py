"""What the sizes of images told in a run: how the server rounds, and which tiers it really gives."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from asyncfetch.geometry import tier_shape
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.planning import SectionPlan
    from asyncfetch.store import Commit

__all__ = ["SizeLog"]


class SizeLog:
    """What came in another size than was expected, by data set.

    It is told once per data set, however many images it holds; and what a server gave for a tier once is expected of
    it for the next image, so that memory for a finer tier is reserved before it is asked for and not after.
    """

    def __init__(self) -> None:
        self._n_rounded: Counter[int] = Counter()
        self._n_boxes: Counter[int] = Counter()
        self._n_others: Counter[tuple[int, int, int]] = Counter()
        self._given: dict[tuple[int, int], int] = {}

    def expected_shape(self, plan: SectionPlan) -> tuple[int, int]:
        """Return the size that an image will have, after what came of its data set before."""
        given = self._given.get((plan.data_set_id, plan.asked))
        if given is None or given >= plan.downsample:
            return plan.shape
        return tier_shape(*plan.section.shape, given)

    def saw(self, plan: SectionPlan, commit: Commit) -> None:
        """Note what came for a plan."""
        data_set_id = commit.data_set_id
        if commit.downsample != plan.asked:
            self._n_others[data_set_id, plan.asked, commit.downsample] += 1
            self._given[data_set_id, plan.asked] = commit.downsample
        elif commit.shape != tier_shape(*plan.section.shape, commit.downsample):
            self._n_rounded[data_set_id] += 1

    def saw_box(self, data_set_id: int) -> None:
        """Note a box that was not as large as was asked for."""
        self._n_boxes[data_set_id] += 1

    def notes(self) -> list[str]:
        """Return what is worth knowing, a sentence per data set and kind."""
        notes = [
            f"data set {data_set_id}: the server gave tier {given} instead of {asked} for {counted(n, 'image')}, as "
            "the size shows; what came is stored and placed as what it is"
            for (data_set_id, asked, given), n in sorted(self._n_others.items())
        ]
        notes += [
            f"data set {data_set_id}: {counted(n, 'image')} came a pixel larger or smaller than expected, by the "
            "rounding of the server; what came is stored with the size that it has and placed by its first pixel"
            for data_set_id, n in sorted(self._n_rounded.items())
        ]
        notes += [
            f"data set {data_set_id}: {counted(n, 'box', 'boxes')} came a pixel larger or smaller than asked "
            "for, by the rounding of the server; pixels that are missing at the end are left empty"
            for data_set_id, n in sorted(self._n_boxes.items())
        ]
        return notes
