"""Requests to object storage: whole objects, parts, conditional puts, and how many at a time."""

from __future__ import annotations

import contextlib
import pickle
import threading

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.buffer import default_buffer_prototype
from zarr.core.sync import sync

from asyncfetch.errors import StoreAccessError
from asyncfetch.store.bucket_store import BucketStore
from asyncfetch.store.cloud_environment import MAX_REQUESTS
from asyncfetch.store.directory import cloud_address

obstore = pytest.importorskip("obstore")
bucket_module = pytest.importorskip("asyncfetch.store.bucket")
DATA = bytes(range(100))


@pytest.fixture
def bucket():
    return bucket_module.Bucket(obstore.store.MemoryStore(), "s3://brains/a.zarr")


def test_an_object_is_read_whole_and_in_parts(bucket):
    bucket.put("a/b", DATA)
    assert bucket.get("a/b", 100) == DATA
    assert bucket.tail("a/b", 7, 100) == (100, DATA[-7:])
    assert bucket.tail("a/b", 0, 100) == (100, b"")
    assert bucket.get_part("a/b", 10, 20, 100) == DATA[10:20]
    assert bucket.get_part("a/b", 90, None, 100) == DATA[90:]
    assert bucket.get_part("a/b", -3, None, 100) == DATA[-3:]
    assert bucket.size("a/b") == 100


def test_what_is_not_there_is_none_and_can_be_removed(bucket):
    assert (
        bucket.get("a", 1)
        is bucket.tail("a", 1, 1)
        is bucket.get_part("a", 0, 1, 1)
        is bucket.size("a")
        is None
    )
    assert not bucket.copy("a", "b")
    bucket.delete(["a", "b"])


def test_an_object_larger_than_agreed_is_not_read(bucket):
    bucket.put("a", DATA)
    with pytest.raises(ValueError, match="it has 100 bytes"):
        bucket.get("a", 99)
    with pytest.raises(ValueError, match="it has 100 bytes"):
        bucket.get_part("a", 0, 100, 99)


def test_a_conditional_put_replaces_the_version_that_was_read_and_no_other(bucket):
    first = bucket.put_if("a", b"1", None)
    assert bucket.put_if("a", b"2", None) is None
    second = bucket.put_if("a", b"3", first)
    assert bucket.put_if("a", b"4", first) is None
    assert bucket.get_version("a", 9)[:2] == (b"3", second)
    # the same object again is what a request that was sent twice writes
    assert bucket.put_if("a", b"3", first) == second


def test_a_thousand_objects_are_removed_together(bucket):
    keys = [f"a/{number}" for number in range(1005)]
    for key in keys:
        bucket.put(key, b"")
    bucket.put("ab", b"")
    assert bucket.sizes_below("a").keys() == set(keys)
    bucket.delete(keys)
    assert bucket.sizes_below("") == {"ab": 0}


@pytest.mark.parametrize("key", ["../a", "a//b", "/a", "a/./b", "a\\b", "a\0"])
def test_no_key_leads_out_of_the_store(bucket, key):
    for ask in (
        bucket.size,
        lambda key: bucket.put(key, b""),
        lambda key: bucket.get(key, 1),
        bucket.names_below,
    ):
        with pytest.raises(StoreAccessError):
            ask(key)


def test_no_more_than_a_few_requests_are_open(bucket, monkeypatch):
    n_open, most, lock = 0, 0, threading.Lock()
    all_wait = threading.Barrier(MAX_REQUESTS + 1)

    def head(store, key):
        nonlocal n_open, most
        with lock:
            n_open += 1
            most = max(most, n_open)
        with contextlib.suppress(threading.BrokenBarrierError):
            all_wait.wait(20)
        with lock:
            n_open -= 1
        return {"size": 0}

    monkeypatch.setattr(obstore, "head", head)
    threads = [threading.Thread(target=bucket.size, args=("a",)) for _ in range(3 * MAX_REQUESTS)]
    for thread in threads:
        thread.start()
    all_wait.wait(20)
    all_wait.abort()
    for thread in threads:
        thread.join()
    assert most == MAX_REQUESTS


def test_zarr_writes_and_reads_arrays_in_parts(bucket):
    store = BucketStore(bucket)
    values = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    zarr.create_array(store, name="a/b", data=values, chunks=(8, 8), shards=(32, 32))
    array = zarr.open_array(BucketStore(bucket, read_only=True), path="a/b", mode="r")
    assert np.array_equal(array[3:40, 5:60], values[3:40, 5:60])
    assert sorted(zarr.open_group(store, path="a", mode="r").array_keys()) == ["b"]


@pytest.mark.parametrize(
    ("byte_range", "expected"),
    [
        (None, DATA),
        (RangeByteRequest(1, 5), DATA[1:5]),
        (OffsetByteRequest(95), DATA[95:]),
        (SuffixByteRequest(5), DATA[95:]),
    ],
)
def test_zarr_is_given_the_part_that_it_asks_for(bucket, byte_range, expected):
    store = BucketStore(bucket)
    sync(store.set("a", default_buffer_prototype().buffer.from_bytes(DATA)))
    assert sync(store.get("a", default_buffer_prototype(), byte_range)).to_bytes() == expected
    assert sync(store.get("b", default_buffer_prototype(), byte_range)) is None


def test_a_store_that_is_read_only_is_not_changed(bucket):
    store = BucketStore(bucket, read_only=True)
    buffer = default_buffer_prototype().buffer.from_bytes(DATA)
    for change in (
        lambda: store.set("a", buffer),
        lambda: store.set_if_not_exists("a", buffer),
        lambda: store.delete("a"),
        lambda: store.delete_dir("a"),
    ):
        with pytest.raises(ValueError, match="read-only"):
            sync(change())


def test_a_store_goes_to_another_process_by_its_address(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    store = BucketStore(bucket_module.open_bucket(cloud_address("s3://brains/a.zarr")))
    again = pickle.loads(pickle.dumps(store))
    assert again == store
    assert again.bucket.name == "s3://brains/a.zarr"
    assert again != store.with_read_only(True)
