"""Whole data sets done by the workers of a Dask cluster: the bytes and the reports of one process, on loopback."""

from __future__ import annotations

import json
import shutil
import socket
from functools import partial

import anyio
import pytest
import typer.testing
from zarr.storage import MemoryStore

from asyncfetch.cli import app, register_commands
from asyncfetch.cluster import DaskCluster
from asyncfetch.errors import SettingsError
from asyncfetch.mirroring import mirror, rebuild, verify, volumes
from asyncfetch.store import StoreWriter

pytest.importorskip("distributed")
register_commands()

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SETTINGS = {"um": 100.0, "requests_per_s": 1000.0}


N_DATA_SETS = 8


@pytest.fixture(scope="module")
def product(start_replica):
    """A replica of a product of tiny images."""
    return start_replica(generated=N_DATA_SETS)


@pytest.fixture(scope="module")
def original(tmp_path_factory, product):
    """A store of the JPEGs alone, of which the tests take copies."""
    location = tmp_path_factory.mktemp("original") / "out.zarr"
    report = anyio.run(
        partial(mirror, "product:1", location, base_url=product.base_url, layers=("source",), **SETTINGS)
    )
    assert report.n_data_sets == N_DATA_SETS
    return location


@pytest.fixture
def copied(original, tmp_path):
    def copy(name):
        shutil.copytree(original, tmp_path / name)
        return tmp_path / name

    return copy


def without_times(report):
    """Return what a report says that does not depend on when, and on how fast, it was made."""
    fields = report.as_dict()
    for name in ("location", "elapsed_s", "metrics", "figures", "goodput_bytes_per_s", "held_back_by"):
        fields.pop(name, None)
    return fields


def test_layers_volumes_and_flaws_are_those_of_one_process(copied, stored_objects):
    """One test, because a cluster takes seconds to start."""
    alone, shared = copied("alone.zarr"), copied("shared.zarr")
    events = []

    async def on_a_cluster():
        async with DaskCluster("local:2") as cluster:
            made = await rebuild(shared, um=100.0, cluster=cluster, on_event=events.append)
            again = await rebuild(shared, cluster=cluster)
            filled = await volumes(shared, cluster=cluster)
            sound = await verify(shared, full=True, cluster=cluster)
            damage(shared)
            broken = await verify(shared, full=True, cluster=cluster)
            return made, again, filled, sound, broken

    made, again, filled, sound, broken = anyio.run(on_a_cluster)
    assert without_times(made) == without_times(anyio.run(partial(rebuild, alone, um=100.0)))
    assert without_times(again) == without_times(anyio.run(partial(rebuild, alone)))
    assert (again.n_committed, again.n_skipped) == (0, made.n_committed)
    assert made.n_committed > 20
    assert {type(event).__name__ for event in events} >= {
        "DataSetPlanned",
        "SectionCommitted",
        "DataSetCompleted",
    }
    filled_alone = anyio.run(partial(volumes, alone))
    assert [each.data_set_id for each in filled.volumes] == [
        each.data_set_id for each in filled_alone.volumes
    ]
    assert [each.n_written for each in filled.volumes] == [each.n_written for each in filled_alone.volumes]
    assert not filled.failures
    assert filled.volumes
    assert without_times(sound) == without_times(anyio.run(partial(verify, alone, full=True)))
    assert (sound.flaws, sound.n_sections, sound.n_data_sets) == ([], made.n_committed, N_DATA_SETS)
    damage(alone)
    assert without_times(broken) == without_times(anyio.run(partial(verify, alone, full=True)))
    assert len(broken.flaws) == 1
    assert stored_objects(shared) == stored_objects(alone)


def damage(store):
    """Cut the first JPEG."""
    path = min(store.glob("data_sets/*/image/source/*.jpg"))
    path.write_bytes(path.read_bytes()[:-9])


def test_a_mirror_has_the_bytes_and_the_report_of_one_process(product, tmp_path, stored_objects):
    options = {"base_url": product.base_url, "layers": ("source", "registered"), "jobs": 4, **SETTINGS}
    n_before = len(product.image_ids)

    async def on_a_cluster():
        async with DaskCluster("local:2") as cluster:
            made = await mirror("product:1", tmp_path / "shared.zarr", cluster=cluster, **options)
            again = await mirror("product:1", tmp_path / "shared.zarr", cluster=cluster, **options)
            return made, again

    made, again = anyio.run(on_a_cluster)
    fetched = product.image_ids[n_before:]
    assert len(fetched) == len(set(fetched)) == made.n_committed
    alone = partial(mirror, "product:1", tmp_path / "alone.zarr", **options)
    assert without_times(made) == without_times(anyio.run(alone))
    assert without_times(again) == without_times(anyio.run(alone))
    assert (made.n_data_sets, made.n_completed, again.n_committed) == (N_DATA_SETS, N_DATA_SETS, 0)
    assert stored_objects(tmp_path / "shared.zarr") == stored_objects(tmp_path / "alone.zarr")


def test_items_that_fail_elsewhere_are_in_the_report(start_replica, tmp_path):
    replica = start_replica(generated=3)
    report = anyio.run(
        partial(
            mirror,
            ["dataset:700000000", "dataset:1", "image:5"],
            tmp_path / "out.zarr",
            base_url=replica.base_url,
            cluster=DaskCluster("local:1"),
            **SETTINGS,
        )
    )
    assert sorted(failure.item for failure in report.failures) == ["dataset:1", "image:5"]
    assert (report.n_data_sets, report.n_committed) == (1, 12)


def test_a_command_prints_what_it_prints_without_a_cluster(copied, command):
    copied("out.zarr")
    made = command("rebuild", "out.zarr", "--um", "100", "--cluster", "local:2", "--json")
    assert made.returncode == 0, made.stderr
    report = json.loads(made.stdout)
    assert (report["n_committed"] > 20, report["failures"]) == (True, [])
    assert f"{report['n_committed']} sections written, 0 already stored, 0 failed" in made.stderr
    assert "distributed" not in made.stderr


def invoke(*args):
    return typer.testing.CliRunner().invoke(app, [str(each) for each in args])


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("4", "choose one of: local, local:4"),
        ("local:0", "processes are 1 to 1024"),
        ("slurm.yaml", "there is no such file"),
        ("tcp://", "it is not an address"),
    ],
)
@pytest.mark.parametrize("verb", ["rebuild", "verify"])
def test_what_is_not_a_cluster_is_refused_before_anything_begins(verb, typed, words, tmp_path):
    result = invoke(verb, tmp_path / "missing.zarr", "--cluster", typed)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_cluster_makes_the_volumes_that_are_named(tmp_path):
    result = invoke("volume", tmp_path, "--cluster", "local:1")
    assert result.exit_code == 2
    assert "name them with --dataset, or use --all" in result.stderr


def test_a_library_that_a_file_needs_and_is_missing_is_told_with_what_installs_it(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text("class: dask_jobqueue.SLURMCluster\narguments: {cores: 1}\n")

    async def main():
        async with DaskCluster(str(path)):
            pass

    with pytest.raises(SettingsError, match="pip install dask-jobqueue"):
        anyio.run(main)


def test_a_class_that_is_not_a_cluster_is_refused(tmp_path):
    path = tmp_path / "odd.yaml"
    path.write_text("class: pathlib.Path\n")

    async def main():
        async with DaskCluster(str(path)):
            pass

    with pytest.raises(SettingsError, match="not a cluster of Dask"):
        anyio.run(main)


def test_a_scheduler_that_does_not_answer_ends_a_command_soon(copied):
    with socket.socket() as taken:
        # bound and not listening, so that nobody answers
        taken.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        result = invoke("rebuild", copied("out.zarr"), "--cluster", address)
    assert result.exit_code == 1
    assert "does not answer" in result.stderr
    assert "dask scheduler" in result.stderr


def test_a_store_that_only_this_process_sees_is_refused():
    store = MemoryStore()
    StoreWriter.open(store).close()

    with pytest.raises(SettingsError, match="exists in this process alone"):
        anyio.run(partial(rebuild, store, cluster=DaskCluster("local:1")))
