"""AllenSDK and atldld, as they come from PyPI, each in an environment of its own; see the nox session ``peers``."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


class PeerError(Exception):
    """An error of the peer, by its own name."""


class Peer:
    """Calls into another environment; see remote.py."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        self.folder = folder

    def call(self, target: str, *args: Any, **kwargs: Any) -> Any:
        return _loaded(self._ask(target=target, args=args, kwargs=kwargs, keep=False))

    def make(self, target: str, *args: Any, **kwargs: Any) -> Kept:
        return Kept(self, self._ask(target=target, args=args, kwargs=kwargs, keep=True))

    def read(self, target: str) -> Any:
        return _loaded(self._ask(target=target, keep=False))

    def hold(self, target: str) -> Kept:
        return Kept(self, self._ask(target=target, keep=True))

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request, default=_sent) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        if "error" in reply:
            raise PeerError(f"{reply['error']}: {reply['message']}")
        return reply["result"]


class Kept:
    """An object that stays in the other environment."""

    def __init__(self, peer: Peer, number: int) -> None:
        self.peer = peer
        self.number = number

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return self.peer.call(f"#{self.number}:{name}", *args, **kwargs)

    def make(self, name: str, *args: Any, **kwargs: Any) -> Kept:
        return self.peer.make(f"#{self.number}:{name}", *args, **kwargs)

    def read(self, name: str) -> Any:
        return self.peer.read(f"#{self.number}:{name}")

    def set(self, name: str, value: Any) -> None:
        self.peer.call("builtins:setattr", self, name, value)


def _sent(value: Any) -> Any:
    return {"$object": value.number} if isinstance(value, Kept) else str(value)


def _loaded(value: Any) -> Any:
    if isinstance(value, list):
        return [_loaded(each) for each in value]
    if isinstance(value, dict):
        if "$array" in value:
            return np.load(value["$array"])
        return {name: _loaded(each) for name, each in value.items()}
    return value


@contextlib.contextmanager
def running(command: list[str | Path], **options: Any) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options) as process:
        try:
            yield process
        finally:
            process.terminate()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def python_of(name: str) -> str:
    variable = f"PEER_{name.upper()}"
    if variable not in os.environ:
        pytest.skip(f"{variable} names no Python that has {name}; the nox session peers makes one")
    return os.environ[variable]


@contextlib.contextmanager
def open_peer(python: str, folder: Path, **environment: str) -> Iterator[Peer]:
    command: list[str | Path] = [python, HERE / "remote.py", folder]
    with running(command, stdin=subprocess.PIPE, env=os.environ | environment) as process:
        yield Peer(process, folder)


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """Return the address of a replica that serves the sample atlas."""
    if not any(f"PEER_{name}" in os.environ for name in ("ALLENSDK", "ATLDLD")):
        pytest.skip("there is no peer; the nox session peers makes them")
    with running([sys.executable, "-m", "asyncfetch.replica"]) as process:
        yield first_line(process)


@pytest.fixture(scope="session")
def allensdk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with open_peer(python_of("allensdk"), tmp_path_factory.mktemp("allensdk")) as peer:
        yield peer


@pytest.fixture(scope="session")
def atldld_environment(base_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment in which a client of https://api.brain-map.org talks to the replica alone."""
    folder = tmp_path_factory.mktemp("atldld")
    with running([sys.executable, HERE / "tls_proxy.py", base_url, folder]) as process:
        found = json.loads(first_line(process))
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), found["proxy"])
        yield {
            **proxies,
            "NO_PROXY": "",
            "no_proxy": "",
            "REQUESTS_CA_BUNDLE": found["bundle"],
            "XDG_CACHE_HOME": str(folder),
        }


@pytest.fixture(scope="session")
def atldld(atldld_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with open_peer(python_of("atldld"), tmp_path_factory.mktemp("arrays"), **atldld_environment) as peer:
        yield peer


@pytest.fixture
def atldld_command(atldld_environment: dict[str, str], tmp_path: Path):
    """Run the command line of atldld in an empty folder and return what it prints."""
    python = python_of("atldld")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [python, "-m", "atldld", *arguments],
            env=os.environ | atldld_environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
