"""Commands against the replica: one clear message, the right exit code, JSON where it was asked for, no traceback."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import anyio
import pytest
import typer.testing
import zarr
from prometheus_client.parser import text_string_to_metric_families

from asyncfetch import mirror
from asyncfetch.cli import app, register_commands

register_commands()

SMALL = "dataset:900000005"
FAST = ("--um", "100", "--rate", "1000")


class Outcome:
    def __init__(self, result):
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in this process, in an empty folder, two attempts a request."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYNCFETCH_ATTEMPTS", "2")
    runner = typer.testing.CliRunner()

    def run(*args, **environment):
        return Outcome(runner.invoke(app, [str(each) for each in args], env=environment))

    return run


@pytest.fixture
def at_replica(invoke, replica_process):
    def run(*args, **environment):
        return invoke(*args, **environment, ASYNCFETCH_BASE_URL=replica_process.base_url)

    return run


def test_a_plan_tells_a_short_time_in_seconds(at_replica):
    # one image is two requests, and its record a few more
    said = at_replica("plan", "image:69177634", "--rate", 20).out
    assert re.search(r"^at least 0\.\d s at 20 requests per second$", said, re.MULTILINE), said


def test_a_mirror_is_told_listed_and_never_fetched_twice(at_replica, replica_process):
    first = at_replica("mirror", SMALL, "--out", "out.zarr", *FAST, "--json")
    assert (first.code, first.json["n_committed"], first.json["failures"]) == (0, 10, [])
    n_images = len(replica_process.image_ids)
    again = at_replica("mirror", SMALL, "--out", "out.zarr", *FAST)
    assert (again.code, again.out, len(replica_process.image_ids)) == (0, "", n_images)
    assert "0 sections written, 10 already stored, 0 failed" in again.err
    assert at_replica("resume", "out.zarr").code == 0
    status = at_replica("status", "out.zarr")
    assert status.out.startswith("data set 900000005 image: 10 of 10 sections, ")
    assert "unfinished" not in status.out
    assert at_replica("status", "out.zarr", "--json").json["views"][0]["n_committed"] == 10
    assert "coronal planes of 80 x 114 voxels" in at_replica("info", "out.zarr").out
    described = at_replica("info", "out.zarr", "--json").json
    assert described["data_sets"][0]["registered"]["image"]["um"] == 100
    # the same words as in the store, for those who read it without asyncfetch
    root, data_set = (
        json.loads(Path("out.zarr", folder, "zarr.json").read_bytes())["attributes"]["asyncfetch"]
        for folder in ("", "data_sets/900000005")
    )
    assert described["data"] == root["data"]
    assert described["data_sets"][0]["citation"] == data_set["citation"]
    assert data_set["citation"].endswith(
        ", https://api.brain-map.org/api/v2/data/SectionDataSet/900000005.json"
    )
    assert data_set["citation"].startswith("Allen Institute for Brain Science, Allen Brain Atlas, ")
    sections = at_replica("info", "out.zarr", "--dataset", 900000005)
    assert len(sections.out.splitlines()) == 11
    assert len(at_replica("info", "out.zarr", "--dataset", 900000005, "--json").json) == 10
    nothing = at_replica("info", "out.zarr", "--dataset", 1, "--json")
    assert (nothing.code, nothing.json["error"]) == (4, "NotFoundError")


def test_a_run_leaves_its_events_and_its_metrics_in_files(at_replica, tmp_path):
    outcome = at_replica(
        "mirror", SMALL, "--out", "out.zarr", *FAST, "--log-json", "run.jsonl", "--metrics", "run.prom"
    )
    assert outcome.code == 0
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("run_started", "run_finished")
    assert sum(event["event"] == "section_committed" for event in events) == 10
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families((tmp_path / "run.prom").read_text())
        for sample in family.samples
    }
    assert samples["asyncfetch_requests_total", "image"] == 10
    refused = at_replica("mirror", SMALL, "--out", "out.zarr", *FAST, "--log-json", "no/such/folder")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "no/such/folder cannot be written" in refused.err


def test_a_file_of_selections_is_mirrored(at_replica, tmp_path):
    images = at_replica("mirror", SMALL, "--out", "all.zarr", *FAST, "--quiet", "--json")
    assert (images.code, images.err.count("\n")) == (0, 2)
    ids = [
        commit["image_id"]
        for commit in at_replica("info", "all.zarr", "--dataset", 900000005, "--json").json[:2]
    ]
    (tmp_path / "ids.txt").write_text("".join(f"image:{each}\n" for each in ids))
    some = at_replica("mirror", "@ids.txt", "--out", "some.zarr", *FAST, "--json")
    assert (some.code, some.json["n_committed"]) == (0, 2)


@pytest.mark.parametrize("unknown", ["dataset:1", "image:1"])
def test_an_id_that_the_api_does_not_know_matches_nothing(at_replica, unknown):
    done = at_replica("mirror", unknown, "--out", "out.zarr")
    assert done.code == 4
    assert f"failed: {unknown}: there is no " in done.err
    assert "http://127.0.0.1" in done.err
    # what the API does not know never comes, so there is nothing to resume
    assert "unfinished" not in at_replica("status", "out.zarr").out


def test_an_unknown_id_beside_a_known_one_is_listed_and_the_rest_is_done(at_replica):
    done = at_replica("mirror", SMALL, "dataset:1", "--out", "out.zarr", *FAST, "--json")
    assert (done.code, done.json["n_committed"]) == (3, 10)
    assert [(each["item"], each["error"]) for each in done.json["failures"]] == [
        ("dataset:1", "NotFoundError")
    ]


def test_no_server_is_said_shortly(invoke):
    done = invoke("mirror", "dataset:479", "--out", "out.zarr", "--base-url", "http://127.0.0.1:9")
    assert done.code == 5
    failed = done.err.splitlines()[-1]
    assert failed == (
        "failed: dataset:479: no connection to 127.0.0.1:9 (Connection refused); "
        "check the network and base_url, or ask again later"
    )
    assert max(map(len, done.err.splitlines())) < 200
    told = invoke("status", "out.zarr").out
    assert "an unfinished run of dataset:479, which asked http://127.0.0.1:9" in told
    go_on = "resume out.zarr --base-url http://127.0.0.1:9"
    assert f"1 unfinished run; continue with: asyncfetch {go_on}" in told
    as_json = invoke(*go_on.split(), "--json", "--quiet")
    assert as_json.code == 5
    assert "criteria=model::SectionDataSet" in as_json.json["failures"][0]["url"]


def test_pages_of_html_for_ever_mean_that_the_service_is_unavailable(invoke, start_replica):
    replica = start_replica(faults={"query": "html"})
    done = invoke("mirror", "dataset:479", "--out", "out.zarr", "--base-url", replica.base_url)
    assert done.code == 5
    assert "a page of HTML" in done.err
    assert "Site unavailable" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["479"], "'479' is not a valid selection: write dataset:ID"),
        (["dataset:"], "'dataset:' is not a valid selection"),
        (["dataset:12a"], "is not a valid selection"),
        (["dataset:" + "9" * 5000], "is not a valid selection"),
        (["gene:Pv'alb"], "is not a valid selection"),
        (["@none.txt"], "none.txt cannot be read: No such file or directory"),
        ([SMALL, "--um", "0"], "--um 0 is not allowed: a pitch in micrometres greater than 0"),
        ([SMALL, "--um", "x"], "--um x is not allowed"),
        ([SMALL, "--um", "nan"], "--um nan is not allowed"),
        ([SMALL, "--downsample", "-1"], "--downsample -1 is not allowed: a number of halvings"),
        (
            [SMALL, "--layers", "foo"],
            "--layers foo is not allowed: one or more of source, sections",
        ),
        ([SMALL, "--layers", ""], "--layers '' is not allowed: one or more of source"),
        ([SMALL, "--view", "front"], "--view front is not allowed"),
        ([SMALL, "--codec", "zip"], "--codec zip is not allowed: one of zstd"),
        ([SMALL, "--jobs", "0"], "--jobs 0 is not allowed"),
        ([SMALL, "--jobs", "two"], "--jobs two is not allowed"),
        ([SMALL, "--rate", "0"], "--rate 0 is not allowed"),
        ([SMALL, "--memory", "1"], "--memory 1 is not allowed: a size of at least 16MiB"),
        ([SMALL, "--memory", "much"], "--memory 'much': write a size such as 1GiB"),
        ([SMALL, "--base-url", "ftp://x"], "--base-url "),
        ([SMALL, "--config", "none.toml"], "none.toml cannot be read: No such file or directory"),
        ([SMALL, "--config", "broken.toml"], "broken.toml is not a valid TOML file"),
        ([SMALL, "--config", "wrong.toml"], "wrong.toml: there is no setting 'jbos'"),
        ([SMALL, "--config", "range.toml"], "range.toml: jobs = 0 is not allowed"),
        ([SMALL, "--config", "table.toml"], "table.toml: jobs = "),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_made(invoke, tmp_path, arguments, words):
    (tmp_path / "broken.toml").write_text("jobs = ")
    (tmp_path / "wrong.toml").write_text("jbos = 3")
    (tmp_path / "range.toml").write_text("jobs = 0")
    (tmp_path / "table.toml").write_text("[jobs]\nn = 3")
    done = invoke("mirror", *arguments, "--out", "out.zarr", "--json")
    assert (done.code, done.json["error"]) in {(2, "SelectionError"), (2, "SettingsError")}
    assert done.err.startswith("error: ")
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("ASYNCFETCH_JBOS", "3", "environment variable ASYNCFETCH_JBOS: there is no setting 'jbos'"),
        ("ASYNCFETCH_JOBS", "0", "environment variable ASYNCFETCH_JOBS: jobs = 0 is not allowed"),
    ],
)
def test_a_wrong_variable_is_named(invoke, variable, value, words):
    done = invoke("mirror", SMALL, "--out", "out.zarr", **{variable: value})
    assert done.code == 2
    assert words in done.err


def test_a_file_of_settings_is_read_and_arguments_go_before_it(at_replica, tmp_path):
    (tmp_path / "settings.toml").write_text(
        'layers = ["source"]\nrequests_per_s = 1000\nviews = ["expression"]\n'
    )
    done = at_replica(
        "mirror", SMALL, "--out", "out.zarr", "--config", "settings.toml", "--view", "image", "--json"
    )
    assert (done.code, done.json["n_committed"]) == (0, 10)
    view = at_replica("status", "out.zarr", "--json").json["views"][0]
    assert (view["view"], view["layers"]) == ("image", ["source"])


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file.txt/out.zarr", "a part of the path is a file"),
        ("file.txt", "is a file; a store is a directory"),
        ("full", "is not an asyncfetch store and is not empty: it holds thesis.tex"),
        ("other.zarr", "is a Zarr store of another kind"),
    ],
)
def test_a_place_that_is_no_store_of_ours_is_left_as_it_is(invoke, tmp_path, place, words):
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    zarr.create_group(str(tmp_path / "other.zarr"))
    before = sorted(map(str, tmp_path.rglob("*")))
    for arguments in (
        ["mirror", SMALL, "--out", place],
        ["resume", place],
        ["status", place],
        ["info", place],
    ):
        done = invoke(*arguments, "--json")
        assert (done.code, done.json["error"][:5]) == (1, "Store"), arguments
        assert words in done.err
        assert len(done.err.splitlines()) == 1
    assert sorted(map(str, tmp_path.rglob("*"))) == before


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("memory", "use ./memory"),
        ("memory://", "cannot be opened"),
        ("hdfs://host/a.zarr", "not a kind of address"),
        ("", "an empty name"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ("mirror", SMALL, "--base-url", "http://127.0.0.1:9", "--out"),
        ("plan", SMALL, "--base-url", "http://127.0.0.1:9", "--out"),
        *[(name,) for name in ("resume", "status", "info", "rebuild", "volume", "preview", "serve")],
    ],
    ids=" ".join,
)
def test_a_place_that_is_no_directory_is_refused_by_every_command(invoke, tmp_path, command, place, words):
    outcome = invoke(*command, place)
    assert (outcome.code, words in outcome.err) == (2, True), outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("s3://bucket/brains.zarr", "there are no credentials; set AWS_ACCESS_KEY_ID"),
        ("gs://bucket/brains.zarr", "there are no credentials; set GOOGLE_APPLICATION_CREDENTIALS"),
    ],
)
@pytest.mark.parametrize(
    "command", [("mirror", SMALL, "--base-url", "http://127.0.0.1:9", "--out"), ("status",)]
)
def test_object_storage_without_credentials_is_named_with_what_to_set(
    invoke, tmp_path, monkeypatch, command, place, words
):
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_"))]:
        monkeypatch.delenv(name)
    outcome = invoke(*command, place)
    assert (outcome.code, words in outcome.err) == (1, True), outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["resume", "status", "info"])
def test_a_store_that_is_not_there_is_not_made(invoke, tmp_path, name):
    done = invoke(name, "none.zarr", "--json")
    assert (done.code, done.json["error"]) == (1, "StoreAccessError")
    assert "there is no store at" in done.err
    assert not (tmp_path / "none.zarr").exists()


def test_another_pitch_for_the_same_planes_is_refused_and_changes_nothing(
    at_replica, tmp_path, stored_objects
):
    assert at_replica("mirror", SMALL, "--out", "out.zarr", *FAST).code == 0
    before = stored_objects(tmp_path / "out.zarr")
    done = at_replica("mirror", SMALL, "--out", "out.zarr", "--um", "50")
    assert done.code == 2
    assert "is registered in out.zarr with um = 100.0, not 50.0" in done.err
    assert done.err.rstrip().endswith("asyncfetch rebuild out.zarr --dataset 900000005 --um 50")
    after = stored_objects(tmp_path / "out.zarr")
    assert {name for name in after if after[name] != before.get(name)} <= {"zarr.json"}


def test_a_port_in_use_is_named(invoke, replica_process):
    port = replica_process.base_url.rpartition(":")[2]
    done = invoke("serve", "--port", port)
    assert done.code == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.err


def test_a_reader_that_goes_away_is_no_error(command, replica_process):
    place = command.folder / "out.zarr"
    anyio.run(lambda: mirror(SMALL, place, base_url=replica_process.base_url, um=100, requests_per_s=1000))
    process = command.start("info", place, "--dataset", "900000005", "--json")
    # long before the first byte is written
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(20) == 0


def test_help_and_version_answer(invoke):
    assert "mirror" in invoke("--help").out
    assert invoke("--version").out.startswith("asyncfetch ")
