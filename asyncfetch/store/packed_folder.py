"""The objects of a store in a directory, some of whose data sets are packed into one zip each.

Archives are only read. What is to change below a packed data set needs its folder: `PackedFolderBackend.unpack` makes
one, where whoever writes to the store has set it, and otherwise the change is refused. What the folder promises
(`asyncfetch.store.folder`) holds for everything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.store.folder import FolderBackend
from asyncfetch.store.packed_store import refuse_packed
from asyncfetch.store.wall import require_bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asyncfetch.store.packed_store import PackedStore

__all__ = ["PackedFolderBackend"]


class PackedFolderBackend(FolderBackend):
    """The files below one directory, and those in its archives; see `asyncfetch.store.backend.Backend`.

    Parameters
    ----------
    store : PackedStore
        The same directory as Zarr sees it.

    Attributes
    ----------
    packed : PackedSets
        The data sets that are packed.
    unpack : callable or None
        What turns a packed data set into a folder before something in it changes.
    """

    def __init__(self, store: PackedStore) -> None:
        super().__init__(store)
        self.packed = store.packed
        self.unpack: Callable[[int], None] | None = None
        self._packed_store = store

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none.

        Raises
        ------
        ValueError
            It has more than `limit_bytes`, or lies in an archive that cannot be read.
        """
        found = self._packed_store.open_object(key)
        if found is None:
            return None
        with found:
            require_bounded(found.size, limit_bytes)
            return found.read()

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none.

        Raises
        ------
        ValueError
            It lies in an archive that cannot be read.
        """
        del limit_bytes  # no more is read than is asked for
        found = self._packed_store.open_object(key)
        if found is None:
            return None
        with found:
            return found.size, found.read(max(0, found.size - n_bytes)) if n_bytes else b""

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist.

        Raises
        ------
        ValueError
            It lies in an archive that cannot be read.
        """
        return self._packed_store.names_below(path)

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write one object whole, each piece of it when it is made; where that fails, what was there stays."""
        self._require_folder(key)
        super().set_pieces(key, pieces, durable=durable)

    def delete(self, key: str) -> bool:
        """Remove one object; return whether it was there."""
        if not self._is_there(key):
            return False
        self._require_folder(key)
        return super().delete(key)

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name, if it is there; what had that name goes."""
        if self._is_there(key):
            for each in (key, new_key):
                self._require_folder(each)
            super().rename(key, new_key)

    def may_hold(self, path: str) -> bool:
        """Tell whether there is a folder, or a link, at a path."""
        return super().may_hold(path) or (self.packed.id_of(path) is not None and self._is_there(path))

    def delete_below(self, path: str) -> None:
        """Remove everything below a path, leftovers of a killed write included."""
        self._require_folder(path)
        super().delete_below(path)

    def _require_folder(self, key: str) -> None:
        """See that what a key lies in is not packed, or no longer."""
        data_set_id = self.packed.id_of(key)
        if data_set_id is None:
            return
        if self.unpack is None:
            refuse_packed(self.name, data_set_id)
        self.unpack(data_set_id)

    def _is_there(self, key: str) -> bool:
        """Tell whether there may be something of that name: what an archive has not need not be removed from it."""
        try:
            return self.packed.id_of(key) is None or self.packed.has(key)
        except ValueError:
            # left to whoever unpacks it
            return True
