from __future__ import annotations

from datetime import UTC, datetime

import pytest

from asyncfetch.engine import RetryPolicy, parse_retry_after
from asyncfetch.errors import (
    AsyncFetchError,
    BodyTooLargeError,
    ConnectError,
    CorruptImageError,
    ImageSizeError,
    NotAnImageError,
    NotFoundError,
    QueryError,
    RedirectError,
    ReplyError,
    StallError,
    StatusError,
    StoreSpaceError,
    TransientServiceError,
    TruncatedError,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "error",
    [
        ConnectError("x"),
        StallError("x"),
        TruncatedError("x"),
        StatusError("x", status=503),
        StatusError("x", status=429),
        TransientServiceError("x"),
        ReplyError("x"),
        NotAnImageError("x"),
        CorruptImageError("x"),
        ImageSizeError("x"),
    ],
)
def test_what_can_heal_is_asked_for_again(error: AsyncFetchError) -> None:
    assert RetryPolicy(6).after(error, 1, NOW, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "error",
    [
        NotFoundError("x"),
        QueryError("x"),
        RedirectError("x"),
        BodyTooLargeError("x"),
        StatusError("x", status=403),
        StoreSpaceError("x"),
    ],
)
def test_what_cannot_heal_is_given_up_and_costs_no_token(error: AsyncFetchError) -> None:
    policy = RetryPolicy(6)
    assert policy.after(error, 1, NOW, 0.5) is None
    assert policy.tokens == policy.quota


def test_the_bound_of_the_jitter_doubles_up_to_the_cap() -> None:
    policy = RetryPolicy(99, base_s=1.0, cap_s=10.0)
    bounds = [policy.after(ConnectError("x"), attempt, NOW, 1.0) for attempt in (1, 2, 3, 4, 5, 98)]
    assert bounds == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]
    assert policy.after(ConnectError("x"), 5, NOW, 0.0) == 0.0


def test_the_last_attempt_is_the_last() -> None:
    policy = RetryPolicy(3)
    assert policy.after(ConnectError("x"), 2, NOW, 0.5) is not None
    assert policy.after(ConnectError("x"), 3, NOW, 0.5) is None


def test_retry_after_is_waited_for_in_full_with_jitter_on_top() -> None:
    error = StatusError("x", status=503, retry_after="7")
    assert RetryPolicy(6).after(error, 1, NOW, 0.25) == pytest.approx(7.25)
    dated = StatusError("x", status=429, retry_after="Sun, 01 Mar 2026 12:00:30 GMT")
    assert RetryPolicy(6).after(dated, 1, NOW, 0.0) == pytest.approx(30.0)


def test_a_retry_after_beyond_patience_is_given_up() -> None:
    assert RetryPolicy(6).after(StatusError("x", status=503, retry_after="86400"), 1, NOW, 0.0) is None


def test_the_patience_is_that_of_all_attempts_together() -> None:
    policy = RetryPolicy(6, patience_s=100.0)
    error = StatusError("x", status=202, retry_after="60")
    assert policy.after(error, 1, NOW, 0.0, waited_s=40.0) == 60.0
    assert policy.after(error, 2, NOW, 0.0, waited_s=41.0) is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60.0),
        ("Sun Mar  1 12:01:00 2026", 60.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
        ("Sun, 01 Mar 2026 12:01:00 -0000", 60.0),
        ("100000000", 1e8),
        ("9" * 5000, 1e9),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 1e9),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Sun, 99 Mar 2026 12:01:00 GMT", None),
        (None, None),
    ],
)
def test_retry_after_is_read_in_all_its_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


def test_an_outage_spends_the_quota_and_successes_earn_it_back() -> None:
    policy = RetryPolicy(6, quota=2, earned_by_success=0.5)
    delays = [policy.after(ConnectError("x"), 1, NOW, 0.5) for _ in range(4)]
    assert [delay is None for delay in delays] == [False, False, True, True]
    assert policy.is_spent
    policy.succeeded()
    assert policy.after(ConnectError("x"), 1, NOW, 0.5) is None
    policy.succeeded()
    assert policy.after(ConnectError("x"), 1, NOW, 0.5) is not None


def test_the_quota_is_never_overfull() -> None:
    policy = RetryPolicy(6, quota=3)
    for _ in range(10):
        policy.succeeded()
    assert policy.tokens == 3
    assert repr(policy) == "RetryPolicy(6 attempts, 3/3 tokens)"
