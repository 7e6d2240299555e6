"""Tables of rows as queries see them: in the order of their ids, and found by the value of a column.

Rows that are held come as plain lists and get indices when they are first looked for. Rows that are made when they are
asked for bring tables and links of their own kind, so that no query ever holds all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "GeneratedLinks",
    "GeneratedTable",
    "HeldLinks",
    "HeldTable",
    "Links",
    "Picked",
    "Table",
    "positions_of",
]

type Row = dict[str, Any]


class Table(Sequence[Row], ABC):
    """The rows of a model in the order of their ids."""

    @property
    @abstractmethod
    def columns(self) -> frozenset[str]:
        """The columns that any of the rows has."""

    @abstractmethod
    def where(self, name: str, value: Any) -> Sequence[Row]:
        """Return the rows with a value in a column, which is not null."""


class Links(ABC):
    """The pairs of a many-to-many association."""

    @abstractmethod
    def others(self, side: str, own: int) -> Sequence[int]:
        """Return the ids that stand opposite of one that stands on the side ``left`` or ``right``."""


class HeldTable(Table):
    """Rows that are all there."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = sorted(rows, key=lambda row: row["id"])
        self._columns: frozenset[str] | None = None
        self._by_value: dict[str, dict[Any, list[Row]]] = {}

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def columns(self) -> frozenset[str]:
        """The columns that any of the rows has."""
        if self._columns is None:
            self._columns = frozenset(name for row in self._rows for name in row)
        return self._columns

    def where(self, name: str, value: Any) -> Sequence[Row]:
        """Return the rows with a value in a column, which is not null."""
        index = self._by_value.get(name)
        if index is None:
            index = {}
            for row in self._rows:
                if row.get(name) is not None:
                    index.setdefault(row[name], []).append(row)
            self._by_value[name] = index
        return index.get(value, ())


class HeldLinks(Links):
    """Pairs that are all there."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._pairs = list(pairs)
        self._by_side: dict[str, dict[int, list[int]]] = {}

    def others(self, side: str, own: int) -> Sequence[int]:
        """Return the ids that stand opposite of one that stands on the side ``left`` or ``right``."""
        index = self._by_side.get(side)
        if index is None:
            index = {}
            for left, right in self._pairs:
                here, there = (left, right) if side == "left" else (right, left)
                index.setdefault(here, []).append(there)
            self._by_side[side] = index
        return index.get(own, ())


class GeneratedTable(Table):
    """Rows that are made when they are asked for, in the order of their ids.

    Parameters
    ----------
    n : int
        How many.
    first_id, step : int
        Row k has the id ``first_id + k * step``.
    make : callable
        Makes row k.
    keys : mapping of str to callable, optional
        Columns that tell positions: from a value to those of the rows that have it. Others are looked through.
    """

    def __init__(
        self,
        n: int,
        first_id: int,
        step: int,
        make: Callable[[int], Row],
        keys: Mapping[str, Callable[[int], Sequence[int]]] | None = None,
    ) -> None:
        self._n = n
        self._make = make
        self._columns = frozenset(make(0)) if n else frozenset()
        self._keys = {"id": lambda value: positions_of(value, first_id, step, n), **(keys or {})}

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._make(each) for each in range(*index.indices(self._n))]
        return self._make(range(self._n)[index])

    def __iter__(self) -> Iterator[Row]:
        return map(self._make, range(self._n))

    def __len__(self) -> int:
        return self._n

    @property
    def columns(self) -> frozenset[str]:
        """The columns, which all rows have."""
        return self._columns

    def where(self, name: str, value: Any) -> Sequence[Row]:
        """Return the rows with a value in a column, which is not null."""
        find = self._keys.get(name)
        if find is None:
            return [row for row in self if row.get(name) == value]
        return [self._make(each) for each in find(value)] if isinstance(value, int) else []


class GeneratedLinks(Links):
    """Pairs that follow from either of their ids.

    Parameters
    ----------
    of_left, of_right : callable
        From an id on that side to those opposite.
    """

    def __init__(
        self, of_left: Callable[[int], Sequence[int]], of_right: Callable[[int], Sequence[int]]
    ) -> None:
        self._of_side = {"left": of_left, "right": of_right}

    def others(self, side: str, own: int) -> Sequence[int]:
        """Return the ids that stand opposite of one that stands on the side ``left`` or ``right``."""
        return self._of_side[side](own)


class Picked(Sequence[Row]):
    """Rows of a sequence by their positions, each taken when it is asked for.

    Parameters
    ----------
    rows : sequence of dict
    positions : sequence of int
        Which, in which order.

    Attributes
    ----------
    positions : sequence of int
        As given.
    """

    def __init__(self, rows: Sequence[Row], positions: Sequence[int]) -> None:
        self._rows = rows
        self.positions = positions

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...

    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self._rows[each] for each in self.positions[index]]
        return self._rows[self.positions[index]]

    def __len__(self) -> int:
        return len(self.positions)


def positions_of(row_id: int, first_id: int, step: int, n: int) -> Sequence[int]:
    """Return the position of an id among n that are ``step`` apart: one, or none."""
    position, rest = divmod(row_id - first_id, step)
    return (position,) if not rest and 0 <= position < n else ()
