"""Replies and stores changed at random: nothing ends in a traceback, hangs, grows, or reaches outside its store.

``FUZZ_INPUTS`` sets how many inputs are tried (10 000, half of them replies and half stores), ``FUZZ_SEED`` where they
begin. An input that fails is named by its seed, and ``FUZZ_INPUTS=1 FUZZ_SEED=…`` tries it alone.
"""

from __future__ import annotations

import contextlib
import copy
import faulthandler
import functools
import io
import itertools
import json
import os
import random
import re
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import typer

import asyncfetch
from asyncfetch.cli.app import app, register_commands
from asyncfetch.engine.transport import AiohttpTransport, Reply
from asyncfetch.errors import AsyncFetchError, NotFoundError
from asyncfetch.mirroring import parse_selection, resume, verify, volume
from asyncfetch.mirroring.runs import begin_run
from asyncfetch.replica import MirroredAtlas, open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings
from asyncfetch.store import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

resource = pytest.importorskip("resource")

DATA_SET = 900000004
N_SECTIONS = 4
N_INPUTS = int(os.environ.get("FUZZ_INPUTS", "10000"))
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
BUDGET_BYTES = 2**26
#: What a run may take beyond its budget.
BESIDE_BYTES = 300 * 10**6
#: After which time an input counts as one that never ends; a busy machine takes a second.
PATIENCE_S = 60
EXIT_CODES = {0, 1, 2, 3, 4, 5, 6, 130}

# Values that a field of a record or of a store's metadata never has, or only just has.
HOSTILE: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**30,
    0.0,
    -0.5,
    1e-300,
    1e300,
    1.7976931348623157e308,
    float("nan"),
    -float("inf"),
    "",
    "nan",
    "Infinity",
    "../../other.zarr",
    "/etc/hostname",
    "image/../../..",
    "\x1b[2J\x07",
    "\u202egnp.exe\u2066",
    "\ud800",
    "x" * 100_000,
    [],
    [[]],
    {},
    {"id": 1},
    [None],
    [1e308] * 12,
    list(range(1000)),
)


def rss_bytes() -> int:
    """Return the most memory that this process has had resident; KiB on Linux."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def changed_bytes(data: bytes, draw: random.Random) -> bytes:
    """Return bytes that are flipped, cut, doubled, emptied or filled at random."""
    if not data:
        return draw.randbytes(20)
    at = draw.randrange(len(data))
    to = min(len(data), at + draw.choice((1, 2, 8, 100, len(data))))
    kind = draw.randrange(7)
    if kind == 0:
        return data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :]
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[to:]
    if kind == 3:
        return data[:to] + data[at:]
    if kind == 4:
        return b""
    if kind == 5:
        return data[:at] + draw.randbytes(to - at) + data[to:]
    return bytes(len(data))


def changed_value(value: Any, draw: random.Random) -> Any:
    """Return a JSON value with one part of it, at any depth, changed, left out or doubled."""
    root = copy.deepcopy(value)
    holder: dict[Any, Any] | list[Any] = {"": root}
    key: Any = ""
    while isinstance(holder[key], dict | list) and holder[key] and draw.random() < 0.85:
        holder = holder[key]
        key = draw.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    kind = draw.randrange(8)
    if kind == 0:
        del holder[key]
        return root if key != "" else None
    if kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 2 and isinstance(holder, dict):
        holder[draw.choice(("", "id", "__class__", "x" * 50))] = copy.deepcopy(holder[key])
    elif kind == 3 and isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
        holder[key] = holder[key] * draw.choice((-1, 2, 0.5, 1e6, 1 + 1e-9))
    else:
        holder[key] = copy.deepcopy(draw.choice(HOSTILE))
    return holder[""] if key == "" else root


def segments_of(jpeg: bytes) -> list[bytes]:
    """Return the parts of a JPEG: its marker segments, each with the entropy-coded data after it."""
    # within coded data only restarts (D0 to D7) and stuffed zeros come after FF
    starts = [match.start() for match in re.finditer(rb"\xff[\xc0-\xcf\xd8-\xfe]", jpeg)]
    return [jpeg[start:end] for start, end in itertools.pairwise([*starts, len(jpeg)])] or [jpeg]


def changed_jpeg(data: bytes, draw: random.Random) -> bytes:
    """Return a JPEG changed as bytes, or one of whose segments says something else, is gone, doubled or moved."""
    if draw.random() < 0.5:
        return changed_bytes(data, draw)
    parts = segments_of(data)
    at = draw.randrange(len(parts))
    kind = draw.randrange(6)
    if kind == 0:
        del parts[at]
    elif kind == 1:
        parts[at:at] = [parts[at]] * draw.choice((1, 3, 2000))
    elif kind == 2:
        draw.shuffle(parts)
    elif kind == 3:
        # a scan of another kind, or a size of another order
        (frame,) = [k for k, part in enumerate(parts) if part[:2] == b"\xff\xc0"][:1] or [at]
        header = bytearray(parts[frame].ljust(9, b"\0"))
        header[draw.choice((1, 4, 5, 6, 7, 8))] = draw.choice((0, 1, 0xC2, 0xC9, 0xFF))
        parts[frame] = bytes(header)
    elif kind == 4:
        header = bytearray(parts[at].ljust(6, b"\0"))
        header[draw.randrange(1, min(len(header), 20))] = draw.randrange(256)
        parts[at] = bytes(header)
    else:
        # a restart interval, or a comment as long as can be
        parts[at:at] = [draw.choice((b"\xff\xdd\0\4\0\1", b"\xff\xfe\xff\xff" + bytes(65533)))]
    return b"".join(parts)


def changed_encoding(data: bytes, draw: random.Random) -> bytes:
    """Return a document that is written in another way, or another document altogether."""
    return draw.choice(
        (
            b"\xef\xbb\xbf" + data,
            data.decode(errors="replace").encode("utf-16"),
            b"[" * 100_000,
            b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
            b"<html><body>502 Bad Gateway</body></html>",
            re.sub(rb"\d+", b"1e400", data, count=draw.choice((1, 0))),
            re.sub(rb"\d+", b"9" * 5000, data, count=1),
            re.sub(rb"{", b'{"id": 7, "id": 8, "zarr_format": 2, ', data, count=draw.choice((1, 0))),
            data + data,
        )
    )


def changed_document(data: bytes, draw: random.Random) -> bytes:
    """Return a JSON document changed as a value, as bytes, or written in another way."""
    die = draw.random()
    if die < 0.3:
        return changed_bytes(data, draw)
    if die < 0.4:
        return changed_encoding(data, draw)
    value = json.loads(data)
    for _ in range(draw.choice((1, 1, 1, 2, 5))):
        value = changed_value(value, draw)
    return json.dumps(value).encode("utf-8", "surrogatepass")


class Recorder:
    """A transport that keeps every reply of another."""

    def __init__(self, inner: AiohttpTransport) -> None:
        self._inner = inner
        self.replies: dict[str, Reply] = {}

    async def fetch(self, url: str, *args: Any, **kwargs: Any) -> Reply:
        reply = await self._inner.fetch(url, *args, **kwargs)
        self.replies[url] = reply
        return reply

    async def aclose(self) -> None:
        await self._inner.aclose()


class Replayer:
    """A transport that answers from kept replies, some of which are changed where there is a die."""

    def __init__(self, replies: dict[str, Reply], draw: random.Random | None) -> None:
        self._replies = replies
        self._draw = draw or random.Random(0)
        n_victims = 0 if draw is None else draw.choice((1, 1, 2, len(replies)))
        self._victims = set(self._draw.sample(sorted(replies), n_victims))
        self._changed: dict[str, bytes] = {}

    async def fetch(self, url: str, limit_bytes: int, *args: Any, **kwargs: Any) -> Reply:
        await anyio.lowlevel.checkpoint()
        reply = self._replies.get(url)
        if reply is None:
            raise NotFoundError("it was never asked for", url=url)
        if url not in self._victims:
            return reply
        if url not in self._changed:
            is_image = reply.body[:2] == b"\xff\xd8"
            change = changed_jpeg if is_image else changed_document
            self._changed[url] = change(bytes(reply.body), self._draw)
        return reply._replace(body=self._changed[url])

    async def aclose(self) -> None:
        pass


@contextlib.contextmanager
def ends_in_time(seed: int) -> Iterator[None]:
    """End the process with all stacks where an input never comes to its end: native code cannot be interrupted."""
    print(f"seed {seed}", file=sys.stderr)
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def settings_of(base_url: str) -> Settings:
    return Settings(
        base_url=base_url,
        um=100,
        layers=("source", "sections", "registered"),
        requests_per_s=1e5,
        memory_bytes=BUDGET_BYTES,
        attempts=2,
        retry_base_s=1e-3,
        outage_patience_s=0.05,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Settings, dict[str, Reply], Path]:
    """Return the settings, replies and store of an undisturbed mirror with a volume and an unfinished run."""
    place = tmp_path_factory.mktemp("fuzz") / "peace.zarr"

    async def go() -> tuple[Settings, dict[str, Reply]]:
        async with open_replica(sample_atlas(), cache_folder=place.parent) as replica:
            settings = settings_of(replica.base_url)
            recorder = Recorder(AiohttpTransport(settings))
            report = await asyncfetch.mirror(
                f"dataset:{DATA_SET}", place, settings=settings, transport=recorder
            )
            assert (report.n_committed, report.failures) == (N_SECTIONS, [])
        await volume(place, DATA_SET)
        writer = StoreWriter.open(place, command="mirror")
        begin_run(writer, parse_selection(f"dataset:{DATA_SET}"), settings)
        writer.close()
        return settings, recorder.replies

    settings, replies = anyio.run(go)
    return settings, replies, place


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_changed_replies_end_in_a_report_or_an_error_of_ours(kept):
    settings, replies, _ = kept
    before = rss_bytes()
    selection = f"dataset:{DATA_SET}"
    for seed in range(FIRST_SEED, FIRST_SEED + max(1, N_INPUTS // 2)):
        transport = Replayer(replies, random.Random(seed))
        run = partial(asyncfetch.mirror, selection, "memory", settings=settings, transport=transport)
        with ends_in_time(seed):
            try:
                report = anyio.run(run)
            except AsyncFetchError:
                continue
        told = report.failures or report.unplaced or report.notes
        assert report.n_committed == N_SECTIONS or told, f"seed {seed}: sections are lost in silence"
    assert rss_bytes() - before < BUDGET_BYTES + BESIDE_BYTES


def tree(folder: Path | str, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Return what tells of each path below a folder whether it was touched."""
    found: dict[str, tuple[int, ...]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            stat = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                found[prefix + entry.name] = (stat.st_mode,)
                found |= tree(entry.path, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = (stat.st_mode, stat.st_size, stat.st_mtime_ns)
    return found


def change_path(store: Path, name: Path, outside: Path, draw: random.Random) -> None:
    """Change what a file says, or put something else in its place or in that of a folder above it."""
    path = store / name
    folders = [store / each for each in name.parents if each.name]
    kind = draw.randrange(15)
    if any(each.is_symlink() for each in (path, *folders)):
        # what it leads to is not of the store
        return
    with contextlib.suppress(ValueError, OSError):
        if kind == 14:
            # as long as memory has no room for, though it takes none on the disk
            os.truncate(path, 2**31)
        elif kind > 5:
            is_jpeg = "source" in name.parts and path.name != "zarr.json"
            change = (
                changed_jpeg if is_jpeg else changed_document if path.name == "zarr.json" else changed_bytes
            )
            path.write_bytes(change(path.read_bytes(), draw))
        elif kind == 5:
            # what another file of the same store says
            path.write_bytes(draw.choice(sorted(store.rglob(path.name))).read_bytes())
        elif kind == 4 and folders:
            folder = draw.choice(folders)
            shutil.rmtree(folder)
            folder.symlink_to(draw.choice(sorted(each for each in outside.rglob("*") if each.is_dir())))
        else:
            path.unlink()
            if kind == 1:
                path.mkdir()
            elif kind == 2:
                os.mkfifo(path)
            elif kind == 3:
                path.symlink_to(draw.choice(sorted(outside.rglob("zarr.json"))))


def restore(store: Path, peace: Path, wanted: dict[str, tuple[int, ...]]) -> None:
    """Make a store again what it was copied from: only what differs is copied."""
    found = tree(store)
    for name in sorted(found, reverse=True):
        if found[name] != wanted.get(name):
            path = store / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for name in sorted(wanted):
        if not (store / name).exists():
            if (peace / name).is_dir():
                (store / name).mkdir()
            else:
                shutil.copy2(peace / name, store / name)


@functools.cache
def command_line() -> Any:
    """Return the commands; typer would make them again for each call."""
    register_commands()
    return typer.main.get_command(app)


def run_command(*arguments: object) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it printed."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict", write_through=True)
    code = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            command_line().main([str(each) for each in arguments], standalone_mode=True)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
    printed.flush()
    return code, printed.buffer.getvalue().decode()


async def serve_and_ask(store: Path) -> None:
    """Serve a store, and ask for a record, a query, an image and a point."""
    import aiohttp

    try:
        atlas = MirroredAtlas(asyncfetch.open(store))
    except AsyncFetchError:
        return
    image = DATA_SET + 1000
    async with open_replica(atlas) as replica, aiohttp.ClientSession() as session:
        for path in (
            f"/api/v2/data/SectionDataSet/{DATA_SET}.json?include=alignment3d,section_images(alignment2d)",
            f"/api/v2/data/query.json?criteria=model::SectionImage,rma::criteria,[data_set_id$eq{DATA_SET}]",
            f"/api/v2/section_image_download/{image}?downsample=3",
            f"/api/v2/image_download/{image}?left=64&top=32&width=200&height=100",
            f"/api/v2/reference_to_image/10.json?x=5000&y=3000&z=5000&section_data_set_ids={DATA_SET}",
            f"/api/v2/image_to_reference/{image}.json?x=1&y=2",
        ):
            async with session.get(replica.base_url + path) as reply:
                await reply.read()
                assert reply.status in {200, 404, 500}, path


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_changed_stores_end_in_an_exit_code_and_one_line(kept, tmp_path, monkeypatch):
    # the server of the kept replies has gone
    monkeypatch.setenv("ASYNCFETCH_ATTEMPTS", "1")
    monkeypatch.setenv("ASYNCFETCH_OUTAGE_PATIENCE_S", "0.05")
    settings, replies, peace = kept
    files = sorted(path.relative_to(peace) for path in peace.rglob("*") if path.is_file())
    outside = tmp_path / "beside"
    shutil.copytree(peace, outside / "other.zarr")
    untouched = tree(outside)
    before = rss_bytes()
    store = tmp_path / "store.zarr"
    shutil.copytree(peace, store)
    whole = tree(store)
    picture = tmp_path / "picture.png"
    asked = ("--base-url", settings.base_url, "--quiet", "--rate", "1000")
    point = ("--image", DATA_SET + 1000, "--x", 1, "--y", 2)

    async def mirror() -> None:
        report = await asyncfetch.mirror(
            f"dataset:{DATA_SET}", store, settings=settings, transport=Replayer(replies, None)
        )
        n_stored = report.n_committed + report.n_skipped
        assert n_stored == N_SECTIONS or report.failures, "sections are lost in silence"

    async def go_on() -> None:
        await resume(store, settings=settings, transport=Replayer(replies, None))

    async def repair() -> None:
        await verify(store, repair=True, full=True, settings=settings, transport=Replayer(replies, None))

    verbs = {"mirror": mirror, "go on": go_on, "repair": repair, "serve": partial(serve_and_ask, store)}
    commands = {
        "status": (("status", store), ("runs", store), ("status", store, "--json")),
        "info": (("info", store), ("info", store, "--dataset", DATA_SET), ("info", store, "--json")),
        "preview": (
            ("preview", store, "-o", picture, "--dataset", DATA_SET),
            ("preview", store, "-o", picture, "--dataset", DATA_SET, "--volume"),
        ),
        "sync": (("sync", "image-to-reference", "--store", store, *point),),
        "audit": (("audit", "--store", store, "--base-url", settings.base_url, "--points", 2),),
        "volume": (("volume", store, "--dataset", DATA_SET),),
        "coarser volume": (("volume", store, "--dataset", DATA_SET, "--um", 200),),
        "rebuild": (("rebuild", store, "--um", 200), ("rebuild", store, "--layers", "sections")),
        "resume": (("resume", store, *asked),),
        "verify": (("verify", store), ("verify", store, "--full", "--json")),
        "dismiss": (("runs", store, "--json"), ("runs", store, "--dismiss", "all")),
        **dict.fromkeys(verbs, ()),
    }
    for seed in range(FIRST_SEED, FIRST_SEED + max(1, N_INPUTS // 2)):
        draw = random.Random(seed)
        for _ in range(draw.choice((1, 1, 1, 3))):
            change_path(store, draw.choice(files), outside, draw)
        name = draw.choice(list(commands))
        with ends_in_time(seed):
            if name in verbs:
                with contextlib.suppress(AsyncFetchError):
                    anyio.run(verbs[name])
            for arguments in commands[name]:
                code, printed = run_command(*arguments)
                assert code in EXIT_CODES, (seed, name, code, printed)
                assert "Traceback" not in printed, (seed, name, printed)
                assert "report it" not in printed, (seed, name, printed)
        assert tree(outside) == untouched, (seed, name)
        restore(store, peace, whole)
        if seed % 100 == 0:
            print(f"{seed - FIRST_SEED + 1} stores", file=sys.__stderr__, flush=True)
    assert rss_bytes() - before < BUDGET_BYTES + BESIDE_BYTES
