"""Events of data sets that are begun again: the report adds up to what one process would have told."""

from __future__ import annotations

from asyncfetch.cluster.once import Once
from asyncfetch.events import DataSetCompleted, DataSetPlanned, SectionCommitted, SectionSkipped
from asyncfetch.mirroring import Report


def planned(n_to_fetch: int, n_committed: int) -> DataSetPlanned:
    return DataSetPlanned(
        data_set_id=1,
        view="image",
        n_sections=3,
        n_to_fetch=n_to_fetch,
        n_committed=n_committed,
        estimated_pixels=0,
    )


def committed(image_id: int) -> SectionCommitted:
    return SectionCommitted(data_set_id=1, image_id=image_id, view="image", size_bytes=1, pixels=2)


def skipped(image_id: int) -> SectionSkipped:
    return SectionSkipped(data_set_id=1, image_id=image_id, view="image")


def test_what_a_lost_worker_committed_is_not_told_as_skipped_by_the_one_that_takes_over():
    report, told = Report(selection=(), location=""), []
    once = Once(lambda event: (report.count(event), told.append(event)))
    for event in (planned(2, 1), skipped(7), committed(8)):
        once(event)
    for event in (planned(1, 2), skipped(7), skipped(8), committed(9), DataSetCompleted(data_set_id=1)):
        once(event)
    assert (report.n_committed, report.n_skipped, report.n_completed) == (2, 1, 1)
    assert [type(event).__name__ for event in told].count("DataSetPlanned") == 1


def test_a_view_that_is_completed_twice_counts_once():
    report = Report(selection=(), location="")
    once = Once(report.count)
    for event in (planned(0, 3), DataSetCompleted(data_set_id=1), DataSetCompleted(data_set_id=1)):
        once(event)
    assert report.n_completed == 1


def test_what_is_done_takes_no_memory():
    once = Once(lambda _event: None)
    for event in (planned(3, 0), committed(8), DataSetCompleted(data_set_id=1)):
        once(event)
    once.forget(1)
    assert (once._sections, once._planned, once._n_completed) == ({}, {}, {})
