from __future__ import annotations

import anyio
import pytest

from asyncfetch.mirroring.flights import Flights

pytestmark = pytest.mark.anyio


def nothing():
    pass


async def fly(flights, *told):
    """Tell a section's flight something, drain the run, and say whether the section was let go of."""
    with flights.open(nothing) as flight:
        for each in told:
            getattr(flight, each)()
        flights.drain()
        await anyio.lowlevel.checkpoint()
    return flight.scope.cancelled_caught


@pytest.mark.parametrize(
    ("told", "is_let_go"),
    [
        ((), True),
        (("sent",), False),
        (("sent", "parked"), True),
        (("sent", "parked", "sent"), False),
        (("sent", "accepted"), False),
        # one of two boxes waits
        (("sent", "sent", "parked"), False),
        (("sent", "accepted", "sent", "parked"), False),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, tuple) else "",
)
async def test_a_drained_run_lets_go_of_sections_whose_companion_is_not_sent(told, is_let_go):
    assert await fly(Flights(), *told) == is_let_go


async def test_a_drained_run_lets_go_of_a_section_once_it_is_parked():
    flights, is_parked = Flights(), False
    with flights.open(nothing) as flight:
        flight.sent()
        flights.drain()
        await anyio.lowlevel.checkpoint()
        is_parked = True
        flight.parked()
        await anyio.lowlevel.checkpoint()
    assert is_parked
    assert flight.scope.cancelled_caught


async def test_a_section_that_begins_in_a_drained_run_is_let_go_of():
    flights = Flights()
    flights.drain()
    with flights.open(nothing) as flight:
        await anyio.lowlevel.checkpoint()
    assert flight.scope.cancelled_caught


async def test_the_first_retry_of_a_section_is_told_and_no_other():
    retries = []
    with Flights().open(lambda: retries.append(True)) as flight:
        for _ in range(3):
            flight.sent()
            flight.parked()
    assert retries == [True]


async def test_a_section_knows_when_its_last_image_was_accepted():
    with Flights().open(nothing) as flight:
        assert flight.accepted_s is None
        before = anyio.current_time()
        flight.accepted()
    assert before <= flight.accepted_s <= anyio.current_time()
