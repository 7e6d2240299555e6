"""Parts for training, validation and testing, between which no animal is shared. Pure.

Which part a data set is in follows from the id of its specimen and the seed alone: a set that is added later moves no
other one, and two people with the same seed have the same parts. The shares hold on average, not exactly.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal, Self, get_args

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.names import did_you_mean
from asyncfetch.text import shown

__all__ = ["Split", "SplitBy"]

type SplitBy = Literal["specimen", "dataset"]

#: The names of the parts by the number of shares.
_PARTS = {2: ("train", "test"), 3: ("train", "validation", "test")}
_FORM = re.compile(r"(?P<by>[a-z]+):(?P<shares>\d{1,3}(?:/\d{1,3}){1,2})", re.IGNORECASE)
_MAX_SHOWN = 40


class Split(msgspec.Struct, frozen=True):
    """How data sets are sorted into parts.

    Attributes
    ----------
    by : "specimen" or "dataset"
        What is kept together.
    shares : tuple of int
        The shares of training and testing, or of training, validation and testing, in any unit.
    seed : int
        What the choice follows from.
    """

    by: SplitBy
    shares: tuple[int, ...]
    seed: int = 0

    @classmethod
    def of(cls, text: str, seed: int | str | None = None) -> Self:
        """Read a split such as ``specimen:80/10/10``.

        Raises
        ------
        SelectionError
            It is malformed.
        """
        match = _FORM.fullmatch(text.strip())
        known = get_args(SplitBy.__value__)
        by = "" if match is None else match["by"].lower()
        if match is None or by not in known:
            hint = did_you_mean(by, known) if by else ""
            raise SelectionError(
                f"--split {shown(text, _MAX_SHOWN)} must be specimen:TRAIN/VALIDATION/TEST, such as "
                f"specimen:80/10/10{hint}"
            )
        shares = tuple(map(int, match["shares"].split("/")))
        if not sum(shares):
            raise SelectionError(f"--split {text} has no share greater than 0")
        if seed is not None and not str(seed).removeprefix("-").isdecimal():
            raise SelectionError(f"--seed {shown(seed, _MAX_SHOWN)} must be a whole number")
        return cls(by, shares, int(seed or 0))  # type: ignore[arg-type]  # one of the two

    def part_of(self, data_set_id: int, specimen_id: int | None) -> str:
        """Return the part that a data set is in; one without a specimen is on its own."""
        is_alone = self.by == "dataset" or specimen_id is None
        key = f"{self.seed}:dataset:{data_set_id}" if is_alone else f"{self.seed}:specimen:{specimen_id}"
        digest = hashlib.sha256(key.encode()).digest()
        at = int.from_bytes(digest[:8]) / 2**64 * sum(self.shares)
        names = _PARTS[len(self.shares)]
        for name, share in zip(names, self.shares, strict=True):
            if at < share:
                return name
            at -= share
        return names[-1]

    def __str__(self) -> str:
        """Return the split as it is typed."""
        return f"--split {self.by}:{'/'.join(map(str, self.shares))} --seed {self.seed}"
