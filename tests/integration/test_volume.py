"""Volumes against the phantom that the sections were drawn from, and what interrupts leave of them."""

from __future__ import annotations

import json
import shutil
from functools import partial

import anyio
import numpy as np
import pytest
import typer.testing
from ome_zarr_models.v05 import Image as NgffImage
from PIL import Image

import asyncfetch
from asyncfetch.cli import app, register_commands
from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.mirroring import volume
from asyncfetch.replica import open_replica
from asyncfetch.sample import compare_volume, sample_atlas

register_commands()

# Sections 200 µm apart: numbers 62 to 86, and 236 to 268, of 25 µm each.
SAGITTAL = (69289763, (69177650, 69177654, 69177656, 69177658))
CORONAL = (479, tuple(range(947900027, 947900032)))
MAX_MEAN_ABS = 3.0
ATLAS = sample_atlas()


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Return what mirrors some sections at 100 µm, once, and gives a copy of the store."""
    folder = tmp_path_factory.mktemp("mirrored")

    async def run(image_ids, location):
        async with open_replica(ATLAS) as replica:
            selection = [f"image:{image_id}" for image_id in image_ids]
            choices = {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 100.0}
            return await asyncfetch.mirror(selection, location, **choices)

    def copy(data_set_id, image_ids, location):
        original = folder / f"{data_set_id}.zarr"
        if not original.exists():
            assert not anyio.run(run, image_ids, original).failures
        shutil.copytree(original, location)
        return location

    return copy


@pytest.fixture
def sagittal(mirrored, tmp_path):
    return mirrored(*SAGITTAL, tmp_path / "out.zarr")


def build(location, data_set_id=None, **choices):
    return anyio.run(partial(volume, location, data_set_id, **choices))


@pytest.mark.parametrize(
    ("data_set_id", "image_ids", "shape"),
    [(*SAGITTAL, (132, 80, 114)), (*CORONAL, (132, 80, 114))],
    ids=["sagittal", "coronal"],
)
def test_a_volume_is_the_phantom_between_the_sections(mirrored, tmp_path, data_set_id, image_ids, shape):
    location = mirrored(data_set_id, image_ids, tmp_path / "out.zarr")
    report = build(location)
    data_set = asyncfetch.open(location).data_set(data_set_id)
    assert (report.n_planes, report.n_gaps, report.shape) == (len(image_ids), 0, shape)
    assert data_set.open_volume().shape == (3, *shape)
    error = compare_volume(data_set, ATLAS.phantom, step=2)
    assert error.n_voxels > 5_000
    assert error.mean_abs < MAX_MEAN_ABS
    # the phantom is not symmetric: seen in the mirrored space the volume is another brain
    flipped = compare_volume(_Flipped(data_set), ATLAS.phantom, step=6)
    assert flipped is None or flipped.mean_abs > 3 * MAX_MEAN_ABS


class _Flipped:
    """A data set whose volume runs the other way along r."""

    def __init__(self, data_set):
        self.read_volume_layout = data_set.read_volume_layout
        flipped = np.asarray(data_set.open_volume()[...])[..., ::-1]
        self.open_volume = lambda: flipped


def test_a_volume_is_an_ome_zarr_image_on_the_reference_space(sagittal):
    build(sagittal)
    store = asyncfetch.open(sagittal)
    group = store.open_group()[f"data_sets/{SAGITTAL[0]}/image/volume"]
    image = NgffImage.from_zarr(group)
    (multiscale,) = image.ome_attributes.multiscales
    assert [axis.name for axis in multiscale.axes] == ["c", "z", "y", "x"]
    scale, translation = multiscale.datasets[0].coordinateTransformations
    assert scale.scale == [1, 100, 100, 100]
    assert translation.translation == [0, 50, 50, 50]
    layout = store.data_set(SAGITTAL[0]).read_volume_layout()
    assert (layout.axes, layout.reference_space_id) == (("p", "i", "r"), 10)
    assert [plane.image_id for plane in layout.planes] == list(SAGITTAL[1])
    for axis, side in zip("zyx", layout.shape, strict=True):
        positions = np.asarray(group[f"scale0/{axis}"][...])
        assert positions.tolist() == [100.0 * k + 50.0 for k in range(side)]


def test_a_volume_made_twice_has_the_same_bytes(sagittal, tmp_path, stored_objects):
    first = build(sagittal, workers=1)
    assert first.n_written
    made = stored_objects(sagittal)
    again = build(sagittal)
    assert (again.n_written, again.n_kept) == (0, 0)
    assert stored_objects(sagittal) == made
    # from the start, on other threads
    shutil.rmtree(sagittal / f"data_sets/{SAGITTAL[0]}/image/volume")
    build(sagittal, workers=3)
    assert stored_objects(sagittal) == made


def test_an_interrupted_volume_is_not_there_and_is_gone_on_with(sagittal, tmp_path, stored_objects):
    peace = shutil.copytree(sagittal, tmp_path / "peace.zarr")
    build(peace)

    async def cut_short():
        drain = anyio.Event()
        after_one = {"on_progress": lambda *_: drain.set(), "drain": drain}
        return await volume(sagittal, workers=1, **after_one)

    report = anyio.run(cut_short)
    assert (report.interrupted, report.n_written) == (True, 1)
    data_set = asyncfetch.open(sagittal).data_set(SAGITTAL[0])
    assert (data_set.read_volume_layout(), data_set.open_volume_levels()) == (None, ())
    with pytest.raises(SelectionError, match="has no volume"):
        _ = data_set.open_volume()
    # what a killed write leaves beside the shard
    shard = next(sagittal.glob("data_sets/*/image/volume/scale0/image/c.0.0.0.0"))
    shard.with_suffix(".0123456789abcdef.partial").write_bytes(b"half of it")
    report = build(sagittal)
    assert (report.interrupted, report.n_kept) == (False, 1)
    assert stored_objects(sagittal) == stored_objects(peace)


def test_a_volume_follows_its_planes(mirrored, sagittal):
    alone = build(sagittal)
    group = f"data_sets/{SAGITTAL[0]}/image/sections/{SAGITTAL[1][0]}/zarr.json"
    (sagittal / group).unlink()
    fewer = build(sagittal)
    assert (alone.n_planes, fewer.n_planes) == (4, 3)
    assert fewer.n_written > 0


def test_gaps_beyond_the_limit_are_left_empty(sagittal):
    bridged = build(sagittal)
    n_filled = np.count_nonzero(asyncfetch.open(sagittal).data_set(SAGITTAL[0]).open_volume()[...])
    report = build(sagittal, max_gap_um=150.0)
    assert (bridged.n_gaps, report.n_gaps) == (0, 3)
    n_left = np.count_nonzero(asyncfetch.open(sagittal).data_set(SAGITTAL[0]).open_volume()[...])
    # planes 200 µm apart fill every other voxel of 100 µm, and the one before the first or behind the last
    assert 0.4 < n_left / n_filled < 0.8


@pytest.fixture
def sparse(mirrored, tmp_path):
    """Return a store whose sections lie 1 mm apart, two of them 3 mm."""
    image_ids = tuple(900000005 + 1000 * n for n in (1, 2, 3, 6, 7))
    return mirrored(900000005, image_ids, tmp_path / "sparse.zarr")


def test_by_default_no_gap_of_a_millimetre_is_filled_however_far_apart_the_sections_are(sparse):
    report = build(sparse)
    assert report.usual_gap_um == pytest.approx(1000, abs=60)
    assert (report.n_gaps, report.max_gap_um) == (4, 500.0)
    assert [gap.is_bridged for gap in report.gaps] == [False] * 4
    assert [gap.section_numbers for gap in report.gaps] == [(300, 260), (260, 140), (140, 100), (100, 60)]


def test_a_gap_that_is_filled_though_it_is_wider_than_usual_is_told_with_where(sparse):
    report = build(sparse, max_gap_um=4000.0)
    (gap,) = report.gaps
    assert gap.is_bridged
    assert gap.width_um == pytest.approx(3000, abs=180)
    assert gap.section_numbers == (260, 140)
    assert gap.image_ids == (900006005, 900003005)
    assert abs(gap.slice_um[1] - gap.slice_um[0]) == pytest.approx(gap.width_um, rel=0.01)
    # told again where there is nothing to do
    assert build(sparse, max_gap_um=4000.0).gaps == report.gaps


def test_the_command_says_which_gaps_it_filled_and_left_empty(sparse):
    runner = typer.testing.CliRunner()
    left = runner.invoke(app, ["volume", str(sparse)]).stderr
    assert "left empty: 4 gaps between planes, wider than 500 µm" in left
    assert "µm from section 260 to 140, at " in left
    filled = runner.invoke(app, ["volume", str(sparse), "--max-gap", "4000", "--json"])
    assert "filled: 1 gap between planes, wider than usual" in filled.stderr
    (gap,) = json.loads(filled.stdout)["gaps"]
    assert (gap["section_numbers"], gap["is_bridged"]) == ([260, 140], True)


def test_a_multiple_of_the_pitch_is_the_mean_of_the_planes(sagittal):
    fine = build(sagittal, um=100.0)
    assert fine.shape == (132, 80, 114)
    coarse = build(sagittal, um=200.0)
    assert coarse.shape == (66, 40, 57)
    data_set = asyncfetch.open(sagittal).data_set(SAGITTAL[0])
    error = compare_volume(data_set, ATLAS.phantom)
    assert error.n_voxels > 500
    assert error.mean_abs < MAX_MEAN_ABS


def test_codes_are_taken_from_planes_that_the_pitch_does_not_divide(tmp_path, replica_process):
    # 11400 µm are 14.25 voxels of 800 µm
    choices = {"base_url": replica_process.base_url, "requests_per_s": 1000.0, "um": 400.0}
    report = anyio.run(
        partial(asyncfetch.mirror, "image:900003005", tmp_path / "out.zarr", views=("expression",), **choices)
    )
    assert not report.failures
    assert build(tmp_path / "out.zarr", view="expression", um=800.0).shape == (17, 10, 15)
    data_set = asyncfetch.open(tmp_path / "out.zarr").data_set(900000005, "expression")
    plane = data_set.open_registered()[:, data_set.read_registered_layout().z_by_image[900003005]]
    (found,) = [voxels for voxels in np.moveaxis(data_set.open_volume()[...], 1, 0) if voxels.any()]
    assert found.any(axis=0)[1:-1, 1:-1].any()
    taken = plane[:, 1::2, 1::2]
    is_taken = found.any(axis=0)[: taken.shape[1], : taken.shape[2]]
    np.testing.assert_array_equal(
        found[:, : taken.shape[1], : taken.shape[2]][:, is_taken], taken[:, is_taken]
    )


@pytest.mark.parametrize("codec", ["blosc-lz4", "jpegxl", "none"])
def test_every_codec_holds_the_same_voxels(sagittal, codec):
    build(sagittal)
    zstd = np.asarray(asyncfetch.open(sagittal).data_set(SAGITTAL[0]).open_volume()[...])
    build(sagittal, codec=codec)
    other = asyncfetch.open(sagittal).data_set(SAGITTAL[0])
    assert other.read_volume_layout().codec == codec
    assert np.array_equal(np.asarray(other.open_volume()[...]), zstd)


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"um": 150.0}, "whole multiple"),
        ({"um": 50.0}, "rebuild"),
        ({"max_gap_um": 0.0}, "greater than 0"),
        ({"codec": "gzip"}, "one of zstd"),
        ({"workers": 0}, "workers"),
    ],
)
def test_what_does_not_fit_the_planes_is_refused_in_words(sagittal, choices, words):
    with pytest.raises(SettingsError, match=words):
        build(sagittal, **choices)


@pytest.mark.parametrize(
    ("data_set_id", "view", "words"), [(7, "image", "no data set 7"), (None, "expression", "not registered")]
)
def test_what_the_store_does_not_hold_is_refused_in_words(sagittal, data_set_id, view, words):
    with pytest.raises(SelectionError, match=words):
        build(sagittal, data_set_id, view=view)


def test_the_command_makes_describes_and_draws_a_volume(sagittal, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    runner = typer.testing.CliRunner()
    done = runner.invoke(app, ["volume", str(sagittal), "--json"])
    assert done.exit_code == 0
    assert '"n_planes": 4' in done.stdout
    assert "from 4 planes" in done.stderr
    assert "up to date" in runner.invoke(app, ["volume", str(sagittal)]).stderr
    assert "volume of 132 x 80 x 114 voxels" in runner.invoke(app, ["info", str(sagittal)]).stdout
    drawn = runner.invoke(app, ["preview", str(sagittal), "--volume", "-o", "cuts.png"])
    assert (drawn.exit_code, drawn.stdout) == (0, "cuts.png\n")
    page = np.asarray(Image.open(tmp_path / "cuts.png"))
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 500
    refused = runner.invoke(app, ["volume", str(sagittal), "--um", "30"])
    assert refused.exit_code == 2
    assert "whole multiple" in refused.stderr
