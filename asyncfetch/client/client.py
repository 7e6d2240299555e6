"""The awaitable API: rows, records and images of the Allen Brain Atlas, whole and checked."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from asyncfetch.allen import (
    data_set_query,
    parse_data_set,
    parse_section_image,
    section_image_query,
    section_images_query,
)
from asyncfetch.client.images import ImageQueries
from asyncfetch.client.pages import MAX_SECTIONS, Known
from asyncfetch.client.queries import CatalogueQueries
from asyncfetch.client.rows import RowQueries
from asyncfetch.client.stream import open_sections
from asyncfetch.client.sync import SyncServices
from asyncfetch.engine import Engine, sharing
from asyncfetch.events import ignore
from asyncfetch.imaging import Pool
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager, AbstractContextManager
    from types import TracebackType

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.client.pages import OddRow
    from asyncfetch.client.stream import SectionStream
    from asyncfetch.engine import Gate, Pause, Transport
    from asyncfetch.events import Listener

__all__ = ["Client"]


class Client(RowQueries, CatalogueQueries, ImageQueries):
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
    gate : Gate, optional
        Where requests start, for one that shares its rate and its window with others; by default its own.
    pause : Pause, optional
        Whether nothing is sent for now, where the gate is its own.

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
        gate: Gate | None = None,
        pause: Pause | None = None,
    ) -> None:
        settings = settings or Settings()
        self.settings = settings if base_url is None else settings.replace(base_url=base_url)
        budget = self.settings.memory_bytes
        self.pool = Pool(self.settings.workers, idle_bytes=budget // 8, total_bytes=budget // 2)
        self._engine = Engine(self.settings, transport, on_event, gate=gate, pause=pause)
        self._emit = on_event
        self._known = Known()
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
        """Let what is asked for in the block, and by tasks that are started in it, stand in a queue of its own.

        Queues take turns, so that a caller who asks for a thousand images does not hold up another who asks for ten.
        Without a name all stand in one queue, and the first come are the first served.

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
        """Give the sections of a data set as they arrive, each with its position in the reference space.

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
