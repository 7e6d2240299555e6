from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager

import anyio
import pytest

from asyncfetch import mirroring
from asyncfetch.replica import open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

IMAGE = 900001005


@contextmanager
def serving(*arguments):
    """Run the command on a free port and yield the process and its address."""
    command = [sys.executable, "-m", "asyncfetch", "serve", "--port", "0", *map(str, arguments)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            line = process.stderr.readline()
            yield process, line, next(word for word in line.split() if word.startswith("http")).rstrip(";")
        finally:
            process.kill()


def fetch(url):
    # Nothing here may ask a proxy: the address is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=30) as reply:
        return reply.read()


def test_serve_answers_from_a_store_with_all_its_options_and_ends_on_interrupt(tmp_path):
    async def mirror():
        async with open_replica(sample_atlas()) as replica:
            settings = Settings.from_layers(
                {"base_url": replica.base_url, "requests_per_s": 1000.0, "downsample": 3, "layers": "source"}
            )
            await mirroring.mirror(f"image:{IMAGE}", tmp_path / "out.zarr", settings=settings)

    anyio.run(mirror)
    (tmp_path / "plan.toml").write_text('[[faults]]\nkind = "html"\ntimes = 1\n')
    options = ["--latency-ms", 5, "--bandwidth", "10MB", "--total-bandwidth", "20MB", "--rate-limit", 100]
    files = ["--faults", tmp_path / "plan.toml", "--log", tmp_path / "log.jsonl"]
    with serving(tmp_path / "out.zarr", *options, *files) as (process, line, base_url):
        assert str(tmp_path / "out.zarr") in line
        address = f"{base_url}/api/v2/image_download/{IMAGE}?downsample=3"
        assert b"Site unavailable" in fetch(address)
        assert fetch(address).startswith(b"\xff\xd8")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert process.stderr.read() == ""
    records = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["fault"] for record in records if record["kind"] == "image"] == ["html", None]


def test_a_name_is_answered_once_it_is_allowed():
    request = urllib.request.Request
    with serving("--allow-host", "lab.example", "--allow-host", "other.example") as (_, _, base_url):
        address = f"{base_url}/api/v2/data/enumerate.json"
        for name in ("lab.example", "other.example:80"):
            assert b"SectionImage" in fetch(request(address, headers={"Host": name}))
        with pytest.raises(urllib.error.HTTPError, match="421"):
            fetch(request(address, headers={"Host": "evil.example"}))


@pytest.mark.parametrize("command", [["asyncfetch", "serve", "--port", "0"], ["asyncfetch.replica"]])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_replica_that_is_drawing(command, number):
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            base_url = next(word for word in line.split() if word.startswith("http")).rstrip(";")
            with socket.create_connection(("127.0.0.1", int(base_url.rpartition(":")[2]))) as client:
                # 918 megapixels: a minute of drawing
                client.sendall(b"GET /api/v2/image_download/900001010 HTTP/1.1\r\nHost: localhost\r\n\r\n")
                location = client.recv(10_000).split(b"\r\nLocation: ")[1].split(b"\r\n")[0]
                path = location.partition(b"/cgi-bin")[2]
                client.sendall(b"GET /cgi-bin" + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while [record["kind"] for record in json.loads(fetch(f"{base_url}/replica/requests"))] != [
                    "download",
                    "image",
                ]:
                    pass
                process.send_signal(number)
                assert process.wait(timeout=15) == 0
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (["nothing-here.zarr"], "nothing-here.zarr", 1),
        (["--host", "192.0.2.1"], "warning: 192.0.2.1 can be reached from other machines", 2),
        (["--rate-limit", "0"], "requests_per_s", 2),
        (["--bandwidth", "fast"], "bandwidth = 'fast'", 2),
        (["--faults", "no-such-plan.toml"], "no-such-plan.toml", 2),
    ],
)
def test_what_cannot_be_served_is_said(arguments, words, code, monkeypatch, capsys):
    from asyncfetch.__main__ import main

    monkeypatch.setattr(sys, "argv", ["asyncfetch", "serve", "--port", "0", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == code
    assert words in capsys.readouterr().err
