"""The awaitable API: rows, records and images of the Allen Brain Atlas, whole and checked."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

import anyio

from asyncfetch.allen import (
    data_set_query,
    parse_csv,
    parse_data_set,
    parse_json,
    parse_section_image,
    parse_xml,
    query_url,
    row_id,
    section_image_query,
    section_images_query,
    shown_value,
)
from asyncfetch.allen.envelope import MAX_MADE_BYTES
from asyncfetch.client.images import ImageQueries
from asyncfetch.client.pages import MAX_ROWS, MAX_SECTIONS, Listing
from asyncfetch.client.queries import CatalogueQueries
from asyncfetch.client.stream import open_sections
from asyncfetch.client.sync import SyncServices
from asyncfetch.engine import Engine, Request, sharing
from asyncfetch.errors import (
    AsyncFetchError,
    NotFoundError,
    RecordError,
    ReplyError,
    short_url,
)
from asyncfetch.events import ListingDiffered, RowsContradicted, ignore
from asyncfetch.imaging import Pool
from asyncfetch.settings import Settings
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from asyncfetch.allen import Page, Query, SectionDataSet, SectionImage
    from asyncfetch.client.pages import OddRow
    from asyncfetch.client.stream import SectionStream
    from asyncfetch.engine import Acceptance, Reply, Transport
    from asyncfetch.events import Listener

__all__ = ["Client"]

type Row = dict[str, Any]

type ReplyFormat = Literal["json", "xml", "csv"]

# Far more than any page: 25 000 section images with their alignments, of 0.85 kB each, are 21 MB.
_JSON_LIMIT_BYTES = 2**27
_SMALL_BYTES = 2**16
# Section images with their alignments take 5 bytes as objects for each byte of JSON, and the body stays beside them.
_MADE_PER_BODY_BYTE = 6
_READERS = {"json": parse_json, "xml": parse_xml, "csv": parse_csv}


class Client(CatalogueQueries, ImageQueries):
    """A client of the Allen Brain Atlas API; use it as an async context manager.

    Parameters
    ----------
    base_url : str, optional
        Where the API answers; goes before that of ``settings``.
    settings : Settings, optional
        How fast, how many, how often and how long.
    on_event : callable, optional
        Called on the event loop with each event; it must not block.
    transport : Transport, optional
        What sends requests, instead of HTTP; closed with the client.

    Attributes
    ----------
    settings : Settings
        What was chosen.
    pool : Pool
        The threads for blocking work, open while the client is.
    sync : SyncServices
        The six synchronization services.

    Raises
    ------
    SettingsError
        The address is not valid.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        settings: Settings | None = None,
        on_event: Listener = ignore,
        transport: Transport | None = None,
    ) -> None:
        settings = settings or Settings()
        self.settings = settings if base_url is None else settings.replace(base_url=base_url)
        budget = self.settings.memory_bytes
        self.pool = Pool(self.settings.workers, idle_bytes=budget // 8, total_bytes=budget // 2)
        self._engine = Engine(self.settings, transport, on_event)
        self._emit = on_event
        self.sync = SyncServices(self._engine, self.settings)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        # the engine is left first: what is on its way still has to be decoded
        await self._stack.enter_async_context(self.pool)
        await self._stack.enter_async_context(self._engine)
        return self

    async def __aexit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # the engine is told of the error: what is on its way ends with it
        await self._stack.__aexit__(error_type, error, traceback)

    def __repr__(self) -> str:
        return f"Client({self.settings.base_url!r}, {self._engine!r}, {self.pool!r})"

    def share(self, name: str) -> AbstractContextManager[None]:
        """Let what is asked for in the block, and by tasks that are started in it, stand in a line of its own.

        Lines take turns, so that a caller who asks for a thousand images does not hold up another who asks for ten.
        Without a name all stand in one line, and the first come are the first served.

        Examples
        --------
        ::

            with client.share("thumbnails"):
                async with anyio.create_task_group() as tasks:
                    for image_id in image_ids:
                        tasks.start_soon(client.image, image_id)
        """
        return sharing(name)

    def set_rate(self, *, requests_per_s: float | None = None, bytes_per_s: float | None = None) -> None:
        """Change how much is asked for, from now on.

        Parameters
        ----------
        requests_per_s, bytes_per_s : float, optional
            As in `Settings`; None leaves a rate as it is.

        Raises
        ------
        SettingsError
            A rate is not positive.
        """
        given = {"requests_per_s": requests_per_s, "bytes_per_s": bytes_per_s}
        self.settings = self.settings.replace(
            **{name: value for name, value in given.items() if value is not None}
        )
        self._engine.set_rate(requests_per_s, bytes_per_s)

    async def aclose(self, *, cancel: bool = False) -> None:
        """Take no more requests and wait for those on their way; leaving the client's block does that, too.

        Parameters
        ----------
        cancel : bool
            End those on their way instead; whoever waits for one gets a `ClosedError`.
        """
        await self._engine.aclose(cancel=cancel)

    async def rows(
        self, query: Query, *, fmt: ReplyFormat = "json", odd_rows: list[OddRow] | None = None
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
            Takes what came as a row and is not a record, with its place in the listing; without it that is an error.

        Raises
        ------
        QueryError
            The API refuses the query, in its words.
        AsyncFetchError
            A page is unavailable.
        """
        async with self.open_rows(query, fmt=fmt, odd_rows=odd_rows) as rows:
            return [row async for row in rows]

    @asynccontextmanager
    async def open_rows(
        self,
        query: Query,
        *,
        fmt: ReplyFormat = "json",
        odd_rows: list[OddRow] | None = None,
        max_rows: int = MAX_ROWS,
    ) -> AsyncGenerator[AsyncIterator[Row]]:
        """Give the rows of a query while later pages are still being asked for.

        One page waits while another is used; nothing more is asked for. Rows with an ``id`` that came before are
        dropped; where they had other content, that is the event :class:`asyncfetch.events.RowsContradicted`. The
        listing ends at a page without new rows, or once all ids came that the query names: a page may be shorter than
        asked (RMA-4), and ``total_rows`` may be missing or wrong (RMA-5). A page begins with the last row of the one
        before; where that is another row, rows were added or taken away meanwhile, and the listing begins again, so
        that none is missing. What came and what was announced are compared at the end; a difference that joins do not
        explain is the event :class:`asyncfetch.events.ListingDiffered`.

        Parameters
        ----------
        query, fmt
            As for :meth:`rows`.
        odd_rows : list, optional
            Takes what came as a row and is not a record, with its place in the listing; without it that is an error.
        max_rows : int
            The most rows that the listing can have; one that goes on is an error.

        Yields
        ------
        async iterator of dict
            The rows, in their order; it raises what :meth:`rows` raises.
        """
        send, receive = anyio.create_memory_object_stream[list[Row] | AsyncFetchError](0)
        try:
            async with receive, anyio.create_task_group() as group:
                listing = Listing(query, self.settings.page_rows, odd_rows, max_rows)
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

    async def data_set(self, data_set_id: int) -> SectionDataSet:
        """Return a data set with its alignment, genes, products, and section images with their alignments.

        Section images whose records cannot be read are in its ``unreadable_sections``.

        Raises
        ------
        NotFoundError
            There is no such data set.
        RecordError
            Another record came in its place.
        AsyncFetchError
            The API could not be asked, or its answer is not usable.
        """
        odd_rows: list[OddRow] = []
        query = section_images_query(data_set_id)
        async with self.open_rows(query, odd_rows=odd_rows, max_rows=MAX_SECTIONS) as sections:
            row = await self._row(data_set_query([data_set_id]), "data set", data_set_id)
            rows = [row async for row in sections]
        return parse_data_set(row, rows, odd_rows)

    def open_sections(
        self,
        data_set_id: int,
        *,
        um: float = 25.0,
        downsample: int | None = None,
        view_expression: bool = True,
        parallel: bool = False,
        detection_xy: tuple[float, float] | None = None,
    ) -> AbstractAsyncContextManager[SectionStream]:
        """Give the sections of a data set as they arrive, each with its place in the reference space.

        ``jobs`` sections are fetched side by side. Each holds its bytes of the memory budget until the one after it
        is asked for, so that a slow reader slows the fetching down; two streams of one client that are read in turn
        can wait for each other's bytes for ever.

        Parameters
        ----------
        data_set_id : int
            The data set.
        um : float
            Pitch of the grid, in µm.
        downsample : int, optional
            The tier that is fetched; by default the coarsest one twice as fine as the grid.
        view_expression : bool
            Whether the expression masks are fetched, too.
        parallel : bool
            Use atldld's approximation; see :meth:`asyncfetch.geometry.ReferenceGrid.grid_to_reference`.
        detection_xy : (x, y), optional
            The point of the image, in full-resolution pixels, whose slice coordinate is told and, with
            ``parallel``, holds for the whole section; by default the middle. atldld's default is (0, 0).

        Returns
        -------
        async context manager of SectionStream
            An async iterator of :class:`FetchedSection` in the order in which they arrive. Sections that are
            unavailable or cannot be placed come, too, with their ``error``.

        Raises
        ------
        SelectionError, SettingsError
            A parameter breaks its rule.
        NotFoundError
            There is no such data set.
        AsyncFetchError
            The records are unavailable.

        Examples
        --------
        ::

            async with client.open_sections(69289763, um=25) as sections:
                async for section in sections:
                    print(section.image_id, section.slice_coordinate_um, section.error)
        """
        return open_sections(
            self,
            partial(self.data_set, data_set_id),
            um=um,
            downsample=downsample,
            view_expression=view_expression,
            parallel=parallel,
            detection_xy=detection_xy,
        )

    async def section_image(self, image_id: int) -> SectionImage:
        """Return a section image with its alignment.

        Raises
        ------
        NotFoundError
            There is no such section image.
        RecordError
            Another record came in its place, or one without an id or a size.
        AsyncFetchError
            The API could not be asked, or its answer is not usable.
        """
        return parse_section_image(
            await self._row(section_image_query([image_id]), "section image", image_id)
        )

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
