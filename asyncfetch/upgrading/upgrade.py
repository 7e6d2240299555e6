"""A store of an earlier layout version turned into today's, in place, offline, one section at a time.

The root says from the beginning that the store is being upgraded, and up to where; its layout version changes last.
Data sets are worked off from the last name to the first: where the root is lost meanwhile, it is the first section in
the store that tells its version.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

import anyio
import msgspec

from asyncfetch.allen import parse_data_set
from asyncfetch.engine.groups import share_out
from asyncfetch.errors import StoreItemError
from asyncfetch.events import (
    DataSetCompleted,
    DataSetPlanned,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
    ignore,
)
from asyncfetch.failures import Failure
from asyncfetch.imaging import Pool
from asyncfetch.layout.paths import (
    LAYOUT_VERSION,
    SPACE_TRANSFORMS_PATH,
    atlas_path,
    data_set_path,
    structure_centers_path,
    table_path,
)
from asyncfetch.mirroring.report import Report
from asyncfetch.mirroring.runner import reported
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.options import WritingOptions, refuse_other_content, settings_of
from asyncfetch.store.records import read_record, read_views
from asyncfetch.store.root import UPGRADING, new_root
from asyncfetch.upgrading import version1
from asyncfetch.upgrading.view import ViewUpgrade
from asyncfetch.upgrading.volume import VolumeUpgrade

if TYPE_CHECKING:
    from asyncfetch.allen import SectionDataSet
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings
    from asyncfetch.store import Location, StoreWriter
    from asyncfetch.upgrading.view import Outcome

__all__ = ["upgrade"]

#: What one thread holds at a time: a shard as it was decoded, in both orders, and what Zarr makes of it meanwhile.
_BYTES_PER_THREAD = 2**26
#: The rows of a table while it is written again, beside what it was made of.
_ROWS = "rows-of-version-1.json"


async def upgrade(
    location: Location,
    *,
    settings: Settings | None = None,
    on_event: Listener = ignore,
    drain: anyio.Event | None = None,
    wait: bool = False,
    **options: Unpack[WritingOptions],
) -> Report:
    """Turn a store of an earlier layout version into one of today's, in place; nothing is fetched.

    What was upgraded stays, so that an interrupted run continues with the same call. The pixels are decoded and stored
    again, so that the JPEGs are not needed; a store of today's version stays as it is.

    Parameters
    ----------
    location : str, Path or zarr Store
        The store.
    settings : Settings, optional
        How much of the machine is used: ``workers`` and ``memory_bytes``. What is stored stays as it was made.
    on_event : callable, optional
        Is called on the event loop with each event; must not block.
    drain : anyio.Event, optional
        Once set, the sections that are being upgraded are finished, and the report says ``interrupted``.
    wait : bool
        Wait until a run that writes to the store has ended, instead of raising.
    **options
        Single settings: ``workers`` and ``memory_bytes``.

    Returns
    -------
    Report
        What was done, and each item that is damaged, with its cause: its sound layers are upgraded, and the message
        says how to make the others again.

    Raises
    ------
    SettingsError
        An option is not one of the machine, or its value is not allowed.
    StoreBusyError
        Another run is writing to the store.
    StoreLayoutError
        The store is of a later version than this package knows, or not a store.
    StoreError
        The store cannot be read or written.
    """
    refuse_other_content(options, WritingOptions, "upgrade", "what is stored stays as it was made")
    machine, drain = settings_of(settings, options), drain or anyio.Event()
    held = open_writer(
        location,
        "upgrade",
        wait=wait,
        drain=drain,
        on_wait=teller(on_event),
        of_any_version=True,
        sync=machine.sync,
    )
    async with held as writer:
        report = Report(selection=(), location=str(location))
        if writer is None:
            report.interrupted = True
            return report
        report.location = writer.location
        with reported(report, on_event) as listen:
            async with Pool(machine.workers) as pool:
                n_workers = max(1, min(pool.n_threads, machine.memory_bytes // _BYTES_PER_THREAD))
                run = _Upgrade(pool, writer, n_workers, report, listen, drain)
                await run.go()
        report.notes.extend(dict.fromkeys([*run.place.damage.sentences, *writer.damage]))
    return report


class _DataSet(NamedTuple):
    id: int
    record: SectionDataSet | None
    views: tuple[str, ...]


class _Upgrade:
    """One upgrade: what its steps share."""

    def __init__(
        self,
        pool: Pool,
        writer: StoreWriter,
        n_workers: int,
        report: Report,
        listen: Listener,
        drain: anyio.Event,
    ) -> None:
        self.place = writer.place
        self._pool = pool
        self._writer = writer
        self._n_workers = n_workers
        self._report = report
        self._listen = listen
        self._drain = drain

    async def go(self) -> None:
        """Upgrade all that is not yet, and say so in the root at the end."""
        root = await self._pool.run(self.place.ours, "")
        if root.get("layout") == LAYOUT_VERSION and UPGRADING not in root:
            self._report.notes.append(
                f"{self._report.location} is of layout version {LAYOUT_VERSION} already"
            )
            return
        marks = root.get(UPGRADING)
        done = marks.get("down_to") if isinstance(marks, dict) else None
        names = await self._pool.run(self.place.names_below, "data_sets")
        for name in reversed([each for each in names if each.isdecimal()]):
            if isinstance(done, str) and name >= done:
                continue
            if done is None:
                await self._pool.run(self._mark, None)
            await self._upgrade_data_set(int(name))
            if self._report.interrupted:
                return
            done = name
            await self._pool.run(self._mark, done)
        await self._pool.run(self._end)

    def _mark(self, down_to: str | None) -> None:
        """Let the root say that the store is being upgraded, and which data sets are done."""
        mark = {"to": LAYOUT_VERSION} | ({} if down_to is None else {"down_to": down_to})
        ours = {"layout": version1.LAYOUT, **self.place.ours(""), UPGRADING: mark}
        self.place.write_group("", {"asyncfetch": ours})

    def _end(self) -> None:
        self._writer.mend_catalogue()
        for path in self._catalogue_paths():
            # as it is written today
            self.place.write_group(path, {"asyncfetch": self.place.ours(path)})
        ours = {name: value for name, value in self.place.ours("").items() if name != UPGRADING}
        self.place.write_group("", {"asyncfetch": ours | new_root()})

    def _catalogue_paths(self) -> list[str]:
        """Return the groups of the catalogue that say something."""
        numbered = [
            f"{folder}/{name}"
            for folder in (structure_centers_path(), atlas_path())
            for name in self.place.names_below(folder)
            if name.isdecimal()
        ]
        return [path for path in (*numbered, SPACE_TRANSFORMS_PATH) if self.place.ours(path)]

    async def _upgrade_data_set(self, data_set_id: int) -> None:
        data_set = await self._pool.run(self._read, data_set_id)
        self._report.n_data_sets += 1
        for view in reversed(data_set.views):
            await self._upgrade_view(data_set, view)
            if self._report.interrupted:
                return
        try:
            await self._pool.run(self._upgrade_table, data_set)
        except StoreItemError as error:
            advice = f"asyncfetch mirror dataset:{data_set_id} --out {self._report.location}"
            self._fail(f"dataset:{data_set_id}", None, error, f"write it again with: {advice}")
        self._listen(DataSetCompleted(data_set_id=data_set_id))

    def _read(self, data_set_id: int) -> _DataSet:
        views = read_views(self.place, data_set_id)
        record = read_record(self.place, data_set_id)
        return _DataSet(data_set_id, None if record is None else parse_data_set(record), views)

    async def _upgrade_view(self, data_set: _DataSet, name: str) -> None:
        make = partial(ViewUpgrade, self.place, self._writer, data_set.id, name, data_set.record)
        view = await self._pool.run(make)
        n_sections, n_old = len(view.image_ids), await self._pool.run(view.count_old)
        planned = DataSetPlanned(
            data_set_id=data_set.id,
            view=name,
            n_sections=n_sections,
            n_to_fetch=n_old,
            n_committed=n_sections - n_old,
            estimated_pixels=0,
        )
        self._listen(planned)
        moved = await self._pool.run(view.moved_arrays)

        async def upgrade_section(image_id: int) -> None:
            if self._drain.is_set():
                self._report.interrupted = True
                return
            outcome = await self._pool.run(view.upgrade_section, image_id)
            self._tell(data_set.id, name, image_id, outcome)

        await share_out(view.image_ids, upgrade_section, self._n_workers)
        if not self._report.interrupted:
            await self._upgrade_volume(data_set.id, name, view)
        if self._report.interrupted:
            return
        await self._pool.run(view.finish)
        self._report.notes.extend(
            f"{path} is an array of others, and stays as it is; the planes beside it lie in the order of the reference "
            "axis now"
            for path in moved
        )

    def _tell(self, data_set_id: int, view: str, image_id: int, outcome: Outcome) -> None:
        commit, errors = outcome.commit, outcome.errors
        for layer, error in errors.items():
            option = "" if view == "image" else f" --view {view}"
            out, item = self._report.location, f"image:{image_id}"
            if commit is not None and "source" in commit.layers:
                command = f"asyncfetch rebuild {out} --layers {layer} --image {image_id}"
                advice = f"make the layer {layer} again with: {command}"
            else:
                advice = f"fetch the section again with: asyncfetch mirror {item} --out {out}{option}"
            self._fail(item, view, error, advice)
        if commit is None:
            for error in list(errors.values())[:1]:
                cause = self._report.failures[-1].message
                name = type(error).__name__
                self._listen(
                    SectionFailed(
                        data_set_id=data_set_id, image_id=image_id, view=view, error=name, cause=cause
                    )
                )
            return
        if not outcome.is_new:
            self._listen(SectionSkipped(data_set_id=data_set_id, image_id=image_id, view=view))
            return
        self._listen(
            SectionCommitted(
                data_set_id=data_set_id,
                image_id=image_id,
                view=view,
                size_bytes=commit.size_bytes,
                pixels=commit.shape[0] * commit.shape[1],
            )
        )

    def _fail(self, item: str, view: str | None, error: StoreItemError, advice: str) -> None:
        """Report what is damaged, with how to make it again: no commit vouches for it any more."""
        found, _, _ = error.message.partition("; restore it with: ")
        told = StoreItemError(f"{found}; {advice}", location=error.location)
        self._report.failures.append(Failure.of(item, told, view))

    async def _upgrade_volume(self, data_set_id: int, name: str, view: ViewUpgrade) -> None:
        z_by_image = {} if view.registered is None else view.registered.z_by_image
        key = (self.place, data_set_id, name)
        try:
            volume = await self._pool.run(VolumeUpgrade.begin, *key, z_by_image)
            if volume is None:
                return
            shards = await self._pool.run(lambda: list(volume.shards()))

            async def upgrade_shard(shard: tuple[Any, Any]) -> None:
                if self._drain.is_set():
                    self._report.interrupted = True
                    return
                await self._pool.run(volume.upgrade_shard, *shard)

            await share_out(shards, upgrade_shard, self._n_workers)
            if not self._report.interrupted:
                await self._pool.run(volume.finish)
        except StoreItemError as error:
            await self._pool.run(VolumeUpgrade.drop, *key)
            option = "" if name == "image" else f" --view {name}"
            command = f"asyncfetch volume {self._report.location} --dataset {data_set_id}{option}"
            self._fail(f"dataset:{data_set_id}", name, error, f"make the volume again with: {command}")

    def _upgrade_table(self, data_set: _DataSet) -> None:
        """Write the table of a data set again, from its rows, which are kept until that is done.

        Raises
        ------
        StoreItemError
            It is damaged, and was removed.
        """
        place, path = self.place, table_path(data_set.id)
        key = f"{path}/{_ROWS}"
        names = version1.table_names(place, data_set.id)
        kept = place.read(key, msgspec.json.decode)
        try:
            rows = version1.read_rows(place, data_set.id) if kept is None else kept
            if rows is None:
                if names:
                    # what a killed run left of a table that was never finished
                    place.delete_parts(path, names)
                return
            if data_set.record is None:
                record = data_set_path(data_set.id)
                raise place.damaged_item(record, "cannot be read, so that its table cannot be upgraded")
        except StoreItemError:
            place.withdraw_group(path)
            place.delete_parts(path, names)
            raise
        if kept is None:
            place.set(key, msgspec.json.encode(rows))
        # a power cut must not take them and what they were read from
        place.settle(key)
        place.delete_parts(path, names)
        self._writer.write_table(parse_data_set(data_set.record.record, rows))
        place.settle(path)
        place.delete(key)
