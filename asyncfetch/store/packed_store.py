"""A directory as Zarr sees it, with its packed data sets as if they were folders."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NoReturn

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from asyncfetch.errors import StoreAccessError
from asyncfetch.layout.paths import packed_key
from asyncfetch.store.packed import ObjectFile, PackedSets, packed_id_of
from asyncfetch.store.wall import require_bounded
from asyncfetch.store.walled import WalledStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["PackedStore", "refuse_packed"]

_DATA_SETS = "data_sets"
#: A data set that is packed or unpacked at this moment is there under one name or the other.
_TRIES = 2


class PackedStore(WalledStore):
    """A local store of Zarr behind its wall, which also reads data sets that are packed.

    Attributes
    ----------
    packed : PackedSets
        The data sets that are packed.
    """

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self.packed = PackedSets(self.wall)

    def open_object(self, key: str) -> ObjectFile | None:
        """Open an object for reading, None where there is none.

        Raises
        ------
        ValueError
            It lies in an archive that cannot be read.
        """
        if self.packed.was_packed(key):
            is_packed, found = self.packed.look(key)
            if is_packed:
                return found
        file = self.wall.open_file(key)
        if file is not None:
            return ObjectFile.whole(file)
        is_packed, found = self.packed.look(key)
        if is_packed or not self.packed.was_packed(key):
            return found
        # it was unpacked between the two looks
        file = self.wall.open_file(key)
        return None if file is None else ObjectFile.whole(file)

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist.

        Raises
        ------
        ValueError
            It lies in an archive that cannot be read.
        """
        if not self.wall.reaches(path):
            return []
        names: list[str] = []
        for _ in range(_TRIES):
            try:
                names = os.listdir(self.wall.path(path))  # noqa: PTH208 - no path for each name
            except (FileNotFoundError, NotADirectoryError):
                names = self.packed.names_below(path)
            else:
                if path == _DATA_SETS:
                    names = list({_unpacked_name(name) for name in names})
            if names or not self.packed.was_packed(path):
                break
        return sorted(names)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return an object, or a part of one."""
        for _ in range(_TRIES):
            if self.packed.id_of(key) is None:
                found = super().get_sync(key, prototype=prototype, byte_range=byte_range)
            else:
                found = self._get_packed(key, prototype, byte_range)
            if found is not None or not self._may_have_changed(key):
                return found
        return None

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of one."""
        for _ in range(_TRIES):
            if self.packed.id_of(key) is None:
                found = await super().get(key, prototype, byte_range)
            else:
                found = await asyncio.to_thread(self._get_packed, key, prototype, byte_range)
            if found is not None or not self._may_have_changed(key):
                return found
        return None

    def _may_have_changed(self, key: str) -> bool:
        """Tell whether a data set may have been packed or unpacked while an object was looked for."""
        return self.packed.was_packed(key) or self.packed.id_of(key) is not None

    def _get_packed(
        self, key: str, prototype: BufferPrototype | None, byte_range: ByteRequest | None
    ) -> Buffer | None:
        _, found = self.packed.look(key)
        if found is None:
            return None
        with found:
            start, end = 0, found.size
            match byte_range:
                case RangeByteRequest(start, end):
                    end = min(end, found.size)
                case OffsetByteRequest(start):
                    pass
                case SuffixByteRequest(suffix):
                    start = max(0, found.size - suffix)
            require_bounded(end - start)
            data = found.read(start, max(0, end - start))
        return (prototype or default_buffer_prototype()).buffer.from_bytes(data)

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        found = await asyncio.to_thread(self.open_object, key)
        if found is None:
            return False
        with found:
            return True

    async def getsize(self, key: str) -> int:
        """Return the length of an object."""
        found = await asyncio.to_thread(self.open_object, key)
        if found is None:
            raise FileNotFoundError(key)
        with found:
            return found.size

    async def list(self) -> AsyncIterator[str]:
        """Yield the names of all objects."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names of the objects below a folder."""
        path = prefix.rstrip("/")
        if (data_set_id := self.packed.id_of(path)) is not None:
            for key in await asyncio.to_thread(self.packed.keys, data_set_id):
                if key.startswith(f"{path}/"):
                    yield key
            return
        async for key in super().list_prefix(prefix):
            folder, _, name = key.rpartition("/")
            data_set_id = packed_id_of(name) if folder == _DATA_SETS else None
            if data_set_id is None:
                yield key
                continue
            for below in await asyncio.to_thread(self.packed.keys, data_set_id):
                yield below

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        for name in await asyncio.to_thread(self.names_below, prefix.rstrip("/")):
            yield name

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._refuse_packed(key)
        super().set_sync(key, value)

    def delete_sync(self, key: str) -> None:
        """Remove an object."""
        self._refuse_packed(key)
        super().delete_sync(key)

    async def _set(self, key: str, value: Buffer, exclusive: bool = False) -> None:
        self._refuse_packed(key)
        await super()._set(key, value, exclusive=exclusive)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        self._refuse_packed(key)
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove a folder."""
        self._refuse_packed(prefix.rstrip("/"))
        await super().delete_dir(prefix)

    def _refuse_packed(self, key: str) -> None:
        data_set_id = self.packed.id_of(key)
        if data_set_id is not None:
            refuse_packed(str(self.root), data_set_id)


def refuse_packed(location: str, data_set_id: int) -> NoReturn:
    """Refuse to change something in a packed data set.

    Raises
    ------
    StoreAccessError
        Always.
    """
    raise StoreAccessError(
        f"{location}/{packed_key(data_set_id)} is a packed data set, and nothing in it can be changed; "
        f"unpack it with: asyncfetch unpack {location} {data_set_id}",
        location=location,
    )


def _unpacked_name(name: str) -> str:
    data_set_id = packed_id_of(name)
    return name if data_set_id is None else str(data_set_id)
