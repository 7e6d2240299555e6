"""Data sets that are looked at elsewhere: what a verification has to do for one, and what was seen of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import anyio
import msgspec

from asyncfetch.imaging import Pool
from asyncfetch.mirroring.flaws import Flaw  # noqa: TC001 - msgspec reads annotations
from asyncfetch.mirroring.verification import Progress
from asyncfetch.mirroring.walking import Scope, Walk
from asyncfetch.store import open as open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asyncfetch.mirroring.crew import Here

__all__ = ["InOrder", "Sight", "VerifyJob"]


class Sight(msgspec.Struct, kw_only=True):
    """What was seen of a data set, or of what all have in common; fields as in `VerifyReport`."""

    n_data_sets: int = 0
    n_sections: int = 0
    hashed: list[int] = msgspec.field(default_factory=list)
    flaws: list[Flaw] = msgspec.field(default_factory=list)
    leftovers: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    is_whole: bool = True


class VerifyJob(msgspec.Struct, frozen=True, kw_only=True):
    """One data set that is to be looked at.

    Attributes
    ----------
    data_set_id : int
        Which.
    scope : Scope
        How closely.
    done : tuple of str
        Sections that were looked at before; see `Progress`.
    lost : str or None
        What is wrong with its record, where that is lost.
    """

    verb: ClassVar[str] = "verify"

    data_set_id: int
    scope: Scope
    done: tuple[str, ...] = ()
    lost: str | None = None

    async def do(self, here: Here) -> Sight:
        """Look at it where this is."""
        store = await anyio.to_thread.run_sync(open_store, here.location)
        sight = Sight()
        async with Pool(here.n_threads) as pool:
            walk = Walk(
                pool,
                store,
                here.drain,
                self.scope,
                here.memory_bytes,
                progress=Progress(sections=list(self.done)),
                on_flaws=sight.flaws.extend,
            )
            await walk.see_who_writes()
            await walk.look_at(self.data_set_id, self.lost)
        sight.n_data_sets, sight.n_sections = walk.n_data_sets, walk.n_sections
        sight.hashed, sight.leftovers, sight.notes = walk.hashed, walk.leftovers, walk.notes
        sight.is_whole = not here.drain.is_set()
        return sight


class InOrder:
    """Sights that come in any order, taken down in that of the data sets, so that a verification can be continued.

    Parameters
    ----------
    data_set_ids : sequence of int
        The order.
    take : callable
        Takes a data set and what was seen of it, once all before it are taken; one that was not looked at to its end
        and all behind it are never taken.
    """

    def __init__(self, data_set_ids: Sequence[int], take: Callable[[int, Sight], None]) -> None:
        self._ids = data_set_ids
        self._take = take
        self._n_taken = 0
        self._seen: dict[int, Sight] = {}

    def done(self, number: int, sight: Sight) -> None:
        """Note what was seen of a data set."""
        self._seen[number] = sight
        while (found := self._seen.get(self._n_taken)) is not None and found.is_whole:
            del self._seen[self._n_taken]
            self._take(self._ids[self._n_taken], found)
            self._n_taken += 1
