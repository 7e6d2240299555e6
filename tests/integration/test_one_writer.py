"""One run at a time writes to a store; what others left unfinished is continued as far as it is to be believed."""

from __future__ import annotations

import json
import zipfile
from functools import partial
from uuid import uuid4

import anyio
import numpy as np
import pytest
import typer.testing
import zarr
from zarr.storage import MemoryStore, ZipStore

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import SelectionError, StoreBusyError
from asyncfetch.events import RequestStarted, StoreAwaited
from asyncfetch.replica import MirroredAtlas, open_replica
from asyncfetch.runs import numbered_runs
from asyncfetch.settings import Settings
from asyncfetch.store import StoreWriter

register_commands()

DATA_SET = "dataset:900000005"
FREE = Settings(requests_per_s=1000.0, um=200.0)
FAST = ("--um", "200", "--rate", "1000")


def image_ids(replica):
    return sorted(request.image_id for request in replica.requests if request.kind == "image")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["directory", "memory"])
async def test_a_second_mirror_in_the_same_process_is_refused_and_the_first_is_not_disturbed(tmp_path, kind):
    location = tmp_path / "out.zarr" if kind == "directory" else MemoryStore()
    begun, refused = anyio.Event(), []
    async with open_replica(latency_s=0.01) as replica:
        settings = FREE.replace(base_url=replica.base_url)

        def listen(event):
            if isinstance(event, RequestStarted) and event.kind == "image":
                begun.set()

        async def second():
            await begun.wait()
            n_before = len(replica.requests)
            for verb in (
                partial(asyncfetch.mirror, DATA_SET, location, settings=settings),
                partial(mirroring.resume, location, settings=settings),
                partial(mirroring.rebuild, location),
                partial(mirroring.dismiss_runs, location, None),
            ):
                with pytest.raises(StoreBusyError, match=r"another run is writing.*mirror dataset:900000005"):
                    await verb()
                refused.append(verb)
            assert n_before <= len(replica.requests)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            report = await asyncfetch.mirror(DATA_SET, location, settings=settings, on_event=listen)
        asked = image_ids(replica)
    assert (report.n_committed, report.failures, len(refused)) == (10, [], 4)
    assert len(asked) == len(set(asked)) == 10
    assert asyncfetch.open(location).read_writer() == (None, False)


@pytest.mark.anyio
async def test_a_run_that_waits_begins_when_the_first_has_ended_and_asks_for_nothing_twice(tmp_path):
    begun, told = anyio.Event(), []
    async with open_replica(latency_s=0.01) as replica:
        settings = FREE.replace(base_url=replica.base_url)
        reports = []

        def listen(event):
            if isinstance(event, RequestStarted):
                begun.set()

        async def first():
            reports.append(await asyncfetch.mirror(DATA_SET, tmp_path, settings=settings, on_event=listen))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(first)
            await begun.wait()
            report = await asyncfetch.mirror(
                DATA_SET, tmp_path, settings=settings, wait=True, on_event=told.append
            )
        asked = image_ids(replica)
    assert (report.n_skipped, report.n_committed, reports[0].n_committed) == (10, 0, 10)
    assert len(asked) == len(set(asked)) == 10
    waits = [event for event in told if isinstance(event, StoreAwaited)]
    assert ["another run is writing" in event.cause for event in waits] == [True]


@pytest.mark.anyio
@pytest.mark.parametrize("verb", ["mirror", "resume", "rebuild"])
async def test_a_run_that_is_drained_while_it_waits_ends_and_asks_for_nothing(tmp_path, verb):
    held, drain = StoreWriter.open(tmp_path, command="another"), anyio.Event()
    wait = {
        "mirror": partial(asyncfetch.mirror, DATA_SET, tmp_path, base_url="http://127.0.0.1:9"),
        "resume": partial(mirroring.resume, tmp_path),
        "rebuild": partial(mirroring.rebuild, tmp_path),
    }[verb]
    report = await wait(wait=True, drain=drain, on_event=lambda _: drain.set())
    assert (report.interrupted, report.n_requests) == (True, 0)
    held.close()


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory, replica_process):
    folder = tmp_path_factory.mktemp("mirrored") / "out.zarr"
    settings = FREE.replace(base_url=replica_process.base_url)
    report = anyio.run(partial(asyncfetch.mirror, DATA_SET, folder, settings=settings))
    assert report.failures == []
    return folder


def test_a_volume_that_has_to_be_made_waits_or_is_refused_and_one_that_is_up_to_date_is_neither(mirrored):
    held = StoreWriter.open(mirrored, command="rebuild")
    with pytest.raises(StoreBusyError):
        anyio.run(mirroring.volume, mirrored)
    told = []

    def release(error):
        told.append(error.command)
        held.close()

    report = anyio.run(partial(mirroring.volume, mirrored, wait=True, on_wait=release))
    assert (report.n_written > 0, told) == (True, ["rebuild"])
    held = StoreWriter.open(mirrored, command="rebuild")
    assert anyio.run(mirroring.volume, mirrored).n_written == 0
    held.close()


def outcome_of(process):
    # several processes that start at once have to import everything at once
    _, err = process.communicate(timeout=150)
    assert "Traceback" not in err
    return process.returncode, err


def start_at_once(command, replica, name, n_runs):
    wanted = ("mirror", DATA_SET, "--out", name, *FAST, "--base-url", replica.base_url, "--quiet")
    return [outcome_of(each) for each in [command.start(*wanted) for _ in range(n_runs)]]


def check_that_one_worked(outcomes):
    worked = [err for code, err in outcomes if code == 0]
    refused = [err for code, err in outcomes if code == 1]
    assert len(worked) + len(refused) == len(outcomes), outcomes
    # one that started after the first had ended found everything there
    assert sum("10 sections written" in err for err in worked) == 1
    assert all(
        "0 sections written, 10 already stored" in err or "10 sections written" in err for err in worked
    )
    assert all("error: another run is" in err for err in refused)


@pytest.mark.timeout(200)
def test_of_three_commands_started_at_once_one_works_and_the_others_name_it(
    command, start_replica, mirrored, stored_objects
):
    replica = start_replica(latency_s=0.2)
    check_that_one_worked(start_at_once(command, replica, "out.zarr", 3))
    assert sorted(replica.image_ids) == sorted(set(replica.image_ids))
    assert len(replica.image_ids) == 10
    found = stored_objects(command.folder / "out.zarr")
    assert {name for name in found if "volume" not in name} == {
        name for name in stored_objects(mirrored) if "/volume/" not in name
    }


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_three_and_five_commands_started_at_once_twenty_times_leave_what_one_leaves(
    forked_command, start_replica, stored_objects
):
    replica = start_replica(latency_s=0.05)
    check_that_one_worked(start_at_once(forked_command, replica, "alone.zarr", 1))
    alone, n_seen = stored_objects(forked_command.folder / "alone.zarr"), len(replica.image_ids)
    for number in range(20):
        for n_runs in (2, 3, 5):
            name = f"{number}-{n_runs}.zarr"
            check_that_one_worked(start_at_once(forked_command, replica, name, n_runs))
            asked = replica.image_ids[n_seen:]
            n_seen += len(asked)
            assert (len(asked), len(set(asked))) == (10, 10)
            assert stored_objects(forked_command.folder / name) == alone


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = typer.testing.CliRunner()
    return lambda *args: runner.invoke(app, [str(each) for each in args])


def test_status_tells_a_run_at_work_from_one_that_was_killed(command, start_replica, invoke):
    replica = start_replica(latency_s=0.5)
    process = command.start(
        "mirror", DATA_SET, "--out", "out.zarr", *FAST, "--jobs", "1", "--base-url", replica.base_url
    )
    assert "10 sections" in process.stderr.readline()
    told = invoke("status", "out.zarr").stdout
    assert f"a run is in progress: mirror {DATA_SET}, process {process.pid} on " in told
    assert "resume" not in told
    as_json = json.loads(invoke("status", "out.zarr", "--json").stdout)
    assert (as_json["writer"]["pid"], as_json["writer"]["is_alive"]) == (process.pid, True)
    assert [run["is_alive"] for run in as_json["unfinished_runs"]] == [True]
    assert "in progress" in invoke("runs", "out.zarr").stdout
    process.kill()
    process.wait()
    told = invoke("status", "out.zarr").stdout
    assert "in progress" not in told
    assert f"an unfinished run of {DATA_SET}, which asked {replica.base_url}" in told
    assert f"continue with: asyncfetch resume out.zarr --base-url {replica.base_url}" in told
    as_json = json.loads(invoke("status", "out.zarr", "--json").stdout)
    assert [run["is_alive"] for run in as_json["unfinished_runs"]] == [False]


def test_an_interrupt_ends_a_command_that_waits(command, mirrored):
    held = StoreWriter.open(mirrored, command="another")
    process = command.start("resume", mirrored, "--wait")
    assert "waiting: another run is writing" in process.stderr.readline()
    process.terminate()
    code, err = outcome_of(process)
    assert (code, "interrupted" in err) == (130, True)
    held.close()


def object_storage(kind):
    """Return a new store in the memory of a library for object storage."""
    if kind == "obstore":
        from zarr.storage import ObjectStore

        return ObjectStore(pytest.importorskip("obstore").store.MemoryStore())
    from zarr.storage import FsspecStore

    pytest.importorskip("fsspec")
    # all such addresses are one memory
    return FsspecStore.from_url(f"memory://{uuid4()}.zarr")


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["obstore", "fsspec"])
async def test_a_store_in_object_storage_is_mirrored_rebuilt_reopened_and_written_by_one_run(kind):
    location = object_storage(kind)
    async with open_replica() as replica:
        settings = FREE.replace(base_url=replica.base_url)
        report = await asyncfetch.mirror(DATA_SET, location, settings=settings)
        assert (report.n_committed, report.failures) == (10, [])
        assert (await asyncfetch.mirror(DATA_SET, location, settings=settings)).n_skipped == 10
    assert (await mirroring.rebuild(location, um=400.0)).n_committed == 10
    data_set = asyncfetch.open(location).data_set(900000005)
    assert (len(data_set.read_commits()), data_set.read_registered_layout().recipe.um) == (10, 400.0)
    assert (await mirroring.volume(location, max_gap_um=3000)).n_planes == 10
    assert (await mirroring.verify(location, full=True)).flaws == []
    assert asyncfetch.open(location).read_writer() == (None, False)


def test_a_store_packed_in_a_zip_archive_is_read_and_served_as_its_folder_is(mirrored, tmp_path):
    with zipfile.ZipFile(tmp_path / "out.zip", "w") as archive:
        for path in sorted(mirrored.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(mirrored))
    plain = asyncfetch.open(mirrored)
    with ZipStore(tmp_path / "out.zip", mode="r") as location:
        packed = asyncfetch.open(location)
        assert packed.read_data_set_ids() == plain.read_data_set_ids()
        ours, theirs = packed.data_set(900000005), plain.data_set(900000005)
        assert ours.read_commits() == theirs.read_commits()
        for commit in ours.read_commits():
            assert ours.section(commit.image_id).read_jpeg() == theirs.section(commit.image_id).read_jpeg()
            assert ours.problems(commit, full=True, with_digest=True) == []
        assert (np.asarray(ours.open_registered()[:]) == np.asarray(theirs.open_registered()[:])).all()
        point = (900001005, [(100.0, 200.0)])
        assert repr(packed.read_atlas().image_to_reference(*point)) == repr(
            plain.read_atlas().image_to_reference(*point)
        )
        assert MirroredAtlas(packed).tables == MirroredAtlas(plain).tables


def leave_runs(folder, *runs):
    """Have a store say that runs did not come to their end."""
    group = zarr.open_group(folder, mode="r+")
    group.attrs["asyncfetch"] = {**group.attrs["asyncfetch"], "runs": list(runs)}


def run_of(selection=DATA_SET, **settings):
    return {
        "selection": [selection],
        "settings": {"um": 200.0, "layers": ["source", "registered"], **settings},
    }


@pytest.fixture
def store(tmp_path, replica_process):
    settings = FREE.replace(base_url=replica_process.base_url)
    anyio.run(partial(asyncfetch.mirror, "image:900001005", tmp_path / "out.zarr", settings=settings))
    return tmp_path / "out.zarr"


@pytest.mark.parametrize(
    "bad",
    [
        run_of(um=100.0),
        run_of(um="wide"),
        run_of(layers=["everything"]),
        run_of("brain:5"),
    ],
    ids=["another pitch", "no pitch", "no layer", "no selection"],
)
def test_a_run_that_cannot_go_on_is_a_failure_and_does_not_keep_the_others_from_going_on(
    store, replica_process, invoke, bad
):
    leave_runs(store, bad, run_of())
    done = invoke("resume", store, "--rate", "1000", "--base-url", replica_process.base_url)
    assert (done.exit_code, "Traceback" in done.stderr) == (3, False)
    assert f"continue with: asyncfetch runs {store} --dismiss 1" in done.stderr
    assert len(asyncfetch.open(store).data_set(900000005).read_commits()) == 10
    (left,) = mirroring.unfinished_runs(asyncfetch.open(store))
    assert left.number == 1
    assert invoke("runs", store, "--dismiss", "1").exit_code == 0
    assert asyncfetch.open(store).read_runs() == []


@pytest.mark.anyio
async def test_an_address_that_only_the_store_names_is_shown_and_not_asked(store):
    async with open_replica() as elsewhere:
        leave_runs(store, run_of(base_url=elsewhere.base_url))
        report = await mirroring.resume(store, settings=FREE)
        assert elsewhere.requests == []
        (failure,) = report.failures
        assert failure.error == "SettingsError"
        assert f"the run asked {elsewhere.base_url}" in failure.message
        assert f"asyncfetch resume {store} --base-url {elsewhere.base_url}" in failure.message
        report = await mirroring.resume(store, settings=FREE, base_url=elsewhere.base_url)
        assert (report.failures, report.n_committed > 0) == ([], True)


@pytest.mark.parametrize("address", ["http://api.brain-map.org", "https://api.brain-map.org/", None])
def test_the_default_address_of_any_version_is_asked_where_it_is_now(address):
    (run,) = [run for _, run in numbered_runs([run_of(**({"base_url": address} if address else {}))])]
    assert run.settings_with(Settings(), None).base_url == Settings().base_url


def test_how_fast_to_ask_is_never_taken_from_a_store():
    fast = {
        "requests_per_s": 10**6,
        "jobs": 500,
        "memory_bytes": 2**40,
        "attempts": 99,
        "workers": 64,
        "x": 1,
    }
    ((_, run),) = numbered_runs([run_of(**fast)])
    user = Settings(requests_per_s=1.0, jobs=2)
    settings = run.settings_with(user, None)
    assert settings == user.replace(um=200.0, layers=("source", "registered"))


def test_runs_are_listed_and_dismissed_by_numbers_that_stay(store, invoke):
    leave_runs(
        store, {**run_of("gene:Pvalb"), "number": 3}, run_of("dataset:7", um=50.0), run_of("dataset:8")
    )
    listed = [line.split("\t") for line in invoke("runs", store).stdout.splitlines()]
    assert [(line[0], line[1]) for line in listed] == [
        ("3", "gene:Pvalb"),
        ("4", "dataset:7"),
        ("5", "dataset:8"),
    ]
    assert (listed[1][3], listed[1][5]) == ("um 50.0", "not running")
    refused = invoke("runs", store, "--dismiss", "4", "--dismiss", "9")
    assert (refused.exit_code, "there is no unfinished run 9" in refused.stderr) == (2, True)
    assert len(asyncfetch.open(store).read_runs()) == 3
    assert invoke("runs", store, "--dismiss", "3").exit_code == 0
    assert [run["selection"] for run in json.loads(invoke("runs", store, "--json").stdout)] == [
        ["dataset:7"],
        ["dataset:8"],
    ]
    assert invoke("runs", store, "--dismiss", "all").exit_code == 0
    assert "has no unfinished runs" in invoke("runs", store).stdout
    with pytest.raises(SelectionError):
        anyio.run(mirroring.dismiss_runs, store, [1])


def test_the_same_run_begun_again_takes_the_place_of_the_one_before(store):
    writer = StoreWriter.open(store, command="mirror")
    selection = mirroring.parse_selection("gene:Pvalb")
    for address in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        mirroring.runs.begin_run(writer, selection, FREE.replace(base_url=address))
    mirroring.runs.begin_run(writer, selection, FREE.replace(um=50.0))
    writer.close()
    runs = mirroring.unfinished_runs(asyncfetch.open(store))
    assert [(run.number, run.base_url, run.settings["um"]) for run in runs] == [
        (2, "http://127.0.0.1:2", 200.0),
        (3, Settings().base_url, 50.0),
    ]
    assert all(run.begun for run in runs)


def test_a_password_of_an_address_is_not_recorded(store):
    writer = StoreWriter.open(store, command="mirror")
    settings = FREE.replace(base_url="http://anna:secret@127.0.0.1:9")
    record = mirroring.runs.begin_run(writer, mirroring.parse_selection("gene:Pvalb"), settings)
    writer.close()
    assert record["settings"]["base_url"] == "http://127.0.0.1:9"
    assert b"secret" not in (store / "zarr.json").read_bytes()
