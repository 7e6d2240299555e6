"""What one user met can be played again elsewhere."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import anyio
import pytest
import typer.testing

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.engine import recording
from asyncfetch.errors import SettingsError
from asyncfetch.replica import QUERY, open_replica
from asyncfetch.replica.replay import Recording, open_replay

SMALL = 900000005
BROKEN_IMAGE = 900002005


async def _mirror(base_url, location):
    return await asyncfetch.mirror(
        f"dataset:{SMALL}", location, base_url=base_url, requests_per_s=1000.0, retry_base_s=0.001, attempts=2
    )


@pytest.fixture(scope="module")
def recorded_run(tmp_path_factory):
    """Return a recorded mirror: a folder with out.zarr and run.jsonl; one image came broken first, one query failed."""
    folder = tmp_path_factory.mktemp("recorded")

    async def go():
        faults = {BROKEN_IMAGE: ("html", 1), QUERY: ("transient", 1)}
        async with open_replica(faults=faults) as replica:
            (folder / "address").write_text(replica.base_url)
            with recording(folder / "run.jsonl"):
                return await _mirror(replica.base_url, folder / "out.zarr")

    assert anyio.run(go).n_committed == 10
    return folder


def test_a_recorded_mirror_replayed_gives_the_same_store(recorded_run, tmp_path, stored_objects):
    async def go():
        played = Recording(recorded_run / "run.jsonl")
        async with open_replay(played) as base_url:
            return base_url, await _mirror(base_url, tmp_path / "again.zarr")

    base_url, report = anyio.run(go)
    assert report.n_committed == 10
    assert not report.failures
    again, before = stored_objects(tmp_path / "again.zarr"), stored_objects(recorded_run / "out.zarr")
    assert list(again) == list(before)
    # commits name the address, and the root names the run
    here, there = base_url.encode(), (recorded_run / "address").read_bytes()
    differing = {name for name in before if before[name].replace(there, here) != again[name]}
    assert differing <= {"zarr.json"}


def test_a_recording_holds_redirects_failures_and_images(recorded_run):
    played = Recording(recorded_run / "run.jsonl")
    text = (recorded_run / "run.jsonl").read_text()
    found = [json.loads(line) for line in text.splitlines()[1:]]
    statuses = [each["status"] for each in found]
    # 10 images and one of them again, each with its redirect; at least three queries, one of them again
    assert statuses.count(302) == 11
    assert sum("base64" in each for each in found) == 10
    assert sum("Site unavailable" in each.get("text", "") for each in found) == 1
    assert sum("service request failed" in each.get("text", "") for each in found) == 1
    assert played.n_exchanges == len(found)
    assert played.n_unreadable == 0


def test_the_same_address_is_answered_in_the_order_of_recording_and_then_by_the_last_again(tmp_path):
    path = tmp_path / "r.jsonl"
    heading = {"format": "asyncfetch-recording", "version": 1}
    answers = [
        {
            "url": "https://api.example/a?b=1",
            "status": status,
            "headers": [["Retry-After", "7"]],
            "text": text,
        }
        for status, text in ((503, "later"), (200, "one"), (200, "two"))
    ]
    path.write_text("".join(json.dumps(each, separators=(",", ":")) + "\n" for each in [heading, *answers]))

    def ask(url):
        try:
            with urllib.request.urlopen(url) as reply:
                return reply.status, reply.read(), reply.headers["Retry-After"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers["Retry-After"]

    async def go():
        async with open_replay(Recording(path)) as base_url:
            got = [await asyncio.to_thread(ask, f"{base_url}/a?b=1") for _ in range(4)]
            return got, await asyncio.to_thread(ask, f"{base_url}/a?b=2")

    got, unknown = anyio.run(go)
    assert got == [(503, b"later", "7"), (200, b"one", "7"), (200, b"two", "7"), (200, b"two", "7")]
    assert unknown[0] == 404
    assert b"the recording has no answer for" in unknown[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "holds nothing"),
        ("words\n", "is not a recording"),
        ('{"format":"asyncfetch-recording","version":9}\n', "line 1 .* version 9"),
        ('{"format":"asyncfetch-recording","version":1}\n{"url":1}\n', "line 2 .* not an exchange"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_refused_with_what_is_wrong(tmp_path, content, words):
    path = tmp_path / "r.jsonl"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=words):
        Recording(path)


def test_a_command_keeps_its_answers_and_serve_replays_them(command, replica_process, tmp_path):
    register_commands()
    runner = typer.testing.CliRunner()
    search = ["search", f"dataset:{SMALL}", "--rate", "1000"]
    file = str(tmp_path / "run.jsonl")
    first = runner.invoke(app, [*search, "--base-url", replica_process.base_url, "--record", file])
    assert first.exit_code == 0
    server = command.start("serve", "--replay", file, "--port", "0")
    words = server.stderr.readline()
    base_url = words.split(" at ")[1].split(";")[0]
    second = runner.invoke(app, [*search, "--base-url", base_url])
    assert (second.exit_code, second.stdout) == (0, first.stdout)
    assert runner.invoke(app, ["search", "dataset:479", "--base-url", base_url]).exit_code == 4
    server.terminate()
    assert server.wait(10) == 0
