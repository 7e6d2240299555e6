"""Tiles by readers that are not their writers: pixels, places, digests, and specimens that stay in one split."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from asyncfetch import blocking
from asyncfetch.exporting.tiles import SPLITS, Tiles, split_of
from tests.unit.exporting.conftest import CORONAL, DOWNSAMPLE, SAGITTAL, SECTIONS

IMAGE_ID = SECTIONS[CORONAL][1]


def rows_of(folder):
    with (folder / "tiles.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_tile_has_the_pixels_that_its_row_names(truth, exported):
    folder = exported("tiles", size=64)
    rows = rows_of(folder)
    assert {int(row["image_id"]) for row in rows} == {each for ids in SECTIONS.values() for each in ids}
    for row in rows[:: max(1, len(rows) // 20)]:
        section = truth.store.data_set(int(row["data_set_id"])).section(int(row["image_id"]))
        x, y = (int(float(row[name])) >> DOWNSAMPLE for name in "xy")
        with Image.open(folder / row["file"]) as tile:
            assert np.array_equal(np.asarray(tile), section.pixels()[y : y + 64, x : x + 64])
        assert float(row["width"]) == 64 * 2**DOWNSAMPLE
        assert hashlib.sha256((folder / row["file"]).read_bytes()).hexdigest() == row["sha256"]


def test_the_reference_box_holds_the_corners_of_the_tile(truth, exported):
    for row in rows_of(exported("tiles", size=128)):
        geometry = truth.store.data_set(int(row["data_set_id"])).geometry(int(row["image_id"]))
        x, y, side = (float(row[name]) for name in ("x", "y", "width"))
        corners = geometry.image_to_reference(
            [[x + dx * side - 0.5, y + dy * side - 0.5] for dx in (0, 1) for dy in (0, 1)]
        )
        for k, axis in enumerate("pir"):
            assert float(row[f"{axis}0_um"]) == pytest.approx(corners[:, k].min(), abs=1e-3)
            assert float(row[f"{axis}1_um"]) == pytest.approx(corners[:, k].max(), abs=1e-3)
        assert row["genes"] == ("Pvalb" if int(row["data_set_id"]) == CORONAL else "Prox1")
        assert int(row["reference_space_id"]) == (9 if int(row["data_set_id"]) == CORONAL else 10)


def test_tiles_in_um_are_the_phantom_at_that_pitch(truth, exported):
    folder = exported("tiles", f"image:{IMAGE_ID}", size=64, um=40)
    rows = rows_of(folder)
    assert len(rows) > 4
    data_set = truth.store.data_set(CORONAL)
    geometry, resolution_um = data_set.geometry(IMAGE_ID), data_set.section(IMAGE_ID).commit.resolution_um
    for row in rows:
        x, y, side = (float(row[name]) for name in ("x", "y", "width"))
        middle = [
            [x + side * (u + 0.5) / 64 - 0.5, y + side * (v + 0.5) / 64 - 0.5]
            for u, v in ((0, 0), (1, 0), (0, 1))
        ]
        corner, right, below = geometry.image_to_reference(middle)
        # of the section, which its alignment stretches
        assert side * resolution_um / 64 == pytest.approx(40)
        seen = np.column_stack([right - corner, below - corner, corner])
        inside = truth.phantom.tissue(seen, (64, 64), reference_space_id=9) >= 1.0
        if inside.mean() < 0.5:
            continue
        drawn = truth.phantom.render(seen, (64, 64), reference_space_id=9).astype(float)
        with Image.open(folder / row["file"]) as tile:
            pixels = np.asarray(tile).astype(float)
        assert np.abs(drawn - pixels)[inside].mean() < 6


def test_background_is_skipped(exported):
    everything = rows_of(exported("tiles", f"image:{IMAGE_ID}", size=64, min_tissue=0))
    tissue = rows_of(exported("tiles", f"image:{IMAGE_ID}", size=64, min_tissue=0.5))
    assert 0 < len(tissue) < len(everything)
    shares = {row["key"]: float(row["tissue"]) for row in everything}
    assert {row["key"] for row in tissue} == {key for key, share in shares.items() if share >= 0.5}
    # the corners of a slide show none
    assert shares[everything[0]["key"]] < 0.1
    assert max(shares.values()) > 0.9


def test_tar_files_are_what_webdataset_reads(truth, exported):
    folder = exported("tiles", size=128, pack="webdataset", image="jpeg", split="50/50")
    rows = {row["key"]: row for row in rows_of(folder)}
    listed = {split: (folder / f"{split}.txt").read_text().split() for split in SPLITS}
    assert listed["test"] == []
    seen = {}
    for split, shards in listed.items():
        for shard in shards:
            with tarfile.open(folder / shard) as tar:
                members = tar.getmembers()
                # a sample is what follows each other under one name, up to the first dot
                for picture, told in zip(members[::2], members[1::2], strict=True):
                    key = picture.name.partition(".")[0]
                    assert told.name == f"{key}.json"
                    assert (picture.name, picture.mtime) == (f"{key}.jpg", 0)
                    data = tar.extractfile(picture).read()
                    row = json.load(tar.extractfile(told))
                    assert row["sha256"] == hashlib.sha256(data).hexdigest() == rows[key]["sha256"]
                    assert row["split"] == split
                    assert Image.open(io.BytesIO(data)).size == (128, 128)
                    seen[key] = split
    assert seen == {key: row["split"] for key, row in rows.items()}
    assert len(seen) > 10


def test_the_table_as_json_lines_says_the_same(exported):
    table = rows_of(exported("tiles", size=128))
    text = (exported("tiles", size=128, table="jsonl") / "tiles.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["file"] for line in lines] == [row["file"] for row in table]
    assert all(str(line["sha256"]) == row["sha256"] for line, row in zip(lines, table, strict=True))


def test_a_specimen_is_in_one_split_whatever_else_is_exported(truth, tmp_path):
    whole = tmp_path / "whole"
    blocking.export(truth.path, format="tiles", folder=whole, size=128, split="50/50", seed=3)
    splits = {(row["data_set_id"], row["split"]) for row in rows_of(whole)}
    assert len(splits) == 2
    part = tmp_path / "part"
    blocking.export(
        truth.path, f"dataset:{SAGITTAL}", format="tiles", folder=part, size=128, split="50/50", seed=3
    )
    assert {(row["data_set_id"], row["split"]) for row in rows_of(part)} <= splits


def test_splits_have_their_shares_and_depend_on_the_seed():
    options = [Tiles(split="80/10/10", seed=seed) for seed in (0, 1)]
    first, second = ([split_of(each, specimen) for specimen in range(5000)] for each in options)
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert first.count(split) / 5000 == pytest.approx(share, abs=0.02)
    assert first != second
    assert {split_of(Tiles(split="100"), specimen) for specimen in range(100)} == {"train"}


def test_an_export_with_other_shares_leaves_no_list_of_the_former_ones(truth, tmp_path):
    for split in ("0/0/100", "100"):
        blocking.export(truth.path, format="tiles", folder=tmp_path, size=128, split=split, pack="webdataset")
    assert (tmp_path / "test.txt").read_text() == ""
    assert len((tmp_path / "train.txt").read_text().split()) == 6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--split", "80/30"], "--split 80/30 is not allowed"),
        (["--size", "8"], "--size 8 is not allowed: a whole number from 16 to 4096"),
        (["--um", "20", "--downsample", "3"], "give one"),
    ],
)
def test_what_cannot_be_is_told_as_it_was_typed(truth, forked_command, options, words):
    told = forked_command("export", "tiles", truth.path, "-o", "out", *options)
    assert (told.returncode, words in told.stderr) == (2, True), told.stderr


def test_a_pitch_finer_than_what_is_stored_is_a_failure(truth, tmp_path):
    report = blocking.export(truth.path, f"image:{IMAGE_ID}", format="tiles", folder=tmp_path, um=1)
    assert "is finer" in report.failures[0].message
