from __future__ import annotations

import json
import subprocess
import sys

import pytest

from asyncfetch.sample import LARGE_DATA_SET_ID, sample_atlas
from benchmarks.contenders import meter
from benchmarks.contenders.job import Job
from benchmarks.kinds import KINDS, OURS, images_of, megapixels_of
from benchmarks.peers import PEERS, peer_python
from benchmarks.whole_runs import ROOT


def test_a_job_travels_whole_as_an_argument():
    job = Job(
        "http://here", 1, "source,registered", "full", "zstd", "out", image_ids=[3], jobs=None, save=False
    )
    assert Job.from_json(job.to_json()) == job
    assert (job.does("registered"), job.does("sections")) == (True, False)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_every_kind_compares_ours_with_others_by_names_of_their_own(kind):
    names = [each.name for each in kind.contenders]
    assert names[0] == OURS
    assert len(set(names)) == len(names) > 1
    assert {each.peer for each in kind.contenders} - {None} <= set(PEERS)


def test_some_images_are_spread_over_the_data_set():
    every, some = images_of(123), images_of(123, 4)
    assert len(every) == 40
    assert [every.index(each) for each in some] == [5, 15, 25, 35]
    assert images_of(123, 100) == every
    assert megapixels_of(some) == pytest.approx(4 * 8992 * 4936 / 1e6)


def test_the_slow_link_carries_sixty_sections_that_are_all_aligned():
    ids = images_of(LARGE_DATA_SET_ID)
    aligned = {row["section_image_id"] for row in sample_atlas().tables["Alignment2d"]}
    assert len(ids) == 60
    assert set(ids) <= aligned


def test_a_peer_that_is_not_there_is_told_of(monkeypatch):
    monkeypatch.delenv("PEER_ATLDLD", raising=False)
    assert peer_python("atldld") == (
        None,
        "PEER_ATLDLD names no Python that has atldld; `uvx nox -s bench` makes one",
    )
    monkeypatch.setenv("PEER_ATLDLD", "/no/such/python")
    python, reason = peer_python("atldld")
    assert python is None
    assert "/no/such/python does not start" in reason
    monkeypatch.setenv("PEER_ATLDLD", sys.executable)
    python, reason = peer_python("atldld")
    assert python is None
    assert "cannot import atldld: ModuleNotFoundError" in reason


def test_memory_warmed_before_the_clock_does_not_count(tmp_path):
    source = (
        "import resource, sys\n"
        "from benchmarks.contenders.job import Job\n"
        "from benchmarks.contenders.meter import metered\n"
        # on Linux a process starts with the peak of the one that made it
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with metered(Job('', 1, 'source', 'full', 'zstd', sys.argv[1])) as figures:\n"
        "    pass\n"
        "assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1.5 * before, before\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path)], cwd=ROOT, capture_output=True, check=True
    )
    figures = json.loads(done.stdout)
    assert figures["children_cpu_s"] == 0


@pytest.mark.parametrize(("on_disk", "expected"), [(False, ["work"]), (True, ["sync", "work", "sync"])])
def test_the_clock_runs_until_the_disk_has_it_where_that_is_asked(tmp_path, monkeypatch, on_disk, expected):
    done = []
    monkeypatch.setattr(meter, "_warm_memory", lambda: None)
    monkeypatch.setattr(meter.os, "sync", lambda: done.append("sync"))
    with meter.metered(Job("", 1, "source", "full", "zstd", str(tmp_path), on_disk=on_disk)):
        done.append("work")
    assert done == expected
