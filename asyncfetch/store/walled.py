"""A directory as Zarr sees it, with the wall around it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.storage import LocalStore

from asyncfetch.store.wall import Wall, require_bounded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["WalledStore"]


class WalledStore(LocalStore):
    """A local store of Zarr that reads and writes nothing outside of its directory."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self.wall = Wall(self.root)

    def get_sync(
        self,
        key: str,
        *,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return an object, or a part of one."""
        if not self.wall.is_readable(key):
            return None
        self._require_bounded(key, byte_range)
        return super().get_sync(key, prototype=prototype, byte_range=byte_range)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of one."""
        if not self.wall.is_readable(key):
            return None
        self._require_bounded(key, byte_range)
        return await super().get(key, prototype, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        return self.wall.is_readable(key) and await super().exists(key)

    def set_sync(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self.wall.writable_path(key)
        super().set_sync(key, value)

    def delete_sync(self, key: str) -> None:
        """Remove an object."""
        self.wall.writable_path(key)
        super().delete_sync(key)

    async def _set(self, key: str, value: Buffer, exclusive: bool = False) -> None:
        self.wall.writable_path(key)
        await super()._set(key, value, exclusive=exclusive)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        self.wall.writable_path(key)
        await super().delete(key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove a folder."""
        self.wall.writable_path(prefix.rstrip("/"))
        await super().delete_dir(prefix)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names in a folder."""
        if self.wall.reaches(prefix.rstrip("/")):
            async for name in super().list_dir(prefix):
                yield name

    def _require_bounded(self, key: str, byte_range: ByteRequest | None) -> None:
        """Make sure that what is asked for of an object can be read at once.

        Raises
        ------
        ValueError
            It is too much.
        """
        try:
            n_bytes = os.stat(self.wall.path(key)).st_size  # noqa: PTH116 - for each chunk
        except OSError:
            return
        match byte_range:
            case RangeByteRequest(start, end):
                # memory is taken for all of it, even where a file has less
                n_bytes = end - start
            case OffsetByteRequest(offset):
                n_bytes -= offset
            case SuffixByteRequest(suffix):
                n_bytes = min(suffix, n_bytes)
        require_bounded(n_bytes)
