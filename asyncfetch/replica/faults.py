"""What the replica does wrong on purpose: which reply fails, how, and how often. Pure but for reading plan files.

A plan file is TOML or JSON::

    seed = 7

    [[faults]]
    kind = "status:503"
    ids = [69177634, 69177636]
    times = 2

    [[faults]]
    kind = "html"
    on = "query"
    matching = "model::SectionImage"
    probability = 0.1

Whether a fault of some probability happens depends on the seed, the rule, the image or query and how often that was
asked for, and not on what else is asked or when, so that a run can be repeated whatever the order of its requests.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import unquote

from asyncfetch.errors import SettingsError
from asyncfetch.names import did_you_mean
from asyncfetch.text import decode_text, shown

__all__ = ["FAULT_KINDS", "QUERY", "SYNC", "Fault", "FaultPlan", "FaultRule", "FaultScript", "FaultSource"]

#: The keys under which faults of metadata queries and of the synchronization services are planned.
QUERY = "query"
SYNC = "sync"

#: Every kind but ``status:<number>``, and what it does.
FAULT_KINDS = {
    "cut-jpeg": "an image cut short that decodes all the same, to its end",
    "drip": "a body at 1 kB/s",
    "duplicate-rows": "a page with some rows twice",
    "endless": "a body without an end",
    "gzip-bomb": "16 MB that unpack to 16 GiB",
    "html": "a page of HTML under status 200",
    "huge-header": "an image whose header claims 60 000 x 60 000 pixels",
    "never": "no reply at all",
    "not-jpeg": "a body that is not a JPEG, or not JSON",
    "not-json": "words instead of JSON",
    "permanent": "success: false, for a reason that stays",
    "redirect-away": "a redirect to another host",
    "redirect-loop": "a redirect to itself",
    "reset": "half of the body, then no connection",
    "reset-before-headers": "no connection before the reply begins",
    "shifted-rows": "a page that begins one row off",
    "stall": "half of the body, then silence",
    "transient": "success: false, the service's own failure, which passes",
    "truncate": "half of the body, ended as if it were whole",
    "wrong-size": "an image of other dimensions",
    "xml": "a document of XML under status 200",
}
_OF_IMAGES = frozenset({"cut-jpeg", "huge-header", "wrong-size"})
_OF_QUERIES = frozenset({"duplicate-rows", "shifted-rows"})

type Kind = Literal["image", "query", "sync"]


@dataclass(frozen=True)
class Fault:
    """A planned failure of one kind.

    Parameters
    ----------
    kind : str
        ``status:503`` (or another number), or one of `FAULT_KINDS`.
    times : int or None
        How often; None means always.
    retry_after : str, optional
        The Retry-After header of a status: seconds as ``"3"``, or as ``"date:3"`` for the date that is then.

    Raises
    ------
    SettingsError
        The kind is unknown or ``times`` is negative.
    """

    kind: str
    times: int | None = None
    retry_after: str | None = None

    def __post_init__(self) -> None:
        is_status = self.kind.startswith("status:") and self.kind[7:].isdigit()
        if not (is_status or self.kind in FAULT_KINDS):
            hint = did_you_mean(str(self.kind), FAULT_KINDS)
            hint = hint or f"; known faults: {', '.join(['status:<number>', *FAULT_KINDS])}"
            raise SettingsError(f"there is no fault {shown(self.kind, 80)!r}{hint}", setting="faults")
        if self.times is not None and self.times < 0:
            raise SettingsError(f"a fault cannot happen {self.times} times", setting="faults")
        seconds = (self.retry_after or "").removeprefix("date:")
        if self.retry_after is not None and not seconds.isdecimal():
            raise SettingsError(
                f"retry_after is a number of seconds or date:<seconds>, not {self.retry_after!r}",
                setting="faults",
            )

    @property
    def status(self) -> int | None:
        """The HTTP status of a ``status:`` fault."""
        return int(self.kind[7:]) if self.kind.startswith("status:") else None

    def headers(self, now: datetime | None = None) -> dict[str, str]:
        """Return the headers of a ``status:`` fault."""
        if self.retry_after is None:
            return {}
        if not self.retry_after.startswith("date:"):
            return {"Retry-After": self.retry_after}
        then = (now or datetime.now(UTC)) + timedelta(seconds=int(self.retry_after[5:]))
        return {"Retry-After": format_datetime(then, usegmt=True)}

    def fits(self, on: Kind) -> bool:
        """Say whether this can go wrong with a kind of reply."""
        return not (self.kind in _OF_IMAGES and on != "image") and not (
            self.kind in _OF_QUERIES and on != "query"
        )


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """A planned failure of many replies.

    Parameters
    ----------
    kind, retry_after : str
        As for `Fault`.
    on : {"image", "query", "sync"}
        Which replies.
    ids : collection of int, optional
        Only these images, or seeds of the synchronization services.
    matching : str, optional
        Only queries whose path, with its percent-encoding undone, contains this text, such as a model or an id.
    probability : float
        With which a reply that the rule is about fails.
    times : int, optional
        Most failures of one image or one query.
    count : int, optional
        Most failures in all.

    Raises
    ------
    SettingsError
        A value is out of range, or the kind does not fit the replies.
    """

    kind: str
    on: Kind = "image"
    ids: frozenset[int] | None = None
    matching: str | None = None
    probability: float = 1.0
    times: int | None = None
    count: int | None = None
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if self.ids is not None:
            object.__setattr__(self, "ids", frozenset(self.ids))
        fault = self.fault
        if self.on not in {"image", "query", "sync"}:
            raise SettingsError(f"faults are on image, query or sync, not {self.on!r}", setting="faults")
        if not fault.fits(self.on):
            raise SettingsError(f"{self.kind} cannot happen to a reply of kind {self.on}", setting="faults")
        if self.matching is not None and self.on != "query":
            raise SettingsError(f"matching is about queries, not {self.on}", setting="faults")
        if not 0 <= self.probability <= 1:
            raise SettingsError(f"a probability is 0 to 1, not {self.probability}", setting="faults")
        if self.count is not None and self.count < 0:
            raise SettingsError(f"a fault cannot happen {self.count} times", setting="faults")

    @property
    def fault(self) -> Fault:
        """What goes wrong."""
        return Fault(self.kind, self.times, self.retry_after)

    def is_about(self, on: str, item: str) -> bool:
        """Say whether a reply may fail by this rule: of a kind, to an image, a query or a seed."""
        return (
            self.on == on
            and (self.ids is None or _number(item) in self.ids)
            and (self.matching is None or self.matching in unquote(item))
        )


class FaultScript:
    """Rules in their order: the first that applies says what goes wrong.

    Parameters
    ----------
    rules : iterable of FaultRule
    seed : int
        Decides what happens with a probability.
    """

    def __init__(self, rules: tuple[FaultRule, ...] | list[FaultRule], seed: int = 0) -> None:
        self.rules = tuple(rules)
        self.seed = seed
        self._asked: Counter[tuple[int, str]] = Counter()
        self._happened: Counter[tuple[int, str]] = Counter()
        self._in_all: Counter[int] = Counter()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a plan file, JSON if its name ends in ``.json`` and TOML otherwise.

        Raises
        ------
        SettingsError
            It cannot be read, or holds no plan.
        """
        path = Path(path)
        try:
            text = decode_text(path.read_bytes())
            plan = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            raise SettingsError(f"{path} is not a plan of faults: {error}", setting="faults") from error
        return cls.of(plan)

    @classmethod
    def of(cls, plan: Any) -> Self:
        """Read a plan as JSON or TOML has it: ``seed`` and the list ``faults``.

        Raises
        ------
        SettingsError
            It holds something else.
        """
        try:
            unknown = set(plan) - {"seed", "faults"}
            if not isinstance(plan["faults"], list):
                raise TypeError("faults is not a list")
            rules = [FaultRule(**rule) for rule in plan["faults"]]
            seed = int(plan.get("seed", 0))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise SettingsError(
                f"a plan of faults has a list faults and a seed: {error!r}", setting="faults"
            ) from error
        if unknown:
            raise SettingsError(f"a plan of faults has no {', '.join(sorted(unknown))}", setting="faults")
        return cls(rules, seed)

    def next_for(self, key: int | str, item: str = "") -> Fault | None:
        """Return what is wrong with the next reply.

        Parameters
        ----------
        key : int or str
            An image id, `QUERY` or `SYNC`.
        item : str
            The query or request, where the key does not tell one from another.
        """
        on = "image" if isinstance(key, int) else key
        name = str(key) if isinstance(key, int) else item
        for k, rule in enumerate(self.rules):
            if rule.is_about(on, name) and self._happens(k, rule, name):
                return rule.fault
        return None

    def _happens(self, k: int, rule: FaultRule, item: str) -> bool:
        self._asked[k, item] += 1
        if rule.times is not None and self._happened[k, item] >= rule.times:
            return False
        if rule.count is not None and self._in_all[k] >= rule.count:
            return False
        text = f"{self.seed}/{k}/{item}/{self._asked[k, item]}"
        drawn = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
        if drawn >= rule.probability:
            return False
        self._happened[k, item] += 1
        self._in_all[k] += 1
        return True


type Planned = Fault | str | tuple[str, int]
type FaultSource = (
    Mapping[int | str, Planned]
    | Mapping[str, Any]
    | Callable[[int | str], Fault | None]
    | FaultScript
    | str
    | Path
    | None
)


class FaultPlan:
    """A plan that says of each reply whether it fails, and counts down.

    Parameters
    ----------
    source : mapping, callable, FaultScript, path or None
        Image id, or ``"query"`` or ``"sync"``, to a :class:`Fault`, its kind, or (kind, times); or a function
        of the id that is asked for every reply; or a script, its file, or what such a file holds.

    Raises
    ------
    SettingsError
        The source is not one of these.
    """

    def __init__(self, source: FaultSource = None) -> None:
        self._ask: Callable[[int | str], Fault | None] | None = None
        self._script: FaultScript | None = None
        self._plan: dict[int | str, Fault] = {}
        self._left: dict[int | str, int] = {}
        if source is None:
            return
        if isinstance(source, FaultScript):
            self._script = source
        elif isinstance(source, str | Path):
            self._script = FaultScript.read(source)
        elif not isinstance(source, Mapping):
            self._ask = source
        elif isinstance(source.get("faults"), list):
            self._script = FaultScript.of(source)
        else:
            self._plan = {key: _fault(planned) for key, planned in source.items()}
            self._left = {key: fault.times for key, fault in self._plan.items() if fault.times is not None}

    def next_for(self, key: int | str, item: str = "") -> Fault | None:
        """Return what is wrong with the next reply for this image id, query or request, if anything."""
        on: Kind = "image" if isinstance(key, int) else "query" if key == QUERY else "sync"
        fault = self._next(key, item)
        return fault if fault is not None and fault.fits(on) else None

    def _next(self, key: int | str, item: str) -> Fault | None:
        if self._script is not None:
            return self._script.next_for(key, item)
        if self._ask is not None:
            return self._ask(key)
        fault = self._plan.get(key)
        if fault is None or fault.times is None:
            return fault
        if self._left[key] == 0:
            return None
        self._left[key] -= 1
        return fault


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _fault(planned: Planned) -> Fault:
    if isinstance(planned, Fault):
        return planned
    if isinstance(planned, str):
        return Fault(planned)
    return Fault(*planned)
