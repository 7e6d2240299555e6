from __future__ import annotations

import pytest

from asyncfetch.engine import ByteBudget
from asyncfetch.errors import SettingsError


def test_requests_are_admitted_while_they_fit() -> None:
    budget = ByteBudget(100)
    first, second, third = (budget.request(40) for _ in range(3))
    assert (first.is_admitted, second.is_admitted, third.is_admitted) == (True, True, False)
    assert budget.release(first) == [third]
    assert budget.held_bytes == 80


def test_a_small_request_does_not_overtake_a_large_one() -> None:
    budget = ByteBudget(100)
    held = budget.request(60)
    large = budget.request(90)
    small = budget.request(10)
    assert not small.is_admitted
    assert budget.release(held) == [large, small]


def test_a_request_beyond_the_whole_budget_is_admitted_alone() -> None:
    budget = ByteBudget(100)
    held = budget.request(1)
    giant = budget.request(1000)
    after = budget.request(1)
    assert not giant.is_admitted
    assert budget.release(held) == [giant]
    assert not after.is_admitted
    assert budget.release(giant) == [after]


def test_who_may_hold_bytes_goes_ahead_of_those_who_hold_none() -> None:
    budget = ByteBudget(100)
    held, next_one = budget.request(60), budget.request(60)
    more = budget.request(40, goes_ahead=True)
    assert (more.is_admitted, next_one.is_admitted) == (True, False)
    assert budget.release(held) == [next_one]


def test_who_may_hold_bytes_never_waits_for_those_who_wait_for_him() -> None:
    budget = ByteBudget(100)
    budget.request(100)
    first, second = (budget.request(50, goes_ahead=True) for _ in range(2))
    # beyond the budget there is one at a time
    assert (first.is_admitted, second.is_admitted) == (True, False)
    assert (budget.held_bytes, budget.n_waiting) == (150, 1)
    assert budget.release(first) == [second]
    assert budget.release(second) == []
    assert budget.held_bytes == 100


def test_leaving_the_line_ahead_leaves_no_hole() -> None:
    budget = ByteBudget(100)
    held = budget.request(100)
    first, second, third = (budget.request(50, goes_ahead=True) for _ in range(3))
    assert budget.release(second) == []
    assert budget.release(first) == [third]
    assert budget.release(held) == []
    assert budget.held_bytes == 50


def test_leaving_the_line_lets_the_next_one_in() -> None:
    budget = ByteBudget(100)
    budget.request(60)
    large = budget.request(90)
    small = budget.request(10)
    assert budget.release(large) == [small]
    assert budget.held_bytes == 70


def test_releasing_twice_is_a_bug_that_shows() -> None:
    budget = ByteBudget(100)
    ticket = budget.request(1)
    budget.release(ticket)
    with pytest.raises(ValueError, match="not in deque"):
        budget.release(ticket)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(SettingsError):
        ByteBudget(100).request(-1)


def test_repr_tells_the_state() -> None:
    budget = ByteBudget(100)
    tickets = [budget.request(90), budget.request(20)]
    assert repr(budget) == "ByteBudget(90/100 bytes, 1 held, 1 waiting)"
    assert repr(tickets) == "[Ticket(90, admitted), Ticket(20, waiting)]"
