"""The list of failed items: what a mirror reads from it is what failed."""

from __future__ import annotations

import pytest

from asyncfetch.cli.retrying import FailuresFile
from asyncfetch.cli.selections import expand_files
from asyncfetch.failures import Failure


def failure(item, message, view=None):
    return Failure(item=item, view=view, error="StallError", message=message)


def test_an_item_is_listed_once_with_all_its_causes(tmp_path, capsys):
    path = tmp_path / "failed.txt"
    failures = [
        failure("image:1", "no byte\nfor 30 s", "image"),
        failure("image:1", "not a JPEG # at all", "expression"),
        failure("gene:Pvalb", "unknown"),
    ]
    FailuresFile(str(path)).write(failures, "out.zarr")
    assert expand_files([f"@{path}"]) == ["image:1", "gene:Pvalb"]
    assert r"image:1  # image: no byte\nfor 30 s; expression: not a JPEG # at all" in path.read_text(
        encoding="utf-8"
    )
    assert f"asyncfetch mirror @{path} --out out.zarr" in capsys.readouterr().err


@pytest.mark.parametrize("item", ["run 3", "specimen:A#4"])
def test_an_item_that_a_list_cannot_name_is_a_comment(tmp_path, item):
    path = tmp_path / "failed.txt"
    FailuresFile(str(path)).write([failure(item, "broken"), failure("image:1", "late")], "out.zarr")
    assert expand_files([f"@{path}"]) == ["image:1"]
    assert f"# {item}  # broken" in path.read_text(encoding="utf-8")


def test_what_an_earlier_run_wrote_stays_until_there_is_a_report(tmp_path, capsys):
    path = tmp_path / "failed.txt"
    path.write_text("image:7\n", encoding="utf-8")
    file = FailuresFile(str(path))
    assert path.read_text(encoding="utf-8") == "image:7\n"
    file.write([], "out.zarr")
    assert "image:7" not in path.read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""
