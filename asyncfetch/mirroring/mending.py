"""What a verification found broken, made again: from the stored JPEGs where they are sound, else from the API."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import anyio
import msgspec

from asyncfetch.allen import parse_section_image
from asyncfetch.client import Client
from asyncfetch.client.resolved import Resolved, ResolvedAtlas
from asyncfetch.client.resolving import resolve_selections
from asyncfetch.errors import AsyncFetchError, StoreItemError
from asyncfetch.failures import Failure
from asyncfetch.layout.paths import packed_key, volume_path
from asyncfetch.layout.recipe import CHOSEN
from asyncfetch.mirroring.mirror import mirror
from asyncfetch.mirroring.packing import pack_again
from asyncfetch.mirroring.rebuild import rebuild
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.mirroring.volume import volume
from asyncfetch.mirroring.volume_source import open_source
from asyncfetch.planning.section import tier_of
from asyncfetch.selecting.selection import parse_selection
from asyncfetch.settings import Layer, View
from asyncfetch.store import AtlasRecord
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractAsyncContextManager

    from asyncfetch.engine import Transport
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.flaws import Flaw
    from asyncfetch.options import RebuildOptions
    from asyncfetch.settings import Settings
    from asyncfetch.store import Commit, Location, Store, StoreWriter

__all__ = ["Mender"]

type Section = tuple[int, str, int]

_LAYERS: tuple[Layer, ...] = get_args(Layer)
_ATLAS = re.compile(r"catalogue/atlases/(\d+)/zarr\.json")


class Mender:
    """The repair of one store, round by round: a record that is back shows what lies below it.

    Attributes
    ----------
    failures : list of Failure
        What could not be brought in the last round.
    n_requests : int
        Requests sent so far.
    interrupted : bool
        Whether it was asked to stop.
    """

    def __init__(
        self,
        location: Location,
        settings: Settings,
        on_event: Listener,
        drain: anyio.Event,
        transport: Transport | None,
        *,
        wait: bool = False,
    ) -> None:
        self._location = location
        self._wait = wait
        # what was packed is packed again when all is mended
        self._settings = settings.replace(pack=False)
        self._on_event = on_event
        self._drain = drain
        self._transport = transport
        #: The commits as they were before their claims were taken away.
        self._wanted: dict[Section, Commit] = {}
        #: The data sets of whose archives nothing can be read.
        self._lost: list[Failure] = []
        self.failures: list[Failure] = []
        self.n_requests = 0
        self.interrupted = False

    async def mend(self, store: Store, flaws: Iterable[Flaw]) -> None:
        """Make again what flaws name."""
        self.failures = [*self._lost]
        flaws = list(flaws)
        lost = {flaw.path.rpartition("/registered/")[0] for flaw in flaws if _is_layout(flaw)}
        # whose slot a plane is in is told by the layout, which comes first
        first = [
            flaw
            for flaw in flaws
            if not flaw.is_derived and not (flaw.layer == "registered" and _view_of(flaw) in lost)
        ]
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return
            await anyio.to_thread.run_sync(self._withdraw, writer, first)
            offline, online = await anyio.to_thread.run_sync(self._take_claims, writer, store, first)
        for section in await self._rebuild(store, offline, first):
            # its JPEG was another one after all
            online[section] = self._wanted.get(section)
        await self._fetch(store, online, first)
        await self._fetch_atlases(first)
        await self._make_volumes(store, first)
        await self._rewrite([flaw for flaw in flaws if flaw.is_derived])

    async def open_archives(self, flaws: Iterable[Flaw]) -> set[int]:
        """Turn the packed data sets that flaws concern into folders of all that can be read; return which.

        `close_archives` packs them again.
        """
        ids = sorted({flaw.data_set_id for flaw in flaws if flaw.data_set_id is not None})
        opened: set[int] = set()
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return opened
            for data_set_id in ids:
                if self._is_stopped():
                    break
                if not await anyio.to_thread.run_sync(writer.packing.is_packed, data_set_id):
                    continue
                if await anyio.to_thread.run_sync(writer.packing.salvage, data_set_id):
                    opened.add(data_set_id)
                else:
                    self._lost.append(_lost_archive(writer.location, data_set_id))
        return opened

    async def close_archives(self) -> list[str]:
        """Pack what was opened again, as far as it is finished; return why some of it could not be packed."""
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return []
            return await pack_again(writer, self._on_event, self._drain)

    async def sweep(self, leftovers: list[str]) -> list[str]:
        """Remove temporary files of killed runs; return those that are still held."""
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return leftovers
            held = await anyio.to_thread.run_sync(writer.sweep, leftovers)
        return [each for each in leftovers if each not in held] if held else leftovers

    def _withdraw(self, writer: StoreWriter, flaws: list[Flaw]) -> None:
        """Take away what groups say that proved wrong, as far as it is not written over."""
        for flaw in flaws:
            path, _, name = flaw.path.rpartition("/")
            if flaw.path == "zarr.json":
                writer.mend_root()
            elif name == "zarr.json" and (path.startswith("catalogue/") or path.endswith("/registered")):
                writer.withdraw(path)
            elif flaw.image_id is not None and flaw.layer is None and flaw.data_set_id and flaw.view:
                writer.view(flaw.data_set_id, flaw.view).withdraw(flaw.image_id)

    async def _rewrite(self, flaws: list[Flaw]) -> None:
        """Write what follows from other metadata, now that these are as they are to be."""
        wanted: dict[int | None, set[str]] = {}
        for flaw in flaws:
            wanted.setdefault(flaw.data_set_id, set()).add(flaw.path)
        if not wanted or self._is_stopped():
            return
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return
            store = await anyio.to_thread.run_sync(open_store, self._location)
            for data_set_id, keys in wanted.items():
                objects = await anyio.to_thread.run_sync(_expected_of, store, data_set_id, keys)
                await anyio.to_thread.run_sync(_write_again, writer, store, data_set_id, objects)

    def _open_writer(self) -> AbstractAsyncContextManager[StoreWriter | None]:
        """Hold the store for a moment; the runs that follow take it on their own."""
        on_wait = teller(self._on_event)
        return open_writer(
            self._location,
            "verify --repair",
            wait=self._wait,
            drain=self._drain,
            on_wait=on_wait,
            sync=self._settings.sync,
        )

    def _take_claims(
        self, writer: StoreWriter, store: Store, flaws: list[Flaw]
    ) -> tuple[dict[Section, set[Layer]], dict[Section, Commit | None]]:
        """Let commits cease to vouch for what is broken; tell what is made offline and what is fetched."""
        broken: dict[Section, set[Layer]] = {}
        for flaw in flaws:
            if flaw.image_id is not None and flaw.data_set_id is not None and flaw.view is not None:
                layers = broken.setdefault((flaw.data_set_id, flaw.view, flaw.image_id), set())
                if flaw.layer is not None:
                    layers.add(msgspec.convert(flaw.layer, type=Layer))
        wrong = {
            (flaw.data_set_id, flaw.view, flaw.image_id) for flaw in flaws if flaw.image_id and not flaw.layer
        }
        offline: dict[Section, set[Layer]] = {}
        online: dict[Section, Commit | None] = {}
        for section, layers in broken.items():
            # a commit that is wrong says nothing
            commit = None if section in wrong else store.commit(*section)
            if commit is not None and layers:
                both = _in_order({*commit.layers, *layers})
                self._wanted.setdefault(section, msgspec.structs.replace(commit, layers=both))
            if commit is None or "source" in layers or "source" not in commit.layers:
                online[section] = self._wanted.get(section)
            else:
                offline[section] = layers
            if commit is not None and layers:
                writer.view(section[0], section[1]).disown(commit, layers)
        return offline, online

    def _pitch_of(self, store: Store, data_set_id: int) -> float | None:
        """Return the pitch of the planes of a data set as the store told it at first, None where there are several."""
        commits = [each for key, each in self._wanted.items() if key[0] == data_set_id]
        for view in get_args(View):
            commits += store.commits(data_set_id, view).values()
        pitches = {each.recipe.um for each in commits} - {None}
        return pitches.pop() if len(pitches) == 1 else None

    async def _rebuild(
        self, store: Store, sections: dict[Section, set[Layer]], flaws: list[Flaw]
    ) -> list[Section]:
        """Make layers from stored JPEGs, and whatever else a rebuild of a data set writes; return what failed."""
        failed: set[tuple[str, str | None]] = set()
        groups: dict[tuple[int, tuple[Layer, ...]], set[int]] = {}
        for (data_set_id, _, image_id), broken in sections.items():
            groups.setdefault((data_set_id, _in_order(broken)), set()).add(image_id)
        for flaw in flaws:
            if flaw.data_set_id is not None and _is_layout(flaw):
                groups.setdefault((flaw.data_set_id, ("registered",)), set())
        for (data_set_id, layers), image_ids in groups.items():
            if self._is_stopped():
                break
            try:
                # where a layout is lost and its planes cannot be adopted, no commit tells their pitch any more
                um = await anyio.to_thread.run_sync(self._pitch_of, store, data_set_id)
                pitch: RebuildOptions = {} if um is None else {"um": um}
                report = await rebuild(
                    self._location,
                    layers=layers,
                    data_set_ids=[data_set_id],
                    image_ids=image_ids,
                    settings=self._settings,
                    on_event=self._on_event,
                    drain=self._drain,
                    wait=self._wait,
                    **pitch,
                )
            except AsyncFetchError as error:
                self.failures.append(Failure.of(f"dataset:{data_set_id}", error))
            else:
                failed |= {(each.item, each.view) for each in report.failures}
        return [section for section in sections if (f"image:{section[2]}", section[1]) in failed]

    async def _fetch(self, store: Store, sections: dict[Section, Commit | None], flaws: list[Flaw]) -> None:
        atlases = await anyio.to_thread.run_sync(_atlases_of, store)
        groups: dict[Settings, list[str]] = {}
        chosen = await anyio.to_thread.run_sync(self._choose, store, sections, flaws)
        for (data_set_id, _, image_id), settings in chosen.items():
            item = f"atlas:{atlases[data_set_id]}" if data_set_id in atlases else f"image:{image_id}"
            groups.setdefault(settings, []).append(item)
        for settings, items in groups.items():
            if self._is_stopped():
                return
            try:
                report = await mirror(
                    dict.fromkeys(items),
                    self._location,
                    settings=settings,
                    on_event=self._on_event,
                    drain=self._drain,
                    transport=self._transport,
                    wait=self._wait,
                )
            except AsyncFetchError as error:
                self.failures += [Failure.of(item, error) for item in dict.fromkeys(items)]
            else:
                self.failures += report.failures
                self.n_requests += report.n_requests

    def _choose(
        self, store: Store, sections: dict[Section, Commit | None], flaws: list[Flaw]
    ) -> dict[Section, Settings]:
        """Return with which settings each section is fetched, and one of each data set whose own records are."""
        chosen: dict[Section, Settings] = {}
        for section, commit in sections.items():
            chosen[section] = self._settings_of(store, section, commit)
        own = {flaw.data_set_id for flaw in flaws if flaw.data_set_id is not None and _is_of_api(flaw)}
        of_catalogue = [flaw for flaw in flaws if flaw.path.startswith("catalogue/")]
        if of_catalogue and not chosen and not own:
            own |= set(store.read_data_set_ids()[:1])
        for data_set_id in own:
            for view in get_args(View):
                commits = store.commits(data_set_id, view)
                if commits and not any(key[:2] == (data_set_id, view) for key in chosen):
                    commit = max(commits.values(), key=lambda each: "registered" in each.layers)
                    section = (data_set_id, view, commit.image_id)
                    chosen[section] = self._settings_of(store, section, commit)
        return chosen

    def _settings_of(self, store: Store, section: Section, commit: Commit | None) -> Settings:
        """Return the settings by which a section was mirrored, as far as the store tells."""
        data_set_id, view, _ = section
        fields: dict[str, Any] = {"views": (view,)}
        likely: list[Commit] = []
        if commit is not None:
            fields["downsample"] = commit.downsample
        else:
            # its own commit is lost: it was mirrored as most others of the view were
            others = list(store.commits(data_set_id, view).values())
            others += [each for key, each in self._wanted.items() if key[:2] == (data_set_id, view)]
            if others:
                layers = Counter(each.layers for each in others).most_common(1)[0][0]
                likely = [each for each in others if each.layers == layers]
                commit = likely[0]
        if commit is not None:
            fields |= {name: getattr(commit.recipe, name) for name in CHOSEN if name != "um"}
            fields |= {"layers": commit.layers, "roi": commit.region, "fetch": commit.fetch}
            if commit.recipe.um is not None:
                fields["um"] = commit.recipe.um
        layout = None
        if data_set_id in store.read_data_set_ids():
            layout = store.data_set(data_set_id, view).read_registered_layout()
        if layout is not None and "registered" in fields.get("layers", ("registered",)):
            fields |= {name: getattr(layout.recipe, name) for name in CHOSEN}
        if view == "expression" and fields.get("numeric_expression") is False:
            # colours are sampled by the nearest whatever was chosen
            fields.pop("interpolation", None)
        settings = self._settings.replace(**fields)
        tier = _fixed_tier(likely, settings)
        return settings if tier is None else settings.replace(downsample=tier)

    async def _fetch_atlases(self, flaws: list[Flaw]) -> None:
        """Bring the records of atlases again."""
        matches = (_ATLAS.fullmatch(flaw.path) for flaw in flaws)
        atlases = [f"atlas:{match[1]}" for match in matches if match is not None]
        if not atlases or self._is_stopped():
            return
        records: list[AtlasRecord] = []
        async with Client(
            settings=self._settings, on_event=self._on_event, transport=self._transport
        ) as client:
            send, receive = anyio.create_memory_object_stream[Resolved](0)
            async with anyio.create_task_group() as tasks, receive:
                tasks.start_soon(resolve_selections, client, parse_selection(atlases), send)
                async for each in receive:
                    if isinstance(each, ResolvedAtlas):
                        records.append(AtlasRecord(record=each.record, data_set_ids=each.data_set_ids))
                    elif isinstance(each, Failure):
                        self.failures.append(each)
        async with self._open_writer() as writer:
            if writer is not None:
                for record in records:
                    await anyio.to_thread.run_sync(writer.write_atlas, record)

    async def _make_volumes(self, store: Store, flaws: list[Flaw]) -> None:
        broken: dict[tuple[int, str], set[str]] = {}
        for flaw in flaws:
            if flaw.data_set_id is not None and "/volume/" in flaw.path and flaw.image_id is None:
                broken.setdefault((flaw.data_set_id, flaw.path.split("/")[2]), set()).add(flaw.path)
        for (data_set_id, view), paths in sorted(broken.items()):
            if self._is_stopped():
                return
            try:
                async with self._open_writer() as writer:
                    if writer is None:
                        return
                    chosen = await anyio.to_thread.run_sync(
                        _open_volume, writer, store, data_set_id, view, paths
                    )
                machine: dict[str, Any] = {
                    "settings": self._settings,
                    "drain": self._drain,
                    "wait": self._wait,
                }
                await volume(self._location, data_set_id, view=view, **chosen, **machine)
            except AsyncFetchError as error:
                self.failures.append(Failure.of(f"dataset:{data_set_id}", error, view))

    def _is_stopped(self) -> bool:
        self.interrupted |= self._drain.is_set()
        return self.interrupted


def _lost_archive(location: str, data_set_id: int) -> Failure:
    path = f"{location}/{packed_key(data_set_id)}"
    error = StoreItemError(
        f"nothing of {path} can be read; remove it, and mirror the data set again with: "
        f"asyncfetch mirror dataset:{data_set_id} --out {location}",
        location=path,
    )
    return Failure.of(f"dataset:{data_set_id}", error)


def _in_order(layers: Collection[Layer]) -> tuple[Layer, ...]:
    return tuple(layer for layer in _LAYERS if layer in layers)


def _atlases_of(store: Store) -> dict[int, int]:
    return {each: atlas_id for atlas_id, atlas in store.read_atlases().items() for each in atlas.data_set_ids}


def _fixed_tier(commits: list[Commit], settings: Settings) -> int | None:
    """Return the tier of sections that were all mirrored at one which their pitch does not call for."""
    asked = {each.downsample if each.asked_downsample is None else each.asked_downsample for each in commits}
    called_for = {tier_of(parse_section_image(each.record), settings) for each in commits}
    return asked.pop() if len(asked) == 1 and asked != called_for else None


def _is_layout(flaw: Flaw) -> bool:
    """Tell whether a flaw is one of the layout of a registered image."""
    return flaw.path.endswith("/registered/zarr.json") and not flaw.is_derived


def _view_of(flaw: Flaw) -> str:
    return f"data_sets/{flaw.data_set_id}/{flaw.view}"


def _is_of_api(flaw: Flaw) -> bool:
    """Tell whether a flaw of a data set is one of its record or of its table, which the API alone has."""
    parts = flaw.path.split("/")
    return flaw.image_id is None and (parts[2:] == ["zarr.json"] or parts[2:3] == ["table"])


def _expected_of(store: Store, data_set_id: int | None, keys: set[str]) -> dict[str, bytes]:
    holder = store if data_set_id is None else store.data_set(data_set_id)
    return {key: data for key, data in holder.expected() if key in keys}


def _write_again(
    writer: StoreWriter, store: Store, data_set_id: int | None, objects: dict[str, bytes]
) -> None:
    writer.rewrite(objects)
    if data_set_id is not None:
        for view in store.data_set(data_set_id).read_views():
            # the summary tells how long commits are
            writer.view(data_set_id, view).finish()


def _open_volume(
    writer: StoreWriter, store: Store, data_set_id: int, view: str, paths: set[str]
) -> dict[str, Any]:
    """Let a volume be made again as far as it is broken; return how it was made."""
    there = writer.view(data_set_id, view)
    layout = store.data_set(data_set_id, view).read_volume_layout()
    if layout is None:
        there.drop_volume()
        return {}
    names = ("um", "max_gap_um", "codec")
    if f"{volume_path(data_set_id, view)}/zarr.json" in paths:
        there.drop_volume()
        usual = open_source(store, data_set_id, view, None, None, None, {}).layout
        changed = [name for name in layout.__struct_fields__ if getattr(layout, name) != getattr(usual, name)]
        # one change is what was damaged
        return {} if len(changed) <= 1 else {name: getattr(layout, name) for name in names}
    there.reopen_volume(layout, paths)
    return {name: getattr(layout, name) for name in names}
