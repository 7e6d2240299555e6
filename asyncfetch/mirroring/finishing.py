"""The data sets of a run that are packed as they finish."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import anyio

from asyncfetch.mirroring.packing import pack_again, pack_one

if TYPE_CHECKING:
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.report import Report
    from asyncfetch.store import StoreWriter

__all__ = ["Finishing"]


class Finishing:
    """Which data sets of a run have something left to be done, and what is packed once nothing is.

    Parameters
    ----------
    writer : StoreWriter
        The store.
    wanted : bool or None
        Whether data sets are packed; None packs those again that were packed.
    report : Report
        Is told of those that could not be packed.
    listen : callable
        Is told of those that are.
    drain : Event
        Once set, nothing more is packed.
    """

    def __init__(
        self,
        writer: StoreWriter,
        wanted: bool | None,
        report: Report,
        listen: Listener,
        drain: anyio.Event,
    ) -> None:
        self._writer = writer
        self._wanted = wanted
        self._report = report
        self._listen = listen
        self._drain = drain
        self._n_left: Counter[int] = Counter()
        self._failed: set[int] = set()
        self._turn = anyio.Semaphore(1)

    def begin(self, data_set_id: int) -> None:
        """Note that something of a data set is going to be done; `end` follows."""
        self._n_left[data_set_id] += 1

    def fail(self, data_set_id: int) -> None:
        """Note that something of a data set failed, so that another run has to finish it."""
        self._failed.add(data_set_id)

    async def end(self, data_set_id: int) -> None:
        """Note that something of a data set is done, and pack it after the last."""
        self._n_left[data_set_id] -= 1
        if self._n_left[data_set_id]:
            return
        del self._n_left[data_set_id]
        if self._wanted is False or data_set_id in self._failed:
            return
        async with self._turn:
            if not await self._is_to_be_packed(data_set_id):
                return
            note = await pack_one(self._writer, data_set_id, self._listen, self._drain, counts_sections=False)
            if note is not None:
                self._report.notes.append(note)
            # so that it is gone on with
            self._report.interrupted |= self._drain.is_set()

    async def end_all(self) -> None:
        """Pack what earlier runs have unpacked and not packed again, as far as it is finished now."""
        if self._wanted is not False:
            self._report.notes += await pack_again(self._writer, self._listen, self._drain)

    async def _is_to_be_packed(self, data_set_id: int) -> bool:
        if self._wanted:
            return True
        return data_set_id in await anyio.to_thread.run_sync(self._writer.packing.read_to_pack)
