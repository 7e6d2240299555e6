"""Anything in a store changed at random: a full verification finds it, and a repair mends that and touches no more."""

from __future__ import annotations

import json
import random
import re
import shutil

import anyio
import numpy as np
import pytest

from asyncfetch.mirroring import verify, volume
from asyncfetch.replica import open_replica
from asyncfetch.settings import Settings
from asyncfetch.store.checksums import with_checksum

SMALL = 900000005
VIEW = f"data_sets/{SMALL}/image"
LAYERS = ("source", "sections", "registered")
IMAGES = [900001005 + 1000 * k for k in range(10)]
_OF_SECTION = re.compile(rf"{VIEW}/(?:sections/(\d+)/.*|source/(\d+)\.jpg)")
_PLANE = re.compile(rf"{VIEW}/registered/scale0/image/c\.0\.(\d+)\.0\.0")


def flip(folder, dice):
    path = dice.choice(files_of(folder))
    data = bytearray(path.read_bytes())
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
    return [path]


def remove(folder, dice):
    path = dice.choice(files_of(folder))
    path.unlink()
    return [path]


def cut(folder, dice):
    path = dice.choice(files_of(folder))
    data = path.read_bytes()
    path.write_bytes(data[: dice.randrange(len(data))])
    return [path]


def empty(folder, dice):
    path = dice.choice(files_of(folder))
    path.write_bytes(b"")
    return [path]


def swap(folder, dice):
    """Swap the same object of two sections: JPEGs, pixels of a level, planes, or commits."""
    names = ("source/{}.jpg", "sections/{}/scale0/image/c.0.0.0.0", "sections/{}/zarr.json", None)
    name = dice.choice(names)
    if name is None:
        paths = dice.sample(sorted((folder / VIEW / "registered/scale0/image").glob("c.*")), 2)
    else:
        paths = [folder / VIEW / name.format(image_id) for image_id in dice.sample(IMAGES, 2)]
    first, second = (path.read_bytes() for path in paths)
    paths[0].write_bytes(second)
    paths[1].write_bytes(first)
    return paths


def another_jpeg(folder, dice):
    to, of = (folder / VIEW / f"source/{each}.jpg" for each in dice.sample(IMAGES, 2))
    to.write_bytes(of.read_bytes())
    return [to]


def forge(folder, dice):
    """Change what a commit says, with a checksum that fits or without."""
    path = folder / VIEW / f"sections/{dice.choice(IMAGES)}/zarr.json"

    what = dice.choice(["sha256", "shape", "layers", "size_bytes", "width", "codec", "affine", "downsample"])

    def change(ours, _ome):
        if what == "sha256":
            ours["sha256"] = "0" * 64
        elif what == "shape":
            ours["shape"][0] += 1
        elif what == "layers":
            ours["layers"].remove(dice.choice(ours["layers"]))
        elif what == "size_bytes":
            ours["size_bytes"] += 1
        elif what == "width":
            ours["record"]["width"] += 64
        elif what == "codec":
            ours["interpolation"] = "cubic"
        elif what == "affine":
            ours["image_to_reference"]["matrix"][0][2] += 25.0
        else:
            ours["downsample"] += 1

    return edit(path, change, dice, may_fit=what != "width")


def move_slots(folder, dice):
    """Let two slots of the registered image name each other's section."""

    def change(ours, _ome):
        a, b = dice.sample([slot for slot in ours["slots"] if slot["image_id"]], 2)
        a["image_id"], b["image_id"] = b["image_id"], a["image_id"]

    return edit(folder / VIEW / "registered/zarr.json", change, dice)


def move_z(folder, dice):
    path = folder / VIEW / f"{dice.choice(['registered', 'volume'])}/scale0/{dice.choice('zyx')}/c.0"
    values = np.frombuffer(path.read_bytes(), dtype="<f8").copy()
    values[dice.randrange(len(values))] += dice.choice([25.0, -1e-3])
    path.write_bytes(values.tobytes())
    return [path]


def change_ngff(folder, dice):
    """Change what a viewer reads: a scale, a name, an orientation."""
    paths = [
        path
        for path in files_of(folder)
        if path.name == "zarr.json" and b'"multiscales"' in path.read_bytes()
    ]

    def change(_ours, ome):
        image = ome["multiscales"][0]
        what = dice.choice(["scale", "name", "unit"])
        if what == "scale":
            image["datasets"][0]["coordinateTransformations"][0]["scale"][3] *= 2
        elif what == "name":
            image["name"] += "?"
        else:
            image["axes"][3]["unit"] = "millimeter"

    return edit(dice.choice(paths), change, dice)


def edit(path, change, dice, *, may_fit=True):
    """Change metadata, with a checksum that fits or without."""
    document = json.loads(path.read_bytes())
    attributes = document["attributes"]
    change(attributes["asyncfetch"], attributes.get("ome"))
    if may_fit and dice.random() < 0.5:
        document["attributes"] = with_checksum(attributes)
    path.write_text(json.dumps(document, indent=2))
    return [path]


WAYS = (
    flip,
    flip,
    flip,
    remove,
    cut,
    empty,
    swap,
    another_jpeg,
    forge,
    forge,
    move_slots,
    move_z,
    change_ngff,
)


def files_of(folder):
    # the root changes with every run
    return sorted(path for path in folder.rglob("*") if path.is_file())


def corrupt(folder, dice, objects_of, before):
    """Change something that matters, and return what was done to which objects."""
    while True:
        way = dice.choice(WAYS)
        paths = way(folder, dice)
        names = [path.relative_to(folder).as_posix() for path in paths]
        try:
            after = objects_of(folder)
        except ValueError:
            # metadata that are no JSON any more
            return way.__name__, names
        if any(after.get(name) != before[name] for name in names):
            return way.__name__, names


def stamps_of(folder):
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in files_of(folder)}


def may_change(name, damaged, images):
    """Tell whether the repair of damaged objects may write an object."""
    if name == "zarr.json" or name in damaged:
        return True
    return any(belongs_to(name, each, images) for each in damaged)


def belongs_to(name, each, images):
    if "/table/" in each:
        return "/table/" in name
    if "/volume/" in each:
        return name.endswith("volume/zarr.json") or ("/volume/" in name and each.endswith("volume/zarr.json"))
    section = section_of(each, images)
    if section is None:
        return False
    if section_of(name, images) != section:
        # the collection and the summary list the sections
        lists = (f"{VIEW}/sections/OME/", f"{VIEW}/sections/zarr.json", f"data_sets/{SMALL}/zarr.json")
        return name.startswith(lists)
    # its JPEG stays where it and the commit are sound
    return each.endswith((".jpg", f"{section}/zarr.json")) or not name.endswith(".jpg")


def section_of(name, images):
    if match := _OF_SECTION.fullmatch(name):
        return int(match[1] or match[2])
    if match := _PLANE.fullmatch(name):
        return images.get(int(match[1]))
    return None


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    return tmp_path_factory.mktemp("kept") / "out.zarr"


@pytest.fixture
def whole(run, kept, objects_of, tmp_path):
    """Return a copy of an undisturbed store with all layers and a volume, and its objects."""
    if not kept.exists():
        assert run(f"dataset:{SMALL}", kept, layers=LAYERS).report.failures == []
        anyio.run(volume, kept)
    shutil.copytree(kept, tmp_path / "out.zarr")
    return tmp_path / "out.zarr", objects_of(kept)


async def _verified(folder, atlas, drawn, **options):
    async with open_replica(atlas, cache_folder=drawn) as replica:
        settings = Settings(base_url=replica.base_url, requests_per_s=1000.0)
        return await verify(folder, full=True, settings=settings, **options)


def test_a_store_with_a_volume_is_sound(whole, atlas, drawn):
    folder, _ = whole
    before = stamps_of(folder)
    report = anyio.run(lambda: _verified(folder, atlas, drawn, repair=True))
    assert (report.flaws, report.notes, report.n_requests) == ([], [], 0)
    assert stamps_of(folder) == before


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(4, 300))]
)
def test_whatever_is_changed_is_found_and_mended_alone(whole, atlas, drawn, objects_of, seed):
    folder, before = whole
    dice = random.Random(seed)
    slots = json.loads((folder / VIEW / "registered/zarr.json").read_bytes())["attributes"]["asyncfetch"][
        "slots"
    ]
    images = {slot["z"]: slot["image_id"] for slot in slots}
    done = [corrupt(folder, dice, objects_of, before) for _ in range(dice.choice([1, 1, 1, 2]))]
    damaged = {name for _, names in done for name in names}
    stamps = stamps_of(folder)

    found = anyio.run(lambda: _verified(folder, atlas, drawn))
    assert not found.is_sound, done
    mended = anyio.run(lambda: _verified(folder, atlas, drawn, repair=True))

    assert (mended.left, mended.failures) == ([], []), done
    after = objects_of(folder)
    different = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    assert different == [], (done, found.flaws)
    later = stamps_of(folder)
    touched = [name for name in later if stamps.get(name) != later[name]]
    beyond = [name for name in touched if not may_change(name, damaged, images)]
    assert beyond == [], (done, found.flaws)
