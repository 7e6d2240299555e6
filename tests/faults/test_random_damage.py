"""Any file of a store emptied, cut or removed: every way to read works on the rest, and a mirror makes it whole."""

from __future__ import annotations

import random
import shutil
from contextlib import suppress

import numpy as np
import pytest

import asyncfetch
from asyncfetch.errors import StoreItemError

SELECTION = "dataset:900000005"
LAYERS = ("source", "sections", "registered")


def damage(folder, dice):
    """Empty, cut or remove some files of a store."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    done = []
    for path in dice.sample(files, dice.randint(1, 3)):
        data, how = path.read_bytes(), dice.choice(["empty", "cut", "missing"])
        if how == "missing":
            path.unlink()
        else:
            path.write_bytes(data[: dice.randrange(len(data)) if how == "cut" and data else 0])
        done.append(f"{path.relative_to(folder)} {how}")
    return done


def read_everything(folder):
    store = asyncfetch.open(folder)
    _ = store.read_atlas(), store.read_runs()
    for data_set_id in store.read_data_set_ids():
        data_set = store.data_set(data_set_id)
        with suppress(StoreItemError, asyncfetch.errors.SelectionError):
            np.asarray(data_set.open_registered()[:, ::2, ::4, ::4])
        for commit in data_set.read_commits():
            with suppress(StoreItemError):
                data_set.section(commit.image_id).pixels()


@pytest.mark.parametrize(
    "seed",
    [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 100))],
)
def test_a_damaged_store_is_read_and_made_equal_to_an_undisturbed_one(run, tmp_path, whole, seed):
    folder, objects = whole(tmp_path / "out.zarr")
    done = damage(folder, random.Random(seed))
    read_everything(folder)
    outcome = run(SELECTION, folder, layers=LAYERS)
    assert outcome.report.failures == [], done
    different = [
        name
        for name in objects.keys() | outcome.objects.keys()
        if objects.get(name) != outcome.objects.get(name)
    ]
    assert different == [], done


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "out.zarr"


@pytest.fixture
def whole(run, kept, objects_of):
    """Return what copies an undisturbed store, and its objects."""
    if not kept.exists():
        assert run(SELECTION, kept, layers=LAYERS).report.failures == []

    def copy(folder):
        shutil.copytree(kept, folder)
        return folder, objects_of(folder)

    return copy
