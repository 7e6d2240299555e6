"""A place that is full ends a run with one message; when there is room again, the run goes on to the same bytes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import anyio
import pytest
from zarr.storage import MemoryStore, WrapperStore

from asyncfetch import mirror
from asyncfetch.errors import StoreSpaceError
from asyncfetch.events import RequestFailed, RequestRetried
from asyncfetch.mirroring import resume
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

DATA_SET = "dataset:900000005"
SETTINGS = Settings(requests_per_s=1000.0, um=100.0, layers=("source", "sections", "registered"))


class FullStore(WrapperStore[MemoryStore]):
    """A store with room for so many objects and no more."""

    n_left = 10**9

    async def set(self, key, value, *args, **kwargs):
        self._take()
        await super().set(key, value, *args, **kwargs)

    async def set_if_not_exists(self, key, value):
        self._take()
        await super().set_if_not_exists(key, value)

    def _take(self):
        if self.n_left == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.n_left -= 1

    def with_read_only(self, read_only=False):
        return self._with_store(self._store.with_read_only(read_only))


async def objects_of(store):
    keys = sorted([key async for key in store.list()])
    return {key: (await store.get(key, None)).to_bytes() for key in keys if not key.endswith("zarr.json")}


@pytest.mark.anyio
@pytest.mark.parametrize("n_objects", [1, 12, 40, 90])
async def test_a_store_without_room_ends_the_run_and_nothing_is_lost(n_objects):
    events = []
    async with open_replica() as replica:
        settings = SETTINGS.replace(base_url=replica.base_url)
        peace, full = MemoryStore(), FullStore(MemoryStore())
        await mirror(DATA_SET, peace, settings=settings)
        full.n_left = n_objects
        with pytest.raises(StoreSpaceError, match="no space left"):
            await mirror(DATA_SET, full, settings=settings, on_event=events.append)
        full.n_left = 10**9
        if n_objects == 1:  # the run itself was not recorded
            await mirror(DATA_SET, full, settings=settings)
        report = await resume(full, settings=settings)
    assert report.failures == []
    assert await objects_of(full) == await objects_of(peace)
    # what the store cannot take is not a fault of the request, whose reply was accepted
    assert not [event for event in events if isinstance(event, RequestFailed | RequestRetried)]


def undisturbed(replica, folder):
    settings = SETTINGS.replace(base_url=replica.base_url)
    anyio.run(lambda: mirror(DATA_SET, folder / "peace.zarr", settings=settings))
    return folder / "peace.zarr"


def arguments(replica, place):
    layers = ",".join(SETTINGS.layers)
    return (
        "mirror",
        DATA_SET,
        "--out",
        place,
        "--um",
        100,
        "--layers",
        layers,
        "--base-url",
        replica.base_url,
    )


def test_a_limit_on_the_size_of_files_is_a_full_place(command, replica_process, stored_objects):
    resource = pytest.importorskip("resource")
    process = command.start(*arguments(replica_process, "out.zarr"), limits={resource.RLIMIT_FSIZE: 2**15})
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert err.splitlines()[-1].startswith("error: no space left for ")
    assert "File too large" in err
    settings = SETTINGS.replace(base_url=replica_process.base_url)
    anyio.run(lambda: resume(command.folder / "out.zarr", settings=settings))
    expected = stored_objects(undisturbed(replica_process, command.folder))
    assert stored_objects(command.folder / "out.zarr") == expected


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte, where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if (
        sys.platform != "linux"
        or os.geteuid()
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk can only be mounted by root on Linux")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_ends_the_run_and_after_making_room_it_goes_on(
    command, replica_process, stored_objects, small_disk
):
    done = command(*arguments(replica_process, small_disk / "out.zarr"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: no space left for ")
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    settings = SETTINGS.replace(base_url=replica_process.base_url)
    anyio.run(lambda: resume(small_disk / "out.zarr", settings=settings))
    expected = stored_objects(undisturbed(replica_process, command.folder))
    assert stored_objects(small_disk / "out.zarr") == expected
