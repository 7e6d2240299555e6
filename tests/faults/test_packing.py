"""Packing that is killed at any moment, and archives that are damaged: nothing is lost, and all is mended."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from functools import partial

import anyio
import pytest

import asyncfetch
from asyncfetch import blocking
from asyncfetch.errors import StoreError
from asyncfetch.mirroring import mirror, verify, volume
from asyncfetch.store import StoreWriter
from asyncfetch.store.ozx import read_directory, usual_offset

SMALL = 900000005
LAYERS = ("source", "sections", "registered")
CHOICES = {"requests_per_s": 1000.0, "um": 400.0, "layers": LAYERS}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, replica_process):
    """A store of one data set with a volume, as a folder."""
    location = tmp_path_factory.mktemp("whole") / "out.zarr"
    report = anyio.run(
        partial(mirror, f"dataset:{SMALL}", location, base_url=replica_process.base_url, **CHOICES)
    )
    assert not report.failures
    anyio.run(partial(volume, location, SMALL))
    return location


@pytest.fixture
def store(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "out.zarr")


def data_set_of(location):
    """Return the objects of the data set, however it is kept, as the reader sees them."""
    place = asyncfetch.open(location)._place
    names, found = [f"data_sets/{SMALL}"], {}
    while names:
        path = names.pop()
        below = place.names_below(path)
        names += [f"{path}/{name}" for name in below]
        if not below:
            found[path] = place.get(path)
    return found


def names_in(location):
    return sorted(path.name for path in (location / "data_sets").iterdir() if path.name != "zarr.json")


_DYING = """
import os, sys
left = int(sys.argv.pop(1))

def dying(name, function):
    def call(*args, **options):
        global left
        if any("data_sets" in str(arg) for arg in args[:2]):
            if left == 0:
                os._exit(9)
            left -= 1
        return function(*args, **options)
    return call

for name in ("rename", "replace", "unlink", "rmdir", "mkdir"):
    setattr(os, name, dying(name, getattr(os, name)))
from asyncfetch.cli import main
main()
"""


@pytest.mark.parametrize("command_name", ["pack", "unpack"])
def test_a_process_that_dies_before_any_of_its_changes_leaves_everything_readable(
    store, whole, command, command_name
):
    """Each rename, removal and new folder below ``data_sets`` is one after which the process may be dead."""
    expected = data_set_of(whole)
    if command_name == "unpack":
        blocking.pack(store)
    begin = shutil.copytree(store, store.parent / "begin.zarr")
    seen = set()
    for n_changes in [*range(8), 20, 60, 10**6]:
        shutil.rmtree(store)
        shutil.copytree(begin, store)
        process = command.start_script(_DYING, n_changes, command_name, store)
        process.communicate()
        assert process.returncode in {0, 9}
        seen.add(tuple(name.partition(".")[2].partition(".")[0] for name in names_in(store)))
        assert data_set_of(store) == expected
        flaws = [each.problem for each in blocking.verify(store, full=True).flaws]
        assert flaws in ([], ["lies beside the folder of the same data set"])
        again = blocking.pack if command_name == "pack" else blocking.unpack
        assert not again(store).failures
        assert names_in(store) == ([f"{SMALL}.ozx"] if command_name == "pack" else [str(SMALL)])
        assert data_set_of(store) == expected
        if process.returncode == 0:
            break
    else:
        pytest.fail("it never came to its end")
    assert len(seen) >= 3


def test_kills_at_random_moments_of_packing_and_unpacking_lose_nothing(store, whole, forked_command):
    expected, moments, n_cut = data_set_of(whole), random.Random(900), 0
    for number in range(12):
        process = forked_command.start("pack" if number % 2 == 0 else "unpack", store, "--quiet")
        try:
            process.wait(moments.uniform(0.0, 0.6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            n_cut += 1
        assert data_set_of(store) == expected
    assert n_cut
    blocking.pack(store)
    assert names_in(store) == [f"{SMALL}.ozx"]
    assert data_set_of(store) == expected
    assert blocking.verify(store, full=True).flaws == []


def test_a_kill_while_a_packed_data_set_is_extended_is_gone_on_with_and_packed_again(
    tmp_path, replica_process, command, stored_objects
):
    store, pace = tmp_path / "out.zarr", ("--rate", "1000", "--um", "400", "--layers", ",".join(LAYERS))
    to = {"base_url": replica_process.base_url, **CHOICES}
    anyio.run(partial(mirror, "image:900003005", store, **to))
    blocking.pack(store)
    started = command.start(
        *("mirror", f"dataset:{SMALL}", "--out", store, "--jobs", "1", *pace),
        ASYNCFETCH_BASE_URL=replica_process.base_url,
    )
    assert "10 sections" in started.stderr.readline()
    try:
        started.wait(0.1)
    except subprocess.TimeoutExpired:
        started.kill()
        started.wait()
    done = command("resume", store, "--rate", "1000", ASYNCFETCH_BASE_URL=replica_process.base_url)
    assert done.returncode == 0, done.stderr
    assert names_in(store) == [f"{SMALL}.ozx"]
    blocking.unpack(store)
    peace = tmp_path / "peace.zarr"
    anyio.run(partial(mirror, "image:900003005", peace, **to))
    anyio.run(partial(mirror, f"dataset:{SMALL}", peace, **to))
    assert stored_objects(store) == stored_objects(peace)


def test_leftovers_are_named_by_verify_and_removed_by_the_next_run_that_writes(store):
    blocking.pack(store)
    folder, file = (store / "data_sets" / f"{SMALL}{end}.0123.partial" for end in ("", ".ozx"))
    folder.mkdir()
    (folder / "zarr.json").write_bytes(b"{}")
    file.write_bytes(b"half")
    report = blocking.verify(store)
    assert set(report.leftovers) == {f"data_sets/{file.name}", f"data_sets/{folder.name}"}
    asyncfetch.open(store)
    assert folder.exists()
    StoreWriter.open(store, command="runs --dismiss").close()
    assert names_in(store) == [f"{SMALL}.ozx"]


def test_a_disk_that_fills_up_leaves_the_data_set_as_it_was(store, whole, command):
    resource = pytest.importorskip("resource")
    process = command.start("pack", store, limits={resource.RLIMIT_FSIZE: 20_000})
    _, words = process.communicate()
    assert process.returncode == 1
    assert "no space left" in words
    assert names_in(store) == [str(SMALL)]
    assert data_set_of(store) == data_set_of(whole)


def flip_in_a_file(data, dice, entries):
    each = dice.choice([entry for entry in entries if entry.size])
    data[usual_offset(each) + dice.randrange(each.size)] ^= 1 << dice.randrange(8)


def flip_in_a_header(data, dice, entries):
    each = dice.choice(entries)
    data[dice.randrange(each.offset, usual_offset(each))] ^= 1 << dice.randrange(8)


def flip_at_the_end(data, dice, entries):
    last = entries[-1]
    data[dice.randrange(usual_offset(last) + last.size, len(data))] ^= 1 << dice.randrange(8)


def lose_the_directory(data, dice, entries):
    last = entries[-1]
    del data[usual_offset(last) + last.size :]


def cut(data, dice, entries):
    """Cut the archive somewhere behind its metadata, so that its commits can still be read."""
    first = next(entry for entry in entries if not entry.name.endswith("zarr.json"))
    del data[dice.randrange(first.offset, len(data)) :]


def empty_a_block(data, dice, entries):
    begin = dice.randrange(len(data) - 4096)
    data[begin : begin + 4096] = bytes(4096)


DAMAGE = [flip_in_a_file, flip_in_a_header, flip_at_the_end, lose_the_directory, cut, empty_a_block]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", DAMAGE)
def test_any_damage_to_an_archive_is_found_and_mended(
    store, whole, replica_process, stored_objects, damage, seed
):
    blocking.pack(store)
    archive = store / "data_sets" / f"{SMALL}.ozx"
    undisturbed = archive.read_bytes()
    data = bytearray(undisturbed)
    entries = read_directory(lambda at, n_bytes: undisturbed[at : at + n_bytes], len(undisturbed))
    damage(data, random.Random(f"{damage.__name__} {seed}"), entries)
    archive.write_bytes(data)
    found = blocking.verify(store, full=True)
    assert found.flaws
    assert archive.read_bytes() == data
    pace = {"base_url": replica_process.base_url, "requests_per_s": 1000.0}
    report = anyio.run(partial(verify, store, full=True, repair=True, **pace))
    assert (report.left, report.failures) == ([], [])
    assert names_in(store) == [f"{SMALL}.ozx"]
    assert blocking.verify(store, full=True).flaws == []
    blocking.unpack(store)
    assert stored_objects(store) == stored_objects(whole)


def test_a_flipped_bit_between_the_files_is_found_without_reading_the_files(store):
    blocking.pack(store)
    archive = store / "data_sets" / f"{SMALL}.ozx"
    data = bytearray(archive.read_bytes())
    data[-3] ^= 1
    archive.write_bytes(data)
    (flaw,) = blocking.verify(store).flaws
    assert (flaw.item, flaw.path) == (f"dataset:{SMALL}", f"data_sets/{SMALL}.ozx")
    assert flaw.problem.startswith("has another central directory than was packed")


def test_an_archive_of_which_nothing_is_left_is_named_with_what_to_type_and_not_removed(store, command):
    blocking.pack(store)
    archive = store / "data_sets" / f"{SMALL}.ozx"
    os.truncate(archive, 0)
    done = command("verify", store, "--repair", "--base-url", "http://127.0.0.1:1")
    assert done.returncode == 6
    assert f"data_sets/{SMALL}.ozx cannot be read (it has no central directory at its end)" in done.stderr
    assert f"remove it, and mirror the data set again with: asyncfetch mirror dataset:{SMALL}" in done.stderr
    assert archive.exists()


def test_a_damaged_archive_costs_a_run_that_data_set_alone(store, replica_process):
    blocking.pack(store)
    os.truncate(store / "data_sets" / f"{SMALL}.ozx", 1000)
    to = {"base_url": replica_process.base_url, **CHOICES}
    report = anyio.run(partial(mirror, [f"dataset:{SMALL}", "image:69177654"], store, **to))
    assert {each.item for each in report.failures} == {f"dataset:{SMALL}"}
    assert report.n_committed == 1
    with pytest.raises(StoreError, match="central directory"):
        asyncfetch.open(store)._place.get(f"data_sets/{SMALL}/zarr.json")
