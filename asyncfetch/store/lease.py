"""The lock of a store in object storage: a lease that its holder renews, and that ends by itself when nobody does.

The object is made, renewed and taken over by conditional puts alone: of any number of runs that try at once one
succeeds, and a holder whose lease was taken over learns so at its next renewal. A run that could not renew for as long
as a lease lasts does not write before it has asked whether it still holds it.
"""

from __future__ import annotations

import threading
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.errors import StoreBusyError
from asyncfetch.layout.paths import LOCK_PATH
from asyncfetch.store.holder import SILENT_AFTER_S
from asyncfetch.store.lock_file import LOCK_KEY, busy_error, document_of, holder_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.store.bucket import Bucket, Version
    from asyncfetch.store.holder import Holder

__all__ = ["LEASE_S", "Lease"]

#: For how long a lease holds that is not renewed. It is renewed every twenty seconds.
LEASE_S = SILENT_AFTER_S
#: A lock whose holder cannot be read was left by nobody who is at work.
_UNNAMED_AFTER_S = 10.0
_MAX_LOCK_BYTES = 2**16


class Lease:
    """The right to write to a store in object storage.

    Parameters
    ----------
    bucket : Bucket
        Where the store is.
    holder : Holder
        What is said of the run.
    clock : callable
        Seconds that pass, wherever they are counted from.
    """

    def __init__(self, bucket: Bucket, holder: Holder, clock: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._holder = holder
        self._clock = clock
        self._turn = threading.Lock()
        self._e_tag: str | None = None
        self._renewed = clock()
        self._lost: StoreBusyError | None = None

    def take(self) -> bool:
        """Take the lease; False where another run was at it at the same moment, so that it is to be tried again.

        Raises
        ------
        StoreBusyError
            Another run has it.
        """
        begun = self._clock()
        found = self._bucket.get_version(LOCK_KEY, _MAX_LOCK_BYTES)
        if found is not None:
            self._require_stale(found)
        self._e_tag = self._bucket.put_if(LOCK_KEY, self._document(), None if found is None else found.e_tag)
        self._renewed = begun
        return self._e_tag is not None

    def renew(self) -> None:
        """Show that the run is at work.

        Raises
        ------
        StoreBusyError
            Another run has taken the lease over.
        """
        with self._turn:
            if self._lost is not None or self._e_tag is None:
                return
            begun = self._clock()
            e_tag = self._bucket.put_if(LOCK_KEY, self._document(), self._e_tag)
            if e_tag is None:
                self._lost = self._loss()
                raise self._lost
            self._e_tag, self._renewed = e_tag, begun

    def check(self) -> None:
        """Make sure that the run may write.

        Raises
        ------
        StoreBusyError
            Another run has taken the lease over.
        """
        if self._lost is None and self._clock() - self._renewed > LEASE_S:
            self.renew()
        if self._lost is not None:
            raise StoreBusyError(self._lost.message, location=self._bucket.name)

    @property
    def is_ours(self) -> bool:
        """Whether nothing is known of another run that has taken it over, and it was renewed lately."""
        return self._lost is None and self._clock() - self._renewed <= LEASE_S

    def release(self) -> None:
        """Give the lease back."""
        with self._turn:
            found = self._bucket.get_version(LOCK_KEY, _MAX_LOCK_BYTES)
            holder = None if found is None else holder_in(found.data)
            if holder is not None and holder.token == self._holder.token:
                self._bucket.delete([LOCK_KEY])

    def _require_stale(self, found: Version) -> None:
        """Raise unless a lock was left by a run that has ended."""
        holder = holder_in(found.data)
        age_s = (datetime.now(UTC) - found.written).total_seconds()
        limit_s = _UNNAMED_AFTER_S if holder is None else LEASE_S
        is_alive = None if holder is None else holder.is_alive(age_s)
        if is_alive is False or (is_alive is None and age_s > limit_s and self._age_s(found) > limit_s):
            return
        raise busy_error(self._bucket.name, None, holder, age_s, lease_s=LEASE_S)

    def _age_s(self, found: Version) -> float:
        """Return how old a lock is by the clock of the storage alone; ours may be another."""
        key = f"{LOCK_PATH}/clock-{uuid.uuid4().hex}"
        self._bucket.put(key, b"")
        try:
            now = self._bucket.get_version(key, 0)
        finally:
            self._bucket.delete([key])
        return 0.0 if now is None else (now.written - found.written).total_seconds()

    def _loss(self) -> StoreBusyError:
        found = self._bucket.get_version(LOCK_KEY, _MAX_LOCK_BYTES)
        holder = None if found is None else holder_in(found.data)
        who = (
            "somebody has removed the lock" if holder is None else f"another run has taken it over ({holder})"
        )
        return StoreBusyError(
            f"{self._bucket.name} is no longer held by this run, which had not shown itself for a while: {who}; "
            "run the same command again once no other run is writing",
            location=self._bucket.name,
        )

    def _document(self) -> bytes:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return document_of(msgspec.structs.replace(self._holder, seen=now))
