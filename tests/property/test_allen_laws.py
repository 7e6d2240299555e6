from __future__ import annotations

import json
import string
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncfetch.allen import (
    Filter,
    ImageRequest,
    Options,
    Pipe,
    Query,
    Service,
    Step,
    parse_criteria,
    parse_data_set,
    parse_json,
    parse_section_image,
    parse_xml,
    query_url,
    text,
)
from asyncfetch.errors import QueryError, RecordError, ReplyError, ServiceError

NAMES = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=8).map("n".__add__)
FIELDS = st.one_of(NAMES, st.tuples(NAMES, NAMES).map(".".join))
VALUES = st.one_of(
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(str),
    st.text(st.characters(exclude_characters="'", exclude_categories=["Cs"]), max_size=12),
    NAMES.map("$".__add__),
)
OPERATORS = st.sampled_from(["eq", "ne", "lt", "gt", "le", "ge", "in", "li", "il"])
FILTERS = st.one_of(
    st.builds(Filter, FIELDS),
    st.builds(Filter, FIELDS, OPERATORS, st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
)


def tuples_of(elements, max_size=2):
    return st.lists(elements, max_size=max_size).map(tuple)


STEPS = st.recursive(
    st.builds(Step, NAMES, tuples_of(FILTERS)),
    lambda inner: st.builds(Step, NAMES, tuples_of(FILTERS), tuples_of(inner)),
    max_leaves=4,
)
OPTIONS = st.builds(
    Options,
    num_rows=st.one_of(st.none(), st.just("all"), st.integers(0, 10**6)),
    start_row=st.integers(0, 10**6),
    order=tuples_of(st.tuples(FIELDS, st.booleans())),
    only=tuples_of(FIELDS),
    excepting=tuples_of(FIELDS),
    tabular=tuples_of(FIELDS),
    count=st.booleans(),
)
MODELS = st.builds(
    Query,
    model=NAMES,
    filters=tuples_of(FILTERS),
    associations=tuples_of(STEPS),
    includes=tuples_of(STEPS),
    options=OPTIONS,
)
STAGES = st.one_of(MODELS, st.builds(Pipe, NAMES, NAMES), st.builds(Service, NAMES, tuples_of(FILTERS)))
QUERIES = st.builds(lambda query, stages: query.after(*stages), MODELS, st.lists(STAGES, max_size=3))
SERVICES = st.builds(lambda stage: Query("").after(stage), st.builds(Service, NAMES, tuples_of(FILTERS)))

SECTION = {"id": 1, "data_set_id": 2, "width": 11921, "height": 7553, "tier_count": 7}


@given(st.one_of(QUERIES, SERVICES))
def test_reading_what_was_printed_gives_the_query_back(query):
    assert parse_criteria(text(query)) == query


@given(QUERIES)
def test_the_address_carries_the_text_unharmed(query):
    url = query_url("http://127.0.0.1:1", query)
    assert url.isascii()
    assert parse_qs(urlsplit(url).query, keep_blank_values=True) == {"criteria": [text(query)]}


@given(QUERIES, st.data())
def test_a_text_cut_short_is_a_query_or_refused(query, data):
    whole = text(query)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with suppress(QueryError):
        assert parse_criteria(text(parse_criteria(cut))) == parse_criteria(cut)


@given(st.text(st.sampled_from("model::rma criteria,include[]()$eqin'19_.\n"), max_size=60))
def test_no_text_breaks_the_reader(criteria):
    with suppress(QueryError):
        assert parse_criteria(f"model::M,{criteria}").model


@given(st.binary(max_size=200))
def test_no_body_breaks_the_envelope(body):
    for parse in (parse_json, parse_xml):
        with suppress(ServiceError):
            assert isinstance(parse(body).rows, list)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=3), max_size=4), JSON)
def test_rows_pass_the_envelope_unharmed_whatever_the_total(rows, total):
    body = json.dumps({"success": True, "total_rows": total, "msg": rows}).encode()
    assert parse_json(body).rows == rows


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, min_size=1, max_size=3), min_size=1), st.data())
def test_a_reply_cut_short_is_never_taken_for_rows(rows, data):
    body = json.dumps({"success": True, "total_rows": 1, "msg": rows}).encode()
    cut = body[: data.draw(st.integers(0, len(body) - 1))]
    with pytest.raises(ReplyError):
        parse_json(cut)


@given(st.dictionaries(st.sampled_from([*SECTION, "alignment2d", "x", "path"]), JSON))
def test_no_row_breaks_the_records(changes):
    row = SECTION | changes
    with suppress(RecordError):
        assert parse_section_image(row).record == row


@given(
    st.dictionaries(
        st.sampled_from(["id", "section_thickness", "alignment3d", "genes", "section_images", "name"]), JSON
    ),
    st.lists(st.one_of(JSON, st.dictionaries(st.sampled_from([*SECTION, "alignment2d"]), JSON)), max_size=4),
)
def test_no_row_breaks_a_data_set_and_each_section_is_read_or_named(changes, rows):
    rows = [SECTION | row if isinstance(row, dict) else row for row in rows]
    try:
        data_set = parse_data_set({"id": SECTION["data_set_id"]} | changes, rows)
    except RecordError:
        return
    n_told = len(data_set.section_images) + len(data_set.unreadable_sections)
    n_rows = len([row for row in rows if row is not None])
    n_repeated = n_rows - len({json.dumps(row, default=str) for row in rows if row is not None})
    included = changes.get("section_images") or ()
    assert n_told <= n_rows + len(included)
    assert n_told or not n_rows or n_repeated


@given(
    st.integers(0, 6),
    st.integers(0, 12000),
    st.integers(0, 8000),
    st.integers(1, 3000),
    st.integers(1, 3000),
)
def test_a_box_within_the_image_has_the_size_asked_for(downsample, left, top, width, height):
    request = ImageRequest(image_id=1, downsample=downsample, left=left, top=top, width=width, height=height)
    is_within = left + (width << downsample) <= 11921 and top + (height << downsample) <= 7553
    assert request.expected_shape(parse_section_image(SECTION)) == ((height, width) if is_within else None)
