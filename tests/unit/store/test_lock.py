"""One writing run at a time: who has a store, how others learn it, and that nothing of it outlives a process."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import socket
import threading
import time

import msgspec
import pytest
import zarr
from zarr.storage import MemoryStore

import asyncfetch.store as store
from asyncfetch.errors import StoreAccessError, StoreBusyError, StoreLayoutError
from asyncfetch.store.holder import SILENT_AFTER_S, Holder
from asyncfetch.store.lock import StoreLock, read_holder
from asyncfetch.store.objects import Place

SPAWN = multiprocessing.get_context("spawn")
LOCK = ".asyncfetch-lock"
HERE = Holder.of_this_process("mirror dataset:1")


@pytest.fixture(params=["locks", "no locks", "memory", "obstore"])
def location(request, tmp_path, monkeypatch):
    """Return a place of each kind: where files are locked, where they cannot be, and what is not a directory."""
    if request.param == "memory":
        return MemoryStore()
    if request.param == "obstore":
        from zarr.storage import ObjectStore

        return ObjectStore(pytest.importorskip("obstore").store.MemoryStore())
    if request.param == "no locks":
        without_locks(monkeypatch)
    return tmp_path / "a.zarr"


def without_locks(monkeypatch, code=errno.ENOLCK):
    fcntl = pytest.importorskip("fcntl")

    def flock(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    monkeypatch.setattr(os, "link", flock)


def hold(location, command="mirror dataset:1"):
    return store.StoreWriter.open(location, command=command)


def objects(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def leave_behind(folder, holder, age_s=0.0):
    """Leave the lock of another run."""
    store.StoreWriter.open(folder)
    path = folder / LOCK / "zarr.json"
    path.parent.mkdir()
    document = {"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": {"writer": holder}}}
    path.write_bytes(b"" if holder is None else msgspec.json.encode(document))
    then = time.time_ns() - int(age_s * 1e9)
    os.utime(path, ns=(then, then))
    return folder


def test_a_second_run_is_refused_and_told_which_is_the_first(location):
    first = hold(location, "mirror product:1")
    with pytest.raises(StoreBusyError, match=r"another run is writing to .*mirror product:1") as caught:
        hold(location)
    error = caught.value
    assert (error.command, error.host, error.pid) == ("mirror product:1", socket.gethostname(), os.getpid())
    assert error.since == first._held.holder.since
    assert f"process {os.getpid()} on {socket.gethostname()}" in error.message
    assert "--wait" in error.message


def test_the_next_run_has_the_store_when_the_first_has_ended(location):
    for _ in range(3):
        writer = hold(location)
        writer.begin_run({"selection": []})
        writer.close()
        writer.close()
    assert store.open(location).read_writer() == (None, False)


def test_what_a_run_leaves_of_its_lock_is_nothing(tmp_path, monkeypatch):
    for codes in (None, errno.EOPNOTSUPP, errno.ENOSYS):
        if codes is not None:
            without_locks(monkeypatch, codes)
        writer = hold(tmp_path / "a.zarr")
        writer.begin_run({"selection": []})
        writer.close()
        assert objects(tmp_path / "a.zarr") == ["zarr.json"]


def test_zarr_takes_the_lock_for_a_group_and_warns_of_nothing(tmp_path):
    writer = hold(tmp_path / "a.zarr")
    members = dict(zarr.open_group(tmp_path / "a.zarr", mode="r").members())
    assert list(members) == [LOCK]
    assert members[LOCK].attrs["asyncfetch"]["writer"]["pid"] == os.getpid()
    writer.close()


def test_a_reader_is_not_kept_out_and_sees_who_writes(location):
    writer = hold(location, "rebuild")
    holder, is_alive = store.open(location).read_writer()
    assert (holder.command, holder.pid, is_alive) == ("rebuild", os.getpid(), True)
    writer.close()


def test_a_refused_run_changes_nothing_and_sweeps_nothing(tmp_path):
    folder = tmp_path / "a.zarr"
    writer = hold(folder)
    (folder / "zarr.0123.partial").write_bytes(b"of the run at work")
    before = objects(folder)
    with pytest.raises(StoreBusyError):
        hold(folder)
    assert objects(folder) == before
    writer.close()
    hold(folder).close()
    assert objects(folder) == ["zarr.json"]


def test_what_is_no_store_of_ours_is_refused_before_it_is_locked(tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(StoreLayoutError):
        hold(tmp_path)
    with pytest.raises(StoreAccessError, match="no store"):
        store.StoreWriter.open(tmp_path / "none.zarr", create=False, command="resume")
    assert objects(tmp_path) == ["thesis.txt"]


def test_a_store_that_cannot_be_opened_is_not_kept_locked(tmp_path, monkeypatch):
    def fail(place, *, create):
        raise StoreAccessError("as if it had gone")

    with monkeypatch.context() as patch:
        patch.setattr("asyncfetch.store.writer.check_root", fail)
        with pytest.raises(StoreAccessError):
            hold(tmp_path / "a.zarr")
    hold(tmp_path / "a.zarr").close()


def hold_and_wait(folder, says):
    writer = hold(folder, "mirror in another process")
    says.send(writer._held.holder.pid)
    says.recv()


@pytest.fixture
def another_process(tmp_path):
    """Have another process hold a store."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=hold_and_wait, args=(tmp_path / "a.zarr", theirs), daemon=True)
    process.start()
    assert ours.poll(50)
    yield process, ours.recv()
    process.kill()
    process.join()
    process.close()


@pytest.mark.parametrize("locks", [True, False])
def test_a_killed_process_leaves_nothing_that_keeps_others_out(tmp_path, monkeypatch, another_process, locks):
    process, pid = another_process
    if not locks:
        without_locks(monkeypatch)
    with pytest.raises(StoreBusyError, match=f"process {pid}"):
        hold(tmp_path / "a.zarr")
    assert store.open(tmp_path / "a.zarr").read_writer()[1] is True
    process.kill()
    process.join()
    holder, is_alive = store.open(tmp_path / "a.zarr").read_writer()
    assert (holder.pid, is_alive) == (pid, False)
    hold(tmp_path / "a.zarr").close()
    assert objects(tmp_path / "a.zarr") == ["zarr.json"]


def test_a_process_that_is_stopped_is_alive(tmp_path, monkeypatch, another_process):
    _process, pid = another_process
    os.kill(pid, signal.SIGSTOP)
    without_locks(monkeypatch)
    with pytest.raises(StoreBusyError):
        hold(tmp_path / "a.zarr")
    os.kill(pid, signal.SIGCONT)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_neither_keeps_nor_gives_back_the_lock_of_its_parent(tmp_path):
    writer = hold(tmp_path / "a.zarr")
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        writer.close()
        os.read(reading, 1)
        os._exit(0)
    with pytest.raises(StoreBusyError):
        hold(tmp_path / "a.zarr")
    writer.close()
    hold(tmp_path / "a.zarr").close()
    os.write(writing, b"x")
    os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},
        {"started": 1},  # the number was given to another process
    ],
)
@pytest.mark.skipif(HERE.started is None, reason="the system does not tell when a process started")
def test_without_locks_a_holder_that_has_ended_is_succeeded(tmp_path, monkeypatch, changes):
    without_locks(monkeypatch)
    folder = leave_behind(tmp_path / "a.zarr", msgspec.structs.replace(HERE, **changes))
    assert store.open(folder).read_writer()[1] is False
    writer = hold(folder)
    with pytest.raises(StoreBusyError):
        hold(folder)
    writer.begin_run({"selection": []})
    writer.close()
    assert objects(folder) == ["zarr.json"]


def test_without_locks_this_machine_started_again_is_known_once_it_is_silent(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    before = msgspec.structs.replace(HERE, boot="an earlier start")
    folder = leave_behind(tmp_path / "a.zarr", before, SILENT_AFTER_S + 10)
    hold(folder).close()


@pytest.mark.parametrize("locks", [True, False])
def test_a_run_of_another_machine_that_shows_itself_is_not_disturbed(tmp_path, monkeypatch, locks):
    if not locks:
        without_locks(monkeypatch)
    there = msgspec.structs.replace(HERE, host="node17", boot="another", pid=5)
    folder = leave_behind(tmp_path / "a.zarr", there, 30)
    with pytest.raises(
        StoreBusyError, match=rf"process 5 on node17.*if that process has ended, remove {folder}"
    ):
        hold(folder)
    assert store.open(folder).read_writer()[1] is True


def test_without_locks_a_silent_run_of_another_machine_is_told_and_not_disturbed(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    there = msgspec.structs.replace(HERE, host="node17", boot="another", pid=5)
    folder = leave_behind(tmp_path / "a.zarr", there, 600)
    with pytest.raises(StoreBusyError, match="which has not shown itself for 10 min has ended, remove"):
        hold(folder)
    assert store.open(folder).read_writer()[1] is None


def test_with_locks_a_silent_run_of_another_machine_is_succeeded(tmp_path):
    there = msgspec.structs.replace(HERE, host="node17", boot="another", pid=5)
    hold(leave_behind(tmp_path / "a.zarr", there, 600)).close()


def test_without_locks_a_holder_in_another_container_is_not_looked_for_by_its_number(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    there = msgspec.structs.replace(HERE, namespace="pid:[1]", pid=2**22 + 1)
    folder = leave_behind(tmp_path / "a.zarr", there)
    with pytest.raises(StoreBusyError):
        hold(folder)


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("left", [None, {}, {"pid": "five"}])
def test_a_lock_that_names_nobody_is_succeeded(tmp_path, monkeypatch, locks, left):
    if not locks:
        without_locks(monkeypatch)
    folder = leave_behind(tmp_path / "a.zarr", left, 60)
    assert store.open(folder).read_writer() == (None, None)
    hold(folder).close()
    assert objects(folder) == ["zarr.json"]


def test_without_locks_a_lock_that_has_just_been_made_is_respected(tmp_path, monkeypatch):
    without_locks(monkeypatch)
    folder = leave_behind(tmp_path / "a.zarr", None)
    with pytest.raises(StoreBusyError, match="beginning to write"):
        hold(folder)


def test_a_lock_that_leads_elsewhere_is_replaced(tmp_path):
    folder = tmp_path / "a.zarr"
    store.StoreWriter.open(folder)
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / LOCK).symlink_to(outside)
    writer = hold(folder)
    assert list(outside.iterdir()) == []
    writer.close()
    assert objects(folder) == ["zarr.json"]


@pytest.mark.parametrize("locks", [True, False])
@pytest.mark.parametrize("n_runs", [2, 5])
def test_of_many_that_begin_at_once_one_works_at_a_time(tmp_path, monkeypatch, locks, n_runs):
    if not locks:
        without_locks(monkeypatch)
    at_work, seen, refused = threading.Lock(), [], []
    together = threading.Barrier(n_runs)

    def run():
        for round_number in range(20):
            together.wait(30)
            try:
                writer = hold(tmp_path / f"{round_number}.zarr")
            except StoreBusyError as error:
                refused.append(error)
                together.wait(30)
                continue
            assert at_work.acquire(blocking=False), "two have it"
            seen.append(round_number)
            together.wait(30)
            at_work.release()
            writer.close()

    threads = [threading.Thread(target=run) for _ in range(n_runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(20))
    assert len(refused) == 20 * (n_runs - 1)
    # of stores that were made and in which nothing was written nothing stays, but perhaps an empty folder
    assert [key for folder in tmp_path.iterdir() for key in objects(folder)] == []


def test_a_holder_pickles_no_secret_and_reads_back(tmp_path):
    lock = StoreLock.take(Place(tmp_path), "mirror")
    holder, is_alive = read_holder(Place(tmp_path))
    assert (holder, is_alive) == (lock.holder, True)
    written = json.loads((tmp_path / LOCK / "zarr.json").read_bytes())
    assert written["node_type"] == "group"
    lock.release()
