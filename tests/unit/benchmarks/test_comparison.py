from __future__ import annotations

import pytest

from benchmarks.comparison import busy_s, compare, log_figures, medians, most_at_once


def run(wall_s, n_images=10, **others):
    return {"wall_s": wall_s, "cpu_s": 2 * wall_s, "n_images": n_images, **others}


def test_medians_are_told_an_image_and_pass_outliers_over():
    found = medians([run(1.0), run(2.0), run(90.0)])
    assert (found["wall_s"], found["s_per_image"], found["cpu_s_per_image"]) == (2.0, 0.2, 0.4)
    assert (found["spread"], found["n_runs"]) == (90.0, 3)


def test_cpu_time_of_children_counts():
    assert medians([run(1.0, children_cpu_s=3.0)])["cpu_s_per_image"] == 0.5


def test_megapixels_are_told_for_a_core_and_not_for_the_clock():
    assert medians([run(1.0, megapixels=440.0)])["megapixels_per_cpu_s"] == 220.0


def test_what_is_no_number_or_is_not_in_every_run_has_no_median():
    found = medians([run(1.0, words="a", extra=1, arrivals_s=[1.0]), run(1.0, words="b", arrivals_s=[2.0])])
    assert not {"words", "extra", "arrivals_s"} & set(found)


@pytest.mark.parametrize("runs", [[], [run(1.0), run(1.0, n_images=0)]])
def test_runs_without_images_have_no_medians(runs):
    with pytest.raises(ValueError, match=r"there is no run|a run did no image"):
        medians(runs)


def test_a_ratio_is_how_many_times_faster_ours_is():
    ratio = compare(medians([run(1.0)]), medians([run(9.5)]), served_s_per_image=0.01, bar=9.0)
    assert (ratio["wall"], ratio["cpu"]) == (pytest.approx(9.5), pytest.approx(9.5))
    assert ratio["bar_met"] is True
    assert compare(medians([run(1.0)]), medians([run(8.5)]), 0.01, bar=9.0)["bar_met"] is False
    assert compare(medians([run(1.0)]), medians([run(8.5)]), 0.01)["bar_met"] is None


def test_no_ratio_is_given_where_the_server_took_more_than_half_of_the_faster_run():
    fast, slow = medians([run(1.0)]), medians([run(50.0)])
    for ours, other in ((fast, slow), (slow, fast)):
        refused = compare(ours, other, served_s_per_image=0.06, bar=2.0)
        assert set(refused) == {"no_conclusion"}
    # the same server is fast enough for two that are slow
    assert "wall" in compare(slow, slow, served_s_per_image=0.06)


def test_runs_of_fewer_images_are_compared_by_the_image():
    assert compare(medians([run(1.0)]), medians([run(1.0, n_images=1)]), 0.01)["wall"] == 10.0


@pytest.mark.parametrize(
    ("spans", "total"),
    [
        ([], 0.0),
        ([(0, 1), (2, 4)], 3.0),
        ([(0, 4), (1, 2)], 4.0),
        ([(1, 3), (0, 2)], 3.0),
        ([(0, 1), (5, None)], 1.0),
    ],
)
def test_busy_is_the_union_of_what_was_open(spans, total):
    assert busy_s(spans) == total


@pytest.mark.parametrize(
    ("spans", "most"), [([], 0), ([(0, 1), (1, 2)], 1), ([(0, 2), (1, 3), (1.5, 1.6)], 3), ([(0, None)], 0)]
)
def test_most_at_once_does_not_count_what_just_ended(spans, most):
    assert most_at_once(spans) == most


def test_the_log_tells_what_the_server_saw():
    records = [
        {"kind": "query", "started_s": 10.0, "ended_s": 10.5, "size_bytes": 5},
        {"kind": "redirect", "started_s": 10.5, "ended_s": 10.6, "size_bytes": 0},
        {"kind": "image", "started_s": 11.0, "ended_s": 13.0, "size_bytes": 100},
        {"kind": "image", "started_s": 12.0, "ended_s": 12.5, "size_bytes": 50},
        {"kind": "image", "started_s": 12.0, "ended_s": None, "size_bytes": 1},
    ]
    found = log_figures(records)
    assert (found["n_requests"], found["sent_bytes"], found["most_at_once"]) == (5, 156, 2)
    assert found["server_busy_s"] == pytest.approx(2.6)
    assert found["arrivals_s"] == [2.5, 3.0]
    assert log_figures([])["arrivals_s"] == []
