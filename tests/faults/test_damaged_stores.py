"""Files of a store that were lost, emptied or cut after the commit: their items alone are concerned, and made again."""

from __future__ import annotations

import json

import pytest
import typer.testing

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.mirroring import rebuild

register_commands()

SMALL = 900000005
SELECTION = f"dataset:{SMALL}"
VIEW = f"data_sets/{SMALL}/image"
SECTION = f"{VIEW}/sections/900004005"

NOT_METADATA = {
    "empty": b"",
    "cut": b'{"zarr_format": 3, "node_ty',
    "null": b"null",
    "list": b"[1, 2]",
    "binary": bytes(range(256)),
    "nested": b"[" * 100_000,
    "an-array": b'{"zarr_format": 3, "node_type": "array", "shape": [1]}',
    "without-content": b'{"zarr_format": 3, "node_type": "group"}',
    "wrong-content": b'{"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": 5}}',
}


def _with_time(data):
    """Return a commit with the time that comparisons leave out."""
    node = json.loads(data)
    node["attributes"]["asyncfetch"]["time"] = "2026-11-28T15:00:00+00:00"
    return json.dumps(node).encode()


@pytest.fixture
def planted(undisturbed, tmp_path):
    """Return a folder with the store of an undisturbed run, and its objects."""
    objects = undisturbed(SELECTION)
    for name, data in objects.items():
        path = tmp_path / "out.zarr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_with_time(data) if "/sections/9" in name else data)
    return tmp_path / "out.zarr"


@pytest.mark.parametrize("kind", NOT_METADATA)
def test_a_commit_that_cannot_be_read_costs_its_section_alone(planted, run, undisturbed, kind):
    (planted / SECTION / "zarr.json").write_bytes(NOT_METADATA[kind])
    store = asyncfetch.open(planted)
    assert len(store.data_set(SMALL).read_commits()) == 9
    assert len(store.read_atlas().catalogue.sections) == 10
    assert [sentence.partition(" ")[0] for sentence in store.damage] == [f"{SECTION}/zarr.json"]

    outcome = run(SELECTION, planted)

    assert (outcome.report.n_committed, outcome.report.n_skipped, outcome.report.failures) == (1, 9, [])
    assert [note for note in outcome.report.notes if f"{SECTION}/zarr.json" in note]
    assert outcome.objects == undisturbed(SELECTION)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_id", 900005005),
        ("data_set_id", 900000004),
        ("view", "expression"),
        ("view", "../../../other.zarr"),
        ("layers", []),
        ("layers", ["paint"]),
        ("shape", [0, 5]),
        ("shape", [2**62, 5]),
        ("downsample", -1),
        ("downsample", 10**9),
        ("size_bytes", -1),
        ("sha256", "0"),
        ("um", 0),
        ("section_number", 2**40),
        ("record", {}),
        ("record", {"id": 900004005}),
        ("image_to_reference", {"matrix": [[1, 2, 3]]}),
        ("layout", 99),
    ],
)
def test_a_commit_that_says_what_no_section_has_counts_as_missing(planted, field, value):
    path = planted / SECTION / "zarr.json"
    node = json.loads(path.read_bytes())
    node["attributes"]["asyncfetch"][field] = value
    path.write_text(json.dumps(node))
    store = asyncfetch.open(planted)
    assert 900004005 not in [commit.image_id for commit in store.data_set(SMALL).read_commits()]
    assert f"{SECTION}/zarr.json" in store.damage[0]


@pytest.mark.parametrize(
    "name",
    [
        "zarr.json",
        "data_sets/zarr.json",
        f"data_sets/{SMALL}/zarr.json",
        f"{VIEW}/zarr.json",
        f"{VIEW}/sections/zarr.json",
        f"{VIEW}/source/zarr.json",
        f"{VIEW}/registered/zarr.json",
        f"{VIEW}/registered/scale0/zarr.json",
        f"{VIEW}/registered/scale0/image/zarr.json",
        f"{VIEW}/registered/scale0/y/zarr.json",
        f"{VIEW}/registered/scale0/x/c.0",
        f"data_sets/{SMALL}/table/zarr.json",
        f"data_sets/{SMALL}/table/image_id/zarr.json",
        f"data_sets/{SMALL}/table/image_id/c.0",
        f"data_sets/{SMALL}/table/image_type/c.0",
        "catalogue/zarr.json",
        "catalogue/space_transforms/zarr.json",
        "catalogue/structure_centers/9/zarr.json",
    ],
)
@pytest.mark.parametrize("kind", ["empty", "cut", "missing"])
def test_mirroring_again_mends_whatever_describes_the_store(planted, run, undisturbed, name, kind):
    path = planted / name
    data = path.read_bytes()
    if kind == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2 if kind == "cut" else 0])
    store = asyncfetch.open(planted)
    _ = store.read_atlas(), [store.data_set(each).read_commits() for each in store.read_data_set_ids()]

    outcome = run(SELECTION, planted)

    assert outcome.report.failures == []
    assert outcome.report.n_skipped == 10
    assert outcome.objects == undisturbed(SELECTION)


def test_planes_whose_layout_and_array_are_lost_are_made_again(planted, run, undisturbed):
    for name in ("zarr.json", "scale0/image/zarr.json"):
        (planted / VIEW / "registered" / name).write_bytes(b"")
    outcome = run(SELECTION, planted)
    assert (outcome.report.n_committed, outcome.report.failures) == (10, [])
    assert outcome.objects == undisturbed(SELECTION)


def test_a_lost_layout_is_not_replaced_by_that_of_another_pitch(planted, run):
    (planted / VIEW / "registered/zarr.json").write_bytes(b"")
    before = (planted / SECTION / "zarr.json").read_bytes()
    with pytest.raises(asyncfetch.errors.SettingsError, match="um = 200"):
        run(SELECTION, planted, um=100.0)
    assert (planted / SECTION / "zarr.json").read_bytes() == before
    assert list((planted / VIEW / "registered/scale0/image").glob("c.0.*"))


@pytest.mark.anyio
async def test_a_rebuild_makes_the_planes_of_a_lost_layout_again_offline(planted, undisturbed, objects_of):
    for name in ("zarr.json", "scale0/image/zarr.json"):
        (planted / VIEW / "registered" / name).write_bytes(b"")
    report = await rebuild(planted)
    assert (report.n_committed, report.failures) == (10, [])
    made, wanted = objects_of(planted), undisturbed(SELECTION)
    planes = [name for name in wanted if "/registered/scale0/image/c." in name]
    assert planes
    assert all(made[name] == wanted[name] for name in planes)


def test_a_newer_layout_is_not_damage_even_where_the_root_is_lost(planted, run):
    for path in planted.glob(f"{VIEW}/sections/*/zarr.json"):
        node = json.loads(path.read_bytes())
        if "asyncfetch" in node["attributes"]:
            node["attributes"]["asyncfetch"]["layout"] = 3
            path.write_text(json.dumps(node))
    (planted / "zarr.json").write_bytes(b"")
    with pytest.raises(asyncfetch.errors.StoreLayoutError, match="layout version 3"):
        run(SELECTION, planted)
    assert (planted / "zarr.json").read_bytes() == b""


@pytest.mark.parametrize("change", ["empty", "cut", "missing"])
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        (f"{VIEW}/source/900004005.jpg", "source"),
        (f"{VIEW}/registered/scale0/image/c.0.4.0.0", "registered"),
    ],
)
def test_mirroring_again_notices_files_of_pixels_that_were_lost(
    planted, run, undisturbed, name, layer, change
):
    path = planted / name
    data = path.read_bytes()
    path.unlink()
    if change != "missing":
        path.write_bytes(data[: len(data) // 2 if change == "cut" else 0])

    outcome = run(SELECTION, planted)

    assert (outcome.report.n_committed, outcome.report.n_skipped, outcome.report.failures) == (1, 9, [])
    assert outcome.objects == undisturbed(SELECTION)
    # one image alone was asked for
    assert {record.image_id for record in outcome.requests if record.kind == "image"} == {
        900004005 if layer == "source" else 900006005
    }


def test_a_plane_that_cannot_be_read_is_an_error_of_ours_that_names_it(planted):
    (planted / VIEW / "registered/scale0/image/c.0.4.0.0").write_bytes(b"")
    data_set = asyncfetch.open(planted).data_set(SMALL)
    with pytest.raises(asyncfetch.errors.StoreItemError, match=r"asyncfetch verify .* --repair") as caught:
        _ = data_set.open_registered()[:, 4]
    assert caught.value.location == f"{planted}/{VIEW}/registered/scale0/image"
    assert data_set.open_registered()[:, 5].any()


@pytest.mark.parametrize("command", ["status", "info"])
def test_commands_that_read_a_damaged_store_name_the_damage_and_what_mends_it(planted, command):
    (planted / SECTION / "zarr.json").write_bytes(b"")
    # status counts what the summary says; where there is none it reads the commits
    path = planted / f"data_sets/{SMALL}/zarr.json"
    node = json.loads(path.read_bytes())
    del node["attributes"]["asyncfetch"]["summary"]
    path.write_text(json.dumps(node))
    told = typer.testing.CliRunner().invoke(app, [command, str(planted)])
    assert told.exit_code == 0
    assert f"note: {SECTION}/zarr.json" in told.stderr
    assert told.stderr.endswith(f"repair the store with: asyncfetch verify {planted} --repair\n")
