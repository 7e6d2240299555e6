"""What every test shares."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from tests.object_storage import ObjectStorage

# what leads to servers elsewhere: the tests are about loopback, and none of them is to meet a proxy of this machine
for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
    del os.environ[_name]

RECORDED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def recorded() -> Path:
    """Return the folder of recorded answers of the real service, where it is at hand."""
    if not RECORDED.is_dir():
        pytest.skip("the recorded answers are not beside this checkout")
    return RECORDED


@pytest.fixture(scope="session")
def recorded_answers() -> dict[str, Any]:
    """Return answers of the live synchronization services, and the alignments that lead to them."""
    return json.loads((Path(__file__).parent / "data/recorded_answers.json").read_text(encoding="utf-8"))


def _environment(changes: dict[str, str]) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCFETCH_")}
    return ours | changes


_LIMITED = """
import resource
for number, most in {limits}.items():
    resource.setrlimit(number, (most, most))
from asyncfetch.cli import main
main()
"""


class Command:
    """``asyncfetch`` in processes of its own, without the settings of our environment."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack

    def __call__(
        self, *args: object, timeout: float = 150, **environment: str
    ) -> subprocess.CompletedProcess:
        process = self.start(*args, **environment)
        out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def start(
        self, *args: object, limits: dict[int, int] | None = None, **environment: str
    ) -> subprocess.Popen:
        """Start a command; `limits` are those of `resource`, by their number."""
        if limits:
            return self.start_script(_LIMITED.format(limits=limits), *args, **environment)
        return self._start("-m", "asyncfetch", *args, **environment)

    def start_script(self, script: str, *args: object, **environment: str) -> subprocess.Popen:
        """Start a script that runs a command with something changed around it."""
        # -B: a limit on files would cut the bytecode that is kept beside the sources for everyone
        return self._start("-B", "-c", script, *args, **environment)

    def _start(self, *args: object, **environment: str) -> subprocess.Popen:
        return self._stack.enter_context(
            _Killed(
                [sys.executable, *map(str, args)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self.folder,
                env=_environment(environment),
            )
        )


class _Killed(subprocess.Popen):
    def __exit__(self, *exc: object) -> None:
        self.kill()
        super().__exit__(*exc)


_FORKED = """
import os, sys
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)
os.dup2(out.fileno(), 1)
os.dup2(err.fileno(), 2)
sys.argv = ["asyncfetch", *arguments]
from asyncfetch.cli import main
main()
"""


class ForkedCommand(Command):
    """``asyncfetch`` in forks of a process that has imported it: a start takes milliseconds, not seconds."""

    def start(self, *args: object, **environment: str) -> ForkedProcess:
        return self._stack.enter_context(
            ForkedProcess([str(each) for each in args], str(self.folder), _environment(environment))
        )


class ForkedProcess:
    """A command in a fork, with what the tests use of Popen."""

    _context = multiprocessing.get_context("forkserver") if sys.platform != "win32" else None

    def __init__(self, args: list[str], folder: str, environment: dict[str, str]) -> None:
        self.args = args
        self._context.set_forkserver_preload(["asyncfetch.mirroring", "asyncfetch.cli.mirror", "zarr"])
        (out, out_of_child), (err, err_of_child) = (self._context.Pipe(duplex=False) for _ in range(2))
        names = {"arguments": args, "folder": folder, "environment": environment}
        names |= {"out": out_of_child, "err": err_of_child}
        self._process = self._context.Process(target=exec, args=(_FORKED, names))
        self._process.start()
        self.pid = self._process.pid
        self.stdout, self.stderr = (os.fdopen(os.dup(end.fileno())) for end in (out, err))
        for end in (out, out_of_child, err, err_of_child):
            end.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        # what they print fits into a pipe
        self.wait(timeout)
        return self.stdout.read(), self.stderr.read()

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._process.join()
        self._process.close()
        self.stdout.close()
        self.stderr.close()


class ReplicaProcess:
    """A replica in a process of its own, which a command that is killed does not take along."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.base_url = process.stdout.readline().strip()

    @property
    def requests(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.base_url}/replica/requests") as reply:
            return json.load(reply)

    @property
    def image_ids(self) -> list[int]:
        """The images whose bytes were asked for, in order."""
        return [request["image_id"] for request in self.requests if request["kind"] == "image"]


@pytest.fixture
def command(tmp_path):
    with ExitStack() as stack:
        yield Command(tmp_path, stack)


@pytest.fixture
def forked_command(tmp_path):
    """Return what runs commands in forks, for tests that start hundreds."""
    if sys.platform == "win32":
        pytest.skip("there are no forks")
    with ExitStack() as stack:
        yield ForkedCommand(tmp_path, stack)


@pytest.fixture(scope="session")
def command_in():
    """Return what runs commands in a folder, for the tests of a module together; they end with the tests."""
    with ExitStack() as stack:
        yield lambda folder: Command(folder, stack)


@pytest.fixture(scope="session")
def start_replica():
    """Return what starts replicas, which end with the tests: options in, ReplicaProcess out."""
    with ExitStack() as stack:

        def start(**options):
            text = json.dumps(options)
            process = stack.enter_context(
                _Killed([sys.executable, "-m", "asyncfetch.replica", text], stdout=subprocess.PIPE, text=True)
            )
            return ReplicaProcess(process)

        yield start


@pytest.fixture(scope="session")
def replica_process(start_replica):
    """A replica without faults for all tests together."""
    return start_replica()


def _without_times(data: bytes) -> bytes:
    value = json.loads(data)
    ours = value.get("attributes", {}).get("asyncfetch", {})
    ours.pop("time", None)
    for view in ours.get("summary", {}).values():
        for entry in view["entries"] if view else ():
            # a commit is as long as its time and the address of the server are
            del entry["n_bytes"]
    return json.dumps(value, sort_keys=True).encode()


@pytest.fixture(scope="module")
def object_storage(tmp_path_factory):
    """An S3 server on loopback with an empty bucket, for the tests of a module together."""
    pytest.importorskip("moto")
    with ObjectStorage(tmp_path_factory.mktemp("object-storage")) as storage:
        yield storage


@pytest.fixture
def in_storage(object_storage, monkeypatch):
    """The S3 server, with what reaches it in the environment; it behaves again when the test ends."""
    for name, value in object_storage.environment.items():
        monkeypatch.setenv(name, value)
    yield object_storage
    for fault in ("slow", "break", "full"):
        object_storage.tell(fault, 0)


@pytest.fixture(scope="session")
def stored_objects():
    """Return what reads all objects of a store by name, in a folder or as they are; times of commits are left out."""

    def read(store: Path | dict[str, bytes]) -> dict[str, bytes]:
        if not isinstance(store, dict):
            paths = [path for path in sorted(store.rglob("*")) if path.is_file()]
            store = {path.relative_to(store).as_posix(): path.read_bytes() for path in paths}
        return {
            name: _without_times(data) if name.rpartition("/")[2] == "zarr.json" else data
            for name, data in store.items()
        }

    return read
