from __future__ import annotations

import csv
import io
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from asyncfetch.cli.tables import BadRow, Table, read_points, require_writable, write_table
from asyncfetch.errors import SelectionError, SettingsError, StoreAccessError


def test_csv_rows_that_cannot_be_used_are_named_by_their_line(tmp_path):
    path = tmp_path / "points.csv"
    path.write_text(
        "\ufeffx, y,section_image_id,note\n1,2,3,fine\n\n4,nan,5,\n,6,7,\n8,9,ten,\n"
        '11,-1.5e3,12,"two\nlines"\n13\n1,2,3\n',
        encoding="utf-8",
    )
    points = read_points(str(path), ["section_image_id"], ["x", "y"])
    assert points.columns == {"section_image_id": [3, 12, 3], "x": [1.0, 11.0, 1.0], "y": [2.0, -1500.0, 2.0]}
    assert points.rows == [1, 5, 7]
    assert points.lines == [2, 8, 10]
    assert points.bad == [
        BadRow(4, "y is 'nan', which is not finite"),
        BadRow(5, "x is missing, not a number"),
        BadRow(6, "section_image_id is 'ten', not an id"),
        BadRow(9, "section_image_id is missing, not an id"),
    ]


def test_parquet_gives_the_same_as_csv(tmp_path):
    path = tmp_path / "points.parquet"
    columns = {
        "x": [1.0, None, 3.0],
        "y": [1, 2, 3],
        "section_image_id": [4.0, 5.0, 6.5],
        "more": ["a", "b", "c"],
    }
    pyarrow.parquet.write_table(pa.table(columns), path)
    points = read_points(str(path), ["section_image_id"], ["x", "y"])
    assert points.columns == {"section_image_id": [4], "x": [1.0], "y": [1.0]}
    assert points.bad == [
        BadRow(2, "x is missing, not a number"),
        BadRow(3, "section_image_id is 6.5, not an id"),
    ]


def test_a_table_on_stdin_is_csv(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x,y\n1,2\n")))
    assert read_points("-", [], ["x", "y"]).columns == {"x": [1.0], "y": [2.0]}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("points.csv", b"x,z\n1,2\n", "no column y; it has x, z"),
        ("points.csv", b"", "it has none"),
        ("points.csv", b"x,y\n\xff,1\n", "cannot be read"),
        ("points.parquet", b"no parquet at all", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_an_error(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SelectionError, match=words):
        read_points(str(tmp_path / name), [], ["x", "y"])


def test_a_table_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SelectionError, match="No such file"):
        read_points(str(tmp_path / "points.csv"), [], ["x"])


def test_tables_are_written_as_their_ending_says(tmp_path):
    table = Table({"row": [1, 2], "x": [0.1 + 0.2, None]}, {"row": int, "x": float})
    for name in ("out.csv", "out.json", "out.parquet"):
        write_table(table, str(tmp_path / name), None)
    assert (tmp_path / "out.csv").read_text() == "row,x\n1,0.30000000000000004\n2,\n"
    assert '"x": 0.30000000000000004' in (tmp_path / "out.json").read_text()
    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").equals(
        pa.table({"row": pa.array([1, 2]), "x": pa.array([0.1 + 0.2, None])})
    )
    with pytest.raises(StoreAccessError):
        write_table(table, str(tmp_path / "missing" / "out.csv"), None)


def test_words_with_commas_quotes_and_lines_come_back_from_csv(tmp_path):
    names = ['Slc17a7, "Vglut1"', "two\nlines", "=1+1"]
    write_table(Table({"name": names}, {"name": str}), str(tmp_path / "out.csv"), None)
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["name"], *([name] for name in names)]


def test_parquet_without_pyarrow_is_refused_with_what_to_install_before_anything_is_asked(
    tmp_path, monkeypatch
):
    # an entry of None makes the import fail as where it is not installed
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for call in (
        lambda: require_writable(None, "parquet"),
        lambda: require_writable("out.pq", None),
        lambda: read_points(str(tmp_path / "points.parquet"), [], ["x"]),
    ):
        with pytest.raises(SettingsError, match=r"pip install 'asyncfetch\[tables\]', or use CSV$"):
            call()
    require_writable("out.csv", None)
