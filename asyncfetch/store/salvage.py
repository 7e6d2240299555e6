"""What a damaged archive can still give: every file that its central directory or its own header leads to.

An archive says twice where each file is, what it is called, how long it is, and what its CRC-32 is. Where the two
differ, the bytes and the other names of the archive tell which is right. Files whose bytes were changed come as they
are: the checksums of the store find them, as they do in a folder.
"""

from __future__ import annotations

import os
from collections import Counter
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from asyncfetch.store.ozx import (
    LOCAL_MARK,
    Entry,
    crc32_of,
    local_entry,
    place_in_order,
    read_directory,
    usual_offset,
)
from asyncfetch.store.packed import reader_of
from asyncfetch.store.packing import packed_store_of, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncfetch.store.objects import Place
    from asyncfetch.store.ozx import Read

__all__ = ["salvage_data_set"]

#: How much is searched at a time for the next header.
_WINDOW_BYTES = 2**22

type Located = tuple[Entry, int]


def salvage_data_set(place: Place, data_set_id: int) -> bool:
    """Turn a damaged archive into a folder of all that it can still give; False where that is nothing.

    Parameters
    ----------
    place : Place
        The store, whose lock the caller holds.
    data_set_id : int
        A packed data set.
    """
    with place.mapped_errors(), packed_store_of(place).packed.open(data_set_id) as file:
        if file is None:
            return False
        read, n_bytes = reader_of(file), os.fstat(file.fileno()).st_size
        found = _files_in(read, n_bytes)
        if found:
            write_folder(place, data_set_id, file, found)
        return bool(found)


def _files_in(read: Read, n_bytes: int) -> list[Located]:
    try:
        central = {entry.offset: entry for entry in read_directory(read, n_bytes)}
    except ValueError:
        central = {}
    local = {entry.offset: (entry, at) for entry, at in _scanned(read, n_bytes)}
    names = _Names(central, local)
    chosen: dict[str, Located] = {}
    for offset in sorted({*central, *local}):
        found = _chosen(read, central.get(offset), local.get(offset), names)
        if found is not None:
            chosen.setdefault(found[0].name, found)
    return list(chosen.values())


class _Names:
    """What the files of an archive are called, as its central directory and their own headers have it."""

    def __init__(self, central: dict[int, Entry], local: dict[int, Located]) -> None:
        self._at: dict[int, set[str]] = {offset: set() for offset in sorted({*central, *local})}
        for entry in (*central.values(), *(entry for entry, _ in local.values())):
            self._at[entry.offset].add(entry.name)
        offsets = list(self._at)
        self._after = dict(pairwise(offsets))
        self._before = {after: before for before, after in self._after.items()}
        self._names = Counter(name for names in self._at.values() for name in names)
        self._parts = Counter(
            part for names in self._at.values() for part in set().union(*map(_parts_of, names))
        )

    def likelihood(self, name: str, offset: int) -> tuple[bool, int, int]:
        """Return how well a name goes with all others; that of a changed one is hardly ever the greater."""
        n_strange = sum(self._parts[part] == 1 for part in _parts_of(name))
        place = place_in_order(name)
        before = [place_in_order(each) for each in self._at.get(self._before.get(offset, -1), ())]
        after = [place_in_order(each) for each in self._at.get(self._after.get(offset, -1), ())]
        is_in_order = (not before or min(before) < place) + (not after or place < max(after))
        return self._names[name] == 1, -n_strange, is_in_order


def _parts_of(name: str) -> set[tuple[object, ...]]:
    """Return what a name has in common with others: the folders on its way, and the parts of its last one."""
    *folders, last = name.split("/")
    parts = last.split(".")
    # an id names a folder here and a file there
    return {
        *((folder,) for folder in (*folders, *accumulate(folders, "{}/{}".format))),
        (parts[0],),
        *((len(parts), k, part) for k, part in enumerate(parts[1:])),
    }


def _chosen(read: Read, central: Entry | None, local: Located | None, names: _Names) -> Located | None:
    """Return the file at one place of an archive, as that of its two descriptions has it that is right."""
    if local is None:
        assert central is not None, "one of the two is there"
        at = usual_offset(central)
        return (central, at) if _is_sound(read, central, at) else None
    entry, at = local
    if central is None:
        return local
    if not _is_sound(read, entry, at) and _is_sound(read, central, at):
        entry = entry._replace(size=central.size, crc32=central.crc32)
    if entry.name != central.name:
        own, other = (names.likelihood(each.name, entry.offset) for each in (entry, central))
        entry = entry if own > other else entry._replace(name=central.name)
    return entry, at


def _is_sound(read: Read, entry: Entry, at: int) -> bool:
    return crc32_of(read, at, entry.size) == entry.crc32


def _scanned(read: Read, n_bytes: int) -> Iterator[Located]:
    """Yield the files that their own headers tell, one behind the other, and further ones behind what is damaged."""
    at: int | None = 0
    while at is not None and at < n_bytes:
        found = local_entry(read, at, n_bytes)
        end = None if found is None else found[1] + found[0].size
        if found is not None and end is not None:
            is_followed = end == n_bytes or read(end, 2) == LOCAL_MARK[:2]
            if is_followed or _is_sound(read, *found):
                yield found
                at = end
                continue
        at = _next_mark(read, at + 1, n_bytes)


def _next_mark(read: Read, at: int, n_bytes: int) -> int | None:
    while at < n_bytes:
        found = read(at, _WINDOW_BYTES).find(LOCAL_MARK)
        if found >= 0:
            return at + found
        at += _WINDOW_BYTES - len(LOCAL_MARK) + 1
    return None
