"""One reader for lists, tables and settings: any encoding with a mark, any ends of lines, files and stdin."""

from __future__ import annotations

import io

import pytest

from asyncfetch.cli.configuration import settings_from
from asyncfetch.cli.reading import read_text
from asyncfetch.cli.selections import expand_files
from asyncfetch.cli.services import read_centers
from asyncfetch.cli.tables import read_points
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.replica import FaultScript

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]
ENDS = ["\n", "\r\n", "\r"]


@pytest.fixture
def save(tmp_path):
    """Write lines to a file as an editor would, in the encoding and with the ends of the test."""

    def write(name, lines, encoding, end):
        path = tmp_path / name
        path.write_bytes(end.join(lines).encode(encoding))
        return str(path)

    return write


@pytest.fixture
def on_stdin(monkeypatch):
    def put(data):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "ascii"))

    return put


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("end", ENDS)
def test_every_text_is_read_whoever_saved_it(save, encoding, end):
    selections = save("list.txt", ["dataset:5", "# µ", "image:6"], encoding, end)
    assert expand_files([f"@{selections}"]) == ["dataset:5", "image:6"]
    points = save("points.csv", ["x,y,µ", "1,2,ß"], encoding, end)
    assert read_points(points, [], ["x", "y"]).columns == {"x": [1.0], "y": [2.0]}
    settings = save("settings.toml", ["# µ", "um = 50", 'views = ["expression"]'], encoding, end)
    assert settings_from(settings).um == 50
    plan = save("faults.toml", ["# µ", "seed = 3", "[[faults]]", 'kind = "html"'], encoding, end)
    assert FaultScript.read(plan).seed == 3
    rows = save("centers.json", ["[", '{"structure_id": 1, "acronym": "µ"}', "]"], encoding, end)
    assert read_centers(rows) == [{"structure_id": 1, "acronym": "µ"}]
    table = save("centers.csv", ["structure_id,x", "1,2"], encoding, end)
    assert read_centers(table) == [{"structure_id": "1", "x": "2"}]


def test_the_locale_does_not_matter(command):
    path = command.folder / "settings.toml"
    path.write_bytes("# µ\numm = 50".encode())
    done = command("mirror", "dataset:5", "--out", "a", "--config", path, LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 2
    assert "there is no setting 'umm'" in done.stderr


def test_stdin_is_read_as_bytes_whatever_its_encoding(on_stdin):
    on_stdin("\ufeffdataset:5\r\nimage:6".encode("utf-16-le"))
    assert expand_files(["@-"]) == ["dataset:5", "image:6"]
    on_stdin("\ufeffx;y\n1,5;2".encode())
    assert read_points("-", [], ["x", "y"]).columns == {"x": [1.5], "y": [2.0]}
    on_stdin(b"um = 50")
    assert settings_from("-").um == 50


def test_stdin_is_read_once(on_stdin):
    on_stdin(b"dataset:5\n")
    expand_files(["@-"])
    with pytest.raises(
        SelectionError, match="it was read as the selection already; give one of them as a file"
    ):
        read_text("-", "the settings")


def test_a_closed_stdin_is_named(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SelectionError, match="the selection stdin cannot be read: it is closed"):
        read_text("-", "the selection")


def test_a_byte_that_is_no_text_is_named_by_file_and_line(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"dataset:5\n# 25 \xb5m\n")
    words = r"latin\.txt cannot be read: line 2: byte 0xb5 is not valid UTF-8; save the file as UTF-8"
    with pytest.raises(SelectionError, match=words):
        expand_files([f"@{path}"])
    with pytest.raises(SettingsError, match=words):
        settings_from(path)
    with pytest.raises(SettingsError, match="line 2: byte 0xb5 is not valid UTF-8"):
        FaultScript.read(path)


@pytest.mark.parametrize("name", ["", "folder", "none.txt", "a\0b"])
def test_what_cannot_be_opened_is_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(SelectionError, match=r"the table .* cannot be read: "):
        read_text(str(tmp_path / name), "the table")


def test_what_a_spreadsheet_writes_around_a_line_does_not_count(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text('"dataset:5",,\n image:6 ;\ndataset:1 dataset:2, gene:Pvalb; product:Mouse\n')
    assert expand_files([f"@{path}"]) == [
        "dataset:5",
        "image:6",
        "dataset:1 dataset:2, gene:Pvalb; product:Mouse",
    ]


def test_a_list_without_selections_and_a_list_of_lists_are_named(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# none yet\n\n")
    with pytest.raises(SelectionError, match=r"list\.txt holds no selections"):
        expand_files([f"@{path}"])
    path.write_text("dataset:1\n@more.txt\n")
    with pytest.raises(
        SelectionError, match=r"list\.txt, line 2: a list cannot name another list; give @more\.txt"
    ):
        expand_files([f"@{path}"])
