"""Selections become data sets: what the API knows of each, once, in the order in which it is found out.

Data sets named by their id come first, then those of genes, products, specimens and structures, then atlases, then
single images, of which those whose data set came already are left out. What has many data sets is first asked for ids
alone (:mod:`asyncfetch.client.choosing`).

Each record is held against the filters once more: a data set that does not meet them is left out, by name. One odd
record never costs more than itself: rows that are not records, or not those that were asked for, and section
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
from asyncfetch.client.choosing import ApiChooser
from asyncfetch.client.queries import atlas_query, plates_query
from asyncfetch.client.resolved import ResolvedAtlas, ResolvedDataSet, ResolvedSelection, ResolvingNote
from asyncfetch.client.spelling import NAMED_KINDS
from asyncfetch.engine.groups import failing_alone
from asyncfetch.errors import AsyncFetchError, NotFoundError, OutageError, RecordError
from asyncfetch.failures import Failure
from asyncfetch.selecting import Filters, Selection
from asyncfetch.selecting.traits import TRAITS
from asyncfetch.text import counted, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from anyio.streams.memory import MemoryObjectSendStream

    from asyncfetch.client.batches import Batch
    from asyncfetch.client.choosing import Chooser
    from asyncfetch.client.client import Client
    from asyncfetch.client.pages import OddRow
    from asyncfetch.client.resolved import Resolved
    from asyncfetch.client.spelling import Spelling
    from asyncfetch.selecting.lock import Lock

__all__ = ["resolve_selections"]

#: Names, or single images whose data sets are wanted, in one request: URLs of a kilobyte (RMA-10).
_ITEMS_PER_REQUEST = 100
_MAX_NAME = 80

type Row = dict[str, Any]


async def resolve_selections(
    client: Client,
    selections: Iterable[Selection],
    send: MemoryObjectSendStream[Resolved],
    filters: Filters | None = None,
    chooser: Chooser | None = None,
    lock: Lock | None = None,
) -> None:
    """Ask the API what selections name, and send what is found; what is unavailable is sent as a failure.

    Parameters
    ----------
    client : Client
        Asks for records.
    selections : iterable of Selection
        What is wanted.
    send : stream
        Takes what is found; closed at the end. Each data set is sent once.
    filters : Filters, optional
        What narrows it.
    chooser : Chooser, optional
        What knows which data sets there are; by default the API.
    lock : Lock, optional
        What the selections were once; just that is resolved.
    """
    async with send:
        with failing_alone():
            async with anyio.create_task_group() as tasks:
                chosen = filters or Filters(), chooser or ApiChooser(client)
                resolver = _Resolver(client, send, Batches(client, tasks), *chosen)
                await (resolver.resolve(selections) if lock is None else resolver.resolve_locked(lock))


class _Resolver:
    def __init__(
        self,
        client: Client,
        send: MemoryObjectSendStream[Resolved],
        batches: Batches,
        filters: Filters,
        chooser: Chooser,
    ) -> None:
        self._client = client
        self._send = send
        self._batches = batches
        self._batch_size = min(SETS_PER_REQUEST, filters.limit or SETS_PER_REQUEST)
        self._filters = filters
        self._chooser = chooser
        self._sought: set[int] = set()
        self._named: set[int] = set()
        self._n_given = 0
        self._advice: str | None = None
        self._refusals: dict[int, str] = {}
        self._locked: Mapping[int, frozenset[int]] = {}

    async def resolve(self, selections: Iterable[Selection]) -> None:
        by_kind: dict[str, list[Selection]] = {}
        for selection in selections:
            by_kind.setdefault(selection.kind, []).append(selection)
        self._named = {int(each.id) for each in by_kind.get("dataset", ())}
        await self.resolve_data_sets(by_kind.get("dataset", ()))
        if self._chooser.note and by_kind.keys() - {"dataset", "atlas", "image"}:
            await self._note(self._chooser.note)
        for kind in ("gene", "specimen"):
            await self.resolve_many(kind, by_kind.get(kind, ()))
        for selection in (*by_kind.get("product", ()), *by_kind.get("structure", ())):
            await self.resolve_all(selection)
        for selection in by_kind.get("atlas", ()):
            await self.resolve_atlas(selection)
        await self.resolve_images(by_kind.get("image", ()))
        if self._is_full:
            await self._note(
                f"no more than {counted(self._n_given, 'data set')} by --limit; others may be left out"
            )

    async def resolve_locked(self, lock: Lock) -> None:
        """Resolve what a selection was once: the images of then, and no others."""
        self._locked = lock.images
        self._filters = Filters(failed="with", split=lock.filters.split)
        await self.resolve_data_sets([Selection("dataset", each) for each in self._locked])
        for atlas_id in lock.atlases:
            await self.resolve_atlas(Selection("atlas", atlas_id))

    @property
    def _is_full(self) -> bool:
        return self._filters.limit is not None and self._n_given >= self._filters.limit

    async def resolve_data_sets(self, selections: Sequence[Selection]) -> None:
        ids = [int(each.id) for each in selections]
        for batch in itertools.batched(ids, self._batch_size):
            if self._is_full:
                return
            if len(batch) == 1:
                await self.resolve_data_set(batch[0], (f"dataset:{batch[0]}",))
            else:
                self._sought.update(batch)
                await self._resolve_several(list(batch), "the data sets")
        await self._give_the_rest()
        for each in selections:
            told = self._refusals.get(int(each.id), "")
            await self._send.send(_resolved(each, [int(each.id)], message=told))

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
        """Send a data set that meets the filters, and as failures those of its sections that are not usable."""
        if found.data_set.id in self._locked:
            found = msgspec.structs.replace(found, image_ids=self._locked[found.data_set.id])
        named, data_set = found.image_ids, found.data_set
        is_named = named is not None or found.atlas_id is not None or data_set.id in self._named
        refusal = self._filters.refusal(data_set.record, is_named=is_named)
        if refusal is not None:
            self._refusals[data_set.id] = f"left out: {refusal}"
            await self._note(f"data set {data_set.id} is left out: {refusal}")
            return
        if self._is_full:
            return
        self._n_given += 1
        narrowed = self._filters.sections_of(data_set.section_images)
        wanted = named if narrowed is None else narrowed if named is None else named & narrowed
        split = self._filters.split
        specimen_id = row_id(data_set.record, "specimen_id")
        part = None if split is None else split.part_of(data_set.id, specimen_id)
        await self._send.send(msgspec.structs.replace(found, image_ids=wanted, part=part))
        await self._fail_sections(found)

    async def _fail_sections(self, found: ResolvedDataSet) -> None:
        """Name the sections of a data set that cannot be read, or did not come though they are wanted by name."""
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
        for batch in itertools.batched(by_id, _ITEMS_PER_REQUEST):
            for image_id, found in (await self._resolve_several_images(batch)).items():
                if isinstance(found, AsyncFetchError):
                    await self._fail((by_id[image_id],), found)
                    continue
                wanted.setdefault(found, []).append(image_id)
                await self._send.send(_resolved(Selection("image", image_id), [found]))
        for data_set_id, image_ids in wanted.items():
            if self._is_full:
                return
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

    async def resolve_many(self, kind: str, selections: Sequence[Selection]) -> None:
        """Resolve the data sets of genes or of specimens, many of them in one query."""
        unknown: list[Selection] = []
        for batch in itertools.batched(selections, _ITEMS_PER_REQUEST):
            if self._is_full:
                return
            unknown += await self._resolve_listed({each: each for each in batch})
        if not unknown or self._is_full:
            return
        names = [str(each.id) for each in unknown if isinstance(each.id, str)]
        try:
            spellings = await self._chooser.spellings(kind, names) if names else {}
        except AsyncFetchError as error:
            await self._fail(map(str, unknown), error)
            return
        others: dict[Selection, Selection] = {}
        for each in unknown:
            spelling = spellings.get(str(each.id)) if isinstance(each.id, str) else None
            if spelling is not None and spelling.other is not None:
                others[each] = Selection(each.kind, spelling.other)
                await self._note(spelling.note)
            else:
                await self._fail_unknown(each, spelling)
        for several in itertools.batched(others.items(), _ITEMS_PER_REQUEST):
            for each in await self._resolve_listed(dict(several), spellings):
                await self._fail_unknown(each, None)

    async def _resolve_listed(
        self, wanted: dict[Selection, Selection], spellings: dict[str, Spelling] | None = None
    ) -> list[Selection]:
        """Resolve selections by what they are taken for, and return those that have no data set."""
        odd: list[str] = []
        taken = list(dict.fromkeys(wanted.values()))
        try:
            found = await self._chooser.data_sets_of(taken, self._filters, odd)
        except AsyncFetchError as error:
            await self._fail(map(str, wanted), error)
            return []
        item = str(next(iter(wanted))) if len(wanted) == 1 else f"the {taken[0].kind}s"
        for words in odd:
            # it was listed for several at once: the first stands for them
            await self._fail(
                (str(next(iter(wanted))),), RecordError(f"among the data sets of {item}, {words}")
            )
        ids = dict.fromkeys(each for of_one in found.values() for each in of_one)
        for batch in itertools.batched(self._unsought(ids), self._batch_size):
            await self._resolve_several(list(batch), item)
        await self._give_the_rest()
        for each, other in wanted.items():
            if found[other]:
                spelling = (spellings or {}).get(str(each.id))
                note = "" if spelling is None else spelling.note
                await self._send.send(_resolved(each, found[other], str(other.id), note))
        return [each for each, other in wanted.items() if not found[other] and not odd]

    def _unsought(self, data_set_ids: Iterable[int]) -> list[int]:
        new = [each for each in data_set_ids if each not in self._sought]
        self._sought.update(new)
        return new

    async def _fail_unknown(self, selection: Selection, spelling: Spelling | None) -> None:
        """Say that a selection has no data sets, and what to type instead."""
        kind, name, place = selection.kind, shown(selection.id, _MAX_NAME), self._chooser.place
        advice = "check the id, and name failed data sets by their ids"
        if spelling is not None:
            advice = spelling.advice
        elif isinstance(selection.id, str):
            advice = "name failed data sets by their ids"
        is_known = spelling is None or spelling.is_known
        if kind == "structure" and is_known:
            advice = (
                f"only specimens that were taken from one have it; --roi structure:{name} fetches that region"
            )
        met = ""
        if self._filters.has_conditions and is_known:
            met = f" that meets {self._filters}"
            advice = await self._advice_on_filters() or advice
        nothing = NotFoundError(
            f"there is no data set of {kind} {name}{met} {place}; {advice}",
            url=self._client.settings.base_url,
        )
        await self._fail((str(selection),), nothing)
        await self._send.send(_resolved(selection, (), message=nothing.message))

    async def _advice_on_filters(self) -> str:
        """Return how values of filters are spelled that are not known as they stand; empty where all are."""
        if self._advice is None:
            told: list[str] = []
            for trait in TRAITS:
                names = getattr(self._filters, trait.name) if trait.name in NAMED_KINDS else ()
                try:
                    spellings = await self._chooser.spellings(trait.name, names) if names else {}
                except AsyncFetchError:
                    spellings = {}
                told += [each.unknown for each in spellings.values() if not each.is_known]
            self._advice = "; ".join(told)
        return self._advice

    async def resolve_all(self, selection: Selection) -> None:
        """Resolve the data sets of a product or a structure, but for failed ones, while later pages are asked for."""
        if self._is_full:
            return
        spelling: Spelling | None = None
        try:
            if await self._resolve_all_of(selection, selection):
                return
            if isinstance(selection.id, str):
                kind, asked = selection.kind, selection.id
                spelling = (await self._chooser.spellings(kind, [asked]))[asked]
                if spelling.other is not None:
                    await self._note(spelling.note)
                    other = Selection(kind, spelling.other)
                    if await self._resolve_all_of(selection, other, spelling.note):
                        return
                    spelling = None
        except AsyncFetchError as error:
            await self._give_the_rest()
            await self._fail((str(selection),), error)
            return
        await self._fail_unknown(selection, spelling)

    async def _resolve_all_of(self, asked: Selection, selection: Selection, note: str = "") -> bool:
        """Resolve the data sets of what is spelled just so, and return whether there are any."""
        found: list[int] = []
        waiting: list[int] = []
        odd: list[str] = []
        async with self._chooser.open_data_sets(selection, self._filters, odd) as ids:
            async for data_set_id in ids:
                found.append(data_set_id)
                waiting += self._unsought([data_set_id])
                if len(waiting) >= self._batch_size:
                    await self._resolve_several(waiting, str(selection))
                    waiting = []
                if self._is_full:
                    break
        await self._resolve_several(waiting, str(selection))
        await self._give_the_rest()
        for words in odd:
            await self._fail((str(asked),), RecordError(f"among the data sets of {selection}, {words}"))
        if found:
            await self._send.send(_resolved(asked, found, str(selection.id), note))
        return bool(found or odd)

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
        await self._send.send(_resolved(selection, [each.id for each in data_sets]))
        await self._send.send(ResolvedAtlas(record=row, data_set_ids=tuple(each.id for each in data_sets)))
        for data_set in data_sets:
            if data_set.id not in self._sought:
                self._sought.add(data_set.id)
                await self._give(ResolvedDataSet(data_set=data_set, items=items, atlas_id=atlas_id))

    async def _resolve_several(self, data_set_ids: list[int], item: str) -> None:
        """Ask for data sets, and give those that were asked for before and are there."""
        if data_set_ids and not self._is_full:
            self._batches.ask(data_set_ids, item)
        async for batch in self._batches.due():
            await self._give_batch(batch)

    async def _give_the_rest(self) -> None:
        async for batch in self._batches.rest():
            await self._give_batch(batch)

    async def _give_batch(self, batch: Batch) -> None:
        data_set_ids, item, refusal = batch.ids, batch.item, batch.error
        if isinstance(refusal, OutageError):
            await self._fail((f"dataset:{data_set_id}" for data_set_id in data_set_ids), refusal)
            return
        if refusal is not None:
            await self._give_halves(batch)
            return
        rows, images = batch.rows, batch.images
        for data_set_id in data_set_ids:
            items = (f"dataset:{data_set_id}",)
            its_images = images.pop(data_set_id, ())
            try:
                data_set = parse_data_set(rows[data_set_id], its_images)
            except KeyError:
                url = self._client.settings.base_url
                advice = "; check the id" if data_set_id in self._named else " any more"
                gone = NotFoundError(f"there is no data set {data_set_id} at {url}{advice}", url=url)
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

    async def _give_halves(self, batch: Batch) -> None:
        """Ask for either half of a batch that failed: one of its data sets may be what the API cannot answer."""
        middle = len(batch.ids) // 2
        for ids in (batch.ids[:middle], batch.ids[middle:]):
            if len(ids) > 1:
                await self._give_batch(await self._batches.ask_at_once(ids, batch.item))
            elif ids:
                self._sought.discard(ids[0])
                await self.resolve_data_set(ids[0], (f"dataset:{ids[0]}",))

    async def _fail_row(self, item: str, of: str, row: Any, what: str) -> None:
        """Name a row that came for an item and belongs to nothing that was asked for: itself, or its id."""
        image_id = row_id({"id": row}) if of == "section images" else None
        message = f"among the {of} of {item}, {shown_value(row)} {what}"
        await self._fail((item if image_id is None else f"image:{image_id}",), RecordError(message))

    async def _note(self, text: str) -> None:
        await self._send.send(ResolvingNote(text))

    async def _fail(self, items: Iterable[str], error: AsyncFetchError) -> None:
        for item in items:
            await self._send.send(Failure.of(item, error))


def _resolved(
    selection: Selection, data_set_ids: Collection[int], name: str | None = None, message: str = ""
) -> ResolvedSelection:
    return ResolvedSelection(
        selection=selection,
        name=str(selection.id) if name is None else name,
        data_set_ids=tuple(data_set_ids),
        message=message,
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
