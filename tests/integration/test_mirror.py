"""Whole runs against the replica: what is fetched, what is stored, and what is said of the rest."""

from __future__ import annotations

import re
from collections import Counter

import anyio
import msgspec
import numpy as np
import pytest

import asyncfetch
from asyncfetch.errors import SettingsError
from asyncfetch.events import DataSetCompleted
from asyncfetch.imaging import decode
from asyncfetch.layers.pixels import Decoded
from asyncfetch.replica import QUERY, Fault, open_replica
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings
from asyncfetch.store import StoreWriter

FAILED, UNALIGNED, NULLS, NISSL, SMALL = range(900000001, 900000006)
SMALL_IMAGES = [SMALL + 1000 * n for n in range(1, 11)]
ALL_LAYERS = ("source", "sections", "registered")


@pytest.fixture(scope="module")
def atlas():
    return sample_atlas()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture(scope="module")
def mirror(atlas, drawn):
    """Return a function that runs one mirror and returns its report and the ids of the images fetched."""

    def run(selection, location, faults=None, **choices):
        async def go():
            async with open_replica(atlas, cache_folder=drawn, faults=faults) as replica:
                try:
                    report = await asyncfetch.mirror(
                        selection, location, base_url=replica.base_url, requests_per_s=1000.0, **choices
                    )
                finally:
                    fetched.extend(request.image_id for request in replica.image_requests)
            return report

        fetched = []
        return anyio.run(go), fetched

    return run


@pytest.fixture(scope="module")
def whole(mirror, tmp_path_factory):
    """Return an undisturbed mirror of the small set with all layers."""
    location = tmp_path_factory.mktemp("whole") / "out.zarr"
    report, fetched = mirror(f"dataset:{SMALL}", location, layers=ALL_LAYERS)
    assert sorted(fetched) == SMALL_IMAGES
    assert report.n_committed == 10
    return location


def objects(location, *, of=""):
    """Return every object that holds pixels or columns, by its path."""
    found = {
        str(path.relative_to(location)): path.read_bytes()
        for path in location.rglob("*")
        if path.is_file() and path.name != "zarr.json"
    }
    found = {path: data for path, data in found.items() if of in path}
    assert found
    return found


def commits(location, data_set_id=SMALL, view="image"):
    return {
        commit.image_id: commit
        for commit in asyncfetch.open(location).data_set(data_set_id, view).read_commits()
    }


def lasting(commit):
    """Return a commit without what differs from run to run."""
    return msgspec.structs.replace(commit, time="", url=commit.url.partition("/api")[2])


def test_a_thread_decodes_the_next_image_once_the_array_of_the_last_is_back(mirror, tmp_path, monkeypatch):
    n_held, held = 0, []
    decode_image, give_back = Decoded.decode, Decoded.give_back

    def counted_decode(self, data):
        nonlocal n_held
        held.append(n_held)
        n_held += 1
        return decode_image(self, data)

    def counted_give_back(self):
        nonlocal n_held
        n_held -= len(self._lent)
        give_back(self)

    monkeypatch.setattr(Decoded, "decode", counted_decode)
    monkeypatch.setattr(Decoded, "give_back", counted_give_back)

    report, _ = mirror(f"dataset:{SMALL}", tmp_path / "out.zarr", layers=ALL_LAYERS, workers=1)

    assert report.n_committed == 10
    assert held == [0] * 10
    assert n_held == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"workers": 1, "jobs": 1, "page_rows": 3},
        pytest.param({"workers": 3, "jobs": 8, "memory_bytes": 2**24}, marks=pytest.mark.slow),
    ],
    ids=["one by one", "little memory"],
)
def test_how_the_work_is_shared_out_changes_no_byte(mirror, whole, tmp_path, settings):
    mirror(f"dataset:{SMALL}", tmp_path, layers=ALL_LAYERS, **settings)
    assert objects(tmp_path) == objects(whole)
    assert {key: lasting(each) for key, each in commits(tmp_path).items()} == {
        key: lasting(each) for key, each in commits(whole).items()
    }


def test_the_order_of_the_work_changes_no_byte(mirror, whole, tmp_path):
    for image_id in (SMALL_IMAGES[7], SMALL_IMAGES[2]):
        mirror(f"image:{image_id}", tmp_path, layers=ALL_LAYERS)
    mirror(f"dataset:{SMALL}", tmp_path, layers=ALL_LAYERS)
    assert objects(tmp_path) == objects(whole)


def test_planes_do_not_depend_on_the_other_layers(mirror, whole, tmp_path):
    for layers in (("registered",), ("source", "registered"), ("sections", "registered")):
        location = tmp_path / "-".join(layers)
        mirror(f"image:{SMALL_IMAGES[4]}", location, um=100, downsample=0, layers=layers)
    planes = [objects(path, of="/registered/") for path in tmp_path.iterdir()]
    assert planes[0] == planes[1] == planes[2]


def test_the_source_is_what_the_server_sent_and_the_sections_are_its_pixels(mirror, whole):
    data_set = asyncfetch.open(whole).data_set(SMALL)
    for commit in data_set.read_commits()[:3]:
        section = data_set.section(commit.image_id)
        pixels = decode(section.read_jpeg())
        assert np.array_equal(np.moveaxis(section.open_levels()[0][:, 0], 0, -1), pixels)
        assert section.commit.layers == ALL_LAYERS
        assert section.commit.size_bytes == len(section.read_jpeg())


def test_a_second_mirror_fetches_no_image(mirror, whole):
    before = objects(whole)
    report, fetched = mirror(f"dataset:{SMALL}", whole, layers=ALL_LAYERS)
    assert fetched == []
    assert (report.n_committed, report.n_skipped, report.n_failed) == (0, 10, 0)
    assert report.n_completed == 1
    assert objects(whole) == before


def test_fewer_layers_are_there_already(mirror, whole):
    for layers in (("source",), ("registered",), ("sections", "source")):
        assert mirror(f"dataset:{SMALL}", whole, layers=layers)[1] == []
    assert set(commits(whole)[SMALL_IMAGES[0]].layers) == set(ALL_LAYERS)


def test_after_single_images_only_the_rest_is_fetched(mirror, tmp_path):
    _, fetched = mirror([f"image:{SMALL_IMAGES[3]}", f"image:{SMALL_IMAGES[1]}"], tmp_path)
    assert sorted(fetched) == [SMALL_IMAGES[1], SMALL_IMAGES[3]]
    report, fetched = mirror(f"dataset:{SMALL}", tmp_path)
    assert sorted(fetched) == sorted(set(SMALL_IMAGES) - {SMALL_IMAGES[1], SMALL_IMAGES[3]})
    assert (report.n_committed, report.n_skipped) == (8, 2)


def test_an_image_named_twice_is_fetched_once(mirror, tmp_path):
    image = f"image:{SMALL_IMAGES[3]}"
    report, fetched = mirror([image, f"dataset:{SMALL}", image], tmp_path, layers=("source",))
    assert sorted(fetched) == SMALL_IMAGES
    assert report.n_data_sets == 1


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (("source", "registered"), ("sections",)),
        (("sections",), ("registered", "source")),
        pytest.param(("source",), ("registered",), marks=pytest.mark.slow),
        pytest.param(("registered",), ALL_LAYERS, marks=pytest.mark.slow),
    ],
)
def test_asking_for_more_layers_adds_them_and_takes_none_away(mirror, whole, tmp_path, first, then):
    image_id = SMALL_IMAGES[3]
    mirror(f"image:{image_id}", tmp_path, layers=first)
    paths = [path for path in objects(tmp_path, of=f"{SMALL}/image/") if "METADATA" not in path]
    before = {path: (tmp_path / path).stat().st_mtime_ns for path in paths}
    report, fetched = mirror(f"image:{image_id}", tmp_path, layers=then)
    assert fetched == [image_id]
    assert report.n_committed == 1
    commit = commits(tmp_path)[image_id]
    assert set(commit.layers) == {*first, *then}
    assert commit.recipe.um == 25
    # What was there was not even written again, and what came is what one run would have written.
    assert {path: (tmp_path / path).stat().st_mtime_ns for path in before} == before
    expected = objects(whole)
    assert all(expected[path] == data for path, data in objects(tmp_path, of=str(image_id)).items())
    for layer in then:
        assert mirror(f"image:{image_id}", tmp_path, layers=(layer,))[1] == []


def test_a_kill_while_layers_are_added_leaves_the_old_commit(mirror, tmp_path):
    image_id = SMALL_IMAGES[3]
    mirror(f"image:{image_id}", tmp_path)
    before = objects(tmp_path)
    view = StoreWriter.open(tmp_path).view(SMALL, "image")
    view.begin_section(image_id, keep=("source", "registered"))
    shape = commits(tmp_path)[image_id].shape
    view.create_levels(image_id, shape, codec="zstd", downsample=0, resolution_um=6.52)
    assert commits(tmp_path)[image_id].layers == ("source", "registered")
    StoreWriter.open(tmp_path).view(SMALL, "image").begin_section(image_id, keep=("source", "registered"))
    assert objects(tmp_path) == before


def test_a_finer_tier_fetched_for_another_layer_leaves_the_plane(mirror, tmp_path):
    image_id = SMALL_IMAGES[3]
    mirror(f"image:{image_id}", tmp_path, um=100)
    plane = objects(tmp_path, of="/registered/")
    assert commits(tmp_path)[image_id].downsample == 2
    mirror(f"image:{image_id}", tmp_path, layers=("sections",), downsample=0)
    commit = commits(tmp_path)[image_id]
    assert set(commit.layers) == set(ALL_LAYERS)
    assert (commit.downsample, commit.recipe.um) == (0, 100)
    assert objects(tmp_path, of="/registered/") == plane
    section = asyncfetch.open(tmp_path).data_set(SMALL).section(image_id)
    # The JPEG and the pixels are of one tier, the finer.
    assert np.array_equal(section.pixels(), decode(section.read_jpeg()))


def test_a_finer_tier_in_the_store_serves_a_coarser_request(mirror, tmp_path):
    image_id = SMALL_IMAGES[3]
    mirror(f"image:{image_id}", tmp_path, layers=("source",), um="full")
    assert mirror(f"image:{image_id}", tmp_path, layers=("source",), um=100)[1] == []
    # More of a section is made from the tier that is stored, so that the JPEG does not become coarser.
    mirror(f"image:{image_id}", tmp_path, um=100)
    commit = commits(tmp_path)[image_id]
    assert (commit.downsample, commit.recipe.um) == (0, 100)
    assert set(commit.layers) == {"source", "registered"}


def test_a_coarser_tier_in_the_store_does_not_serve_a_finer_request(mirror, tmp_path):
    image_id = SMALL_IMAGES[3]
    mirror(f"image:{image_id}", tmp_path, layers=("source",), um=100)
    assert mirror(f"image:{image_id}", tmp_path, layers=("source",), um=25)[1] == [image_id]
    assert mirror(f"image:{image_id}", tmp_path, layers=("source",), downsample=1)[1] == [image_id]
    assert mirror(f"image:{image_id}", tmp_path, layers=("source",), downsample=1)[1] == []


def test_another_view_is_fetched_beside_the_first(mirror, tmp_path):
    selection = f"image:{SMALL_IMAGES[3]}"
    mirror(selection, tmp_path)
    before = objects(tmp_path, of=f"{SMALL}/image/")
    report, fetched = mirror(selection, tmp_path, views=("image", "expression"))
    assert fetched == [SMALL_IMAGES[3]]
    assert (report.n_committed, report.n_skipped) == (1, 1)
    assert objects(tmp_path, of=f"{SMALL}/image/") == before
    mask = asyncfetch.open(tmp_path).data_set(SMALL, "expression")
    commit = mask.section(SMALL_IMAGES[3]).commit
    assert commit.recipe.interpolation == "nearest"
    plane = np.asarray(mask.open_registered()[:, mask.read_registered_layout().z_by_image[SMALL_IMAGES[3]]])
    # Colours are codes: the plane has those of the image and no mixtures.
    colours = decode(mask.section(SMALL_IMAGES[3]).read_jpeg()) @ (65536, 256, 1)
    found = np.unique(np.moveaxis(plane, 0, -1) @ (65536, 256, 1))
    assert np.isin(found, colours).all()
    assert len(found) > 100


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("um", 10.0),
        pytest.param("interpolation", "cubic", marks=pytest.mark.slow),
        pytest.param("parallel", True, marks=pytest.mark.slow),
    ],
)
def test_planes_of_another_kind_are_refused_and_nothing_is_lost(mirror, whole, setting, value):
    before, told = objects(whole), commits(whole)
    with pytest.raises(SettingsError, match=f"{setting} = ") as refused:
        mirror(f"dataset:{SMALL}", whole, **{setting: value})
    assert refused.value.setting == setting
    assert objects(whole) == before
    assert commits(whole) == told
    # What can never succeed is not left for resume to stumble over.
    assert asyncfetch.open(whole).read_runs() == []


UNHEALTHY = {
    SMALL_IMAGES[1]: ("status:503", "StatusError", "HTTP 503"),
    SMALL_IMAGES[2]: ("html", "NotAnImageError", "Site unavailable"),
    SMALL_IMAGES[3]: ("not-jpeg", "NotAnImageError", "not a JPEG"),
    SMALL_IMAGES[4]: ("truncate", "CorruptImageError", "does not decode"),
    SMALL_IMAGES[5]: ("status:404", "NotFoundError", "404"),
}


@pytest.fixture(scope="module")
def disturbed(mirror, tmp_path_factory):
    """Return a mirror of the small set of which half the images never come, and its report."""
    location = tmp_path_factory.mktemp("disturbed")
    faults = {image_id: kind for image_id, (kind, _, _) in UNHEALTHY.items()}
    faults |= {SMALL_IMAGES[6]: ("reset", 1), SMALL_IMAGES[7]: ("truncate", 1), QUERY: ("transient", 1)}
    report, fetched = mirror(f"dataset:{SMALL}", location, faults, layers=ALL_LAYERS, attempts=2)
    return location, report, Counter(fetched)


def test_what_never_comes_is_named_with_its_cause(disturbed):
    _, report, fetched = disturbed
    assert report.n_committed == 5
    assert sorted(failure.item for failure in report.failures) == [f"image:{each}" for each in UNHEALTHY]
    for failure in report.failures:
        image_id = int(failure.item.removeprefix("image:"))
        kind, error, words = UNHEALTHY[image_id]
        assert failure.error == error
        assert words in failure.message
        assert f"/{image_id}" in failure.url
        assert failure.view == "image"
        assert failure.is_transient == (kind != "status:404")
        assert fetched[image_id] == (2 if failure.is_transient else 1)
    assert report.n_retries == 7


def test_what_came_is_as_in_an_undisturbed_run(disturbed, whole):
    location, _, _ = disturbed
    healthy = set(SMALL_IMAGES) - set(UNHEALTHY)
    expected, told = objects(whole), commits(whole)
    assert {key: lasting(each) for key, each in commits(location).items()} == {
        image_id: lasting(told[image_id]) for image_id in told if image_id in healthy
    }
    # The collection names the images that are there, so it differs; nothing else does.
    found = {path: data for path, data in objects(location).items() if "METADATA" not in path}
    assert all(expected[path] == data for path, data in found.items())
    assert {path for path in expected if "/sections/" in path or "/source/" in path} - set(found) == {
        path for path in expected if any(re.search(rf"/{each}[/.]", path) for each in UNHEALTHY)
    } | {path for path in expected if "METADATA" in path}


def test_the_selections_of_the_report_fetch_what_is_missing_alone(disturbed, mirror, whole):
    location, report, _ = disturbed
    assert len(asyncfetch.open(location).read_runs()) == 1
    again, fetched = mirror([failure.item for failure in report.failures], location, layers=ALL_LAYERS)
    assert sorted(fetched) == sorted(UNHEALTHY)
    assert (again.n_committed, again.n_failed) == (5, 0)
    assert objects(location) == objects(whole)


def test_an_unknown_item_beside_known_ones_is_a_line_in_the_report(mirror, tmp_path):
    selection = ["dataset:999", f"image:{SMALL_IMAGES[0]}", "image:1"]
    report, fetched = mirror(selection, tmp_path, layers=("source",))
    assert fetched == [SMALL_IMAGES[0]]
    assert report.n_committed == 1
    failures = {failure.item: failure for failure in report.failures}
    assert failures.keys() == {"dataset:999", "image:1"}
    assert "999" in failures["dataset:999"].message
    assert {failure.error for failure in report.failures} == {"NotFoundError"}


def test_metadata_that_never_come_are_the_failure_of_their_data_set(mirror, tmp_path):
    report, fetched = mirror(f"dataset:{SMALL}", tmp_path, {QUERY: "transient"}, attempts=2)
    assert fetched == []
    (failure,) = report.failures
    assert failure.item == f"dataset:{SMALL}"
    assert failure.is_transient
    assert failure.error == "TransientServiceError"
    assert len(asyncfetch.open(tmp_path).read_runs()) == 1


def test_a_set_without_alignments_is_stored_and_listed_as_unplaced(mirror, tmp_path):
    report, fetched = mirror(f"dataset:{UNALIGNED}", tmp_path)
    assert len(fetched) == report.n_committed == 5
    assert report.failures == []
    assert [each.item for each in report.unplaced] == [f"image:{UNALIGNED + 1000 * n}" for n in range(1, 6)]
    assert {each.error for each in report.unplaced} == {"AlignmentError"}
    assert all("missing" in each.message for each in report.unplaced)
    for commit in commits(tmp_path, UNALIGNED).values():
        assert commit.layers == ("source",)
        assert commit.recipe.um is None
        assert commit.image_to_reference is None
    assert mirror(f"dataset:{UNALIGNED}", tmp_path)[1] == []


def test_sections_with_nulls_are_stored_and_what_cannot_be_placed_is_named(mirror, tmp_path):
    report, _ = mirror(f"dataset:{NULLS}", tmp_path)
    assert report.n_committed == 6
    assert report.failures == []
    reasons = {each.item: each.message for each in report.unplaced}
    assert reasons.keys() == {"image:900002003", "image:900003003"}
    assert "section number" in reasons["image:900002003"]
    assert "tvs" in reasons["image:900003003"]
    layers = {image_id: commit.layers for image_id, commit in commits(tmp_path, NULLS).items()}
    assert layers.pop(900002003) == layers.pop(900003003) == ("source",)
    assert set(layers.values()) == {("source", "registered")}
    # A null in tsv keeps nobody from registering, which needs tvs.
    assert commits(tmp_path, NULLS)[900004003].image_to_reference is None


def test_a_view_that_images_do_not_have_is_their_failure_alone(mirror, tmp_path):
    report, _ = mirror(f"dataset:{NISSL}", tmp_path, views=("image", "expression"), layers=("source",))
    assert report.n_committed == 4
    assert {(each.item, each.view, each.error) for each in report.failures} == {
        (f"image:{NISSL + 1000 * n}", "expression", "NotFoundError") for n in range(1, 5)
    }
    assert len(commits(tmp_path, NISSL)) == 4
    assert commits(tmp_path, NISSL, "expression") == {}


def test_a_data_set_that_failed_can_be_had_and_says_so(mirror, tmp_path):
    report, _ = mirror(f"dataset:{FAILED}", tmp_path, layers=("source",))
    assert (report.n_committed, report.n_failed) == (5, 0)
    assert asyncfetch.open(tmp_path).data_set(FAILED).record["failed"] is True


def test_a_data_set_whose_images_all_wait_for_another_attempt_keeps_no_worker_from_another(
    atlas, drawn, tmp_path
):
    def cut_the_small_ones(key):
        return Fault("truncate") if key in SMALL_IMAGES else None

    async def go():
        drain = anyio.Event()

        def listen(event):
            if isinstance(event, DataSetCompleted):
                drain.set()

        # jobs and workers make three workers for ten images that all fail, and minutes until they are tried again
        settings = Settings(jobs=1, workers=1, retry_base_s=1e4, um=100.0, requests_per_s=1000.0)
        async with open_replica(atlas, cache_folder=drawn, faults=cut_the_small_ones) as replica:
            with anyio.fail_after(30):
                return await asyncfetch.mirror(
                    [f"dataset:{SMALL}", "image:69177654"],
                    tmp_path / "out.zarr",
                    settings=settings.replace(base_url=replica.base_url),
                    on_event=listen,
                    drain=drain,
                )

    report = anyio.run(go)
    assert (report.n_committed, report.interrupted) == (1, True)
    assert report.n_retries == 10
