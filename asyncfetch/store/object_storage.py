"""The objects of a store in object storage, reached from the caller's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.store.bucket_store import BucketStore
from asyncfetch.store.cloud_environment import MAX_REQUESTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asyncfetch.store.bucket import Bucket

__all__ = ["ObjectStorageBackend"]


class ObjectStorageBackend:
    """The objects of one bucket; see `asyncfetch.store.backend.Backend`.

    Parameters
    ----------
    bucket : Bucket
        Where they are.
    read_only : bool
        Whether Zarr may write to it, too.
    """

    folder = None
    is_near = False
    forgets = False
    n_at_once = MAX_REQUESTS
    # a put that is cut off leaves nothing
    leaves_partials = False

    def __init__(self, bucket: Bucket, *, read_only: bool) -> None:
        self.bucket = bucket
        self.store = BucketStore(bucket, read_only=read_only)
        self.name = bucket.name

    @property
    def can_list(self) -> bool:
        """Whether names can be asked for."""
        return self.bucket.can_list

    def get(self, key: str, limit_bytes: int) -> bytes | None:
        """Return an object, None if there is none."""
        return self.bucket.get(key, limit_bytes)

    def tail(self, key: str, n_bytes: int, limit_bytes: int) -> tuple[int, bytes] | None:
        """Return the size of an object and its last bytes, None if there is none."""
        return self.bucket.tail(key, n_bytes, limit_bytes)

    def set(self, key: str, value: bytes, *, durable: bool = False) -> None:
        """Write one object whole, in place of any that was there."""
        del durable  # a put that has returned is
        self.bucket.put(key, value)

    def set_pieces(self, key: str, pieces: Iterable[bytes | memoryview], *, durable: bool = False) -> None:
        """Write one object whole, once all its pieces are made: one request instead of one for each part."""
        self.set(key, b"".join(pieces), durable=durable)

    def delete(self, key: str) -> bool:
        """Remove one object if it is there."""
        self.bucket.delete([key])
        return True

    def sync(self, keys: Collection[str]) -> None:
        """Do nothing: what has returned is durable."""

    def rename(self, key: str, new_key: str) -> None:
        """Give one object another name by a copy within the storage, if it is there."""
        if self.bucket.copy(key, new_key):
            self.bucket.delete([key])

    def may_hold(self, path: str) -> bool:
        """Return True: nothing is asked."""
        return True

    def delete_below(self, path: str) -> None:
        """Remove everything below a path."""
        self.bucket.delete(self.bucket.sizes_below(path))

    def names_below(self, path: str) -> list[str]:
        """Return the names directly below a path, sorted; none if it does not exist."""
        folders, objects = self.bucket.names_below(path)
        return sorted({*folders, *objects})

    def sizes_below(self, path: str) -> dict[str, int] | None:
        """Return the sizes of all objects below a path by key: a request for a thousand of them."""
        return self.bucket.sizes_below(path) if self.can_list else None

    def leftovers(self, path: str, *, deep: bool) -> list[str]:
        """Return nothing."""
        return []

    def remove_leftovers(self) -> None:
        """Do nothing: nothing is held."""
