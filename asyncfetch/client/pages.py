"""The pages of one query: what is asked for next, which rows are new, and when that was all. Pure.

The rule, which holds whatever the service says about its own pages (RMA-4, RMA-5, RMA-6):

- a page starts where the rows that came ended, not where they were expected to end, so that pages that are shorter
  than asked cost nothing but requests;
- a listing ends at a page without new rows. ``total_rows`` may be missing, count joined rows, or count the rows of the
  page, so that reaching it alone proves nothing. There can be no more where all ids that a query names have come. Nor
  where a page completes the total, once that was seen to count more than a page, and is shorter than asked and than
  another page of the model, so that no cap made it short;
- a full page that holds nothing but the last row again is one of a join that repeats it, and not the end; whether a
  service counts its starts in joined rows or not is seen by where its pages begin;
- a page begins with the last row of the one before; where that is another row, rows have moved, and the listing begins
  again;
- of rows with the same id the first counts; where another one has other content, which stands beside it in an order by
  id, and in the same page or the next in any, that is told;
- what was announced and what came are compared at the end: a service that gives the same page again while it announces
  more fails, by name; any other difference that joins do not explain is told.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from asyncfetch.allen import row_id, shown_value
from asyncfetch.errors import ReplyError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.allen import Page, Query

__all__ = ["MAX_ROWS", "MAX_SECTIONS", "Known", "Listing", "OddRow"]

type Row = dict[str, Any]
#: A row that is not a record: its position in the listing, from 0, and what came.
type OddRow = tuple[int, Any]

#: How often a listing begins again because its rows moved from page to page.
_MAX_RESTARTS = 3
#: How often a page is asked for again that is empty although a row of it is known.
_MAX_EMPTY = 1
#: Pages in a row that hold nothing but the last row again.
_MAX_STALE = 20
#: Rows of one listing: all section images of the largest products are 10^6.
MAX_ROWS = 2_000_000
#: Section images of the data sets that are listed at once; the largest set on record has some 600.
MAX_SECTIONS = 50_000


class Difference(NamedTuple):
    """The rows that were announced, and those that came."""

    n_announced: int
    n_came: int


class Known:
    """What the pages that came so far have shown of the service that gives them.

    Attributes
    ----------
    most_rows : dict of str to int
        The most rows of one page, by model.
    counts_all : bool
        Whether a total was announced that counts more than the rows of its page.
    """

    def __init__(self) -> None:
        self.most_rows: dict[str, int] = {}
        self.counts_all = False

    def is_short(self, model: str, n_rows: int, n_asked: int, total: int | None) -> bool:
        """Take a page down, and tell whether it is short for no other reason than that there are no more rows."""
        most_rows = self.most_rows.get(model, 0)
        self.most_rows[model] = max(most_rows, n_rows)
        self.counts_all |= total is not None and total > n_rows > 0
        return self.counts_all and n_rows < min(n_asked, most_rows)


class Listing:
    """The state of one listing: feed it the answer to each `query`, until `is_over`.

    Parameters
    ----------
    query : Query
        What is wanted; a ``num_rows`` of its own is the most rows, a ``start_row`` where they begin.
    page_rows : int
        Rows of one page.
    odd_rows : list of OddRow, optional
        Takes the rows that are not records; without it they are an error.
    max_rows : int
        The most rows that the listing can have.
    known : Known, optional
        What other listings have shown of the service.

    Attributes
    ----------
    is_over : bool
        Whether there is nothing more to ask for.
    contradicted : dict of id to None
        Ids of which another row came with other content.
    """

    def __init__(
        self,
        query: Query,
        page_rows: int,
        odd_rows: list[OddRow] | None = None,
        max_rows: int = MAX_ROWS,
        known: Known | None = None,
    ) -> None:
        options = query.options
        self._query = query if options.order or options.tabular or not query.model else query.order("id")
        self._page_rows = page_rows
        self._odd_rows = odd_rows
        self._max_rows = max_rows
        self._known = Known() if known is None else known
        self._first_row = options.start_row
        self._end_row = options.start_row + options.num_rows if isinstance(options.num_rows, int) else None
        self._wanted_ids = _wanted_ids(query)
        self._included = [step.name for step in query.includes]
        self.contradicted: dict[Any, None] = {}
        self._n_restarts = 0
        # what an earlier pass has given
        self._given: set[Any] = set()
        self._has_given_nameless = False
        self._begin()

    def _begin(self) -> None:
        self._start_row = self._n_raw = self._n_joined = self._first_row
        self._n_unlike = 0
        self._seen: set[Any] = set()
        self._recent: dict[Any, Row] = {}
        self._first: list[Any] = []
        self._page: list[Any] = []
        self._last: Any = None
        self._page_end = self._max_rows_came = self._max_ids_came = 0
        self._was_exact = self._counts_joined = self._is_bare = False
        self._total: int | None = None
        self._last_total: int | None = None
        self._n_empty = self._n_stale = 0
        self.is_over = self._end_row is not None and self._start_row >= self._end_row

    @property
    def query(self) -> Query:
        """The query of the next page."""
        return self._query.page(self._start_row - self._overlap, self._n_asked + self._overlap)

    @property
    def difference(self) -> Difference | None:
        """How what came differs from what was announced; None where it does not, or joins explain it."""
        total, came = self._total, self._first_row + self._n_unlike
        is_cut = self._end_row is not None and self._start_row >= self._end_row
        most = max(came, self._n_raw, self._n_joined)
        if total is None or is_cut or not self._query.model or came <= total <= most:
            return None
        return Difference(total, came)

    def take(self, page: Page) -> list[Row]:
        """Take the answer to `query`, and return its rows that did not come before.

        Raises
        ------
        ReplyError
            The service gives the same page whatever is asked for, moves its rows, or never ends; or a row is not a
            record, and there is nothing that takes it.
        """
        total = page.total_rows if page.total_rows is not None and page.total_rows > 0 else None
        rows, n_before = page.rows, self._overlap
        if not rows and self._n_stale:
            # beyond the rows that a join repeats
            self.is_over = True
            return []
        if not rows and (n_before or self._given):
            # Even the row that is known to stand there is missing: rows went away, or the page is broken.
            self._n_empty += 1
            if self._n_empty > _MAX_EMPTY:
                self._restart()
            return []
        if self._is_first_again(rows, n_before):
            self._end_repetition(len(rows), total)
            return []
        self._page_end = self._start_row - n_before + len(rows)
        if n_before or self._seen:
            joint = self._joint(rows, total) if n_before else self._n_known(rows)
            if joint is None:
                self._restart()
                return []
            # it began before it should: starts are counted in joined rows, of which some came before
            self._counts_joined = self._counts_joined or joint > n_before
            for row in rows[:joint]:
                self._compare(self._key(row), row)
            rows = rows[joint:]
            if rows and self._key(rows[0]) is None and self._is_first_again(rows, 0):
                self._end_repetition(len(rows), total)
                return []
        # a total that is that of the page says least at the last one
        self._last_total, self._total = total, max(total or 0, self._total or 0) or None
        self._n_raw = max(self._n_raw, self._page_end)
        n_asked = self._n_asked + n_before
        is_short = self._known.is_short(self._query.model, len(page.rows), n_asked, total)
        is_full = self._measure(page.rows, n_asked)
        rows = rows if self._end_row is None else rows[: self._end_row - self._start_row]
        new = self._take_rows(rows, is_full=is_full)
        # no cap made it short, and nothing that was announced is missing
        self.is_over |= is_short and total == self._start_row and not self._counts_joined
        return new

    def _measure(self, rows: list[Any], n_asked: int) -> bool:
        """Note how much pages hold; tell whether this one is as full as any, and not the one before again."""
        keys = [self._key(row) for row in rows]
        n_ids = len({*keys} - {None}) + keys.count(None)
        is_full = len(rows) >= min(self._max_rows_came, n_asked) and (rows != self._page or n_ids == 1)
        self._max_rows_came = max(self._max_rows_came, len(rows))
        self._max_ids_came = max(self._max_ids_came, n_ids)
        self._page = rows
        return is_full

    def _take_rows(self, rows: list[Any], *, is_full: bool) -> list[Row]:
        n_unlike = self._n_unlike
        new = self._unseen(rows)
        n_new = self._n_unlike - n_unlike
        if not n_new:
            self._pass(rows, is_full=is_full)
            return new
        self._was_exact = n_new == len(rows) == self._n_asked
        # Too early costs nothing where it is not known in which rows starts are counted.
        self._start_row = self._page_end if self._counts_joined else self._start_row + n_new
        self._n_empty = self._n_stale = 0
        self._is_bare = False
        self._first = self._first or rows
        self._last = rows[-1]
        self.is_over = self._is_complete()
        if self._start_row - self._first_row > self._max_rows:
            raise ReplyError(
                f"{self._query.model} has more than {self._max_rows} rows, and the listing does not end; "
                "ask for less at once"
            )
        return new

    def _pass(self, rows: list[Any], *, is_full: bool) -> None:
        """Go on behind a page without new rows, where a join may have filled it with the last one."""
        if not (is_full and self._page and all(_is_same_row(row, self._last) for row in rows)):
            self.is_over = True
            return
        self._n_stale += 1
        if self._n_stale > _MAX_STALE:
            self._start_row = self._first_row + self._n_unlike
            self._end_repetition(len(self._page), self._total)
            return
        self._was_exact = False
        if self._counts_joined or self._is_bare or not self._overlap:
            self._start_row = max(self._n_raw, self._start_row + 1)
            self._is_bare = False
        else:
            # a page of a service that counts each row once, joined or not, may be full of the overlap
            self._is_bare = True

    @property
    def _overlap(self) -> int:
        # a page that is capped at one row would hold nothing but the overlap
        return 1 if self._max_ids_came > 1 and not self._is_bare else 0

    @property
    def _n_asked(self) -> int:
        return (
            self._page_rows
            if self._end_row is None
            else min(self._page_rows, self._end_row - self._start_row)
        )

    def _is_complete(self) -> bool:
        if not self._query.model or (self._end_row is not None and self._start_row >= self._end_row):
            return True
        return self._wanted_ids is not None and self._wanted_ids <= {
            row_id({"id": key}) for key in self._seen
        }

    def _is_first_again(self, rows: list[Any], n_before: int) -> bool:
        """Tell whether a page that begins elsewhere is the first one again, by more than its overlap."""
        n = min(len(self._first), len(rows))
        if n <= n_before or self._start_row - n_before == self._first_row or rows[:n] != self._first[:n]:
            return False
        # a join may repeat one row over several pages
        return any(not _is_same_row(row, rows[0]) for row in rows[:n]) or self._key(rows[0]) is None

    def _end_repetition(self, n_rows: int, total: int | None) -> None:
        if total is not None and self._start_row >= total:
            self.is_over = True
            return
        announced = "does not say how many there are" if total is None else f"announces {total}"
        raise ReplyError(
            f"the API gives the same {counted(n_rows, 'row')} of {self._query.model} whatever page is asked for, "
            f"and {announced}, so that some may be missing; ask for less at once"
        )

    def _joint(self, rows: list[Any], total: int | None) -> int | None:
        """Return how many rows of a page came before, None where rows have moved since."""
        last = self._last
        if _is_same_row(rows[0], last):
            return 1
        # After a page of other than as many rows as asked, the next one may begin earlier: rows are counted otherwise.
        is_of_page = (total, self._last_total) == (len(rows), len(self._page))
        if self._was_exact or (total != self._last_total and not is_of_page):
            return None
        joint = next((k for k, row in enumerate(rows, 1) if _is_same_row(row, last)), None)
        return joint if joint and all(self._key(row) in self._seen for row in rows[:joint]) else None

    def _n_known(self, rows: list[Any]) -> int:
        """Return how many rows at the beginning of a page came before."""
        return next((k for k, row in enumerate(rows) if self._key(row) not in self._seen), len(rows))

    def _restart(self) -> None:
        self._n_restarts += 1
        if self._n_restarts > _MAX_RESTARTS or self._has_given_nameless:
            raise ReplyError(
                f"rows of {self._query.model} moved from page to page, so that some may be missing; "
                f"{'order them by a column that tells them apart' if self._has_given_nameless else 'ask again later'}"
            )
        self._given |= self._seen
        if self._odd_rows is not None:
            self._odd_rows.clear()
        self._begin()

    def _unseen(self, rows: list[Any]) -> list[Row]:
        kept: list[Row] = []
        recent: dict[Any, Row] = {}
        for position, row in enumerate(rows, self._start_row):
            if not isinstance(row, dict):
                self._leave_out(position, row)
                self._n_unlike += 1
                continue
            key = self._key(row)
            if key is None:
                self._has_given_nameless = True
                kept.append(row)
            elif key in self._seen:
                recent[key] = self._compare(key, row, recent)
                continue
            elif key not in self._given:
                kept.append(row)
            if key is not None:
                self._seen.add(key)
                recent[key] = row
            self._n_unlike += 1
            self._n_joined += self._n_joined_of(row)
        self._recent = recent
        return kept

    def _compare(self, key: Any, row: Row, recent: dict[Any, Row] | None = None) -> Row:
        """Return the row that counts of those with an id, and note where another has other content."""
        first = (recent or {}).get(key) or self._recent.get(key, row)
        if first != row:
            self.contradicted[key] = None
        return first

    def _key(self, row: Any) -> Any:
        """Return what tells a row from others, None where nothing does."""
        return None if self._query.options.tabular else _id(row)

    def _leave_out(self, position: int, row: Any) -> None:
        if self._odd_rows is None:
            raise ReplyError(
                f"row {position} of {self._query.model} is {shown_value(row)}, not a record; ask again later"
            )
        self._odd_rows.append((position, row))

    def _n_joined_of(self, row: Row) -> int:
        """Return how many joined rows a row stands for, by the records that it includes."""
        return math.prod(_n_records(row.get(name)) for name in self._included)


def _n_records(value: Any) -> int:
    """Return how many joined rows an included value makes, with all that it includes itself."""
    if isinstance(value, list):
        return max(1, sum(map(_n_records, value)))
    if isinstance(value, dict):
        return math.prod(_n_records(each) for each in value.values() if isinstance(each, list | dict))
    return 1


def _id(row: Any) -> Any:
    value = row.get("id") if isinstance(row, dict) else None
    return value if isinstance(value, int | str | float) else None


def _is_same_row(row: Any, other: Any) -> bool:
    key = _id(row)
    return bool(row == other if key is None else key == _id(other))


def _wanted_ids(query: Query) -> set[int] | None:
    """Return the ids that a query names, where there can be no other rows; None where it names none."""
    for each in query.filters:
        if each.field == "id" and each.operator in {"eq", "in"} and all(map(str.isdecimal, each.values)):
            return set(map(int, each.values))
    return None
