"""A run that never gets to write anything leaves no store where there was none, and nothing else as it was not."""

from __future__ import annotations

from functools import partial

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.replica import open_replica

SMALL = 900000005
CHOICES = {"requests_per_s": 1000.0, "um": 200.0, "layers": ("source",), "downsample": 4}
register_commands()

#: What can never be brought: the selection and the choices.
NOTHING = {
    "an unknown structure": (f"dataset:{SMALL}", {"roi": "structure:Nope", "layers": ("sections",)}),
    "an unknown data set": ("dataset:77", {}),
    "an unknown gene": ("gene:Nope", {}),
    "an unknown product": ("product:77", {}),
    "an unknown atlas": ("atlas:77", {}),
    "an unknown image": ("image:77", {}),
    "a structure in no space": (f"dataset:{SMALL}", {"roi": "structure:999", "layers": ("sections",)}),
    "a malformed selection": ("gene", {}),
    "an unknown setting": (f"dataset:{SMALL}", {"tier": 4}),
    "a setting out of range": (f"dataset:{SMALL}", {"downsample": -1}),
    "a malformed address": (f"dataset:{SMALL}", {"base_url": "nowhere"}),
}


@pytest.fixture(scope="module")
def replica():
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica()) as opened:
        yield opened


def mirror(replica, selection, out, **choices):
    settings = {"base_url": replica.base_url, **CHOICES, **choices}
    return anyio.run(partial(asyncfetch.mirror, selection, out, **settings))


def fails(replica, kind, out):
    """Mirror what can never be brought, and return whether that was said."""
    selection, choices = NOTHING[kind]
    try:
        report = mirror(replica, selection, out, **choices)
    except (SelectionError, SettingsError):
        return True
    return report.n_failed == 1 and report.n_committed == 0


@pytest.mark.parametrize("kind", NOTHING)
def test_what_can_never_be_brought_leaves_no_store(replica, tmp_path, kind):
    assert fails(replica, kind, tmp_path / "new" / "folder" / "out.zarr")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", NOTHING)
def test_an_empty_folder_stays_an_empty_folder(replica, tmp_path, kind):
    (tmp_path / "out.zarr").mkdir()
    assert fails(replica, kind, tmp_path / "out.zarr")
    assert [each.relative_to(tmp_path).name for each in tmp_path.rglob("*")] == ["out.zarr"]


def test_a_zarr_store_stays_empty(replica):
    store = MemoryStore()
    assert fails(replica, "an unknown gene", store)
    assert anyio.run(store.is_empty, "")


@pytest.mark.parametrize("kind", NOTHING)
def test_a_store_that_was_there_stays_as_it_was(replica, whole, kind):
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    assert fails(replica, kind, whole)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def whole(replica, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out.zarr"
    mirror(replica, f"dataset:{SMALL}", out)
    return out


def test_a_part_that_came_is_a_store(replica, tmp_path):
    report = mirror(replica, [f"dataset:{SMALL}", "gene:Nope"], tmp_path / "out.zarr")
    assert (report.n_committed, report.n_failed) == (10, 1)
    assert len(asyncfetch.open(tmp_path / "out.zarr").data_set(SMALL).read_commits()) == 10


def test_a_run_that_can_be_gone_on_with_is_kept_though_nothing_was_written(replica, tmp_path):
    async def interrupted():
        drain = anyio.Event()
        drain.set()
        settings = {"base_url": replica.base_url, **CHOICES}
        return await asyncfetch.mirror(f"dataset:{SMALL}", tmp_path / "out.zarr", drain=drain, **settings)

    assert anyio.run(interrupted).interrupted
    assert [run.selection for run in mirroring.unfinished_runs(asyncfetch.open(tmp_path / "out.zarr"))] == [
        (f"dataset:{SMALL}",)
    ]


def test_the_command_says_what_is_wrong_and_makes_nothing(replica, tmp_path):
    out = tmp_path / "out.zarr"
    choices = ["--roi", "structure:Nope", "--layers", "sections", "--base-url", replica.base_url]
    done = CliRunner().invoke(app, ["mirror", f"dataset:{SMALL}", "--out", str(out), *choices])
    assert done.exit_code == 2
    assert "there is no structure 'Nope'" in done.stderr
    assert not out.exists()


def test_the_command_makes_no_directory_with_the_name_of_an_archive(replica, tmp_path):
    out = tmp_path / "out.zip"
    command = ["mirror", f"dataset:{SMALL}", "--out", str(out), "--base-url", replica.base_url]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert f"use {tmp_path / 'out.zarr'}, and pack it when it is complete" in done.stderr
    assert not out.exists()
