"""How long a run may last: so many bytes, so much time, or until a moment. Pure: the time is an argument."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from asyncfetch.errors import SettingsError
from asyncfetch.settings import parse_size
from asyncfetch.text import shown

__all__ = ["Limit", "Limits", "parse_duration", "parse_moment"]

type Limit = Literal["max_bytes", "max_time", "until"]

_SECONDS = {"d": 86400.0, "h": 3600.0, "min": 60.0, "m": 60.0, "s": 1.0}
_PART = r"([0-9]+(?:\.[0-9]*)?)\s*(days?|d|h|min|m|s)"
_PARTS = re.compile(_PART, re.IGNORECASE)
_DURATION = re.compile(rf"(?:{_PART}\s*)+", re.IGNORECASE)
_TIME_OF_DAY = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_MAX_SHOWN = 40


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may take before it is to end, whatever it has not done by then.

    The first limit that is reached ends the run as a drain does: what is in flight is finished, so that a few more
    bytes come, and `asyncfetch.resume` continues.

    Attributes
    ----------
    max_bytes : int or None
        Bytes of all bodies that came.
    max_time_s : float or None
        Seconds since the call.
    until : datetime or None
        A moment; without a time zone it is local.

    Raises
    ------
    SettingsError
        A number is not positive.
    """

    max_bytes: int | None = None
    max_time_s: float | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        if self.max_bytes is not None and not self.max_bytes > 0:
            raise SettingsError(
                f"max_bytes = {self.max_bytes} is not allowed: it has to be positive", setting="max_bytes"
            )
        if self.max_time_s is not None and not self.max_time_s > 0:
            raise SettingsError(
                f"max_time = {self.max_time_s:g} s is not allowed: it has to be positive", setting="max_time"
            )

    def __bool__(self) -> bool:
        return self != Limits()

    @classmethod
    def of(
        cls,
        *,
        max_bytes: str | int | None = None,
        max_time: str | float | None = None,
        until: str | datetime | None = None,
        now: datetime | None = None,
    ) -> Limits:
        """Read limits as they are typed.

        Parameters
        ----------
        max_bytes : str or int, optional
            Such as ``20GB``.
        max_time : str or float, optional
            Such as ``8h``, ``30min`` or ``1h 30min``; a number is in seconds.
        until : str or datetime, optional
            A time of day such as ``06:00``, the next one that comes; or a moment such as ``2027-03-01T06:00``. Local,
            unless a time zone is named.
        now : datetime, optional
            What is now; by default the time of this machine.

        Raises
        ------
        SettingsError
            One of them is malformed, not positive, or over.
        """
        return cls(
            max_bytes=parse_size(max_bytes, setting="max_bytes") if isinstance(max_bytes, str) else max_bytes,
            max_time_s=parse_duration(max_time, setting="max_time")
            if isinstance(max_time, str)
            else max_time,
            until=parse_moment(until, now or datetime.now().astimezone(), setting="until")
            if isinstance(until, str)
            else until,
        )

    def left_s(self, elapsed_s: float, now: datetime) -> tuple[float, Limit] | None:
        """Return how long the run may go on, and which limit says so; None where none of them is one of time.

        Parameters
        ----------
        elapsed_s : float
            Seconds since the call.
        now : datetime
            With a time zone.
        """
        left: list[tuple[float, Limit]] = []
        if self.max_time_s is not None:
            left.append((self.max_time_s - elapsed_s, "max_time"))
        if self.until is not None:
            left.append(((self.until.astimezone() - now).total_seconds(), "until"))
        return min(left) if left else None


def parse_duration(text: str, *, setting: str) -> float:
    """Return the seconds of a duration.

    Parameters
    ----------
    text : str
        Numbers with the units d, h, min and s.
    setting : str
        What it is for, as the message names it.

    Raises
    ------
    SettingsError
        It is malformed.

    Examples
    --------
    >>> parse_duration("8h", setting="max_time"), parse_duration("1h 30min", setting="max_time")
    (28800.0, 5400.0)
    """
    if not _DURATION.fullmatch(text.strip()):
        raise SettingsError(
            f"{setting} = '{shown(text, _MAX_SHOWN)}' is not a duration: write it as 8h, 30min or 1h30min",
            setting=setting,
        )
    return sum(
        float(number) * _SECONDS[unit.lower().removesuffix("ays").removesuffix("ay")]
        for number, unit in _PARTS.findall(text)
    )


def parse_moment(text: str, now: datetime, *, setting: str) -> datetime:
    """Return the moment that a text names.

    Parameters
    ----------
    text : str
        A time of day, which is the next one that comes; or a moment in ISO 8601.
    now : datetime
        What is now, with a time zone.
    setting : str
        What it is for, as the message names it.

    Raises
    ------
    SettingsError
        It is malformed, or over.
    """
    time_of_day = _TIME_OF_DAY.fullmatch(text.strip())
    # arithmetic on the clock of the wall, so that a day on which the clocks are changed counts as one
    clock = now.astimezone().replace(tzinfo=None)
    if time_of_day is not None:
        moment = clock.replace(hour=int(time_of_day[1]), minute=int(time_of_day[2]), second=0, microsecond=0)
        return (moment if moment > clock else moment + timedelta(days=1)).astimezone()
    try:
        moment = datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError, OSError):
        raise SettingsError(
            f"{setting} = '{shown(text, _MAX_SHOWN)}' is not a time: write a time of day such as 06:00, or a moment "
            "such as 2027-03-01T06:00",
            setting=setting,
        ) from None
    if moment <= now:
        raise SettingsError(
            f"{setting} = '{shown(text, _MAX_SHOWN)}' is over: it is {now.isoformat(sep=' ', timespec='minutes')} now",
            setting=setting,
        )
    return moment
