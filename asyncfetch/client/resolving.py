"""Selections become data sets: what the API knows of each, once, in the order in which it is found out.

Data sets named by their id come first, then those of genes and products, then atlases, then single images, of which
those whose data set came already are left out. Genes and products are first asked for ids alone: whether a query that
filters by genes delivers all genes of a set, or only those it filtered by, is not known, so that each record comes
from the same query, however its data set was selected.

One odd record never costs more than itself: rows that are not records, or not those that were asked for, and section
images without an id or a size are failures by name, and everything else continues.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import anyio
import msgspec

from asyncfetch.allen import (
    parse_data_set,
    parse_section_image,
    row_id,
    section_image_query,
    shown_value,
)
from asyncfetch.client.batches import SETS_PER_REQUEST, Batches
from asyncfetch.client.queries import atlas_query, data_set_ids_query, plates_query
from asyncfetch.client.spelling import find_spelling
from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import AsyncFetchError, NotFoundError, RecordError
from asyncfetch.failures import Failure
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from anyio.streams.memory import MemoryObjectSendStream

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.client.batches import Batch
    from asyncfetch.client.client import Client
    from asyncfetch.client.pages import OddRow
    from asyncfetch.selecting.selection import Selection

__all__ = ["Resolved", "ResolvedAtlas", "ResolvedDataSet", "ResolvingNote", "resolve_selections"]

#: Single images whose data sets are asked for at once: URLs of a kilobyte.
_IMAGES_PER_REQUEST = 100
_MAX_NAME = 80

type Row = dict[str, Any]
type Resolved = ResolvedDataSet | ResolvedAtlas | ResolvingNote | Failure


class ResolvedDataSet(msgspec.Struct, frozen=True, kw_only=True):
    """A data set that a selection named, with its section images.

    Attributes
    ----------
    data_set : SectionDataSet
        The record.
    image_ids : frozenset of int, or None
        The images that are wanted; None means all.
    items : tuple of str
        Selections that would name it again.
    atlas_id : int or None
        The atlas whose plates these are.
    """

    data_set: SectionDataSet
    image_ids: frozenset[int] | None = None
    items: tuple[str, ...]
    atlas_id: int | None = None

    @property
    def item(self) -> str:
        """The selection that names the data set; the plates of an atlas come together."""
        return f"dataset:{self.data_set.id}" if self.atlas_id is None else f"atlas:{self.atlas_id}"

    def item_of(self, image_id: int) -> str:
        """Return the selection that names an image alone; the plates of an atlas come together."""
        return f"image:{image_id}" if self.atlas_id is None else f"atlas:{self.atlas_id}"


class ResolvedAtlas(msgspec.Struct, frozen=True, kw_only=True):
    """The row of an atlas, and which data sets have its plates."""

    record: Row
    data_set_ids: tuple[int, ...]


class ResolvingNote(msgspec.Struct, frozen=True):
    """A word on how a selection was understood."""

    text: str


async def resolve_selections(
    client: Client, selections: Iterable[Selection], send: MemoryObjectSendStream[Resolved]
) -> None:
    """Ask the API what selections name, and send what is found; what is unavailable is sent as a failure.

    Parameters
    ----------
    client : Client
        Asks.
    selections : iterable of Selection
        What is wanted.
    send : stream
        Takes what is found; closed at the end. Each data set is sent once.
    """
    async with send:
        with failing_alone():
            async with anyio.create_task_group() as tasks:
                await _Resolver(client, send, Batches(client, tasks)).resolve(selections)


class _Resolver:
    def __init__(self, client: Client, send: MemoryObjectSendStream[Resolved], batches: Batches) -> None:
        self._client = client
        self._send = send
        self._batches = batches
        self._sought: set[int] = set()

    async def resolve(self, selections: Iterable[Selection]) -> None:
        by_kind: dict[str, list[Selection]] = {}
        for selection in selections:
            by_kind.setdefault(selection.kind, []).append(selection)
        for selection in by_kind.get("dataset", ()):
            await self.resolve_data_set(int(selection.id), (str(selection),))
        for selection in (*by_kind.get("gene", ()), *by_kind.get("product", ())):
            await self.resolve_all(selection)
        for selection in by_kind.get("atlas", ()):
            await self.resolve_atlas(selection)
        await self.resolve_images(by_kind.get("image", ()))

    async def resolve_data_set(
        self, data_set_id: int, items: tuple[str, ...], image_ids: frozenset[int] | None = None
    ) -> None:
        if data_set_id in self._sought:
            return
        self._sought.add(data_set_id)
        try:
            data_set = await self._client.data_set(data_set_id)
        except AsyncFetchError as error:
            await self._fail(items, error)
        else:
            await self._give(ResolvedDataSet(data_set=data_set, image_ids=image_ids, items=items))

    async def _give(self, found: ResolvedDataSet) -> None:
        """Send a data set, and as failures what of its sections cannot be read or did not come."""
        await self._send.send(found)
        wanted, data_set = found.image_ids, found.data_set
        named: set[int] = set()
        is_empty = not (data_set.section_images or data_set.unreadable_sections)
        if is_empty and wanted is None and found.atlas_id is None:
            url = self._client.settings.base_url
            nothing = NotFoundError(
                f"the API at {url} lists no section images of data set {data_set.id}; ask again later, or leave it out",
                url=url,
            )
            await self._fail((found.item,), nothing)
        for each in data_set.unreadable_sections:
            if each.id is None:
                await self._fail((found.item,), RecordError(each.message))
            elif each.id not in named and (wanted is None or each.id in wanted):
                named.add(each.id)
                await self._fail((found.item_of(each.id),), RecordError(each.message))
        if wanted is not None:
            for image_id in sorted(wanted - named - {section.id for section in data_set.section_images}):
                absent = RecordError(
                    f"image {image_id} is not among the section images that the API lists for data set {data_set.id}"
                )
                await self._fail((found.item_of(image_id),), absent)

    async def resolve_images(self, selections: Iterable[Selection]) -> None:
        """Group single images by their data set: slots and tables need all sections of a set."""
        by_id = {int(each.id): str(each) for each in selections}
        wanted: dict[int, list[int]] = {}
        for batch in itertools.batched(by_id, _IMAGES_PER_REQUEST):
            for image_id, found in (await self._resolve_several_images(batch)).items():
                if isinstance(found, AsyncFetchError):
                    await self._fail((by_id[image_id],), found)
                else:
                    wanted.setdefault(found, []).append(image_id)
        for data_set_id, image_ids in wanted.items():
            items = tuple(f"image:{image_id}" for image_id in image_ids)
            await self.resolve_data_set(data_set_id, items, frozenset(image_ids))

    async def _resolve_several_images(self, image_ids: Sequence[int]) -> dict[int, int | AsyncFetchError]:
        """Return the data set of each image, or why it is not known, in the order of the ids."""
        found: dict[int, int | AsyncFetchError] = {}
        try:
            odd_rows: list[OddRow] = []
            listed = await self._client.rows(section_image_query(image_ids), odd_rows=odd_rows)
            rows = {image_id: row for row in reversed(listed) if (image_id := row_id(row))}
        except AsyncFetchError as error:
            if error.is_transient or len(image_ids) == 1:
                return dict.fromkeys(image_ids, error)
            # one of them may be what the API cannot answer
            for image_id in image_ids:
                found |= await self._resolve_several_images([image_id])
            return found
        for image_id in image_ids:
            try:
                found[image_id] = parse_section_image(rows[image_id]).data_set_id
            except KeyError:
                base_url = self._client.settings.base_url
                odd = [row for _, row in odd_rows] + [row.get("id") for row in listed if row_id(row) is None]
                # what came without an id may be what was asked for
                found[image_id] = (
                    RecordError(
                        f"image {image_id} was asked for, and the API sent {shown_value(odd[0])}",
                        url=base_url,
                    )
                    if odd
                    else NotFoundError(
                        f"there is no section image {image_id} at {base_url}; check the id", url=base_url
                    )
                )
            except AsyncFetchError as error:
                found[image_id] = error
        return found

    async def resolve_all(self, selection: Selection) -> None:
        """Resolve the data sets of a gene or a product, but for failed ones, while later pages are asked for."""
        try:
            if await self._resolve_all_of(selection.kind, selection.id):
                return
            advice = "check the id, and name failed data sets by their ids"
            if isinstance(selection.id, str):
                spelling = await find_spelling(self._client, selection.kind, selection.id)
                advice = spelling.advice
                if spelling.other is not None:
                    await self._send.send(ResolvingNote(spelling.note))
                    if await self._resolve_all_of(selection.kind, spelling.other):
                        return
                    advice = "name failed data sets by their ids"
        except AsyncFetchError as error:
            await self._give_the_rest()
            await self._fail((str(selection),), error)
            return
        url = self._client.settings.base_url
        nothing = NotFoundError(
            f"there is no data set of {selection.kind} {shown(selection.id, _MAX_NAME)} at {url}; {advice}",
            url=url,
        )
        await self._fail((str(selection),), nothing)

    async def _resolve_all_of(self, kind: str, name: int | str) -> bool:
        """Resolve the data sets of what is spelled just so, and return whether there are any."""
        is_empty = True
        waiting: list[int] = []
        item = f"{kind}:{name}"
        odd_rows: list[OddRow] = []
        query = data_set_ids_query(**{kind: name})
        async with self._client.open_rows(query, odd_rows=odd_rows) as rows:
            async for row in rows:
                is_empty = False
                data_set_id = row_id(row)
                if data_set_id is None:
                    await self._fail_row(item, "data sets", row.get("id"), "has no id that can be one")
                elif data_set_id not in self._sought:
                    self._sought.add(data_set_id)
                    waiting.append(data_set_id)
                if len(waiting) == SETS_PER_REQUEST:
                    await self._resolve_several(waiting, item)
                    waiting = []
        await self._resolve_several(waiting, item)
        await self._give_the_rest()
        for _, odd in odd_rows:
            await self._fail_row(item, "data sets", odd, "is not a record")
        return not is_empty or bool(odd_rows)

    async def resolve_atlas(self, selection: Selection) -> None:
        atlas_id = int(selection.id)
        items = (str(selection),)
        odd_rows: list[OddRow] = []
        try:
            found = await self._client.rows(atlas_query(atlas_id))
            row = next((dict(each) for each in found if row_id(each) == atlas_id), {})
            data_set_rows = [each for each in _list(row.pop("atlas_data_sets", None)) if each is not None]
            if not data_set_rows:
                base_url = self._client.settings.base_url
                raise NotFoundError(
                    f"there is no atlas {atlas_id} with plates at {base_url}; check the id", url=base_url
                )
            plates = await self._client.rows(plates_query(atlas_id), odd_rows=odd_rows)
        except AsyncFetchError as error:
            await self._fail(items, error)
            return
        for _, odd in odd_rows:
            await self._fail_row(items[0], "plates", odd, "is not a record")
        by_set: dict[int | None, list[Row]] = {}
        for plate in plates:
            by_set.setdefault(row_id(plate, "data_set_id"), []).append(plate)
        data_sets = []
        for each in data_set_rows:
            try:
                data_set_id = row_id(each)
                if data_set_id is None:
                    raise RecordError(
                        f"a data set of atlas {atlas_id} has no id that can be one: {shown_value(each)}"
                    )
                data_sets.append(parse_data_set(each, by_set.pop(data_set_id, ())))
            except AsyncFetchError as error:
                await self._fail(items, error)
        for plate in itertools.chain.from_iterable(by_set.values()):
            await self._fail_row(items[0], "plates", plate.get("id"), "is of none of the atlas's data sets")
        data_sets.sort(key=lambda each: each.id)
        await self._send.send(ResolvedAtlas(record=row, data_set_ids=tuple(each.id for each in data_sets)))
        for data_set in data_sets:
            if data_set.id not in self._sought:
                self._sought.add(data_set.id)
                await self._give(ResolvedDataSet(data_set=data_set, items=items, atlas_id=atlas_id))

    async def _resolve_several(self, data_set_ids: list[int], item: str) -> None:
        """Ask for data sets, and give those that were asked for before and are there."""
        if data_set_ids:
            self._batches.ask(data_set_ids, item)
        async for batch in self._batches.due():
            await self._give_batch(batch)

    async def _give_the_rest(self) -> None:
        async for batch in self._batches.rest():
            await self._give_batch(batch)

    async def _give_batch(self, batch: Batch) -> None:
        data_set_ids, item, refusal = batch.ids, batch.item, batch.error
        if refusal is not None:
            if refusal.is_transient:
                await self._fail((f"dataset:{data_set_id}" for data_set_id in data_set_ids), refusal)
                return
            # one of them may be what the API cannot answer
            self._sought.difference_update(data_set_ids)
            for data_set_id in data_set_ids:
                await self.resolve_data_set(data_set_id, (f"dataset:{data_set_id}",))
            return
        rows, images = batch.rows, batch.images
        for data_set_id in data_set_ids:
            items = (f"dataset:{data_set_id}",)
            its_images = images.pop(data_set_id, ())
            try:
                data_set = parse_data_set(rows[data_set_id], its_images)
            except KeyError:
                url = self._client.settings.base_url
                gone = NotFoundError(f"there is no data set {data_set_id} at {url} any more", url=url)
                await self._fail(items, gone)
            except AsyncFetchError as error:
                await self._fail(items, error)
            else:
                await self._give(ResolvedDataSet(data_set=data_set, items=items))
        for _, odd in batch.odd_rows:
            await self._fail_row(item, "section images", odd, "is not a record")
        for image in itertools.chain.from_iterable(images.values()):
            what = f"is of data set {shown_value(image.get('data_set_id'))}, which was not asked for"
            await self._fail_row(item, "section images", image.get("id"), what)

    async def _fail_row(self, item: str, of: str, row: Any, what: str) -> None:
        """Name a row that came for an item and belongs to nothing that was asked for: itself, or its id."""
        image_id = row_id({"id": row}) if of == "section images" else None
        message = f"among the {of} of {item}, {shown_value(row)} {what}"
        await self._fail((item if image_id is None else f"image:{image_id}",), RecordError(message))

    async def _fail(self, items: Iterable[str], error: AsyncFetchError) -> None:
        for item in items:
            await self._send.send(Failure.of(item, error))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
