"""A whole product of which one set in ten is odd: the others are complete, and each odd one is named."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

import asyncfetch
from asyncfetch.cli.exits import ExitCode, exit_code_of_report
from asyncfetch.geometry import tier_shape
from asyncfetch.replica import open_replica
from asyncfetch.sample import SampleAtlas
from asyncfetch.sample.atlas import _Builder

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncfetch.geometry import Box

PRODUCT = 900000777
FIRST = 910000000
N_SETS, N_SECTIONS = 200, 2
#: Every tenth set is odd.
STEP = 10

type Row = dict[str, Any]


class _Odd:
    """One way in which the records of a data set are odd.

    Attributes
    ----------
    named_as : str
        What the report names: the set, its first section, or either.
    change : callable
        Takes the rows of the set by model, each a list that may be changed.
    """

    def __init__(self, name: str, named_as: str, change: Callable[[dict[str, list[Row]]], None]) -> None:
        self.name = name
        self.named_as = named_as
        self.change = change


def _field(model: str, name: str, value: object) -> Callable[[dict[str, list[Row]]], None]:
    def change(rows: dict[str, list[Row]]) -> None:
        rows[model][0][name] = value

    return change


def _numbers(
    model: str, prefix: str, value: Callable[[int], float]
) -> Callable[[dict[str, list[Row]]], None]:
    def change(rows: dict[str, list[Row]]) -> None:
        row = rows[model][0]
        for k, name in enumerate(sorted(name for name in row if name.startswith(f"{prefix}_"))):
            row[name] = value(k)

    return change


def _nothing(_rows: dict[str, list[Row]]) -> None:
    """Leave the records as they are: the set contradicts the store, or its image never comes."""


ODD = (
    _Odd("a section without a width", "image", _field("SectionImage", "width", None)),
    _Odd("a section of no pixels", "image", _field("SectionImage", "width", 0)),
    _Odd("a section wider than any", "image", _field("SectionImage", "width", 2**62)),
    _Odd("a height that is a word", "image", _field("SectionImage", "height", "tall")),
    _Odd("a negative height", "image", _field("SectionImage", "height", -5)),
    _Odd("a section number beyond all", "image", _field("SectionImage", "section_number", 2**40)),
    _Odd("a negative resolution", "image", _field("SectionImage", "resolution", -1.0)),
    _Odd("an absurd resolution", "image", _field("SectionImage", "resolution", 1e300)),
    _Odd("a section number that is a list", "image", _field("SectionImage", "section_number", [1])),
    _Odd("a reference space that is a word", "set", _field("SectionDataSet", "reference_space_id", "nine")),
    _Odd("a reference space of unknown extent", "set", _field("SectionDataSet", "reference_space_id", 6)),
    _Odd("sections without thickness", "set", _field("SectionDataSet", "section_thickness", 0.0)),
    _Odd("a matrix that lacks a number", "image", _field("Alignment2d", "tvs_04", None)),
    _Odd("a section's matrix of zeros", "image", _numbers("Alignment2d", "tsv", lambda _: 0.0)),
    _Odd(
        "a section's matrix of rank 1",
        "image",
        _numbers("Alignment2d", "tsv", lambda k: (1.0, 1.0, 1.0, 1.0, 0.0, 0.0)[k]),
    ),
    _Odd("a section's matrix that is huge", "image", _numbers("Alignment2d", "tsv", lambda _: 1e308)),
    _Odd("a set's matrix of zeros", "set", _numbers("Alignment3d", "tvr", lambda _: 0.0)),
    _Odd("a set's matrix that is huge", "set", _numbers("Alignment3d", "tvr", lambda _: 1e308)),
    _Odd("a set that the store holds at another pitch", "set", _nothing),
    _Odd("an image that never comes", "image", _nothing),
)
ODD_SETS = {FIRST + STEP * k: odd for k, odd in enumerate(ODD)}
OTHER_PITCH, NO_IMAGE = (FIRST + STEP * (len(ODD) - n) for n in (2, 1))


class _Product(_Builder):
    """A product of many small data sets beside what the sample atlas has."""

    def add_small_data_sets(self) -> None:
        super().add_small_data_sets()
        self.tables["Product"].append(self.tables["Product"][-1] | {"id": PRODUCT, "abbreviation": "Many"})
        for data_set_id in range(FIRST, FIRST + N_SETS):
            self.add_data_set(data_set_id, space=9, plane=1, products=(PRODUCT,))
            for k in range(N_SECTIONS):
                image_id = image_of(data_set_id, k)
                section = self.made_section(data_set_id, image_id, 100 + 200 * k, (260, 180), 50.0)
                self.add_section(data_set_id, section, resolution=50.0)
        for data_set_id, odd in ODD_SETS.items():
            images = {image_of(data_set_id, k) for k in range(N_SECTIONS)}
            odd.change(
                {
                    "SectionDataSet": self.rows("SectionDataSet", "id", {data_set_id}),
                    "SectionImage": self.rows("SectionImage", "id", images),
                    "Alignment2d": self.rows("Alignment2d", "section_image_id", images),
                    "Alignment3d": self.rows("Alignment3d", "aligned_id", {data_set_id}),
                }
            )

    def rows(self, model: str, name: str, values: set[int]) -> list[Row]:
        return [row for row in self.tables[model] if row[name] in values]


class _PlainAtlas(SampleAtlas):
    """The sample atlas with pictures that cost nothing to draw: what they show is not the question here."""

    def draw(
        self, image_id: int, *, downsample: int = 0, box: Box | None = None, view: str = "image"
    ) -> np.ndarray:
        row = self.image_row(image_id)
        shape = tier_shape(row["height"], row["width"], downsample)
        return np.full((*shape, 3), 60 + image_id % 100, np.uint8)


def plain_atlas() -> SampleAtlas:
    built = _Product().build()
    return _PlainAtlas(**{field.name: getattr(built, field.name) for field in dataclasses.fields(built)})


def image_of(data_set_id: int, k: int = 0) -> int:
    return data_set_id + 10_000 * (k + 1)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory):
    """Return the store of a mirror of the whole product, and the report of that run."""
    location = tmp_path_factory.mktemp("product") / "out.zarr"

    async def go() -> asyncfetch.Report:
        faults = {image_of(NO_IMAGE): "status:404"}
        async with open_replica(plain_atlas(), faults=faults) as replica:
            run = partial(
                asyncfetch.mirror,
                location=location,
                base_url=replica.base_url,
                requests_per_s=2000.0,
                retry_base_s=0.01,
            )
            await run(f"dataset:{OTHER_PITCH}", um=200)
            return await run(f"product:{PRODUCT}", um=100)

    report = anyio.run(go)
    return asyncfetch.open(location), report


def names_of(report: asyncfetch.Report) -> dict[str, str]:
    """Return the message of each item that the report names: as failed, or as stored and not registered."""
    return {each.item: each.message for each in (*report.failures, *report.unplaced)}


def test_the_sound_sets_of_a_product_are_complete_whatever_the_others_are(mirrored):
    store, report = mirrored
    for data_set_id in range(FIRST, FIRST + N_SETS):
        if data_set_id in ODD_SETS:
            continue
        commits = store.data_set(data_set_id).read_commits()
        assert [commit.image_id for commit in commits] == [
            image_of(data_set_id, k) for k in range(N_SECTIONS)
        ]
        assert all(set(commit.layers) == {"source", "registered"} for commit in commits)
    assert exit_code_of_report(report) == ExitCode.SOME_FAILED


@pytest.mark.parametrize("data_set_id", ODD_SETS, ids=[odd.name for odd in ODD])
def test_an_odd_set_is_named_with_the_reason(mirrored, data_set_id):
    _, report = mirrored
    names = names_of(report)
    item = f"image:{image_of(data_set_id)}"
    if ODD_SETS[data_set_id].named_as == "set":
        items = {f"dataset:{data_set_id}", *(f"image:{image_of(data_set_id, k)}" for k in range(N_SECTIONS))}
        assert items & names.keys()
    else:
        assert names[item]


@pytest.mark.parametrize(
    "data_set_id", [id_ for id_, odd in ODD_SETS.items() if odd.named_as == "image"], ids=str
)
def test_an_odd_section_costs_that_section_alone(mirrored, data_set_id):
    store, _ = mirrored
    commits = {commit.image_id: commit for commit in store.data_set(data_set_id).read_commits()}
    assert set(commits[image_of(data_set_id, 1)].layers) == {"source", "registered"}


def test_nothing_else_of_the_product_is_named(mirrored):
    _, report = mirrored
    known = {f"dataset:{id_}" for id_ in ODD_SETS}
    known |= {f"image:{image_of(id_, k)}" for id_ in ODD_SETS for k in range(N_SECTIONS)}
    assert names_of(report).keys() <= known
