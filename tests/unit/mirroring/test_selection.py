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


@pytest.mark.parametrize(
    "text", ["479", "dataset", "dataset:", "dataset:x", "dataset:-1", "set:1", "image:1,", ""]
)
def test_a_malformed_item_is_named(text):
    with pytest.raises(SelectionError, match="dataset:ID"):
        parse_selection([text])


def test_nothing_is_no_selection():
    with pytest.raises(SelectionError, match="nothing"):
        parse_selection([])
