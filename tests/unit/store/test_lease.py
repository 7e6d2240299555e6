"""A store in object storage has one holder, whatever happens at the same moment and however runs end."""

from __future__ import annotations

import threading

import msgspec
import pytest

from asyncfetch.errors import StoreBusyError
from asyncfetch.store import lease
from asyncfetch.store.holder import Holder
from asyncfetch.store.lease import LEASE_S, Lease
from asyncfetch.store.lock import StoreLock
from asyncfetch.store.lock_file import LOCK_KEY, document_of, holder_in
from asyncfetch.store.objects import Place

obstore = pytest.importorskip("obstore")
HERE = Holder.of_this_process("mirror dataset:1")
ELSEWHERE = msgspec.structs.replace(HERE, host="elsewhere", boot="another", token="theirs")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def bucket():
    from asyncfetch.store.bucket import Bucket

    return Bucket(obstore.store.MemoryStore(), "s3://brains/a.zarr")


@pytest.fixture
def place(bucket):
    from asyncfetch.store.bucket_store import BucketStore

    return Place(BucketStore(bucket))


def of(bucket, holder=HERE, clock=None):
    return Lease(
        bucket, msgspec.structs.replace(holder, token=f"{holder.token}-{id(object())}"), clock or Clock()
    )


def held_by(bucket):
    return holder_in(bucket.get(LOCK_KEY, 2**16))


def test_of_many_that_try_at_once_one_has_it(bucket):
    start, results = threading.Barrier(8), []

    def take():
        start.wait()
        try:
            results.append(Lease(bucket, Holder.of_this_process("mirror"), Clock()).take())
        except StoreBusyError:
            results.append(False)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count(True) == 1


def test_a_lease_of_a_process_that_has_ended_is_taken_over_at_once(bucket):
    bucket.put(LOCK_KEY, document_of(msgspec.structs.replace(HERE, pid=2**22 + 1)))
    assert of(bucket).take()
    assert held_by(bucket).pid == HERE.pid


def test_a_lease_of_another_machine_holds_until_it_has_not_been_renewed_for_long(bucket, monkeypatch):
    bucket.put(LOCK_KEY, document_of(ELSEWHERE))
    with pytest.raises(StoreBusyError, match=r"on elsewhere.*free within 3 min") as refused:
        of(bucket).take()
    assert (refused.value.host, refused.value.pid) == ("elsewhere", HERE.pid)
    monkeypatch.setattr(lease, "LEASE_S", -1.0)
    assert of(bucket).take()
    # what asked for the time of the storage is gone
    assert list(bucket.sizes_below("")) == [LOCK_KEY]


def test_a_lock_that_names_nobody_holds_for_as_long_as_it_takes_to_name_somebody(bucket, monkeypatch):
    bucket.put(LOCK_KEY, b"")
    with pytest.raises(StoreBusyError, match="beginning to write"):
        of(bucket).take()
    monkeypatch.setattr(lease, "_UNNAMED_AFTER_S", -1.0)
    assert of(bucket).take()


def test_a_holder_whose_lease_was_taken_over_writes_nothing_more(bucket, place):
    lock = StoreLock.take(place, "mirror dataset:1")
    place.set("a", b"1")
    bucket.put(LOCK_KEY, document_of(ELSEWHERE))
    with pytest.raises(
        StoreBusyError, match=r"no longer held by this run.*taken it over \(mirror dataset:1, .*elsewhere"
    ):
        lock._lease.renew()
    for change in (lambda: place.set("a", b"2"), lambda: place.delete("a")):
        with pytest.raises(StoreBusyError, match="no longer held"):
            change()
    assert place.get("a") == b"1"
    lock.release()
    # the lock of the other run stays
    assert held_by(bucket).host == "elsewhere"


def test_a_holder_that_could_not_renew_asks_before_it_writes(bucket):
    clock = Clock()
    mine = of(bucket, clock=clock)
    assert mine.take()
    before = bucket.get_version(LOCK_KEY, 2**16).e_tag
    clock.now = LEASE_S
    mine.check()
    assert bucket.get_version(LOCK_KEY, 2**16).e_tag == before
    clock.now = LEASE_S + 1
    mine.check()
    assert bucket.get_version(LOCK_KEY, 2**16).e_tag != before
    bucket.put(LOCK_KEY, document_of(ELSEWHERE))
    clock.now = 2 * LEASE_S + 2
    with pytest.raises(StoreBusyError):
        mine.check()


def test_a_lease_is_given_back(bucket):
    mine = of(bucket)
    mine.take()
    mine.release()
    assert held_by(bucket) is None
    assert of(bucket).take()
