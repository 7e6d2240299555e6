"""What a place asks of whatever keeps its objects: whole objects by key, and the names below a path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from zarr.abc.store import Store as ZarrStore

__all__ = ["Backend"]


class Backend(Protocol):
    """The keeper of a store's objects: a folder, memory, any Zarr store, or object storage.

    All functions block and may be called from many threads. An object is there whole or not at all, whenever a write
    is cut off. Failures are the operating system's OSError, which `Place` words, or errors of ours; a ValueError says
    that an object is too large to be read at once, or lies in an archive that cannot be read.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def store(self) -> ZarrStore:
        """The same objects as Zarr reads them."""
        ...

    @property
    def folder(self) -> Path | None:
        """The directory, None where objects are kept otherwise."""
        ...

    @property
    def is_near(self) -> bool:
        """Whether looking at an object takes microseconds."""
        ...

    @property
    def can_list(self) -> bool:
        """Whether names can be asked for; elsewhere only what is known by name can be read."""
        ...

    @property
    def n_at_once(self) -> int:
        """How many requests are worth sending at once: 1 where each takes microseconds."""
        ...

    @property
    def forgets(self) -> bool:
        """Whether a power cut can undo what was done until it is synced."""
        ...

    @property
    def leaves_partials(self) -> bool:
        """Whether a write that was killed can leave a temporary file."""
        ...

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none."""
        ...

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        ...

    def set(self, key: str, value: bytes, *, durable: bool = False) -> None:
        """Write one object whole, in place of any that was there; if durable, its name is never one of less."""
        ...

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write one object whole, each piece of it when it is made."""
        ...

    def delete(self, key: str) -> bool:
        """Remove one object; return whether it may have been there."""
        ...

    def sync(self, keys: Collection[str]) -> None:
        """See to it that a power cut leaves these objects as they are now, or gone if they are."""
        ...

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there; what had that name goes."""
        ...

    def may_hold(self, path: str) -> bool:
        """Tell whether there may be something below a path; True where asking costs as much as removing it."""
        ...

    def delete_below(self, path: str) -> None:
        """Remove everything below a path."""
        ...

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        ...

    def sizes_below(self, path: str) -> dict[str, int] | None:
        """Return the sizes of all objects below a path by key; None where asking each by itself costs less."""
        ...

    def leftovers(self, path: str, *, deep: bool) -> list[str]:
        """Return the keys of temporary files that killed writes left below a path."""
        ...

    def remove_leftovers(self) -> None:
        """Remove what the system held when it was to be removed, as far as it lets go of it now."""
        ...
