from __future__ import annotations

import hashlib
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import numpy as np
import pytest

from asyncfetch import mirroring, store
from asyncfetch.allen import parse_criteria
from asyncfetch.allen.sync import parse_sync_json
from asyncfetch.errors import NotFoundError
from asyncfetch.geometry import Box
from asyncfetch.imaging import decode, encode, halve
from asyncfetch.replica import DrawnImages, MirroredAtlas, open_replica, open_replica_process
from asyncfetch.replica.images import read_picture
from asyncfetch.replica.rma import Evaluator
from asyncfetch.replica.sync import SyncServices
from asyncfetch.sample import sample_atlas
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

DATA_SET, IMAGE = 900000005, 900006005
OTHER_IMAGE = 900001005


def mirrored(location: Path, selection: str, **settings) -> store.Store:
    async def run():
        async with open_replica(sample_atlas()) as replica:
            chosen = Settings.from_layers(
                {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 200.0, **settings}
            )
            report = await mirroring.mirror(selection, location, settings=chosen)
            assert (report.n_failed, report.n_committed > 0) == (0, True)

    anyio.run(run)
    return store.open(location)


@pytest.fixture(scope="module")
def with_levels(tmp_path_factory) -> store.Store:
    location = tmp_path_factory.mktemp("stores") / "levels.zarr"
    return mirrored(
        location,
        f"dataset:{DATA_SET}",
        downsample=2,
        views="image,expression",
        layers="source,sections,registered",
    )


@pytest.fixture(scope="module")
def with_jpegs(tmp_path_factory) -> store.Store:
    location = tmp_path_factory.mktemp("stores") / "jpegs.zarr"
    return mirrored(location, f"image:{IMAGE}", downsample=1, layers="source")


@asynccontextmanager
async def open_session(atlas, **options):
    async with open_replica(atlas, **options) as replica, aiohttp.ClientSession(replica.base_url) as session:
        yield replica, session


def digest(location: str) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(Path(location).rglob("*"))
        if path.is_file()
    }


async def test_what_was_fetched_is_sent_again_byte_for_byte_and_nothing_is_written(with_levels):
    before = digest(with_levels.location)
    async with open_session(MirroredAtlas(with_levels)) as (replica, session):
        for view in ("image", "expression"):
            stored = with_levels.data_set(DATA_SET, view).section(IMAGE).read_jpeg()
            for spelling in ({"view": view}, {view: "true"}):
                parameters = {"downsample": "2", **spelling}
                async with session.get(f"/api/v2/image_download/{IMAGE}", params=parameters) as reply:
                    assert reply.status == 200
                    assert await reply.read() == stored
        assert replica.images.n_drawn == 0
    assert digest(with_levels.location) == before


@pytest.mark.parametrize("kind", ["with_levels", "with_jpegs"])
async def test_boxes_tiers_and_quality_come_from_stored_pixels(kind, with_levels, with_jpegs):
    kept = {"with_levels": with_levels, "with_jpegs": with_jpegs}[kind]
    atlas = MirroredAtlas(kept)
    images = DrawnImages(atlas)
    section = kept.data_set(DATA_SET).section(IMAGE)
    first = section.commit.downsample
    pixels = decode(section.read_jpeg())
    for downsample in range(first, first + 3):
        row = atlas.image_row(IMAGE)
        low = read_picture(row, {"downsample": str(downsample), "quality": "30"})
        assert await images.jpeg(low) == encode(pixels, quality=30)
        box = {"left": str(40 << downsample), "top": str(20 << downsample), "width": "50", "height": "30"}
        part = read_picture(row, {"downsample": str(downsample), **box})
        assert await images.jpeg(part) == encode(np.ascontiguousarray(pixels[20:50, 40:90]))
        pixels = halve(pixels)


async def test_views_are_those_that_are_stored(with_levels):
    atlas = MirroredAtlas(with_levels)
    images = DrawnImages(atlas)
    gray = {"downsample": "2", "view": "expression", "filter": "colormap", "filterVals": "0,1,0,256,0"}
    mask = decode(with_levels.data_set(DATA_SET, "expression").section(IMAGE).read_jpeg())
    found = await images.jpeg(read_picture(atlas.image_row(IMAGE), gray))
    assert np.abs(decode(found)[..., 0].astype(int) - mask.max(axis=2)).mean() < 1
    assert not atlas.has_view(IMAGE, "projection")
    assert atlas.image_row(OTHER_IMAGE) is not None


async def test_what_is_not_stored_is_not_found(with_jpegs):
    atlas = MirroredAtlas(with_jpegs)
    async with open_session(atlas) as (_replica, session):
        for address in (
            f"/api/v2/image_download/{OTHER_IMAGE}?downsample=1",
            f"/api/v2/image_download/{IMAGE}",
            f"/api/v2/image_download/{IMAGE}?downsample=1&view=expression",
            f"/api/v2/image_download/{IMAGE}?downsample=1&left=100000",
        ):
            async with session.get(address) as reply:
                assert reply.status == 404, address
    with pytest.raises(NotFoundError, match="from downsample 1"):
        atlas.draw(IMAGE, downsample=0)
    with pytest.raises(NotFoundError, match="no view expression"):
        atlas.draw(IMAGE, downsample=1, view="expression_level")


@pytest.mark.parametrize("how", ["another JPEG", "a link to one outside", "a link to a secret", "nothing"])
async def test_a_jpeg_that_is_not_the_committed_one_is_not_sent(with_jpegs, tmp_path, how):
    folder = shutil.copytree(with_jpegs.location, tmp_path / "copy.zarr")
    (jpeg,) = folder.glob(f"data_sets/*/image/source/{IMAGE}.jpg")
    secret = tmp_path / "secret"
    secret.write_bytes(b"\xff\xd8\xff not for everyone" if how == "a link to a secret" else jpeg.read_bytes())
    if how == "another JPEG":
        jpeg.write_bytes(encode(np.zeros((8, 8, 3), np.uint8)))
    else:
        jpeg.unlink()
    if how.startswith("a link"):
        jpeg.symlink_to(secret)
    async with open_session(MirroredAtlas(store.open(folder))) as (_replica, session):
        for query in ("downsample=1", "downsample=2", "downsample=1&quality=50"):
            async with session.get(f"/api/v2/image_download/{IMAGE}?{query}") as reply:
                assert (reply.status, b"everyone" in await reply.read()) == (404, False)


def test_rows_are_the_stored_records_and_can_be_queried_through_associations(with_levels):
    sample, stored = Evaluator(sample_atlas()), Evaluator(MirroredAtlas(with_levels))
    for criteria in (
        f"model::SectionImage,rma::criteria,[data_set_id$eq{DATA_SET}],rma::include,alignment2d",
        f"model::SectionImage,rma::criteria,section_data_set[id$eq{DATA_SET}],rma::options[order$eqsection_number]",
        f"model::SectionDataSet,rma::criteria,[id$eq{DATA_SET}],rma::include,alignment3d,genes,products",
        "model::SectionDataSet,rma::criteria,[failed$in'false'],products[id$in900000000]",
        "model::SectionDataSet,rma::criteria,genes[acronym$eq'Gad1'],plane_of_section[name$eq'coronal']",
        "model::ReferenceToReferenceTransform,rma::criteria,[from_reference_space_id$eq10]",
        "model::StructureCenter,rma::criteria,[reference_space_id$eq9],structure[acronym$eq'SSp'],rma::include,reference_space",
    ):
        assert stored.answer(parse_criteria(criteria)) == sample.answer(parse_criteria(criteria)), criteria
    assert stored.answer(parse_criteria("model::SectionImage"))["total_rows"] == 10


def test_the_window_of_connectivity_images_is_mirrored_with_their_set(tmp_path):
    kept = mirrored(tmp_path / "c.zarr", "image:900001006", downsample=3, layers="source")
    sample, stored = sample_atlas(), MirroredAtlas(kept)
    criteria = parse_criteria(
        "model::Equalization,rma::criteria,section_data_set(section_images[id$in900001006]),"
        "rma::options[only$eq'blue_lower,blue_upper,red_lower,red_upper,green_lower,green_upper']"
    )
    assert Evaluator(stored).answer(criteria) == Evaluator(sample).answer(criteria)
    assert stored.image_levels(900001006) == sample.image_levels(900001006) == (0, 923, 0, 987, 0, 4095)


def test_the_services_answer_as_the_sample_atlas_does(with_levels):
    ours, theirs = SyncServices(MirroredAtlas(with_levels)), SyncServices(sample_atlas())
    for service, seed, parameters in (
        ("image_to_reference", str(IMAGE), {"x": "6208", "y": "-2"}),
        ("image_to_image", str(IMAGE), {"x": "100", "y": "7", "section_data_set_ids": str(DATA_SET)}),
        ("image_to_image_2d", str(IMAGE), {"x": "1", "y": "7", "section_image_ids": str(OTHER_IMAGE)}),
        (
            "reference_to_image",
            "9",
            {"x": "6e3", "y": "3e3", "z": "5e3", "section_data_set_ids": str(DATA_SET)},
        ),
        ("structure_to_image", str(DATA_SET), {"structure_ids": "1018,322"}),
    ):
        for fmt in ("json", "xml"):
            assert ours.answer(service, seed, parameters, fmt) == theirs.answer(
                service, seed, parameters, fmt
            )


@pytest.mark.slow
async def test_a_store_is_served_from_another_process(with_jpegs):
    with anyio.fail_after(30):
        async with (
            open_replica_process(store=with_jpegs.location) as base_url,
            aiohttp.ClientSession(base_url) as session,
            session.get(f"/api/v2/image_download/{IMAGE}?downsample=1") as reply,
        ):
            assert await reply.read() == with_jpegs.data_set(DATA_SET).section(IMAGE).read_jpeg()


async def test_a_mirror_of_a_mirror_is_the_mirror(with_levels, tmp_path):
    async with open_session(MirroredAtlas(with_levels)) as (replica, _session):
        settings = Settings.from_layers(
            {"base_url": replica.base_url, "requests_per_s": 1000.0, "um": 200.0, "downsample": 2}
        )
        await mirroring.mirror(f"dataset:{DATA_SET}", tmp_path / "again.zarr", settings=settings)
    first = with_levels.data_set(DATA_SET)
    second = store.open(tmp_path / "again.zarr").data_set(DATA_SET)
    assert [commit.sha256 for commit in second.read_commits()] == [
        commit.sha256 for commit in first.read_commits()
    ]
    np.testing.assert_array_equal(second.open_registered()[...], first.open_registered()[...])


def test_decoded_jpegs_stay_within_the_cache(with_jpegs):
    atlas = MirroredAtlas(with_jpegs, cache_bytes=1)
    for _ in range(2):
        assert atlas.draw(IMAGE, downsample=1, box=Box(0, 0, 5, 7)).shape == (5, 7, 3)
    whole = MirroredAtlas(with_jpegs).draw(IMAGE, downsample=1)
    np.testing.assert_array_equal(whole, decode(with_jpegs.data_set(DATA_SET).section(IMAGE).read_jpeg()))


def test_what_several_data_sets_share_is_one_row(with_levels):
    reply = SyncServices(MirroredAtlas(with_levels)).answer(
        "image_to_reference", str(IMAGE), {"x": "0", "y": "0"}, "json"
    )
    assert parse_sync_json("image_to_reference", reply) is not None
    tables = MirroredAtlas(with_levels).tables
    for model, rows in tables.items():
        assert len({row["id"] for row in rows}) == len(rows), model
    # Two views are two commits of one image.
    assert len(tables["SectionImage"]) == 10
