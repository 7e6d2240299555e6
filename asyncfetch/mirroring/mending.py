"""What a verification found broken, made again: from the stored JPEGs where they are sound, else from the API."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, get_args

import anyio
import msgspec

from asyncfetch.errors import AsyncFetchError
from asyncfetch.failures import Failure
from asyncfetch.layout.recipe import CHOSEN
from asyncfetch.mirroring.mirror import mirror
from asyncfetch.mirroring.rebuild import rebuild
from asyncfetch.mirroring.turns import open_writer, teller
from asyncfetch.mirroring.volume import volume
from asyncfetch.settings import Layer, View

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from contextlib import AbstractAsyncContextManager

    from asyncfetch.engine import Transport
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.flaws import Flaw
    from asyncfetch.settings import Settings
    from asyncfetch.store import Commit, Location, Store, StoreWriter

__all__ = ["Mender"]

type Section = tuple[int, str, int]

_LAYERS: tuple[Layer, ...] = get_args(Layer)


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
        self._settings = settings
        self._on_event = on_event
        self._drain = drain
        self._transport = transport
        #: The commits as they were before their claims were taken away.
        self._wanted: dict[Section, Commit] = {}
        self.failures: list[Failure] = []
        self.n_requests = 0
        self.interrupted = False

    async def mend(self, store: Store, flaws: Iterable[Flaw]) -> None:
        """Make again what flaws name."""
        self.failures = []
        flaws = list(flaws)
        async with self._open_writer() as writer:
            if writer is None:
                self.interrupted = True
                return
            offline, online = await anyio.to_thread.run_sync(self._take_claims, writer, store, flaws)
        for section in await self._rebuild(offline, flaws):
            # its JPEG was another one after all
            online[section] = self._wanted.get(section)
        await self._fetch(store, online, flaws)
        await self._make_volumes(store, flaws)

    def _open_writer(self) -> AbstractAsyncContextManager[StoreWriter | None]:
        """Hold the store for a moment; the runs that follow take it on their own."""
        on_wait = teller(self._on_event)
        return open_writer(
            self._location, "verify --repair", wait=self._wait, drain=self._drain, on_wait=on_wait
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
        offline: dict[Section, set[Layer]] = {}
        online: dict[Section, Commit | None] = {}
        for section, layers in broken.items():
            commit = store.commit(*section)
            if commit is not None and layers:
                self._wanted.setdefault(section, commit)
            if commit is None or "source" in layers or "source" not in commit.layers:
                online[section] = self._wanted.get(section)
            else:
                offline[section] = layers
            if commit is not None and layers:
                writer.view(section[0], section[1]).disown(commit, layers)
        return offline, online

    async def _rebuild(self, sections: dict[Section, set[Layer]], flaws: list[Flaw]) -> list[Section]:
        """Make layers from stored JPEGs, and whatever else a rebuild of a data set writes; return what failed."""
        failed: set[tuple[str, str | None]] = set()
        groups: dict[tuple[int, tuple[Layer, ...]], set[int]] = {}
        for (data_set_id, _, image_id), broken in sections.items():
            groups.setdefault((data_set_id, _in_order(broken)), set()).add(image_id)
        for flaw in flaws:
            if flaw.data_set_id is not None and flaw.image_id is None and "/registered/scale" in flaw.path:
                groups.setdefault((flaw.data_set_id, ("registered",)), set())
        for (data_set_id, layers), image_ids in groups.items():
            if self._is_stopped():
                break
            try:
                report = await rebuild(
                    self._location,
                    layers=layers,
                    data_set_ids=[data_set_id],
                    image_ids=image_ids,
                    settings=self._settings,
                    on_event=self._on_event,
                    drain=self._drain,
                    wait=self._wait,
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
        own = {flaw.data_set_id for flaw in flaws if flaw.image_id is None and flaw.data_set_id is not None}
        if any(flaw.data_set_id is None for flaw in flaws) and not chosen and not own:
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
        if commit is not None:
            fields["downsample"] = commit.downsample
        else:
            # its own commit is lost: it was mirrored as most others of the view were
            others = list(store.commits(data_set_id, view).values())
            others += [each for key, each in self._wanted.items() if key[:2] == (data_set_id, view)]
            if others:
                layers = Counter(each.layers for each in others).most_common(1)[0][0]
                commit = next(each for each in others if each.layers == layers)
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
        return self._settings.replace(**fields)

    async def _make_volumes(self, store: Store, flaws: list[Flaw]) -> None:
        broken = {
            (flaw.data_set_id, flaw.path.split("/")[2])
            for flaw in flaws
            if flaw.data_set_id is not None and "/volume/" in flaw.path and flaw.image_id is None
        }
        for data_set_id, view in sorted(broken):
            if self._is_stopped():
                return
            item = f"dataset:{data_set_id}"
            try:
                layout = await anyio.to_thread.run_sync(_volume_layout_of, store, data_set_id, view)
                async with self._open_writer() as writer:
                    if writer is None:
                        return
                    await anyio.to_thread.run_sync(writer.view(data_set_id, view).drop_volume)
                chosen: dict[str, Any] = {}
                if layout is not None:
                    chosen = {name: getattr(layout, name) for name in ("um", "max_gap_um", "codec")}
                chosen |= {"settings": self._settings, "drain": self._drain, "wait": self._wait}
                await volume(self._location, data_set_id, view=view, **chosen)
            except AsyncFetchError as error:
                self.failures.append(Failure.of(item, error, view))

    def _is_stopped(self) -> bool:
        self.interrupted |= self._drain.is_set()
        return self.interrupted


def _in_order(layers: Collection[Layer]) -> tuple[Layer, ...]:
    return tuple(layer for layer in _LAYERS if layer in layers)


def _atlases_of(store: Store) -> dict[int, int]:
    return {each: atlas_id for atlas_id, atlas in store.read_atlases().items() for each in atlas.data_set_ids}


def _volume_layout_of(store: Store, data_set_id: int, view: str) -> Any:
    return store.data_set(data_set_id, view).read_volume_layout()
