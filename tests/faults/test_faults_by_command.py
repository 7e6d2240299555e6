"""Two commands: a replica that plays a plan of faults from a file, and a mirror of it that says what it lacks."""

from __future__ import annotations

import json
import re
import signal
from functools import partial

import anyio
import pytest

from asyncfetch import Settings
from asyncfetch.mirroring import resume

DATA_SET = "dataset:900000004"
HTML, CUT, PASSES = 900001004, 900002004, 900003004
PLAN = f"""
seed = 7

[[faults]]
kind = "html"
ids = [{HTML}]

[[faults]]
kind = "cut-jpeg"
ids = [{CUT}]

[[faults]]
kind = "status:429"
ids = [{PASSES}]
times = 1
retry_after = "0"

[[faults]]
kind = "transient"
on = "query"
times = 1
"""
WORDS = {HTML: "the body is not a JPEG; it begins with '<html>", CUT: "does not decode"}


@pytest.fixture(scope="module")
def mirrored(command_in, tmp_path_factory):
    """Return a mirror of a faulty server, both of them commands: how it ended, its folder, and the server's log."""
    command = command_in(tmp_path_factory.mktemp("mirrored"))
    (command.folder / "plan.toml").write_text(PLAN)
    server = command.start("serve", "--port", 0, "--faults", "plan.toml", "--log", "log.jsonl")
    address = re.search(r"http://\S+:\d+", server.stderr.readline())
    assert address is not None
    done = command(
        *("mirror", DATA_SET, "--out", "out.zarr", "--um", 200, "--rate", 1000),
        *("--base-url", address.group()),
        ASYNCFETCH_ATTEMPTS="3",
        ASYNCFETCH_RETRY_BASE_S="0.01",
    )
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    log = [json.loads(line) for line in (command.folder / "log.jsonl").read_text().splitlines()]
    return done, command.folder / "out.zarr", log


def test_a_mirror_of_a_faulty_server_ends_with_3_and_says_which_and_why(mirrored):
    done, _, log = mirrored
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert "2 sections written, 0 already stored, 2 failed" in done.stderr
    failed = {line.split(": ")[1]: line for line in done.stderr.splitlines() if line.startswith("failed: ")}
    assert failed.keys() == {f"image:{image_id} image" for image_id in WORDS}
    for image_id, words in WORDS.items():
        assert words in failed[f"image:{image_id} image"]
    played = [(record["fault"], record["image_id"]) for record in log if record["kind"] == "image"]
    assert played.count(("html", HTML)) == played.count(("cut-jpeg", CUT)) == 3
    assert played.count(("status:429", PASSES)) == played.count((None, PASSES)) == 1


def test_what_is_missing_comes_from_a_server_that_is_well(mirrored, replica_process):
    _, store, _ = mirrored
    settings = Settings(requests_per_s=1000.0, base_url=replica_process.base_url)
    report = anyio.run(partial(resume, store, settings=settings))
    assert (report.n_committed, report.n_skipped, report.failures) == (2, 2, [])
