"""Whether a failed request is sent again, and when: pure, with the time and the random number as arguments."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from asyncfetch.errors import ImageError

if TYPE_CHECKING:
    from asyncfetch.errors import AsyncFetchError

__all__ = ["RetryPolicy", "parse_retry_after"]

_SECONDS = re.compile(r"\d+(\.\d*)?", re.ASCII)
# Thirty years are longer than any patience, and still a number that can be calculated with.
_MAX_ASKED_S = 1e9
# Bytes that are not an image heal when they are asked for again, or never do (HTTP-9).
_MAX_ATTEMPTS_OF_IMAGES = 4


class RetryPolicy:
    """The rule that answers "again after t" or "give up".

    An error is answered again when it is transient, attempts are left (four at most for bytes that came but are not an
    image), and the quota has a token. The delay is drawn with full jitter: uniformly between 0 and
    ``base_s · 2**(attempt − 1)``, at most ``cap_s``, which spreads clients that failed together. A Retry-After is
    waited for in full, with the jitter on top, as long as the request has not waited longer than ``patience_s``
    altogether because it was asked to; beyond that it is given up.

    The quota keeps an outage from multiplying the traffic: every retry costs one token, every success earns
    ``earned_by_success``, and there are never more than ``quota`` of them. So n requests with s successes are
    sent at most ``n + quota + s · earned_by_success`` times.

    Parameters
    ----------
    attempts : int
        Most times one request is sent, the first included.
    base_s, cap_s : float
        The bound of the first delay, and of any.
    quota : float
        Retries that are free before any success.
    earned_by_success : float
        Tokens that a success gives back; 0.5 bears a service that fails one request in three for ever.
    patience_s : float
        How long one request waits because the server asks for it, all its attempts together.
    """

    def __init__(
        self,
        attempts: int,
        base_s: float = 1.0,
        cap_s: float = 60.0,
        *,
        quota: float = 100.0,
        earned_by_success: float = 0.5,
        patience_s: float = 21_600.0,
    ) -> None:
        self.attempts = attempts
        self.base_s = base_s
        self.cap_s = cap_s
        self.quota = quota
        self.earned_by_success = earned_by_success
        self.tokens = quota
        self.patience_s = patience_s

    @property
    def is_spent(self) -> bool:
        """Whether the quota has no token for another retry."""
        return self.tokens < 1.0

    def succeeded(self) -> None:
        """Note that a request succeeded, which earns a part of a retry."""
        self.tokens = min(self.quota, self.tokens + self.earned_by_success)

    def after(
        self,
        error: AsyncFetchError,
        attempt: int,
        now_utc: datetime,
        random: float,
        waited_s: float = 0.0,
    ) -> float | None:
        """Say in how many seconds the request is sent again.

        Parameters
        ----------
        error : AsyncFetchError
            What the attempt ended in; ``is_transient`` and, where there is one, ``retry_after`` are read.
        attempt : int
            Which attempt it was, from 1.
        now_utc : datetime
            The wall clock, aware, for a Retry-After that is a date.
        random : float
            Uniform in [0, 1).
        waited_s : float
            How long the request has waited before because it was asked to.

        Returns
        -------
        float or None
            Seconds, with a token of the quota spent; None means give up.
        """
        if not error.is_transient or attempt >= self.attempts_for(error) or self.is_spent:
            return None
        delay_s = random * min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 64))
        # Of any status (HTTP-6).
        asked_s = parse_retry_after(getattr(error, "retry_after", None), now_utc)
        if asked_s is not None:
            if waited_s + asked_s > self.patience_s:
                return None
            delay_s += asked_s
        self.tokens -= 1.0
        return delay_s

    def attempts_for(self, error: AsyncFetchError) -> int:
        """Return how often a request that ends in such an error is sent at most."""
        return min(self.attempts, _MAX_ATTEMPTS_OF_IMAGES) if isinstance(error, ImageError) else self.attempts

    def __repr__(self) -> str:
        return f"RetryPolicy({self.attempts} attempts, {self.tokens:g}/{self.quota:g} tokens)"


def parse_retry_after(value: str | None, now_utc: datetime) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3) as seconds from now.

    Parameters
    ----------
    value : str or None
        Seconds, or an HTTP date in any of its three forms.
    now_utc : datetime
        The wall clock, aware.

    Returns
    -------
    float or None
        0 or more; None where there is no header or none that can be read.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), _MAX_ASKED_S)
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    seconds = (date - now_utc).total_seconds()
    return min(max(0.0, seconds), _MAX_ASKED_S) if math.isfinite(seconds) else None
