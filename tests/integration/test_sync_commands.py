"""The commands sync and audit, on a small mirrored store and the replica."""

from __future__ import annotations

import csv
import io
import json
import shutil

import anyio
import pyarrow.parquet
import pytest
from anyio.from_thread import start_blocking_portal
from typer.testing import CliRunner

import asyncfetch.store as store
from asyncfetch import mirroring
from asyncfetch.cli import app, register_commands
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings

register_commands()

SMALL = 900000005


@pytest.fixture(scope="module")
def base_url():
    # on a thread, because commands run an event loop of their own
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(open_replica()) as replica:
        yield replica.base_url


@pytest.fixture(scope="module")
def out(base_url, tmp_path_factory):
    location = tmp_path_factory.mktemp("sync") / "out.zarr"
    settings = Settings(base_url=base_url, um=200, requests_per_s=5000)

    async def mirror() -> None:
        await mirroring.mirror(f"dataset:{SMALL}", location, settings=settings)

    anyio.run(mirror)
    return str(location)


@pytest.fixture(scope="module")
def images(out) -> list[int]:
    return store.open(out).read_atlas().catalogue.sections.image_id.tolist()


@pytest.fixture
def ways(out, base_url):
    """Return the options of either way to an answer."""
    return [("--store", out), ("--base-url", base_url, "--rate", "5000")]


def run(*arguments: object, code: int = 0, stdin: str | None = None):
    result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_point_has_the_same_answer_from_the_store_and_from_the_api(ways, images):
    first, second = images[:2]
    questions = [
        ("image-to-reference", "--image", first, "--x", 100.25, "--y", -3),
        (
            "reference-to-image",
            "--space",
            9,
            "--x",
            7800,
            "--y",
            3400,
            "--z",
            5000.5,
            "--data-sets",
            f"{SMALL},5",
        ),
        ("image-to-image", "--image", first, "--x", 100, "--y", 200, "--data-sets", SMALL),
        ("image-to-image-2d", "--image", first, "--x", 1, "--y", 2, "--images", f"{second},{first}"),
    ]
    for question in questions:
        answers = [run("sync", *question, *way).stdout for way in ways]
        assert answers[0] == answers[1], question
        assert len(rows_of(answers[0])) == (2 if "," in str(question[-1]) else 1)
    assert "," in answers[0]


def test_structures_and_atlases_are_found(ways, images, out, tmp_path):
    centers = tmp_path / "centers.json"
    centers.write_text(
        json.dumps([{"structure_id": 1018, "reference_space_id": 9, "x": 7800, "y": 3400, "z": 10350}])
    )
    question = ("sync", "structure-to-image", "--data-set", SMALL, "--structures", "1018")
    answers = [run(*question, *ways[0], "--centers", centers).stdout, run(*question, *ways[1]).stdout]
    assert answers[0] == answers[1]
    assert run(*question, *ways[0]).stdout == answers[1]
    # a store from before there was a catalogue
    older = shutil.copytree(out, tmp_path / "older.zarr")
    shutil.rmtree(older / "catalogue")
    assert "holds no structure centres" in run(*question, "--store", older, code=2).output
    plate = run(
        "sync", "image-to-atlas", "--image", images[0], "--x", 1, "--y", 2, "--atlas", 1, *ways[1], "--json"
    )
    assert json.loads(plate.stdout)[0]["atlas_id"] == 1


def test_a_table_is_answered_row_by_row_and_bad_rows_are_named(ways, images):
    lines = ["section_image_id,x,y", f"{images[0]},1,2", f"{images[1]},up,2", "5,1,2", f"{images[1]},-3.5,4"]
    for way in ways:
        result = run("sync", "image-to-reference", "--table", "-", *way, code=3, stdin="\n".join(lines))
        assert [row["row"] for row in rows_of(result.stdout)] == ["1", "4"]
        assert "line 3: x is 'up', not a number" in result.stderr
        assert "line 4: " in result.stderr


def test_tables_go_in_and_out_as_parquet(out, images, tmp_path):
    points, found = tmp_path / "points.csv", tmp_path / "found.parquet"
    points.write_text("x,y,z\n7800,3400,5000\n1,2,3\n")
    run(
        "sync",
        "reference-to-image",
        "--space",
        9,
        "--data-sets",
        SMALL,
        "--table",
        points,
        "--store",
        out,
        "-o",
        found,
    )
    table = pyarrow.parquet.read_table(found)
    assert table.column("row").to_pylist() == [1, 2]
    assert set(table.column("section_image_id").to_pylist()) <= set(images)
    structures = tmp_path / "structures.parquet"
    pyarrow.parquet.write_table(
        pyarrow.table({"structure_id": [322, 1018], "section_data_set_id": [SMALL, SMALL]}), structures
    )
    centers = tmp_path / "centers.json"
    centers.write_text(
        '{"msg": [{"structure_id": 1018, "reference_space_id": 9, "x": 7800, "y": 3400, "z": 10350}]}'
    )
    result = run(
        "sync", "structure-to-image", "--table", structures, "--store", out, "--centers", centers, "--json"
    )
    rows = json.loads(result.stdout)
    assert [row["structure_id"] for row in rows] == [322, 1018]
    assert [row["section_image_id"] is None for row in rows] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("image-to-image", "--image", 1, "--x", 1, "--y", 2), "needs --data-sets"),
        (("image-to-reference", "--image", 1), "needs --x, --y"),
        (("image-to-reference", "--image", 1, "--x", 1, "--y", 2, "--z", 3), "does not take --z"),
        (("image-to-image", "--image", 1, "--x", 1, "--y", 2, "--data-sets", "a"), "--data-sets takes ids"),
        (("image-to-atlas", "--image", 1, "--x", 1, "--y", 2, "--atlas", "1,2"), "takes one id"),
        (("image-to-reference", "--image", 1, "--x", 1, "--y", 2, "--format", "xls"), "csv, json or parquet"),
        (("image-to-reference", "--image", 1, "--x", 1, "--y", 2), "no image 1"),
        (("image-to-reference", "--image", 1, "--x", 1, "--y", 2, "--ties", "even"), "lower or higher"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(out, arguments, words):
    assert words in run("sync", *arguments, "--store", out, code=2).stderr


def test_asking_and_computing_at_once_is_a_usage_error(ways):
    question = ("sync", "image-to-reference", "--image", 1, "--x", 1, "--y", 2)
    assert "give one of them" in run(*question, *ways[0], *ways[1], code=2).stderr


def test_the_audit_finds_no_difference_and_is_the_same_again(out, base_url):
    arguments = ("audit", "--store", out, "--base-url", base_url, "--rate", 5000, "--points", 20, "--json")
    first, second = run(*arguments), run(*arguments)
    assert first.stdout == second.stdout
    services = json.loads(first.stdout)["services"]
    assert [each["n_points"] for each in services] == [20] * 6
    assert max(each["largest_difference"] for each in services) <= 1e-9
    assert "20 points" in run(*arguments[:-1], "--convert-spaces").stdout


def test_the_audit_ends_with_6_where_the_answers_differ(out, base_url, tmp_path):
    import shutil

    other = tmp_path / "other.zarr"
    shutil.copytree(out, other)
    path = other / "data_sets" / str(SMALL) / "zarr.json"
    group = json.loads(path.read_text())
    group["attributes"]["asyncfetch"]["record"]["alignment3d"]["tvr_09"] += 1e-6
    path.write_text(json.dumps(group))
    arguments = ("audit", "--store", other, "--base-url", base_url, "--rate", 5000, "--points", 5)
    result = run(*arguments, code=6)
    assert "differ by more than 1e-09" in result.stderr
    run(*arguments, "--tolerance", 1e-5)


def test_a_point_far_outside_is_answered_and_told(out, images):
    image = ("--image", images[0], "--x", 100, "--y", 100)
    near = run("sync", "image-to-reference", *image, "--store", out)
    far = run("sync", "image-to-reference", "--image", images[0], "--x", 1e6, "--y", 100, "--store", out)
    assert "note" not in near.stderr
    assert "note: 1 point lies more than 5 mm outside the reference space" in far.stderr
    assert len(rows_of(far.stdout)) == 1
    point = ("--x", 5e6, "--y", 0, "--z", 0, "--data-sets", SMALL)
    beyond = run("sync", "reference-to-image", "--space", 9, *point, "--store", out)
    assert "note: 1 point lies more than 5 mm outside" in beyond.stderr
