"""The update of a catalogue: the API's rows, page after page, each page one transaction.

The API says nowhere when a row was changed. So everything but section images is listed again, which is some sixty
requests, and compared by a digest of each row: what is the same is not written, and what is not listed any more is
taken away. Section images, which take the most requests, are listed once; later only those of data sets that are new
or changed, or all of them where that is asked for.

Pages follow each other by the last id that came, not by a row number, so that neither a page that is shorter than
asked nor rows that move lose anything (RMA-4, RMA-6). An interrupted update continues behind its last page.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import anyio.to_thread
import msgspec

from asyncfetch.allen import row_id
from asyncfetch.catalogue.schema import MODELS, digest_of
from asyncfetch.errors import ReplyError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncfetch.allen import Query
    from asyncfetch.catalogue.file import CatalogueFile
    from asyncfetch.catalogue.schema import Model
    from asyncfetch.client.pages import OddRow

__all__ = ["CatalogueChange", "update_catalogue"]

#: Ids of one request: a hundred are known to work (RMA-10).
_IDS_PER_REQUEST = 100
#: The update that is at work: its number, and which models are done.
_UPDATE, _DONE, _AFTER = "update", "done", "after"

type Row = dict[str, Any]


class _Rows(Protocol):
    """What asks the API for rows."""

    async def rows(
        self, query: Query, *, odd_rows: list[OddRow] | None = None, page_rows: int | None = None
    ) -> list[Row]: ...


class CatalogueChange(msgspec.Struct, kw_only=True):
    """What an update changed in one model.

    Attributes
    ----------
    model : str
        The model.
    n_rows : int
        Rows that are there now.
    n_new, n_changed, n_removed : int
        Rows that came, came otherwise, or are not listed any more.
    n_odd : int
        Rows that are not records, or have no id that can be one; they are left out.
    """

    model: str
    n_rows: int = 0
    n_new: int = 0
    n_changed: int = 0
    n_removed: int = 0
    n_odd: int = 0


async def update_catalogue(
    client: _Rows,
    file: CatalogueFile,
    *,
    base_url: str,
    all_images: bool = False,
    on_page: Callable[[CatalogueChange], None] = lambda _change: None,
) -> list[CatalogueChange]:
    """Bring a catalogue up to date; what was written stays when this is interrupted, and the next call continues.

    Parameters
    ----------
    client : Client
        Asks, at its own rate.
    file : CatalogueFile
        Where the rows go.
    base_url : str
        The service, which is noted.
    all_images : bool
        List all section images again, not only those of new and changed data sets.
    on_page : callable, optional
        Is told after each page what has changed so far in its model.

    Returns
    -------
    list of CatalogueChange
        One for each model, for what this call has brought.

    Raises
    ------
    AsyncFetchError
        The API could not be asked, or the file not be written.
    """
    update = _Update(client, file, on_page)
    return await update.go(base_url, all_images=all_images)


class _Update:
    def __init__(
        self, client: _Rows, file: CatalogueFile, on_page: Callable[[CatalogueChange], None]
    ) -> None:
        self._client = client
        self._file = file
        self._on_page = on_page
        self._number = 0

    async def go(self, base_url: str, *, all_images: bool) -> list[CatalogueChange]:
        await anyio.to_thread.run_sync(self._begin, base_url, all_images)
        changes = []
        for model in MODELS:
            change = CatalogueChange(model=model.name)
            changes.append(change)
            done = (self._file.fact(_DONE) or "").split()
            if model.name not in done:
                if model.name == "SectionImage" and self._file.fact("images") == "all":
                    await self._list_new_images(model, change)
                else:
                    await self._list(model, change)
                await anyio.to_thread.run_sync(self._end_model, model, change, [*done, model.name])
            change.n_rows = self._file.rows(f"SELECT count(*) FROM {model.table}")[0][0]  # noqa: S608 - ours
        await anyio.to_thread.run_sync(self._end)
        return changes

    def _begin(self, base_url: str, all_images: bool) -> None:
        number = int(self._file.fact(_UPDATE) or 0)
        with self._file.transaction():
            if self._file.fact(_DONE) is None:
                number += 1
                self._file.note(_UPDATE, number)
                self._file.note(_DONE, "")
                self._file.note(_AFTER, None)
                if all_images:
                    self._file.note("images", None)
            self._file.note("base_url", base_url)
        self._number = number

    async def _list(self, model: Model, change: CatalogueChange) -> None:
        """List all rows behind the last one that came, by id."""
        name, _, last = (self._file.fact(_AFTER) or "").partition(":")
        after = int(last) if name == model.name else 0
        while True:
            query = (
                model.query.filter("id", "gt", after).order(f"{_table_of(model)}.id").page(0, model.page_rows)
            )
            rows, n_odd = await self._ask(query, model)
            change.n_odd += n_odd
            ids = [each for row in rows if (each := row_id(row)) is not None]
            if not ids:
                return
            if max(ids) <= after:
                raise ReplyError(
                    f"the API lists {model.name} {max(ids)} where rows behind {after} were asked for, so that some may "
                    "be missing; ask again later"
                )
            after = max(ids)
            await anyio.to_thread.run_sync(self._write, model, rows, change, after)
            self._on_page(change)

    async def _list_new_images(self, model: Model, change: CatalogueChange) -> None:
        """List the images of data sets that have come or changed since images were listed."""
        sql = "SELECT id FROM data_sets WHERE id NOT IN (SELECT data_set_id FROM images) OR digest IN ({})"
        changed = (self._file.fact("changed") or "").split()
        ids = [each for (each,) in self._file.rows(sql.format(",".join("?" * len(changed))), changed)]
        for some in itertools.batched(ids, _IDS_PER_REQUEST):
            query = model.query.where(data_set_id=list(some)).order("sub_images.id")
            rows, n_odd = await self._ask(query, model)
            change.n_odd += n_odd
            await anyio.to_thread.run_sync(self._write, model, rows, change, None)
            self._on_page(change)

    async def _ask(self, query: Query, model: Model) -> tuple[list[Row], int]:
        odd_rows: list[OddRow] = []
        rows = await self._client.rows(query, odd_rows=odd_rows, page_rows=model.page_rows)
        sound = [row for row in rows if row_id(row) is not None]
        return sound, len(odd_rows) + len(rows) - len(sound)

    def _write(self, model: Model, rows: Sequence[Row], change: CatalogueChange, after: int | None) -> None:
        """Write a page; what is the same stays."""
        with self._file.transaction():
            for some in itertools.batched(rows, 500):
                known = self._file.digests(model, [row["id"] for row in some])
                same = []
                for row in some:
                    digest = digest_of(row)
                    if known.get(row["id"]) == digest:
                        same.append(row["id"])
                        continue
                    if row["id"] in known:
                        self._file.remove(model, [row["id"]])
                        change.n_changed += 1
                        if model.name == "SectionDataSet":
                            self._file.note("changed", f"{self._file.fact('changed') or ''} {digest}")
                    else:
                        change.n_new += 1
                    self._file.put(model, model.made(row), digest, self._number)
                self._file.mark_seen(model, same, self._number)
            if after is not None:
                self._file.note(_AFTER, f"{model.name}:{after}")

    def _end_model(self, model: Model, change: CatalogueChange, done: list[str]) -> None:
        """Take away what was not listed any more; of images that were not listed, those of sets that are gone."""
        gone = f"SELECT id FROM {model.table} WHERE seen < ?"  # noqa: S608 - ours
        parameters: list[object] = [self._number]
        if model.name == "SectionImage" and self._file.fact("images") == "all":
            gone, parameters = "SELECT id FROM images WHERE data_set_id NOT IN (SELECT id FROM data_sets)", []
        with self._file.transaction():
            ids = [each for (each,) in self._file.rows(gone, parameters)]
            self._file.remove(model, ids)
            change.n_removed = len(ids)
            if model.name == "SectionImage":
                self._file.note("images", "all")
                self._file.note("changed", None)
            self._file.note(_DONE, " ".join(done))
            self._file.note(_AFTER, None)

    def _end(self) -> None:
        with self._file.transaction():
            self._file.note(_DONE, None)
            self._file.note("updated", datetime.now(UTC).isoformat(timespec="seconds"))


def _table_of(model: Model) -> str:
    """Return the name of a model's table in the API, where that of images is shared (REC-1)."""
    return "sub_images" if model.name == "SectionImage" else model.table
