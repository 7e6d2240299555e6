"""``image`` and ``preview``: one JPEG from the replica, one page of planes from a store."""

from __future__ import annotations

import numpy as np
import pytest
import typer.testing
from PIL import Image

from asyncfetch.cli import app, register_commands
from asyncfetch.imaging import decode, read_header
from asyncfetch.store import StoreWriter

register_commands()

IMAGE_ID = 69177654


@pytest.fixture
def at_replica(tmp_path, monkeypatch, replica_process):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYNCFETCH_BASE_URL", replica_process.base_url)
    monkeypatch.setenv("ASYNCFETCH_REQUESTS_PER_S", "1000")
    runner = typer.testing.CliRunner()
    return lambda *args: runner.invoke(app, [str(each) for each in args])


def test_an_image_comes_as_the_jpeg_of_its_tier(at_replica, tmp_path):
    result = at_replica("image", IMAGE_ID, "--downsample", 4)
    assert (result.exit_code, result.stdout) == (0, f"{IMAGE_ID}.jpg\n")
    assert read_header((tmp_path / f"{IMAGE_ID}.jpg").read_bytes()).shape == (7553 >> 4, 11921 >> 4)


def test_a_box_has_the_size_that_was_asked_for(at_replica, tmp_path):
    box = ("--left", 4000, "--top", 3000, "--width", 64, "--height", 48)
    assert at_replica("image", IMAGE_ID, "-o", "box.jpg", "--downsample", 2, *box).exit_code == 0
    assert decode((tmp_path / "box.jpg").read_bytes()).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((1,), 4, "1"),
        ((IMAGE_ID, "--quality", 101), 2, "quality"),
        ((IMAGE_ID, "--view", "nothing"), 2, "view"),
    ],
    ids=["unknown", "quality", "view"],
)
def test_an_image_that_cannot_be_had_is_named(at_replica, tmp_path, arguments, code, words):
    result = at_replica("image", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert not list(tmp_path.glob("*.jpg"))


def test_outlines_stand_where_the_sections_lie(at_replica, tmp_path):
    result = at_replica("outlines", 479, "-o", "where.png")
    assert (result.exit_code, result.stdout) == (0, "where.png\n")
    page = np.asarray(Image.open(tmp_path / "where.png"))
    assert (page == (60, 60, 140)).all(axis=-1).sum() > 1000


def test_outlines_of_a_set_without_alignments_are_refused(at_replica, tmp_path):
    result = at_replica("outlines", 900000002)
    assert result.exit_code == 2
    assert "alignment" in result.stderr
    assert not list(tmp_path.glob("*.png"))


def test_a_page_shows_every_committed_plane(at_replica, tmp_path):
    mirrored = at_replica("mirror", "dataset:900000005", "-o", "out.zarr", "--um", 100)
    assert mirrored.exit_code == 0
    result = at_replica("preview", "out.zarr", "--columns", 5, "-o", "page.png")
    assert (result.exit_code, result.stderr, result.stdout) == (0, "10 planes\n", "page.png\n")
    page = np.asarray(Image.open(tmp_path / "page.png"))
    assert page.shape[1] > 5 * 80
    assert (page == 0).all(axis=-1).any()
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 1000


def test_a_page_of_nothing_is_refused(at_replica):
    StoreWriter.open("out.zarr")
    result = at_replica("preview", "out.zarr", "--dataset", 900000005)
    assert result.exit_code == 2
    assert "900000005" in result.stderr
