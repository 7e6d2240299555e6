"""What narrows a selection: traits of data sets, and which of their sections. One table for records and queries. Pure.

A filter holds for everything that is selected, however it was named. The API is asked with it, and the record that
comes is held against it once more, so that nothing depends on how a service understands a condition: a data set that
does not meet the filters by its own record is left out, by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.names import did_you_mean
from asyncfetch.selecting.splits import Split
from asyncfetch.selecting.traits import TRAITS, flag_of_trait, trait_values
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncfetch.allen import SectionImage

__all__ = ["Filters"]

type Failed = Literal["without", "with", "only"]

_MAX_SHOWN = 40


class Filters(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Conditions that all hold: each one of several values, or none where it is empty or None.

    Attributes
    ----------
    plane, age, treatment, sense, strain, sex : tuple of str
        Traits, as the API spells them; `of` takes them as people type them.
    delegate : bool or None
        Whether the set stands for all of its gene and age.
    failed : "without", "with", "only" or None
        Whether failed sets are meant. None leaves them out unless they are named by their id (REC-8).
    section_range : (int, int) or None
        First and last section number.
    every : int or None
        Of the sections of a set in the order of their numbers, the first and each so many after it.
    limit : int or None
        Most data sets of all that is selected, in the order in which they are found.
    split : Split or None
        Into which parts the data sets are sorted.
    """

    plane: tuple[str, ...] = ()
    age: tuple[str, ...] = ()
    treatment: tuple[str, ...] = ()
    sense: tuple[str, ...] = ()
    strain: tuple[str, ...] = ()
    sex: tuple[str, ...] = ()
    delegate: bool | None = None
    failed: Failed | None = None
    section_range: tuple[int, int] | None = None
    every: int | None = None
    limit: int | None = None
    split: Split | None = None

    @classmethod
    def of(
        cls,
        *,
        delegate: bool | None = None,
        failed: Failed | None = None,
        section_range: str | tuple[int, int] | None = None,
        every: int | str | None = None,
        limit: int | str | None = None,
        split: str | Split | None = None,
        seed: int | str | None = None,
        **traits: str | Iterable[str] | None,
    ) -> Self:
        """Read filters as people type them; what is None or empty is not asked for.

        Parameters
        ----------
        delegate, failed
            As the attributes.
        section_range : str or (int, int), optional
            ``100:200``; either end may be left out.
        every, limit : int or str, optional
            Positive numbers.
        split : str, optional
            ``specimen:80/10/10``.
        seed : int, optional
            Of the split; 0 by default.
        **traits
            By the names of the traits, such as ``plane="coronal"``; capitals do not count where the API's are known.

        Raises
        ------
        SelectionError
            A value is malformed, or there is no such filter.
        """
        names = [trait.name for trait in TRAITS]
        for name in traits:
            if name not in names:
                raise SelectionError(f"there is no filter {name}{did_you_mean(name, names)}")
        if seed is not None and split is None:
            raise SelectionError("--seed belongs to --split; give both, or neither")
        if failed not in {None, "without", "with", "only"}:
            raise SelectionError(f"failed is without, with or only, not {failed!r}")
        return cls(
            **{trait.name: _wanted(trait.name, trait.canonical, traits.get(trait.name)) for trait in TRAITS},
            delegate=delegate,
            failed=failed,
            section_range=_range(section_range),
            every=_positive("--every", every),
            limit=_positive("--limit", limit),
            split=split if split is None or isinstance(split, Split) else Split.of(split, seed),
        )

    @property
    def has_conditions(self) -> bool:
        """Whether anything is asked of data sets, beside whether they failed."""
        return self.delegate is not None or any(getattr(self, trait.name) for trait in TRAITS)

    @property
    def narrows_sections(self) -> bool:
        """Whether some sections of a data set may be left out."""
        return self.section_range is not None or self.every is not None

    def refusal(self, row: Mapping[str, Any], *, is_named: bool = False) -> str | None:
        """Return why a data set does not meet the conditions by its record, None where it does.

        Parameters
        ----------
        row : mapping
            The record, with what the traits need included.
        is_named : bool
            Whether it was asked for by its id, so that it may have failed.
        """
        values = trait_values(row)
        for trait in TRAITS:
            wanted = {each.casefold() for each in getattr(self, trait.name)}
            if not wanted or wanted & {each.casefold() for each in values[trait.name]}:
                continue
            told = ", ".join(shown(trait.shown(each), _MAX_SHOWN) for each in values[trait.name])
            asked = ",".join(map(trait.shown, getattr(self, trait.name)))
            return f"its {trait.name} is {told or 'not known'} ({flag_of_trait(trait.name)} {asked})"
        if self.delegate is not None and row.get("delegate") is not self.delegate:
            return "it is not a delegate" if self.delegate else "it is a delegate"
        has_failed = row.get("failed") is True
        failed = self.failed or ("with" if is_named else "without")
        if failed == "only" and not has_failed:
            return "it has not failed (--failed)"
        return "it has failed" if failed == "without" and has_failed else None

    def sections_of(self, sections: Sequence[SectionImage]) -> frozenset[int] | None:
        """Return the ids of the sections of a data set that are wanted; None means all."""
        if not self.narrows_sections:
            return None
        numbered = sorted(
            (each for each in sections if each.section_number is not None),
            key=lambda each: (each.section_number or 0, each.id),
        )
        chosen = numbered[:: self.every or 1]
        if self.section_range is not None:
            first, last = self.section_range
            chosen = [each for each in chosen if first <= (each.section_number or 0) <= last]
        return frozenset(each.id for each in chosen)

    def __str__(self) -> str:
        """Return the filters as they are typed."""
        told = [
            f"{flag_of_trait(trait.name)} {','.join(map(trait.shown, values))}"
            for trait in TRAITS
            if (values := getattr(self, trait.name))
        ]
        if self.delegate is not None:
            told.append("--delegate" if self.delegate else "--no-delegate")
        told += {"with": ["--with-failed"], "only": ["--failed"]}.get(self.failed or "", [])
        if self.section_range is not None:
            told.append(f"--section-range {self.section_range[0]}:{self.section_range[1]}")
        told += [f"--{name} {value}" for name in ("every", "limit") if (value := getattr(self, name))]
        told += [] if self.split is None else [str(self.split)]
        return " ".join(told)


def _wanted(name: str, canonical: Any, given: str | Iterable[str] | None) -> tuple[str, ...]:
    texts = [] if given is None else [given] if isinstance(given, str) else list(given)
    values = [word.strip() for text in texts for word in str(text).split(",")]
    if texts and not all(values):
        raise SelectionError(
            f"{flag_of_trait(name)} has an empty value; give values with commas between them"
        )
    for value in values:
        if "'" in value:
            raise SelectionError(
                f"{flag_of_trait(name)} {value!r} contains a quote, which the API cannot be asked for"
            )
    if name == "sense" and (
        wrong := [each for each in values if each.casefold() not in {"sense", "antisense"}]
    ):
        raise SelectionError(f"--sense {wrong[0]} must be sense or antisense")
    return tuple(dict.fromkeys(map(canonical, values)))


def _positive(flag: str, given: int | str | None) -> int | None:
    if given is None:
        return None
    number = int(given) if str(given).isdecimal() and len(str(given)) < 19 else 0
    if number < 1:
        raise SelectionError(f"{flag} {shown(given, _MAX_SHOWN)} must be a whole number of 1 or greater")
    return number


def _range(given: str | tuple[int, int] | None) -> tuple[int, int] | None:
    if given is None:
        return None
    first, colon, last = given.partition(":") if isinstance(given, str) else (given[0], ":", given[1])
    try:
        numbers = (int(first or 0), int(last or 10**9))
    except ValueError:
        numbers = (1, 0)
    if not colon or numbers[0] > numbers[1]:
        raise SelectionError(
            f"--section-range {shown(given, _MAX_SHOWN)} must be FIRST:LAST, such as 100:200; either may be left out"
        )
    return numbers
