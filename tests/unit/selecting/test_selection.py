"""Selections: read as written, each once, wrong ones named."""

from __future__ import annotations

import pytest

from asyncfetch.errors import SelectionError
from asyncfetch.mirroring import Selection, parse_selection


def test_several_items_keep_their_order_and_come_once():
    parsed = parse_selection(["dataset:479, 123", "image:7", "dataset:479"])
    assert parsed == (Selection("dataset", 479), Selection("dataset", 123), Selection("image", 7))


def test_one_text_is_one_item():
    assert parse_selection("image:101349756") == (Selection("image", 101349756),)


def test_a_selection_prints_as_it_is_written():
    assert str(Selection("dataset", 479)) == "dataset:479"


def test_genes_products_and_atlases_are_named_by_id_or_by_name():
    parsed = parse_selection(["gene:Pvalb, H2-Aa", "product:1", "product:Mouse", "atlas:1,2"])
    assert parsed == (
        Selection("gene", "Pvalb"),
        Selection("gene", "H2-Aa"),
        Selection("product", 1),
        Selection("product", "Mouse"),
        Selection("atlas", 1),
        Selection("atlas", 2),
    )
    assert parse_selection([str(each) for each in parsed]) == parsed
    assert parse_selection("product:Human Brain") == (Selection("product", "Human Brain"),)


@pytest.mark.parametrize(
    "text",
    ["gene:", "gene:a'b", "gene:a,", "gene:[x]", "product:$x", "atlas:Mouse", "dataset:Pvalb", "gene: x"],
)
def test_a_name_that_cannot_be_asked_for_is_no_selection(text):
    with pytest.raises(SelectionError, match="is not a valid selection"):
        parse_selection([text])


@pytest.mark.parametrize(
    "text", ["479", "dataset", "dataset:", "dataset:x", "dataset:-1", "set:1", "image:1,", ""]
)
def test_a_malformed_item_is_named(text):
    with pytest.raises(SelectionError, match="dataset:ID"):
        parse_selection([text])


def test_nothing_is_no_selection():
    with pytest.raises(SelectionError, match="nothing"):
        parse_selection([])
