"""A service that differs from what is assumed of it: noticed by the doctor, and never lost on by a mirror."""

from __future__ import annotations

import re

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.doctor.asking import MAX_REQUESTS
from asyncfetch.doctor.service import CHECKS, examine_service
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.replica import DIFFERENCES, open_replica
from asyncfetch.sample import sample_atlas

SMALL = 900000005
ALL = 10
#: Differences that the assumption itself covers: they occur, and the doctor says that they were seen.
COVERED = {
    "HTTP-6=accepted",
    "HTTP-6=forbidden",
    "HTTP-8=page-first",
    "HTTP-8=page",
    "HTTP-9=broken-first",
    "HTTP-9=never",
    "RMA-8=transient-first",
}
#: Differences that must cost nothing.
HARMLESS = {
    "HTTP-1=direct",
    "HTTP-1=relative",
    "HTTP-1=moved",
    "HTTP-3=length",
    "HTTP-4=closes",
    "HTTP-6=accepted",
    "HTTP-6=forbidden",
    "HTTP-7=refuses",
    "HTTP-8=page-first",
    "HTTP-9=broken-first",
    "RMA-1=text",
    "RMA-4=cap4",
    "RMA-4=cap4-unannounced",
    "RMA-5=page",
    "RMA-5=missing",
    "RMA-5=more",
    "RMA-5=fewer",
    "RMA-7=twice",
    "RMA-7=lists",
    "RMA-8=transient-first",
    "REC-1=no-resolution",
    "REC-10=any-age",
    "REC-10=no-origins",
    "IMG-2=up",
    "IMG-2=nearest",
    "IMG-2=steps",
    "IMG-3=last",
    "IMG-5=progressive",
    "IMG-8=heavy",
}
#: What a mirror says where it cannot be complete.
WORDS = {
    "ADDR-1=page": "page of HTML",
    "ADDR-2=elsewhere": "redirected to http://elsewhere.invalid",
    "HTTP-2=https": "https|connection|TLS|SSL",
    "HTTP-3=cut": "JPEG",
    "HTTP-8=page": "no JPEG|not a JPEG|HTML",
    "HTTP-9=never": "HTTP 504",
    "RMA-1=renamed": "list of records",
    "RMA-6=same-page": "the same .* rows|moved",
    "RMA-6=reversed": "moved from page to page",
    "RMA-7=nulls": "list of records|null|moved from page to page",
    "RMA-7=ids": "alignment|object",
    "RMA-8=refuses": "no queries today",
    "RMA-9=no-filter": "data_set_id|data set",
    "REC-1=no-width": "900003005.*width",
    "REC-2=huge": "9223372036854775807|9223372036854775808|id",
    "REC-3=columns": "tsv|tvs|alignment|inverse",
    "REC-8=words": "failed",
    "REC-9=scan": "pixels",
    "IMG-1=ignored": "pixels",
    "IMG-3=second": "pixels",
    "IMG-5=png": "JPEG",
}
#: Pixels that went through another JPEG, or came from another tier, are near the others and not the same.
REENCODED = {name for name in (each.name for each in DIFFERENCES) if name.startswith("IMG-")}
MEAN_LEVELS = 6.0


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def serve(atlas, tmp_path_factory):
    """Return what runs something against a replica that differs: an async function of the base URL."""
    drawn = tmp_path_factory.mktemp("drawn")

    def run(names, use):
        async def go():
            async with open_replica(atlas, cache_folder=drawn, differences=names) as replica:
                return await use(replica.base_url), replica.requests

        return anyio.run(go)

    return run


def _settings(base_url, **choices):
    quick = {
        "requests_per_s": 1000.0,
        "retry_base_s": 0.001,
        "connect_timeout_s": 2.0,
        "stall_timeout_s": 10.0,
    }
    return asyncfetch.Settings(base_url=base_url, **quick | choices)


def _mirror_into(location):
    async def mirror(base_url):
        settings = _settings(base_url, attempts=3, outage_patience_s=1.0, downsample=2)
        return await asyncfetch.mirror(f"dataset:{SMALL}", location, settings=settings)

    return mirror


async def _examine(base_url):
    return await examine_service(_settings(base_url))


def _stored(location):
    store = asyncfetch.open(location)
    if SMALL not in store.read_data_set_ids():
        return set(), None
    data_set = store.data_set(SMALL)
    ids = {commit.image_id for commit in data_set.read_commits()}
    try:
        return ids, np.asarray(data_set.open_registered()[:])
    except SelectionError:
        return ids, None


@pytest.fixture(scope="module")
def undisturbed(serve, tmp_path_factory):
    location = tmp_path_factory.mktemp("undisturbed") / "out.zarr"
    report, _ = serve((), _mirror_into(location))
    assert report.n_committed == ALL
    return _stored(location)


def _is_right(stored, undisturbed, name):
    ids, planes = stored
    expected_ids, expected = undisturbed
    if ids != expected_ids or planes is None or planes.shape != expected.shape:
        return False
    off = np.abs(planes.astype(np.int16) - expected)
    return bool(off.mean() < MEAN_LEVELS) if name in REENCODED else not off.any()


def test_there_is_a_difference_for_each_family_of_assumptions_and_for_most_of_them():
    broken = {difference.assumption for difference in DIFFERENCES}
    assert {name.partition("-")[0] for name in broken} == {"ADDR", "HTTP", "RMA", "REC", "IMG", "SYNC"}
    assert len(DIFFERENCES) >= 60
    # ADDR-3 is the user's choice of an address, and SYNC-6 is an argument of `Atlas`
    assert {check.assumption for check in CHECKS} - broken == {"ADDR-3", "SYNC-6"}
    assert len({difference.name for difference in DIFFERENCES}) == len(DIFFERENCES)


def test_all_that_can_be_asked_holds_for_the_replica(serve):
    found, requests = serve((), _examine)
    verdicts = {finding.assumption: finding.verdict for finding in found.findings}
    unasked = {name for name, verdict in verdicts.items() if verdict == "could not be asked"}
    assert unasked == {"ADDR-3", "HTTP-6", "HTTP-8", "HTTP-9", "SYNC-6"}
    assert {name for name, verdict in verdicts.items() if verdict == "differs"} == set()
    assert found.is_answered
    assert not found.has_differences
    assert found.n_requests == len(requests) <= MAX_REQUESTS


@pytest.mark.parametrize("name", [each.name for each in DIFFERENCES if each.name != "IMG-1=ignored"])
def test_the_doctor_notices_a_difference(serve, name):
    found, requests = serve((name,), _examine)
    (finding,) = [each for each in found.findings if each.assumption == name.partition("=")[0]]
    if name in COVERED:
        assert (finding.verdict, finding.words.split(":")[0]) in {
            ("holds", "seen"),
            ("holds", "refused under 200"),
        }
    else:
        assert finding.verdict == "differs", finding.words
    assert len(requests) <= MAX_REQUESTS


@pytest.mark.slow
def test_the_doctor_notices_that_downsample_is_ignored(serve):
    found, _ = serve(("IMG-1=ignored",), _examine)
    assert {each.verdict for each in found.findings if each.assumption == "IMG-1"} == {"differs"}


@pytest.mark.parametrize("name", [each.name for each in DIFFERENCES])
def test_a_mirror_is_complete_and_right_or_says_what_differs(serve, undisturbed, tmp_path, name):
    location = tmp_path / "out.zarr"
    report, _ = serve((name,), _mirror_into(location))
    stored = _stored(location)
    if exit_code_of_report(report) == ExitCode.DONE:
        assert report.n_committed == ALL
        for each in report.unplaced:
            assert re.search(WORDS[name], str(each))
        is_left_out = len(report.unplaced) == ALL and name not in HARMLESS
        assert _is_right(stored, undisturbed, name) or is_left_out
        return
    assert name not in HARMLESS, report.failures[:1]
    assert report.failures
    for failure in report.failures:
        assert re.search(WORDS[name], failure.message), failure.message
    assert report.n_committed + len(report.failures) >= (ALL if stored[1] is not None else 1)
    assert stored[0] <= undisturbed[0]


def test_one_image_that_never_comes_costs_that_image(serve, tmp_path):
    report, _ = serve(("HTTP-9=never",), _mirror_into(tmp_path / "out.zarr"))
    assert report.n_committed == ALL - 1
    assert [failure.item for failure in report.failures] == ["image:900003005"]
    assert exit_code_of_report(report) == ExitCode.SOME_FAILED


def test_the_bound_of_the_requests_holds_whatever_the_server_does(serve):
    async def examine(base_url):
        return await examine_service(_settings(base_url), max_requests=7)

    found, requests = serve(("HTTP-7=refuses",), examine)
    assert found.n_requests == len(requests) == 7
    assert "could not be asked" in {finding.verdict for finding in found.findings}


def test_a_server_that_does_not_answer_is_asked_three_times_and_no_more():
    found = anyio.run(_examine, "http://127.0.0.1:9")
    assert not found.is_answered
    assert not found.has_differences
    assert found.n_requests <= 6
    assert {finding.verdict for finding in found.findings} == {"could not be asked"}


def test_an_unknown_difference_is_told_with_the_known_ones():
    async def open_it():
        async with open_replica(differences=("RMA-4=cap5",)):
            pass

    with pytest.raises(
        SettingsError, match=r"RMA-4=cap5.*did you mean RMA-4=cap4.*asyncfetch serve --break list"
    ):
        anyio.run(open_it)
