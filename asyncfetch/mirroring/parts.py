"""Which part of a store a verification looks at, and whose JPEGs it samples. Pure.

Both follow from the ids alone: what has been stored since then moves nothing from one part to another.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple, Self

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EVERYTHING", "Part", "sampled"]

_PART = re.compile(r"(\d{1,6})/(\d{1,6})")


class Part(NamedTuple):
    """One of the parts of a store, which together cover it exactly once.

    Attributes
    ----------
    number, n : int
        The first is 1 of n.
    """

    number: int
    n: int

    def __str__(self) -> str:
        return f"{self.number}/{self.n}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a part such as ``1/30``.

        Raises
        ------
        SettingsError
            It is not one.
        """
        match = _PART.fullmatch(text.strip())
        number, n = (int(each) for each in match.groups()) if match else (0, 0)
        if not 1 <= number <= n:
            raise SettingsError(
                f"part = {text} is not allowed: write which of how many parts, such as 1/30 for the first of 30",
                setting="part",
            )
        return cls(number, n)

    def holds(self, name: str) -> bool:
        """Tell whether something of that name belongs to the part."""
        return self.n == 1 or _number_of(name) % self.n == self.number - 1

    def holds_section(self, image_id: int) -> bool:
        """Tell whether a section does, in all its views."""
        return self.holds(f"image:{image_id}")


#: The one part of a store that is not divided.
EVERYTHING = Part(1, 1)


def sampled(image_ids: Iterable[int], one_of: int, seed: int) -> set[int]:
    """Return one of so many sections, rounded up: a view that has sections has one in the sample."""
    in_order = sorted(image_ids, key=lambda image_id: (_number_of(f"{seed}:{image_id}"), image_id))
    return set(in_order[: -(-len(in_order) // one_of)])


def _number_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
