from __future__ import annotations

import numpy as np
import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.layout.table import table_columns
from asyncfetch.layout.upstream import UpstreamChanges, compare_tables, with_rows_of


def row(image_id, number, **fields):
    alignment = {"id": 1, "section_image_id": image_id}
    alignment |= {f"tsv_0{i}": value for i, value in enumerate((1.6, 0.02, -0.02, 1.6, 3051.75, 2776.39))}
    alignment |= {f"tvs_0{i}": value for i, value in enumerate((0.6, -0.01, 0.01, 0.6, -1846.56, -1731.11))}
    base = {"id": image_id, "data_set_id": 479, "section_number": number, "width": 4536, "height": 4016}
    return base | {"resolution": 1.63, "tier_count": 6, "failed": False, "alignment2d": alignment} | fields


def columns(*rows):
    return table_columns(parse_data_set({"id": 479, "section_thickness": 25.0, "failed": False}, rows))


BEFORE = [row(11, 12), row(12, 4), row(13, None)]
MOVED = {"alignment2d": BEFORE[0]["alignment2d"] | {"tsv_04": 3051.76}}


@pytest.mark.parametrize(
    ("now", "changes"),
    [
        (BEFORE, {}),
        ([*BEFORE, row(14, 20)], {"new": (14,)}),
        (BEFORE[1:], {"removed": (11,)}),
        ([row(11, 12, width=4537), *BEFORE[1:]], {"pixels": (11,)}),
        ([row(11, 12, resolution=1.07), *BEFORE[1:]], {"pixels": (11,)}),
        ([row(11, 12, width=4537, **MOVED), *BEFORE[1:]], {"pixels": (11,)}),
        ([row(11, 12, **MOVED), *BEFORE[1:]], {"place": (11,)}),
        ([row(11, 12, failed=True, **MOVED), *BEFORE[1:]], {"place": (11,)}),
        ([row(11, 16), *BEFORE[1:]], {"place": (11,)}),
        ([row(11, None), *BEFORE[1:]], {"place": (11,)}),
        ([*BEFORE[:2], row(13, 8)], {"place": (13,)}),
        ([row(11, 12, failed=True), *BEFORE[1:]], {"facts": (11,)}),
        ([row(11, 12, image_type="Primary"), *BEFORE[1:]], {"facts": (11,)}),
    ],
)
def test_a_section_counts_once_by_what_matters_most(now, changes):
    assert compare_tables(columns(*BEFORE), columns(*now)) == UpstreamChanges(**changes)


def test_where_nothing_is_stored_all_is_new():
    assert compare_tables({}, columns(*BEFORE)) == UpstreamChanges(new=(12, 11, 13))


def test_numbers_that_agree_to_nine_digits_are_the_same():
    nearly = {"alignment2d": BEFORE[0]["alignment2d"] | {"tsv_04": 3051.75 * (1 + 1e-12)}}
    assert compare_tables(columns(*BEFORE), columns(row(11, 12, **nearly), *BEFORE[1:])) == UpstreamChanges()


def test_rows_stay_as_they_are_stored_where_that_is_wanted():
    stored, now = (
        columns(*BEFORE),
        columns(row(11, 12, width=9, failed=True), row(12, 4, width=8), row(14, 30)),
    )
    mixed = with_rows_of(stored, now, [11])
    assert mixed["image_id"].tolist() == [12, 11, 14]
    assert mixed["width"].tolist() == [8, 4536, 4536]
    assert mixed["failed"].tolist() == [False, False, False]
    # neither of those that it was made of has changed
    assert now["width"].tolist() == [8, 9, 4536]
    np.testing.assert_array_equal(stored["width"], [4536, 4536, 4536])
