"""Records of many data sets by their ids: several requests at a time, given back in the order that they were asked in.

A page of section images takes the API a second or more. One after another, such pages would come at the pace of its
latency, far below the rate that it is asked at.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from asyncfetch.allen import data_set_query, row_id
from asyncfetch.client.pages import MAX_SECTIONS
from asyncfetch.client.queries import section_images_where
from asyncfetch.errors import AsyncFetchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from anyio.abc import TaskGroup

    from asyncfetch.client.client import Client
    from asyncfetch.client.pages import OddRow

__all__ = ["SETS_PER_REQUEST", "Batch", "Batches"]

#: Ids of one request: a hundred in one GET are known to work (RMA-10). Their section images are a page or two.
SETS_PER_REQUEST = 100
#: Batches that are asked for at once: some 20 000 section images, 100 MB of rows. At 10 requests a second they make up
#: for a latency of two seconds.
_AT_ONCE = 12

type Row = dict[str, Any]


class Batch(msgspec.Struct, eq=False):
    """What the API knows of some data sets.

    Attributes
    ----------
    ids : sequence of int
        Those that were asked for.
    item : str
        The selection that named them.
    rows : dict of int to dict
        The records that came, by id.
    images : dict of int or None to list of dict
        The rows of section images by the data set that they name.
    odd_rows : list of OddRow
        What came as a section image and is not a record.
    error : AsyncFetchError or None
        Why nothing came.
    """

    ids: Sequence[int]
    item: str
    rows: dict[int, Row] = {}
    images: dict[int | None, list[Row]] = {}
    odd_rows: list[OddRow] = []
    error: AsyncFetchError | None = None


class Batches:
    """Batches on their way, in the order in which they were asked for.

    Parameters
    ----------
    client : Client
        Asks.
    tasks : TaskGroup
        Of whoever waits for them.
    """

    def __init__(self, client: Client, tasks: TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._asked: deque[tuple[Batch, anyio.Event]] = deque()

    def ask(self, data_set_ids: Sequence[int], item: str) -> None:
        """Begin to ask for data sets; whoever does takes what is `due` before the next ones."""
        batch, is_there = Batch(data_set_ids, item), anyio.Event()
        self._asked.append((batch, is_there))
        self._tasks.start_soon(self._bring, batch, is_there)

    async def due(self) -> AsyncIterator[Batch]:
        """Give those that are there, and wait for the first ones while too many are on their way."""
        while self._asked and (self._asked[0][1].is_set() or len(self._asked) >= _AT_ONCE):
            yield await self._next()

    async def rest(self) -> AsyncIterator[Batch]:
        """Give all that are on their way."""
        while self._asked:
            yield await self._next()

    async def ask_at_once(self, data_set_ids: Sequence[int], item: str) -> Batch:
        """Return what the API knows of data sets, without a turn behind those on their way."""
        batch = Batch(data_set_ids, item)
        await self._bring(batch, anyio.Event())
        return batch

    async def _next(self) -> Batch:
        batch, is_there = self._asked.popleft()
        await is_there.wait()
        return batch

    async def _bring(self, batch: Batch, is_there: anyio.Event) -> None:
        try:
            query = section_images_where(batch.ids)
            # either listing is asked for while the other one is
            async with self._client.open_rows(
                query, odd_rows=batch.odd_rows, max_rows=MAX_SECTIONS
            ) as sections:
                listed = await self._client.rows(data_set_query(batch.ids), odd_rows=[])
                async for image in sections:
                    batch.images.setdefault(row_id(image, "data_set_id"), []).append(image)
            # of those with the same id the first counts
            batch.rows = {data_set_id: row for row in reversed(listed) if (data_set_id := row_id(row))}
        except AsyncFetchError as error:
            batch.error = error
        finally:
            is_there.set()
