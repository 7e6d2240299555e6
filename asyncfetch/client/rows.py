"""Rows of the API, page after page, while later pages are still being asked for."""

from __future__ import annotations

from abc import ABC
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

from asyncfetch.allen import parse_csv, parse_json, parse_xml, query_url, row_id, shown_value
from asyncfetch.allen.envelope import MAX_MADE_BYTES
from asyncfetch.client.pages import MAX_ROWS, Listing
from asyncfetch.engine import Engine, Request
from asyncfetch.errors import AsyncFetchError, NotFoundError, RecordError, ReplyError, short_url
from asyncfetch.events import ListingDiffered, RowsContradicted
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from asyncfetch.allen import Page, Query
    from asyncfetch.client.pages import Known, OddRow
    from asyncfetch.engine import Acceptance, Reply
    from asyncfetch.events import Listener
    from asyncfetch.imaging import Pool
    from asyncfetch.settings import Settings

__all__ = ["RowQueries"]

type Row = dict[str, Any]

type ReplyFormat = Literal["json", "xml", "csv"]

# Far more than any page: 25 000 section images with their alignments, of 0.85 kB each, are 21 MB.
_JSON_LIMIT_BYTES = 2**27
_SMALL_BYTES = 2**16
# Section images with their alignments take 5 bytes as objects for each byte of JSON, and the body stays beside them.
_MADE_PER_BODY_BYTE = 6
_READERS = {"json": parse_json, "xml": parse_xml, "csv": parse_csv}


class RowQueries(ABC):
    """The part of a client that asks for rows.

    Attributes
    ----------
    settings : Settings
        Where the API answers, and how many rows a page has.
    pool : Pool
        The threads that large pages are read on.
    """

    settings: Settings
    pool: Pool
    _engine: Engine
    _emit: Listener
    _known: Known

    async def rows(
        self,
        query: Query,
        *,
        fmt: ReplyFormat = "json",
        odd_rows: list[OddRow] | None = None,
        page_rows: int | None = None,
    ) -> list[Row]:
        """Return all rows of a query, page after page.

        Parameters
        ----------
        query : Query
            A ``num_rows`` of its own is the most rows wanted, a ``start_row`` where they begin. Without an order
            it is sorted by ``id``, or rows could move between pages (RMA-6).
        fmt : "json", "xml" or "csv"
            What is asked for. JSON keeps all types; fields at the top of an XML row, and all of CSV, are text. CSV
            implies a tabular query (RMA-3).
        odd_rows : list, optional
            Takes what came as a row and is not a record, with its position in the listing; without it that is an error.
        page_rows : int, optional
            Rows of one page, where those of the settings are too few.

        Raises
        ------
        QueryError
            The API refuses the query, in its words.
        AsyncFetchError
            A page is unavailable.
        """
        async with self.open_rows(query, fmt=fmt, odd_rows=odd_rows, page_rows=page_rows) as rows:
            return [row async for row in rows]

    @asynccontextmanager
    async def open_rows(
        self,
        query: Query,
        *,
        fmt: ReplyFormat = "json",
        odd_rows: list[OddRow] | None = None,
        max_rows: int = MAX_ROWS,
        page_rows: int | None = None,
    ) -> AsyncGenerator[AsyncIterator[Row]]:
        """Give the rows of a query while later pages are still being asked for.

        One page waits while another is used; nothing more is asked for. Rows with an ``id`` that came before are
        dropped; where they had other content, that is the event :class:`asyncfetch.events.RowsContradicted`. The
        listing ends at a page without new rows, or once all ids came that the query names: a page may be shorter than
        asked (RMA-4), and ``total_rows`` may be missing or wrong (RMA-5). It also ends at a page that is shorter than
        others of the same model and completes what was announced. A page begins with the last row of the one
        before; where that is another row, rows were added or taken away meanwhile, and the listing begins again, so
        that none is missing. What came and what was announced are compared at the end; a difference that joins do not
        explain is the event :class:`asyncfetch.events.ListingDiffered`.

        Parameters
        ----------
        query, fmt
            As for :meth:`rows`.
        odd_rows : list, optional
            Takes what came as a row and is not a record, with its position in the listing; without it that is an error.
        max_rows : int
            The most rows that the listing can have; a longer one is an error.
        page_rows : int, optional
            Rows of one page, where those of the settings are too few.

        Yields
        ------
        async iterator of dict
            The rows, in their order; it raises what :meth:`rows` raises.
        """
        send, receive = anyio.create_memory_object_stream[list[Row] | AsyncFetchError](0)
        try:
            async with receive, anyio.create_task_group() as group:
                n_rows = max(self.settings.page_rows, page_rows or 0)
                listing = Listing(query, n_rows, odd_rows, max_rows, self._known)
                group.start_soon(self._send_pages, listing, fmt, send)
                yield _Rows(receive)
                group.cancel_scope.cancel()
            return
        except BaseExceptionGroup as errors:
            if len(errors.exceptions) > 1:
                raise
            failure: BaseException = next(iter(errors.exceptions))
        # The group is this method's own affair: its one error is raised as it was.
        raise failure

    async def _send_pages(
        self, listing: Listing, fmt: ReplyFormat, send: MemoryObjectSendStream[list[Row] | AsyncFetchError]
    ) -> None:
        async with send:
            query = listing.query
            try:
                while not listing.is_over:
                    query = listing.query
                    if rows := listing.take(await self._page(query, fmt)):
                        await send.send(rows)
            except AsyncFetchError as error:
                if error.url is None:
                    error.url = query_url(self.settings.base_url, query, fmt)
                await send.send(error)
                return
            self._tell_oddities(listing, query, fmt)

    def _tell_oddities(self, listing: Listing, query: Query, fmt: ReplyFormat) -> None:
        difference, ids = listing.difference, listing.contradicted
        if difference is None and not ids:
            return
        # most listings have nothing to tell, and need no address
        url = query_url(self.settings.base_url, query, fmt)
        if difference is not None:
            self._emit(ListingDiffered(model=query.model, url=url, **difference._asdict()))
        if ids:
            first_id = str(next(iter(ids)))
            self._emit(RowsContradicted(model=query.model, url=url, n_ids=len(ids), first_id=first_id))

    async def _page(self, query: Query, fmt: ReplyFormat) -> Page:
        url = query_url(self.settings.base_url, query, fmt)
        read = _READERS[fmt]

        async def parse(reply: Reply, _accept: Acceptance) -> Page:
            # A small page is read in less time than a thread takes, and does not wait behind images.
            parse_page = partial(read, reply.body, url=reply.url)
            page = (
                parse_page()
                if len(reply.body) < _SMALL_BYTES
                else await self._run_within_budget(parse_page, reply)
            )
            # Taken at its word, an empty beginning would say that what was asked for does not exist.
            if not (page.rows or query.options.start_row) and page.total_rows:
                raise ReplyError(
                    f"{short_url(url)} announces {counted(page.total_rows, 'row')} and sends none; ask again later",
                    url=url,
                )
            return page

        label = f"rows of {query.model or 'a service'}"
        return await self._engine.fetch(Request(url, "metadata", _JSON_LIMIT_BYTES, label), parse)

    async def _run_within_budget(self, parse_page: Callable[[], Page], reply: Reply) -> Page:
        """Read a large page while its objects count in the budget; it waits for no image, which may wait for it."""
        size_bytes = min(_MADE_PER_BODY_BYTE * len(reply.body), MAX_MADE_BYTES)
        reservation = await self._engine.reserve_more(size_bytes)
        return await self.pool.run_holding(reservation.release, parse_page)

    async def _row(self, query: Query, what: str, number: int) -> Row:
        """Return the one row of a query by id; another one is not taken for it."""
        odd_rows: list[OddRow] = []
        rows = await self.rows(query, odd_rows=odd_rows)
        for row in rows:
            if row_id(row) == number:
                return row
        came = [row.get("id") for row in rows] + [row for _, row in odd_rows]
        if not came:
            raise self._not_found(what, number)
        raise RecordError(
            f"{what} {number} was asked for, and the API sent {shown_value(came[0])} in its place",
            url=query_url(self.settings.base_url, query),
        )

    def _not_found(self, what: str, number: int) -> NotFoundError:
        base_url = self.settings.base_url
        return NotFoundError(f"there is no {what} {number} at {base_url}; check the id", url=base_url)


class _Rows:
    """The rows of the pages that a stream brings."""

    def __init__(self, pages: MemoryObjectReceiveStream[list[Row] | AsyncFetchError]) -> None:
        self._pages = pages
        self._rows: Iterator[Row] = iter(())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Row:
        while True:
            for row in self._rows:
                return row
            page = await anext(self._pages)
            if isinstance(page, AsyncFetchError):
                raise page
            self._rows = iter(page)
