"""Words of a server and of a store are shown escaped and short by every command; JSON keeps them as they are."""

from __future__ import annotations

import http.server
import json
import shutil
import threading
from contextlib import contextmanager

import anyio
import pytest
import typer.testing

from asyncfetch import mirror
from asyncfetch.cli import app, register_commands

register_commands()
SMALL = "dataset:900000005"
#: Moves the cursor, sets the title, turns the direction, hides, breaks the line and is long.
HOSTILE = "x\x1b[2J\x1b]0;t\x07\u202e\u2066\u200b\u2028\x9b1m\r\nerror: forged\t[bold]:smile:" + "y" * 9000
COMMANDS = [
    ["search", "--gene", "Pvalb"],
    ["search", "dataset:1"],
    ["plan", "dataset:1", "gene:Pvalb", "image:1", "atlas:1"],
    ["mirror", "dataset:1", "--out", "o"],
    ["image", "1"],
    ["outlines", "1"],
    ["sync", "image-to-reference", "--image", "1", "--x", "1", "--y", "1"],
]


def envelope(success, msg):
    rows = len(msg) if isinstance(msg, list) else 0
    body = {"success": success, "id": 0, "start_row": 0, "num_rows": rows, "total_rows": rows, "msg": msg}
    return 200, "OK", {"Content-Type": "application/json"}, json.dumps(body).encode()


RECORD = {
    "id": 1,
    "name": HOSTILE,
    "failed": False,
    "plane_of_section_id": 1,
    "reference_space_id": 9,
    "section_thickness": 25.0,
    "genes": [{"id": 1, "acronym": HOSTILE}],
    "products": [{"id": 1, "abbreviation": HOSTILE}],
    "section_images": [],
    "image_type": HOSTILE,
}
REPLIES = {
    "refusal": envelope(False, HOSTILE),
    "transient": envelope(False, f"{HOSTILE} Informatics service request failed {HOSTILE}"),
    "odd": envelope(True, HOSTILE),
    "list": envelope(False, [HOSTILE]),
    "record": envelope(True, [RECORD]),
    "page": (200, "OK", {"Content-Type": "text/html"}, f"<html>{HOSTILE}".encode()),
    "reason": (503, "x\x1b[2J\x9b" + "y" * 3000, {}, b""),
    "location": (302, "Found", {"Location": "http://x\x1b[2J\x9b" + "y" * 3000}, b""),
    "missing": (404, "Not Found", {}, HOSTILE.encode()),
}


@contextmanager
def answering(reply):
    """Answer every request with one reply, on a free port."""
    status, reason, headers, body = reply

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response_only(status, reason)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = typer.testing.CliRunner()
    environment = {
        "ASYNCFETCH_REQUESTS_PER_S": "1000",
        "ASYNCFETCH_ATTEMPTS": "1",
        "ASYNCFETCH_OUTAGE_PATIENCE_S": "0.1",
        "ASYNCFETCH_RETRY_BASE_S": "0.01",
        "ASYNCFETCH_TRACEBACK": "1",
    }

    def run(*args, **more):
        result = runner.invoke(app, [str(each) for each in args], env=environment | more)
        assert result.exception is None or isinstance(result.exception, SystemExit), args
        assert "internal error" not in result.stderr, (args, result.stderr)
        for line in (*result.stdout.split("\n"), *result.stderr.split("\n")):
            assert line.replace("\t", "").isprintable(), (args, line)
            assert not line.startswith("error: forged"), args
            assert len(line) < (20_000 if "--json" in args else 3000), args
        return result

    return run


@pytest.mark.parametrize("name", REPLIES)
def test_words_of_a_server_are_shown_escaped_and_short(invoke, name):
    with answering(REPLIES[name]) as base_url:
        for command in COMMANDS:
            invoke(*command, ASYNCFETCH_BASE_URL=base_url)


def test_json_keeps_the_words_as_they_came(invoke):
    with answering(REPLIES["record"]) as base_url:
        done = invoke("search", "--gene", "Pvalb", "--json", ASYNCFETCH_BASE_URL=base_url)
    assert json.loads(done.stdout)[0]["name"] == HOSTILE


@pytest.fixture(scope="module")
def store(tmp_path_factory, replica_process):
    place = tmp_path_factory.mktemp("hostile") / "out.zarr"
    anyio.run(lambda: mirror(SMALL, place, base_url=replica_process.base_url, um=200, requests_per_s=1000))
    return place


def _poisoned(value, names):
    if isinstance(value, dict):
        return {key: _poisoned(each, names) if key not in names else each for key, each in value.items()}
    if isinstance(value, list):
        return [_poisoned(each, names) for each in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


@pytest.mark.parametrize(
    "kept", [(), ("zarr_format", "node_type", "kind", "codec", "codecs", "data_type", "view")]
)
def test_words_of_a_store_are_shown_escaped_and_short(invoke, store, tmp_path, kept):
    documents = sorted(store.rglob("zarr.json"))
    for document in documents[:3] + documents[-2:]:
        place = tmp_path / "poisoned.zarr"
        shutil.copytree(store, place)
        path = place / document.relative_to(store)
        path.write_text(json.dumps(_poisoned(json.loads(path.read_text()), kept)))
        for command in (
            ["status"],
            ["info"],
            ["info", "--dataset", "900000005"],
            ["runs"],
            ["resume", "--quiet"],
        ):
            name, *options = command
            invoke(name, place, *options)
        shutil.rmtree(place)
