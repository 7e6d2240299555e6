"""``@FILE`` on the command line stands for the selections in the file."""

from __future__ import annotations

import pytest

from asyncfetch.cli.selections import expand_files
from asyncfetch.errors import SelectionError


def test_lines_take_the_place_of_the_file(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("# brains\ndataset:479,123\n\n  image:5  # the odd one\n")
    assert expand_files(["image:1", f"@{path}", "image:2"]) == [
        "image:1",
        "dataset:479,123",
        "image:5",
        "image:2",
    ]


def test_a_wrong_line_is_named(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_text("dataset:479\n70813257\n")
    with pytest.raises(SelectionError, match=r"ids\.txt, line 2: '70813257' is not a valid selection"):
        expand_files([f"@{path}"])


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SelectionError, match=r"none\.txt cannot be read: No such file"):
        expand_files([f"@{tmp_path / 'none.txt'}"])


def test_a_file_that_is_no_text_is_named(tmp_path):
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(SelectionError, match="line 1: byte 0xff is not valid UTF-8"):
        expand_files([f"@{path}"])
