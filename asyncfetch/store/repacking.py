"""Data sets packed, and unpacked before something in them changes, by whoever writes to a store.

The root remembers which data sets were unpacked for that, so that they are packed again, also after a kill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.store.finished import unfinished_reason
from asyncfetch.store.packed_folder import PackedFolderBackend
from asyncfetch.store.packing import is_packed, pack_data_set, packed_store_of, unpack_data_set
from asyncfetch.store.root import new_root
from asyncfetch.store.salvage import salvage_data_set

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection

    from asyncfetch.store.objects import Place
    from asyncfetch.store.packing import PackedFiles

__all__ = ["TO_PACK", "Packing"]

#: The field of ``attributes.asyncfetch`` of the root that names the data sets to be packed again.
TO_PACK = "to_pack"


class Packing:
    """The packed data sets of a store that is written to; all functions block.

    Parameters
    ----------
    place : Place
        The store; its packed data sets are unpacked from now on when something in them changes.
    lock : RLock
        Of all metadata that sections and views share.
    is_lent : bool
        Whether another process holds the store, which has noted at the root what is to be packed again.
    """

    def __init__(self, place: Place, lock: threading.RLock, *, is_lent: bool = False) -> None:
        self._place = place
        self._lock = lock
        self._is_lent = is_lent
        if isinstance(place.backend, PackedFolderBackend):
            place.backend.unpack = self.unpack_to_write

    def check_place(self) -> None:
        """Make sure that data sets can be packed here.

        Raises
        ------
        StoreAccessError
            The store does not lie in a directory.
        """
        packed_store_of(self._place)

    def is_packed(self, data_set_id: int) -> bool:
        """Tell whether a data set is packed."""
        return is_packed(self._place, data_set_id)

    def unfinished_reason(self, data_set_id: int, *, counts_sections: bool = True) -> str | None:
        """Return why a data set cannot be packed yet, and what to type; None where it can.

        `counts_sections` is as for `asyncfetch.store.finished.unfinished_reason`.

        Raises
        ------
        StoreAccessError
            The store does not lie in a directory.
        """
        packed_store_of(self._place)
        return unfinished_reason(self._place, data_set_id, counts_sections=counts_sections)

    def read_to_pack(self) -> list[int]:
        """Return the data sets that were unpacked to be written to, and not packed again yet."""
        found = self._place.ours("").get(TO_PACK)
        return sorted({each for each in found if type(each) is int}) if isinstance(found, list) else []

    def pack(self, data_set_id: int, is_stopped: Callable[[], bool] = lambda: False) -> PackedFiles | None:
        """Pack a data set that is finished; None where it was stopped before its end.

        Raises
        ------
        StoreItemError
            It cannot be packed, and stays a folder.
        StoreError
            The store cannot be written.
        """
        made = pack_data_set(self._place, data_set_id, is_stopped=is_stopped)
        if made is not None:
            self.forget(data_set_id)
        return made

    def unpack(self, data_set_id: int) -> PackedFiles:
        """Turn a packed data set into a folder for good.

        Raises
        ------
        StoreItemError
            The archive is damaged, and stays.
        StoreError
            The store cannot be written.
        """
        made = unpack_data_set(self._place, data_set_id)
        self.forget(data_set_id)
        return made

    def unpack_to_write(self, data_set_id: int) -> None:
        """Turn a packed data set into a folder, and remember that it is to be packed again.

        Raises
        ------
        StoreItemError
            The archive is damaged, and stays.
        StoreError
            The store cannot be written.
        """
        with self._lock:
            if self.is_packed(data_set_id):
                if not self._is_lent:
                    self._set_to_pack({*self.read_to_pack(), data_set_id})
                unpack_data_set(self._place, data_set_id)

    def lend(self, data_set_ids: Collection[int]) -> None:
        """Let other processes write to data sets: packed ones are packed again if they are unpacked."""
        packed = {each for each in data_set_ids if self.is_packed(each)}
        with self._lock:
            self._set_to_pack({*self.read_to_pack(), *packed})

    def take_back(self, data_set_ids: Collection[int]) -> None:
        """Note that no other process writes to data sets any more: those that are packed have stayed so."""
        packed = {each for each in data_set_ids if self.is_packed(each)}
        with self._lock:
            self._set_to_pack({*self.read_to_pack()} - packed)

    def salvage(self, data_set_id: int) -> bool:
        """Turn a damaged archive into a folder of what it can still give, to be mended and packed again.

        Returns
        -------
        bool
            False where nothing can be read any more; the archive stays then.
        """
        with self._lock:
            self._set_to_pack({*self.read_to_pack(), data_set_id})
            return salvage_data_set(self._place, data_set_id)

    def forget(self, data_set_id: int) -> None:
        """Remember no longer that a data set is to be packed again."""
        with self._lock:
            self._set_to_pack({*self.read_to_pack()} - {data_set_id})

    def _set_to_pack(self, ids: set[int]) -> None:
        if ids == set(self.read_to_pack()):
            return
        ours = new_root() | {name: value for name, value in self._place.ours("").items() if name != TO_PACK}
        self._place.write_group("", {"asyncfetch": ours | ({TO_PACK: sorted(ids)} if ids else {})})
