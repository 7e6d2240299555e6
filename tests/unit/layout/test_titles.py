"""What viewers call a data set."""

from __future__ import annotations

import pytest

from asyncfetch.allen import parse_data_set
from asyncfetch.layout.titles import title_of

PVALB = {"id": 75457491, "plane_of_section_id": 1, "genes": [{"id": 19056, "acronym": "Pvalb"}]}
AGED = {"specimen": {"id": 1, "donor": {"id": 2, "age": {"id": 15, "name": "P56"}}}}


@pytest.mark.parametrize(
    ("record", "view", "title"),
    [
        (PVALB, "image", "Pvalb coronal (data set 75457491)"),
        (PVALB | AGED, "image", "Pvalb coronal P56 (data set 75457491)"),
        (PVALB, "expression", "Pvalb coronal expression (data set 75457491)"),
        (PVALB | {"plane_of_section_id": 99}, "image", "Pvalb (data set 75457491)"),
        ({"id": 5, "plane_of_section_id": 2}, "image", "sagittal (data set 5)"),
        ({"id": 5}, "image", "data set 5"),
        (PVALB | {"specimen": None}, "image", "Pvalb coronal (data set 75457491)"),
        (PVALB | {"specimen": {"donor": "none"}}, "image", "Pvalb coronal (data set 75457491)"),
    ],
)
def test_a_title_says_gene_plane_and_age_as_far_as_they_are_known(record, view, title):
    assert title_of(parse_data_set(record), view) == title
