"""Metadata queries that go wrong: each ends in its named error, or in its documented result."""

from __future__ import annotations

import pytest

from asyncfetch.allen import Query, parse_criteria
from asyncfetch.client import Client
from asyncfetch.errors import (
    QueryError,
    RedirectError,
    ReplyError,
    SelectionError,
    StallError,
    StatusError,
    TransientServiceError,
    TransportError,
)
from asyncfetch.replica import Fault, open_replica
from asyncfetch.settings import Settings

pytestmark = pytest.mark.anyio

SETTINGS = Settings(requests_per_s=1000.0, attempts=3, stall_timeout_s=0.3, connect_timeout_s=1.0)
GENES = Query("Gene").order("id")


async def ask(query, *, attempts=3, faults=None, page_rows=2000, fails_with=None):
    """Return rows, or the error, and how many metadata requests it took."""
    async with open_replica(faults={"query": faults} if faults else None) as replica:
        settings = SETTINGS.replace(attempts=attempts, page_rows=page_rows)
        async with Client(replica.base_url, settings=settings) as client:
            if fails_with is None:
                answer = await client.rows(query)
            else:
                with pytest.raises(fails_with) as caught:
                    await client.rows(query)
                answer = caught.value
        return answer, sum(record.kind == "query" for record in replica.requests)


async def test_a_quote_in_a_value_is_refused_before_it_is_sent():
    with pytest.raises(SelectionError, match="quote"):
        Query("Gene").where(acronym="Ga'd1")


@pytest.mark.parametrize(
    ("criteria", "words"),
    [
        ("model::NoSuchModel", "NoSuchModel"),
        ("model::Gene,rma::criteria,[no_such_column$eq1]", "no_such_column"),
        ("model::Gene,rma::criteria,no_such_association[id$eq1]", "no_such_association"),
    ],
    ids=["model", "column", "association"],
)
async def test_what_the_service_does_not_know_is_a_query_error_and_is_asked_once(criteria, words):
    error, n_requests = await ask(parse_criteria(criteria), fails_with=QueryError)
    assert words in error.service_message
    assert not error.is_transient
    assert n_requests == 1


async def test_an_operator_that_does_not_exist_is_a_query_error():
    with pytest.raises(QueryError, match="column"):
        parse_criteria("model::Gene,rma::criteria,[id$xx1]")


async def test_a_value_that_nothing_has_gives_no_rows():
    rows, n_requests = await ask(Query("Treatment").where(name="Nissl"))
    assert (rows, n_requests) == ([], 1)


async def test_nulls_in_includes_stay_nulls():
    query = Query("SectionImage").where(data_set_id=900000003).include("alignment2d").order("sub_images.id")
    rows, _ = await ask(query)
    assert any(row["alignment2d"] is None for row in rows)
    assert any(row["alignment2d"] is not None for row in rows)


@pytest.mark.parametrize(
    "fault", [Fault("duplicate-rows"), Fault("shifted-rows", times=1)], ids=["twice", "shifted"]
)
async def test_rows_that_move_over_pages_are_all_given_once(fault):
    query = Query("SectionImage").where(data_set_id=479).order("sub_images.id")
    plain, _ = await ask(query)
    rows, _ = await ask(query, faults=fault, page_rows=16)
    ids = [row["id"] for row in rows]
    assert len(set(ids)) == len(ids)
    assert set(ids) == {row["id"] for row in plain}


async def test_rows_that_never_stand_still_are_no_result():
    query = Query("SectionImage").where(data_set_id=479).order("sub_images.id")
    error, _ = await ask(query, faults=Fault("shifted-rows"), page_rows=16, fails_with=ReplyError)
    assert "moved from page to page" in error.message


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("transient", TransientServiceError),
        ("html", ReplyError),
        ("xml", ReplyError),
        ("not-json", ReplyError),
        ("truncate", TransportError),
        ("reset", TransportError),
        ("reset-before-headers", TransportError),
        ("stall", StallError),
        ("status:503", StatusError),
    ],
)
async def test_what_may_pass_is_asked_for_again(kind, error):
    plain, _ = await ask(GENES)
    rows, n_requests = await ask(GENES, faults=Fault(kind, times=1))
    # the second and third: the page again, and one behind it that is empty
    assert (rows, n_requests) == (plain, 3)
    failed, n_requests = await ask(GENES, faults=Fault(kind), attempts=2, fails_with=(error, ReplyError))
    assert failed.is_transient
    assert n_requests == 2


@pytest.mark.parametrize(
    ("kind", "error"),
    [("permanent", QueryError), ("status:400", StatusError), ("redirect-away", RedirectError)],
)
async def test_what_stays_is_asked_once(kind, error):
    failed, n_requests = await ask(GENES, faults=Fault(kind), fails_with=error)
    assert not failed.is_transient
    assert n_requests == 1
