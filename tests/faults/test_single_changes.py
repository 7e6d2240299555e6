"""No single change to a metadata file of a store stops the rest of it: some hundred changes, each read in every way."""

from __future__ import annotations

import copy
import itertools
import json
from contextlib import suppress

import numpy as np
import pytest
from zarr.buffer import cpu
from zarr.storage import MemoryStore

import asyncfetch
from asyncfetch.errors import AlignmentError, SelectionError, SettingsError, StoreItemError
from asyncfetch.mirroring import plan_view
from asyncfetch.planning import view_layout
from asyncfetch.replica import MirroredAtlas
from asyncfetch.settings import Settings
from asyncfetch.store import StoreWriter

SMALL = 900000005
SELECTION = f"dataset:{SMALL}"
WHOLE = {
    "empty": b"",
    "cut": b'{"zarr_format": 3, "no',
    "object": b"{}",
    "null": b"null",
    "binary": bytes(range(200)),
}
VALUES = (None, "x", [], {"a": 1}, -1, 1.5, 1e308, 2**70, True)
#: A newer layout is not damage, and is refused.
REFUSED = {"zarr.json attributes.asyncfetch.layout"}


@pytest.fixture(scope="module")
def sample(undisturbed):
    """Return the objects of a store with two of its sections, and the rows of which it was made."""
    objects = dict(undisturbed(SELECTION))
    for name in [each for each in objects if "/sections/9" in each]:
        node = json.loads(objects[name])
        node["attributes"]["asyncfetch"]["time"] = "2026-11-28T15:00:00+00:00"
        objects[name] = json.dumps(node).encode()
    data_set = asyncfetch.open(_memory(objects)).data_set(SMALL).read_section_data_set()
    return objects, data_set


def _memory(objects):
    return MemoryStore({name: cpu.Buffer.from_bytes(data) for name, data in objects.items()})


def _paths(node, path=()):
    """Yield the way to every field, of lists to the first element alone."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield (*path, name)
            yield from _paths(value, (*path, name))
    elif isinstance(node, list) and node:
        yield (*path, 0)
        yield from _paths(node[0], (*path, 0))


def _changed(node, path, value):
    node = copy.deepcopy(node)
    inner = node
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return json.dumps(node).encode()


def _changes(objects):
    """Yield a name and the changed objects, for every metadata file and every field of it."""
    seen_sections = 0
    for name in sorted(objects):
        if not name.endswith("zarr.json"):
            continue
        if "/sections/9" in name or "/table/" in name:
            # one section and two columns stand for the others, which differ in nothing
            seen_sections += 1
            if seen_sections % 6 != 1:
                continue
        for kind, data in WHOLE.items():
            yield f"{name} {kind}", {**objects, name: data}
        node = json.loads(objects[name])
        for k, path in enumerate(_paths(node)):
            label = f"{name} {'.'.join(map(str, path))}"
            if label in REFUSED:
                continue
            value = VALUES[k % len(VALUES)]
            yield f"{label} = {value!r:.20}", {**objects, name: _changed(node, path, value)}


def _use(objects, data_set):
    """Read a store in all ways, then write it as a mirror does; errors of single items are expected."""
    memory = _memory(objects)
    store = asyncfetch.open(memory)
    assert (store.read_runs(), len(store.damage)) is not None
    _ = (
        store.read_atlas().catalogue,
        store.read_structure_centers(),
        store.read_space_transforms(),
        store.read_atlases(),
    )
    for data_set_id in store.read_data_set_ids():
        stored = store.data_set(data_set_id)
        for view in stored.read_views():
            seen = stored.in_view(view)
            commits = seen.read_commits()
            _ = (
                seen.read_table(),
                seen.read_section_data_set(),
                seen.read_registered_layout(),
                seen.read_volume_layout(),
            )
            with suppress(StoreItemError, SelectionError):
                assert np.asarray(seen.open_registered()[0, :, 0]).ndim == 2
            for commit in commits[:2]:
                with suppress(StoreItemError):
                    assert seen.section(commit.image_id).pixels().any()
                with suppress(AlignmentError):
                    seen.geometry(commit.image_id)
                assert seen.problems(commit) is not None
            assert seen.own_problems() is not None
    assert MirroredAtlas(store).tables
    settings = Settings(um=200.0)
    writer = StoreWriter.open(memory)
    try:
        view = writer.open_view(view_layout(data_set, "image", settings))
    except SettingsError:
        # a layout of another grid is not damage: the data set fails, and the message says how to go on
        writer.close()
        return
    found = view.sound_sections()
    plan = plan_view(data_set, "image", settings, found, view.slots)
    assert len(plan.to_fetch) + len(plan.committed) == 10
    writer.write_table(data_set)
    writer.mend_catalogue()
    view.finish()
    writer.begin_run({"selection": [SELECTION], "settings": {}})
    assert SMALL in asyncfetch.open(memory).read_data_set_ids()
    writer.close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_no_single_change_to_its_metadata_stops_a_store(sample, every):
    objects, data_set = sample
    n_changes, stopped = 0, []
    for name, changed in itertools.islice(_changes(objects), 0, None, every):
        n_changes += 1
        try:
            _use(changed, data_set)
        except Exception as error:  # noqa: BLE001 - all of them are wanted, each with its change
            stopped.append(f"{name}: {type(error).__name__}: {error}"[:300])
    assert n_changes >= 110
    assert not stopped, f"{len(stopped)} of {n_changes}:\n" + "\n".join(stopped)
