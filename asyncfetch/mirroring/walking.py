"""One walk through a store: every data set, view and section held against what the store says of it.

Sections are looked at by all threads at once, each when the memory budget has room for what is made of it again.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.engine.groups import share_out
from asyncfetch.errors import AsyncFetchError, ImageError, StoreItemError
from asyncfetch.layout.paths import (
    data_set_path,
    registered_path,
    section_path,
    sections_path,
    source_key,
    table_path,
)
from asyncfetch.mirroring.comparing import ComparingSink
from asyncfetch.mirroring.fetching import write_layers
from asyncfetch.mirroring.flaws import Flaw, flaw_at, flaw_of, flaw_of_commit
from asyncfetch.mirroring.parts import EVERYTHING, Part, sampled
from asyncfetch.mirroring.remaking import (
    jpeg_of,
    level_problem,
    plans_of,
    volume_difference,
    volume_shards,
    volume_source_of,
    wrong_facts,
)
from asyncfetch.mirroring.runner import Runner
from asyncfetch.mirroring.verification import Progress
from asyncfetch.store import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import anyio

    from asyncfetch.imaging import Pool
    from asyncfetch.mirroring.flights import Flight
    from asyncfetch.planning import SectionPlan
    from asyncfetch.store import Commit, RegisteredLayout, Store, StoredDataSet, VolumeLayout
    from asyncfetch.store.blocks import BlockArray, Region

__all__ = ["Scope", "Walk"]

#: What a commit and the registered image both say of how its planes are made.
_OF_PLANES = {"um", "space", "interpolation", "parallel", "fill"}


class Scope(NamedTuple):
    """What of a store is looked at, and how closely.

    Attributes
    ----------
    full : bool
        Read every byte, and make again what can be made from stored JPEGs.
    part : Part
        Which part of the store.
    one_of, seed : int
        How many sections have one of which the JPEG is hashed, and what that choice follows from.
    only : mapping of int to set of int or None, optional
        Only these data sets, and of each these images, or all.
    has_root : bool
        Whether the root and the catalogue are looked at.
    """

    full: bool = False
    part: Part = EVERYTHING
    one_of: int = 20
    seed: int = 0
    only: Mapping[int, Collection[int] | None] | None = None
    has_root: bool = True

    def holds_data_set(self, data_set_id: int) -> bool:
        """Tell whether what a data set has beside its sections is looked at."""
        return self.part.holds(f"dataset:{data_set_id}")

    def sections_of(self, data_set_id: int, image_ids: Collection[int]) -> set[int]:
        """Return the sections of a data set that are looked at."""
        chosen = None if self.only is None else self.only.get(data_set_id, ())
        return {
            each for each in image_ids if self.part.holds_section(each) and (chosen is None or each in chosen)
        }


class Walk:
    """One walk through a store.

    Parameters
    ----------
    pool : Pool
        The threads.
    store : Store
        What is looked at.
    drain : Event
        Once set, nothing more is begun.
    scope : Scope
        What of it.
    memory_bytes : int
        What all that is made again at a time may take.
    progress : Progress, optional
        Where to begin; it is kept up to date.
    on_flaws, on_section : callable, optional
        Is told the flaws of a section or of a data set as they are found; and how many sections were looked at.

    Attributes
    ----------
    n_data_sets, n_sections : int
        How many were looked at.
    hashed : list of int
        The images whose JPEG was hashed.
    leftovers, notes : list of str
        Temporary files of killed runs; what else is worth knowing.
    """

    def __init__(
        self,
        pool: Pool,
        store: Store,
        drain: anyio.Event,
        scope: Scope,
        memory_bytes: int,
        *,
        progress: Progress | None = None,
        on_flaws: Callable[[list[Flaw]], None],
        on_section: Callable[[int], None] | None = None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._drain = drain
        self._scope = scope
        self._memory_bytes = memory_bytes
        self._progress = progress or Progress()
        self._on_flaws = on_flaws
        self._on_section = on_section
        self._is_unfinished = self._is_written = False
        self.n_data_sets = 0
        self.n_sections = 0
        self.hashed: list[int] = []
        self.leftovers: list[str] = []
        self.notes: list[str] = []

    async def go(self) -> None:
        """Look at everything, in the order of the data sets' ids."""
        lost = await self.begin()
        for data_set_id in await self.find_data_sets():
            if self._drain.is_set():
                return
            await self.look_at(data_set_id, lost.get(data_set_id))
            if self._drain.is_set():
                return
            self.passed(data_set_id)

    async def begin(self) -> dict[int, str]:
        """Look at the root and the catalogue; return the data sets whose records are lost, and what is wrong."""
        scope, progress = self._scope, self._progress
        await self.see_who_writes()
        if scope.has_root and not progress.has_begun and scope.part.holds("root"):
            self._on_flaws([flaw_at(*each) for each in await self._pool.run(self._store.own_problems)])
            derived = await self._pool.run(self._store.derived_problems)
            self._on_flaws([flaw_at(*each, is_derived=True) for each in derived])
            for path in ("", "data_sets", "catalogue"):
                await self._find_leftovers(path, deep=path == "catalogue")
        lost = dict(await self._pool.run(self._store.lost_records))
        progress.has_begun = True
        ids = await self._pool.run(self._store.list_data_set_ids)
        return {each: lost[key] for each in ids if (key := _record_key(each)) in lost}

    async def see_who_writes(self) -> None:
        """Learn which runs there are: what they are at is neither broken nor left over."""
        self._is_unfinished = bool(await self._pool.run(self._store.read_runs))
        holder, is_alive = await self._pool.run(self._store.read_writer)
        self._is_written = holder is not None and is_alive is not False

    async def find_data_sets(self) -> list[int]:
        """Return the data sets that are still to be looked at, in the order of their ids."""
        only, done = self._scope.only, self._progress.data_set_id
        ids = await self._pool.run(self._store.list_data_set_ids)
        return [each for each in ids if each > done and (only is None or each in only)]

    def passed(self, data_set_id: int) -> None:
        """Note that all data sets up to this one are done."""
        self._progress.data_set_id, self._progress.sections = data_set_id, []

    async def look_at(self, data_set_id: int, lost: str | None = None) -> None:
        """Look at one data set; `lost` says what is wrong with its record, where that is lost."""
        archive_problem = await self._pool.run(self._archive_problem, data_set_id)
        if archive_problem is not None:
            self._on_flaws([archive_problem])
        if lost is None:
            await self._check_data_set(data_set_id)
        elif archive_problem is None and self._scope.holds_data_set(data_set_id):
            # what cannot be read in an archive is looked at once that is mended
            self._on_flaws([flaw_at(_record_key(data_set_id), lost)])

    def _archive_problem(self, data_set_id: int) -> Flaw | None:
        if not self._scope.holds_data_set(data_set_id):
            return None
        find = self._store.archive_problem
        # for a moment both are there while a run packs or unpacks a data set
        found = find(data_set_id, full=self._scope.full, may_lie_beside=self._is_written)
        return None if found is None else flaw_at(*found)

    async def _check_data_set(self, data_set_id: int) -> None:
        data_set = self._store.data_set(data_set_id)
        is_whole = self._scope.holds_data_set(data_set_id)
        views = await self._pool.run(data_set.read_views)
        of_views = [data_set.in_view(view) for view in views]
        registered = {f"{registered_path(data_set_id, view)}/zarr.json" for view in views}
        flaws = await self._flaws_of_commits(of_views)
        own = [flaw_at(*each) for each in await self._pool.run(data_set.own_problems)]
        derived = [
            flaw_at(path, words, is_derived=path not in registered)
            for path, words in await self._pool.run(_derived_problems, data_set, [*flaws, *own])
        ]
        self._on_flaws(flaws)
        if is_whole:
            self.n_data_sets += 1
            self._on_flaws([*own, *derived])
            await self._find_leftovers(f"data_sets/{data_set_id}", deep=True)
        for view in of_views:
            known = [*flaws, *(each for each in [*own, *derived] if f"/{view.view}/" in each.path)]
            found = await self._check_sections(view, known)
            if is_whole and not self._drain.is_set():
                await self._check_volume(view, is_compared=not (known or found))

    async def _find_leftovers(self, path: str, *, deep: bool) -> None:
        if not self._is_written:
            self.leftovers += await self._pool.run(partial(self._store.leftovers, path, deep=deep))

    async def _flaws_of_commits(self, views: list[StoredDataSet]) -> list[Flaw]:
        """Return commits that are damaged, and what lies there without one."""
        flaws: list[Flaw] = []
        for view in views:
            problems = await self._pool.run(view.commit_problems)
            broken = self._scope.sections_of(view.id, problems)
            flaws += [flaw_of_commit(view.id, view.view, each, problems[each]) for each in sorted(broken)]
            stray = await self._pool.run(view.unvouched_problems)
            chosen = self._scope.sections_of(view.id, {image_id for image_id, _ in stray} - set(problems))
            for image_id, problem in stray:
                if image_id not in chosen:
                    continue
                if self._is_unfinished:
                    # the run that began it goes on with it
                    self.notes.append(f"{problem.path} {problem.words} yet: a run was interrupted")
                else:
                    flaws.append(flaw_of(view.id, view.view, image_id, problem))
        return flaws

    async def _check_sections(self, view: StoredDataSet, known: list[Flaw]) -> bool:
        """Look at the sections of a view, apart from what is known to be wrong; tell whether anything was found."""
        broken = {each.image_id for each in known if each.view == view.view and not each.is_derived}
        commits = {each.image_id: each for each in await self._pool.run(view.read_commits)}
        chosen = self._scope.sections_of(view.id, commits.keys() - broken)
        done = set(self._progress.sections)
        plans = await self._pool.run(plans_of, view, commits, chosen) if self._scope.full else {}
        sample = sampled(chosen, self._scope.one_of, self._scope.seed)
        registered = await self._pool.run(view.read_registered_layout)
        work = _Sections(self, view, plans, sample, _unreadable_of(known), registered)
        runner = Runner["Commit", list[Flaw]](
            work,
            work.check,
            n_workers=self._pool.n_threads + 1,
            drain=self._drain,
            budget_bytes=self._memory_bytes,
        )
        await runner.run(
            commit
            for image_id, commit in commits.items()
            if image_id in chosen and f"{view.view}/{image_id}" not in done
        )
        return work.has_found

    async def check_objects(self, view: StoredDataSet, commit: Commit, *, is_hashed: bool) -> list[Flaw]:
        """Return what is wrong with the objects of one section, without decoding them."""
        full = self._scope.full
        look = partial(view.problems, commit, full=full, with_digest=full or is_hashed, with_metadata=False)
        problems = await self._pool.run(look)
        if "source" in commit.layers and (full or is_hashed):
            self.hashed.append(commit.image_id)
        return [flaw_of(view.id, view.view, commit.image_id, each) for each in problems]

    async def check_pixels(self, view: StoredDataSet, commit: Commit, plan: SectionPlan | None) -> list[Flaw]:
        """Return which pixels of one section are not what they are made of, as far as that is stored."""
        if not self._scope.full:
            return []
        try:
            if plan is not None:
                return await self._compare(view, commit, plan)
            problems = await self._pool.run(view.decoding_problems, commit)
            if "sections" in commit.layers and not problems:
                problem = await self._pool.run(level_problem, self._pool, view, commit)
                problems = [] if problem is None else [problem]
        except StoreItemError as error:
            path = section_path(view.id, view.view, commit.image_id)
            problems = [Problem("sections", path, f"cannot be read ({error.message})")]
        return [flaw_of(view.id, view.view, commit.image_id, each) for each in problems]

    async def _compare(self, view: StoredDataSet, commit: Commit, plan: SectionPlan) -> list[Flaw]:
        """Make all layers of a section once more from its JPEG, as a mirror does, and compare them."""
        key = source_key(view.id, view.view, commit.image_id)
        sink = ComparingSink(view, commit)
        try:
            jpeg = await self._pool.run(jpeg_of, view, commit)
            if jpeg.shape != commit.shape:
                words = f"says {commit.shape} for the shape of a JPEG of {jpeg.shape}"
                return [flaw_of_commit(view.id, view.view, commit.image_id, words)]
            await write_layers(self._pool, sink, plan, jpeg)
        except ImageError as error:
            problem = Problem("source", key, f"does not decode ({error.message})")
            return [flaw_of(view.id, view.view, commit.image_id, problem)]
        flaws = [flaw_of(view.id, view.view, commit.image_id, each) for each in sink.problems]
        assert sink.made is not None, "it is committed last"
        wrong = wrong_facts(commit, sink.made)
        if wrong:
            words = f"says another {wrong[0]} than its record and its JPEG give"
            flaws.append(flaw_of_commit(view.id, view.view, commit.image_id, words))
        return flaws

    def section_done(self, commit: Commit, flaws: list[Flaw]) -> None:
        """Take down what was found of a section."""
        self.n_sections += 1
        self._progress.sections.append(f"{commit.view}/{commit.image_id}")
        if flaws:
            self._on_flaws(flaws)
        if self._on_section is not None:
            self._on_section(self.n_sections)

    async def _check_volume(self, view: StoredDataSet, *, is_compared: bool) -> None:
        layout = await self._pool.run(view.read_volume_layout)
        if layout is None:
            return
        problems = await self._pool.run(partial(view.volume_problems, full=self._scope.full))
        if self._scope.full and is_compared and not problems:
            problems = await self._volume_differences(view, layout)
        self._on_flaws([flaw_at(*each) for each in problems])

    async def _volume_differences(self, view: StoredDataSet, layout: VolumeLayout) -> list[tuple[str, str]]:
        try:
            source = await self._pool.run(volume_source_of, self._store, view, layout)
        except AsyncFetchError as error:
            self.notes.append(f"the volume of data set {view.id} was not compared: {error.message}")
            return []
        if source is None:
            self.notes.append(
                f"the volume of data set {view.id}, view {view.view}, was made from other planes than there are now; "
                "make it again with: asyncfetch volume"
            )
            return []
        found: dict[tuple[int, str], str] = {}

        async def compare(item: tuple[int, BlockArray, Region]) -> None:
            if not self._drain.is_set():
                words = await self._pool.run(volume_difference, view, source, *item)
                if words is not None:
                    found[item[0], item[1].key(item[2])] = words

        await share_out(volume_shards(view, layout), compare, self._pool.n_threads)
        return [(key, words) for (_, key), words in sorted(found.items())]


def _record_key(data_set_id: int) -> str:
    return f"{data_set_path(data_set_id)}/zarr.json"


def _derived_problems(data_set: StoredDataSet, flaws: list[Flaw]) -> list[tuple[str, str]]:
    """Return what is wrong with metadata that follow from others, as far as these are sound."""
    damaged = {flaw.path for flaw in flaws}
    if f"{data_set_path(data_set.id)}/zarr.json" in damaged:
        return []
    unknown: list[str] = []
    for view in data_set.read_views():
        registered, sections = registered_path(data_set.id, view), sections_path(data_set.id, view)
        if {f"{registered}/zarr.json", table_path(data_set.id)} & damaged:
            unknown.append(f"{registered}/")
        if any(flaw.view == view for flaw in flaws):
            # they list the sections
            unknown += [
                f"{sections}/zarr.json",
                f"{sections}/OME/",
                f"{data_set_path(data_set.id)}/zarr.json",
            ]
    return [each for each in data_set.derived_problems() if not each[0].startswith(tuple(unknown))]


def _unreadable_of(known: list[Flaw]) -> dict[int | None, set[str]]:
    """Return the layers that cannot be read for what is known to be wrong, by image id; under None, of all."""
    layers: dict[int | None, set[str]] = {}
    for flaw in known:
        if "/registered/" in flaw.path and flaw.image_id is None:
            layers.setdefault(None, set()).add("registered")
        elif flaw.is_derived and "/scale" in flaw.path and flaw.image_id is not None:
            layers.setdefault(flaw.image_id, set()).add("sections")
    return layers


class _Sections:
    """The sections of one view, as the work of a runner."""

    def __init__(
        self,
        walk: Walk,
        view: StoredDataSet,
        plans: Mapping[int, SectionPlan],
        hashed: Collection[int],
        unreadable: Mapping[int | None, Collection[str]],
        registered: RegisteredLayout | None,
    ) -> None:
        self.has_found = False
        self._walk = walk
        self._view = view
        self._plans = plans
        self._hashed = hashed
        self._unreadable = unreadable
        self._registered = registered

    async def check(self, commit: Commit, _flight: object) -> list[Flaw]:
        """Look at one section."""
        is_hashed = commit.image_id in self._hashed
        flaws = await self._walk.check_objects(self._view, commit, is_hashed=is_hashed)
        passed_over = {*self._unreadable.get(None, ()), *self._unreadable.get(commit.image_id, ())}
        contradiction = None if "registered" in passed_over else self._contradiction(commit)
        if contradiction is not None:
            flaws.append(flaw_of_commit(commit.data_set_id, commit.view, commit.image_id, contradiction))
        if flaws:
            return flaws
        # once what describes a layer is mended, that is looked at again
        found = await self._walk.check_pixels(self._view, commit, self._plans.get(commit.image_id))
        return [each for each in found if each.layer not in passed_over]

    def _contradiction(self, commit: Commit) -> str | None:
        """Return what a commit says otherwise of its plane than the registered image does."""
        if "registered" not in commit.layers or self._registered is None:
            return None
        recipe = self._registered.recipe
        name = next((each for each in recipe.differences(commit.recipe) if each in _OF_PLANES), None)
        return None if name is None else f"says another {name} of its plane than the registered image does"

    def bytes_of(self, item: Commit) -> int:
        """Return what a section takes while it is made again."""
        plan = self._plans.get(item.image_id)
        if plan is not None:
            return plan.working_bytes
        return 4 * item.shape[0] * item.shape[1] if "sections" in item.layers else 0

    def done(self, item: Commit, result: list[Flaw], flight: Flight) -> None:
        """Take down what was found."""
        self.has_found |= bool(result)
        self._walk.section_done(item, result)

    def failed(self, item: Commit, error: AsyncFetchError) -> bool:
        """Take an error as a flaw of its section, unless the store cannot be read."""
        if not isinstance(error, StoreItemError):
            return False
        words = f"cannot be read ({error.message})"
        self.has_found = True
        self._walk.section_done(item, [flaw_of_commit(item.data_set_id, item.view, item.image_id, words)])
        return True

    async def ended(self, item: Commit) -> None:
        """Do nothing: a view ends with its items."""
