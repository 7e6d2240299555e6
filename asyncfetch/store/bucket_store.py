"""The store of Zarr that object storage is, through the same door as everything else of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest

from asyncfetch.layout.bounds import MAX_OBJECT_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from typing import Self

    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import Buffer, BufferPrototype

    from asyncfetch.store.bucket import Bucket

__all__ = ["BucketStore"]


class BucketStore(Store):
    """A Zarr store of the objects of one bucket, whose requests wait in threads.

    Parameters
    ----------
    bucket : Bucket
        Where they are.
    read_only : bool
        Refuse to write.
    """

    def __init__(self, bucket: Bucket, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.bucket = bucket

    def __str__(self) -> str:
        return self.bucket.name

    def __repr__(self) -> str:
        return f"BucketStore({self.bucket.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BucketStore) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> tuple[str, bool]:
        return self.bucket.name, self.read_only

    @property
    def supports_writes(self) -> bool:
        """Whether objects can be written."""
        return self.bucket.scheme != "http"

    @property
    def supports_deletes(self) -> bool:
        """Whether objects can be removed."""
        return self.supports_writes

    @property
    def supports_listing(self) -> bool:
        """Whether names can be asked for."""
        return self.bucket.can_list

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return the same objects, to be read alone or to be written, too."""
        return type(self)(self.bucket, read_only=read_only)

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Return an object, or a part of one."""
        data = await anyio.to_thread.run_sync(self._read, key, byte_range)
        return None if data is None else prototype.buffer.from_bytes(data)

    def _read(self, key: str, byte_range: ByteRequest | None) -> bytes | None:
        match byte_range:
            case RangeByteRequest(start, end):
                return self.bucket.get_part(key, start, end, MAX_OBJECT_BYTES)
            case OffsetByteRequest(offset):
                return self.bucket.get_part(key, offset, None, MAX_OBJECT_BYTES)
            case SuffixByteRequest(suffix):
                return self.bucket.get_part(key, -suffix, None, MAX_OBJECT_BYTES)
            case _:
                return self.bucket.get(key, MAX_OBJECT_BYTES)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return parts of objects."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object."""
        return await anyio.to_thread.run_sync(self.bucket.size, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        self._check_writable()
        await anyio.to_thread.run_sync(self.bucket.put, key, value.to_bytes())

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write an object unless there is one."""
        self._check_writable()
        await anyio.to_thread.run_sync(self.bucket.put_if, key, value.to_bytes(), None)

    async def delete(self, key: str) -> None:
        """Remove an object."""
        self._check_writable()
        await anyio.to_thread.run_sync(self.bucket.delete, (key,))

    async def delete_dir(self, prefix: str) -> None:
        """Remove all objects below a path."""
        self._check_writable()
        keys = await anyio.to_thread.run_sync(self.bucket.sizes_below, prefix.rstrip("/"))
        await anyio.to_thread.run_sync(self.bucket.delete, keys)

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        async for key in self.list_prefix(""):
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with a prefix."""
        folder = prefix.rpartition("/")[0]
        for key in await anyio.to_thread.run_sync(self.bucket.sizes_below, folder):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a path."""
        folders, objects = await anyio.to_thread.run_sync(self.bucket.names_below, prefix.rstrip("/"))
        for name in (*folders, *objects):
            yield name
