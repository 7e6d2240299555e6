"""The assumptions about queries and records."""

from __future__ import annotations

import csv
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.allen import parse_xml
from asyncfetch.doctor.answers import DiffersError, UnaskedError
from asyncfetch.doctor.judging import Check, require
from asyncfetch.doctor.questions import AGED_ID, DATA_SET_ID, IMAGE_ID, NEIGHBOUR_ID
from asyncfetch.errors import AsyncFetchError
from asyncfetch.selecting.traits import trait_values
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.doctor.answers import Answers

__all__ = ["ROW_CHECKS"]

_COUNTS = ("id", "start_row", "num_rows", "total_rows")
_DEFAULT_ROWS = 50
_SECTION_FIELDS = (
    "id",
    "data_set_id",
    "section_number",
    "width",
    "height",
    "x",
    "y",
    "resolution",
    "tier_count",
)
_BOX_UM = {"x": 13200, "y": 8000, "z": 11400}
_MIRROR_UM, _CENTRES_MIRROR_UM = 11350.0, 11400
_PIXEL = 1.0
_UM = 1.0


def _rma_1(answers: Answers) -> str:
    found = answers.envelope("filtered")
    require(isinstance(found.get("msg"), list), "the rows do not stand in msg")
    wrong = [name for name in _COUNTS if name in found and not isinstance(found[name], int)]
    require(not wrong, f"{', '.join(wrong)} are not integers")
    row = answers.rows("filtered")[0]
    require(isinstance(row["id"], int), f"an id is {row['id']!r}, not an integer")
    require(list(row) == sorted(row), "the fields of a row are not in alphabetical order")
    return f"success, msg, {', '.join(name for name in _COUNTS if name in found)}"


def _rma_2(answers: Answers) -> str:
    body = answers.exchange("xml").body
    try:
        row = parse_xml(body).rows[0]
    except (AsyncFetchError, IndexError) as error:
        raise DiffersError(f"the answer in XML cannot be read: {error}") from None
    require(b"<section-number" in body, "names in XML have no dashes")
    require(str(row.get("id")) == str(IMAGE_ID), f"the record has the id {row.get('id')}")
    return "the container is the plural of the model, names have dashes"


def _rma_3(answers: Answers) -> str:
    lines = list(csv.reader(answers.exchange("csv").body.decode().splitlines()))
    require(bool(lines) and {"id", "name"} <= set(lines[0]), f"the first line is {lines[:1]}")
    return f"a header row, and {counted(len(lines) - 1, 'row')}"


def _rma_4(answers: Answers) -> str:
    n_default, n_large = len(answers.rows("default_page")), len(answers.rows("large_page"))
    n_six, n_huge = len(answers.rows("first_rows")), len(answers.rows("huge_page"))
    total = answers.envelope("huge_page").get("total_rows")
    require(n_six == min(6, n_large), f"of 6 rows that were asked for {n_six} came")
    require(n_large >= n_default, f"of 2500 rows that were asked for {n_large} came, of none {n_default}")
    require(n_default == _DEFAULT_ROWS, f"a page has {counted(n_default, 'row')} by default")
    is_capped = isinstance(total, int) and n_huge < min(total, 2500)
    require(not is_capped, f"of 2500 rows that were asked for {n_huge} came, and {total} are announced")
    return f"{counted(n_default, 'row')} by default, {max(n_large, n_huge)} in one page"


def _rma_5(answers: Answers) -> str:
    n_rows, n_default = len(answers.rows("large_page")), len(answers.rows("default_page"))
    totals = {answers.envelope(name).get("total_rows") for name in ("large_page", "first_rows", "next_rows")}
    require(None not in totals, "the total is not told")
    require(len(totals) == 1, f"the same listing announces {', '.join(sorted(map(str, totals)))} rows")
    (total,) = totals
    require(isinstance(total, int), f"the total is {total!r}")
    assert isinstance(total, int)
    require(
        total >= n_default,
        f"{counted(total, 'row is', 'rows are')} announced, and {n_default} come in one page",
    )
    require(total == n_rows, f"{counted(total, 'row is', 'rows are')} announced, and {n_rows} come")
    return f"{total} rows are announced, and all of them come"


def _rma_6(answers: Answers) -> str:
    first, following = ([row["id"] for row in answers.rows(name)] for name in ("first_rows", "next_rows"))
    both = [*first, *following]
    require(not set(first) & set(following), "two pages hold the same row")
    require(both == sorted(both), "the rows of two pages are not in the order that was asked for")
    return "two pages follow one another in the order that was asked for"


def _rma_7(answers: Answers) -> str:
    plain = answers.envelope("filtered")["msg"]
    require(None not in plain, "nulls stand among the rows of a query")
    ids = [row["id"] for row in plain]
    require(len(ids) == len(set(ids)), "a query without joins repeats rows")
    (row, *_) = answers.rows("data_set")
    sections = row["section_images"]
    records = [each for each in sections if each is not None]
    require(
        all(isinstance(each, dict) for each in records), "included lists hold something else than records"
    )
    kinds = {type(each.get("alignment2d")) for each in records} | {type(row.get("alignment3d"))}
    require(kinds <= {dict, type(None)}, "an included record is not a record")
    n_nulls = len(sections) - len(records)
    return f"{counted(len(records), 'record is', 'records are')} included, and {counted(n_nulls, 'null')}"


def _rma_8(answers: Answers) -> str:
    seen = answers.seen.get("refused")
    if seen is None or seen.last is None:
        raise UnaskedError("the request was not answered")
    require(seen.last.status == 200, f"a refused query is answered by HTTP {seen.last.status}")
    found = json.loads(seen.last.body)
    require(found["success"] is False, "an unbalanced quote is not refused")
    require(isinstance(found["msg"], str), "the words of a refusal are not a text")
    whole = answers.seen["data_set"].last
    if whole is not None and whole.status == 200 and whole.body.startswith(b"{"):
        refused = json.loads(whole.body)
        require(
            refused.get("success") is not False,
            f"a query that is right is refused: {refused.get('msg')!s:.80}",
        )
    return f"refused under 200: {found['msg'][:80]}"


def _rma_9(answers: Answers) -> str:
    require(
        len(answers.rows("plane")) == 1,
        f"{counted(len(answers.rows('plane')), 'plane is', 'planes are')} called sagittal",
    )
    require(not answers.rows("plane_in_capitals"), "values are matched without regard to case")
    others = {row["data_set_id"] for row in answers.rows("filtered")} - {DATA_SET_ID}
    require(not others, f"a filter by data set gives rows of {counted(len(others), 'other')}")
    return "filters hold, and values are case-sensitive"


def _rma_10(answers: Answers) -> str:
    found = {row["id"] for row in answers.rows("hundred_ids")}
    require({IMAGE_ID, NEIGHBOUR_ID} <= found, "the last of a hundred ids are not looked at")
    return "the last of a hundred ids are found"


def _sections(answers: Answers) -> list[dict[str, Any]]:
    return [row for row in answers.rows("filtered") if row.get("failed") is not True]


def _rec_1(answers: Answers) -> str:
    section = next(row for row in answers.rows("filtered") if row.get("id") == IMAGE_ID)
    missing = [name for name in _SECTION_FIELDS if section.get(name) is None]
    require(not missing, f"section image {IMAGE_ID} has no {', '.join(missing)}")
    n_null = sum(value is None for row in _sections(answers) for value in row.values())
    return f"the fields are there; {counted(n_null, 'other is', 'others are')} null"


def _rec_2(answers: Answers) -> str:
    ids = [row["id"] for name in ("filtered", "hundred_ids") for row in answers.rows(name)]
    wrong = [each for each in ids if not (isinstance(each, int) and 0 < each < 2**63)]
    require(not wrong, f"an id is {wrong[:1]}")
    require(IMAGE_ID in ids, f"section image {IMAGE_ID} has another id")
    return f"{counted(len(ids), 'id is a positive integer', 'ids are positive integers')}"


def _rec_3(answers: Answers) -> str:
    section, data_set = answers.section(), answers.data_set()
    flat, deep = section.alignment2d, data_set.alignment3d
    if (
        flat is None
        or flat.tsv is None
        or flat.tvs is None
        or deep is None
        or deep.tvr is None
        or deep.trv is None
    ):
        raise DiffersError("the known section has no alignment")
    corner = np.array([section.width, section.height], dtype=np.float64)
    back = flat.tvs.apply(flat.tsv.apply(corner))
    off = float(np.abs(back - corner).max())
    require(off < _PIXEL, f"tvs does not lead back where tsv came from: {off:.3g} pixels off")
    point = np.array([3000.0, 3000.0, 3000.0])
    off = float(np.abs(deep.trv.apply(deep.tvr.apply(point)) - point).max())
    require(off < _UM, f"trv does not lead back where tvr came from: {off:.3g} µm off")
    scale = math.sqrt(abs(float(np.linalg.det(flat.tsv.linear))))
    expected = section.resolution or math.nan
    require(abs(scale / expected - 1) < 0.01, f"the scale of tsv is {scale:.4g}, the resolution {expected}")
    return "the matrices are inverse to each other, and the scale is the resolution"


def _rec_4(answers: Answers) -> str:
    rows = answers.rows("centres")
    outside = [
        row
        for row in rows
        if row["reference_space_id"] == 9
        and any(not 0 <= row[name] <= most for name, most in _BOX_UM.items())
    ]
    require(bool(rows), "there are no structure centres in space 9")
    require(
        not outside,
        f"{len(outside)} of {counted(len(rows), 'structure centre')} lie outside the box of space 9",
    )
    return f"{counted(len(rows), 'structure centre lies', 'structure centres lie')} within the box of space 9"


def _rec_5(answers: Answers) -> str:
    (row, *_) = answers.rows("transform")
    scale, offset = float(row["t_08"]), float(row["t_11"])
    require((scale, offset) == (-1.0, _MIRROR_UM), f"r9 = {offset:g} {scale:+g} r10")
    return "r9 = 11350 - r10"


def _rec_6(answers: Answers) -> str:
    rows = answers.rows("centre")
    require(
        sorted(row["reference_space_id"] for row in rows) == [9, 10],
        f"structure 1018 has {counted(len(rows), 'centre')}",
    )
    numbers = [row[name] for row in rows for name in ("x", "y", "z")]
    require(all(float(each).is_integer() for each in numbers), f"a centre is at {numbers[:3]}")
    total = sum(row["z"] for row in rows)
    require(total == _CENTRES_MIRROR_UM, f"the z of structure 1018 in both spaces add up to {total:g}")
    return "one centre for each space, in whole µm, z adds up to 11400"


def _rec_7(answers: Answers) -> str:
    data_set, section = answers.data_set(), answers.section()
    deep = data_set.alignment3d
    if deep is None or deep.trv is None or section.section_number is None or not data_set.section_thickness:
        raise DiffersError("the known section has no depth")
    point = answers.envelope("to_reference")["msg"]["image_to_reference"]
    depth = float(deep.trv.apply(np.array([point["x"], point["y"], point["z"]], dtype=np.float64))[2])
    expected = section.section_number * data_set.section_thickness
    # trv and tvr are inverse to six digits, which is some tenths of a µm.
    require(abs(depth - expected) < 2 * _UM, f"the section is {depth:.1f} µm deep, not {expected:g}")
    return f"section {section.section_number} is {expected:g} µm deep"


def _rec_8(answers: Answers) -> str:
    rows = answers.rows("failed_set")
    if not rows:
        raise UnaskedError("no set is marked as failed")
    require(rows[0]["failed"] is True, f"failed is {rows[0]['failed']!r}")
    return "failed sets are marked"


def _rec_9(answers: Answers) -> str:
    section = answers.section()
    box = (section.x or 0) + section.width, (section.y or 0) + section.height
    scan = section.image_width or box[0], section.image_height or box[1]
    require(box[0] <= scan[0] and box[1] <= scan[1], f"a section reaches to {box} on a scan of {scan}")
    height, width = answers.pixels("image").shape[:2]
    is_scan = abs(width - scan[0] / 8) <= 1 and abs(height - scan[1] / 8) <= 1
    is_box = abs(width - section.width / 8) <= 1 and abs(height - section.height / 8) <= 1
    require(is_box or not is_scan, "a download gives the whole scan instead of the section's box")
    return "a download gives the section's box"


def _rec_10(answers: Answers) -> str:
    rows = answers.rows("by_age")
    ids = [row.get("id") for row in rows]
    require(
        ids == [AGED_ID], f"data set {AGED_ID} is sagittal and P56, and those of both conditions are {ids}"
    )
    others = [row.get("id") for row in answers.rows("by_another_age")]
    require(not others, f"data set {AGED_ID} is P56, and is listed as E11.5, too")
    traits = trait_values(rows[0])
    untold = [name for name in ("plane", "age") if not traits[name]]
    require(not untold, f"the record of data set {AGED_ID} does not tell its {' and '.join(untold)}")
    return "data sets are found by plane and age, and their records tell both"


#: One for each assumption, in their order.
ROW_CHECKS: tuple[Check, ...] = (
    Check("RMA-1", _rma_1),
    Check("RMA-2", _rma_2, leans=False),
    Check("RMA-3", _rma_3, leans=False),
    Check("RMA-4", _rma_4, leans=False),
    Check("RMA-5", _rma_5, leans=False),
    Check("RMA-6", _rma_6),
    Check("RMA-7", _rma_7),
    Check("RMA-8", _rma_8),
    Check("RMA-9", _rma_9),
    Check("RMA-10", _rma_10),
    Check("REC-1", _rec_1),
    Check("REC-2", _rec_2),
    Check("REC-3", _rec_3),
    Check("REC-4", _rec_4),
    Check("REC-5", _rec_5),
    Check("REC-6", _rec_6),
    Check("REC-7", _rec_7),
    Check("REC-8", _rec_8),
    Check("REC-9", _rec_9),
    Check("REC-10", _rec_10),
)
