from __future__ import annotations

import json

import pytest

from asyncfetch.errors import AlignmentError, NotFoundError, StallError
from asyncfetch.events import (
    DataSetCompleted,
    ListingDiffered,
    RequestFinished,
    RequestRetried,
    RequestStarted,
    RowsContradicted,
    SectionCommitted,
    SectionFailed,
    SectionSkipped,
)
from asyncfetch.mirroring import Failure, Report, parse_selection

SECTION = {"data_set_id": 479, "view": "image"}
REQUEST = {"url": "http://127.0.0.1/x", "kind": "image", "attempt": 1}
EVENTS = [
    RequestStarted(**REQUEST),
    RequestRetried(**REQUEST, error="StallError", cause="no byte", delay_s=0.1),
    RequestStarted(**REQUEST),
    RequestFinished(**REQUEST, status=200, size_bytes=70, elapsed_s=0.5),
    SectionCommitted(**SECTION, image_id=1, size_bytes=70, pixels=900),
    SectionCommitted(**SECTION, image_id=2, size_bytes=30, pixels=100),
    SectionSkipped(**SECTION, image_id=3),
    SectionFailed(**SECTION, image_id=4, error="StallError", cause="no byte"),
    DataSetCompleted(data_set_id=479),
]


def report_of(events, **fields):
    report = Report(selection=("dataset:479",), location="out.zarr", **fields)
    for event in events:
        report.count(event)
    return report


def test_a_report_counts_what_events_tell():
    report = report_of(EVENTS)
    assert (report.n_requests, report.n_retries, report.received_bytes) == (2, 1, 70)
    assert (report.n_committed, report.n_skipped, report.pixels) == (2, 1, 1000)
    assert report.n_completed == 1
    # failures are listed with their errors by who sees them, not counted from events
    assert report.n_failed == 0


@pytest.mark.parametrize(
    ("error", "is_transient"),
    [
        (NotFoundError("image 5 does not exist", url="http://127.0.0.1/5"), False),
        (StallError("no byte in 30 s", url="http://127.0.0.1/5"), True),
        (AlignmentError("its matrix tvs is missing", matrix="tvs"), False),
    ],
)
def test_a_failure_names_its_item_and_its_cause(error, is_transient):
    failure = Failure.of("image:5", error, "expression")
    assert failure.item == "image:5"
    assert [each.id for each in parse_selection(failure.item)] == [5]
    assert (failure.view, failure.error) == ("expression", type(error).__name__)
    assert failure.message == error.message
    assert failure.is_transient is is_transient
    assert failure.url == error.url


def test_reports_add_up():
    failure = Failure.of("image:4", StallError("no byte", url=None))
    first = report_of(EVENTS, failures=[failure], elapsed_s=2.0)
    total = first.plus(report_of(EVENTS[:1], unplaced=[failure], elapsed_s=1.0, interrupted=True))
    assert total.selection == ("dataset:479", "dataset:479")
    assert (total.n_requests, total.n_committed, total.elapsed_s) == (3, 2, 3.0)
    assert (total.failures, total.unplaced, total.n_failed) == ([failure], [failure], 1)
    assert total.interrupted
    assert first.n_requests == 2
    assert not first.interrupted


def test_a_report_is_plain_json():
    report = report_of(EVENTS, failures=[Failure.of("image:4", StallError("no byte", url=None))])
    fields = json.loads(json.dumps(report.as_dict()))
    assert fields["n_committed"] == 2
    assert fields["failures"][0]["item"] == "image:4"
    assert fields["selection"] == ["dataset:479"]


def test_a_listing_that_differs_from_what_was_announced_is_noted_once_per_model():
    listing = {"url": "http://127.0.0.1/x", "n_announced": 10, "n_came": 7}
    told = [ListingDiffered(model=model, **listing) for model in ("SectionImage", "Gene", "SectionImage")]
    notes = report_of(told).notes
    assert [note.partition(" (RMA-5)")[0] for note in notes] == [
        f"rows of {model}: the API announced 10 and gave 7" for model in ("SectionImage", "Gene")
    ]


def test_rows_that_contradict_each_other_are_noted_once_per_model():
    listing = {"url": "http://127.0.0.1/x", "n_ids": 2, "first_id": "7\x1b"}
    told = [RowsContradicted(model=model, **listing) for model in ("SectionImage", "Gene", "SectionImage")]
    notes = report_of(told).notes
    assert [note.partition(";")[0] for note in notes] == [
        f"contradicting rows of {model}: 2 ids have several rows with different content, the first of them 7\\x1b"
        for model in ("SectionImage", "Gene")
    ]
