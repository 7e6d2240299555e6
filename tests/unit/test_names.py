"""Names are taken without regard to capitals where that is unambiguous, and wrong ones are answered."""

from __future__ import annotations

from asyncfetch.names import did_you_mean, nearest, spelled_as


def test_capitals_do_not_count_where_one_name_is_meant():
    assert spelled_as("IMAGE", ["image", "expression"]) == "image"


def test_capitals_count_where_two_names_differ_by_them_alone():
    assert spelled_as("a", ["a", "A"]) == "a"
    assert spelled_as("aB", ["AB", "Ab"]) == "aB"


def test_the_nearest_names_are_told():
    assert nearest("Reqests_per_s", ["um", "requests_per_s"]) == ["requests_per_s"]
    assert did_you_mean("imgae", ["image", "projection"]) == "; did you mean image?"
    assert did_you_mean("xyz", ["image", "projection"]) == ""
