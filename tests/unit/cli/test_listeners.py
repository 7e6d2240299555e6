"""The log of JSON lines and the metrics: what they hold, and what becomes of a run when they cannot be written."""

from __future__ import annotations

import json
import socket
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from asyncfetch.cli import listeners
from asyncfetch.cli.listeners import open_listeners
from asyncfetch.errors import SettingsError
from asyncfetch.events import (
    RequestFinished,
    RequestStarted,
    RunStarted,
    SectionCommitted,
    WindowChanged,
)

EVENTS = [
    RunStarted(selection=("dataset:7",), location="out.zarr"),
    RequestStarted(url="http://x/µ?a=1", kind="image", attempt=1),
    RequestFinished(
        url="http://x/µ?a=1", kind="image", attempt=1, status=200, size_bytes=5000, elapsed_s=0.5
    ),
    WindowChanged(before=4, after=8, reason="probe", goodput_bytes_per_s=1e6),
    SectionCommitted(data_set_id=7, image_id=1, view="image", size_bytes=5000, pixels=100),
]


def tell_all(log_path=None, metrics=None, events=EVENTS):
    with open_listeners(log_path, metrics) as listen:
        for event in events:
            listen(event)


def samples_of(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_event_is_one_line_with_its_time_and_its_name(tmp_path):
    path = tmp_path / "run.jsonl"
    before = datetime.now(UTC)
    tell_all(str(path))
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line["event"] for line in lines] == [
        "run_started",
        "request_started",
        "request_finished",
        "window_changed",
        "section_committed",
    ]
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert abs((times[0] - before).total_seconds()) < 20
    assert lines[2] | {"time": ""} == {
        "time": "",
        "event": "request_finished",
        "url": "http://x/µ?a=1",
        "kind": "image",
        "attempt": 1,
        "status": 200,
        "size_bytes": 5000,
        "elapsed_s": 0.5,
        "waited_window_s": 0.0,
        "waited_host_s": 0.0,
        "waited_rate_s": 0.0,
        # the old name, for one version
        "waited_place_s": 0.0,
    }


def test_a_log_is_added_to(tmp_path):
    path = tmp_path / "run.jsonl"
    tell_all(str(path))
    tell_all(str(path))
    assert len(path.read_text().splitlines()) == 2 * len(EVENTS)


def test_a_line_is_in_the_file_as_soon_as_it_is_told(tmp_path):
    path = tmp_path / "run.jsonl"
    with open_listeners(str(path), None) as listen:
        listen(EVENTS[0])
        assert path.read_text().endswith("}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_ends_the_log_and_not_the_run(capsys):
    tell_all("/dev/full")
    assert capsys.readouterr().err.splitlines() == ["the log /dev/full ends here: No space left on device"]


@pytest.mark.parametrize(("option", "name"), [("log_json", "log"), ("metrics", "metrics")])
def test_a_folder_that_does_not_exist_is_told_before_the_run(tmp_path, option, name):
    path = str(tmp_path / "missing" / "file")
    with pytest.raises(SettingsError, match=f"the {name} .*missing/file cannot be written") as caught:
        tell_all(**{"log_path" if option == "log_json" else option: path})
    assert caught.value.setting == option


def test_metrics_are_a_file_that_prometheus_reads(tmp_path):
    path = tmp_path / "run.prom"
    tell_all(metrics=str(path))
    samples = samples_of(path.read_text())
    assert samples["asyncfetch_requests_total", "image"] == 1
    assert samples["asyncfetch_received_bytes_total",] == 5000
    assert samples["asyncfetch_waiting_seconds_total", "server"] == 0.5
    assert samples["asyncfetch_window",] == 8
    assert samples["asyncfetch_request_seconds_count",] == 1
    assert samples["asyncfetch_request_seconds_sum",] == 0.5
    assert samples["asyncfetch_body_bytes_bucket", "10000.0"] == 1
    assert samples["asyncfetch_body_bytes_bucket", "+Inf"] == 1


def test_metrics_are_there_before_anything_happened(tmp_path):
    path = tmp_path / "run.prom"
    with open_listeners(None, str(path)):
        assert samples_of(path.read_text())["asyncfetch_received_bytes_total",] == 0


def test_metrics_are_written_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(listeners, "_EVERY_S", 0.0)
    path = tmp_path / "run.prom"
    with open_listeners(None, str(path)) as listen:
        listen(EVENTS[1])
        assert samples_of(path.read_text())["asyncfetch_requests_total", "image"] == 1


def test_metrics_of_a_run_that_ends_in_an_error_are_written_too(tmp_path):
    path = tmp_path / "run.prom"

    def fail():
        with open_listeners(None, str(path)) as listen:
            listen(EVENTS[1])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert samples_of(path.read_text())["asyncfetch_requests_total", "image"] == 1


def test_metrics_that_cannot_be_written_any_more_do_not_end_the_run(tmp_path, capsys):
    folder = tmp_path / "metrics"
    folder.mkdir()
    with open_listeners(None, str(folder / "run.prom")) as listen:
        (folder / "run.prom").unlink()
        folder.rmdir()
        listen(EVENTS[1])
    assert "run.prom cannot be written" in capsys.readouterr().err


def test_metrics_are_served_on_a_port_while_the_run_lasts(capsys):
    with open_listeners(None, ":0") as listen:
        for event in EVENTS:
            listen(event)
        url = capsys.readouterr().err.removeprefix("metrics at ").strip()
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as reply:
            samples = samples_of(reply.read().decode())
    assert samples["asyncfetch_requests_total", "image"] == 1
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.split(":")[2].partition("/")[0]))) != 0


def test_a_port_that_is_taken_is_told_before_the_run():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"served on port {port}") as caught:
            tell_all(metrics=f":{port}")
    assert caught.value.setting == "metrics"


def test_a_port_that_there_cannot_be_is_told_before_the_run():
    with pytest.raises(SettingsError, match="port 99999") as caught:
        tell_all(metrics=":99999")
    assert caught.value.setting == "metrics"


def test_without_either_nothing_is_kept():
    tell_all()
