"""What the replica does wrong on purpose: which reply fails, how, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from asyncfetch.errors import SettingsError

__all__ = ["QUERY", "Fault", "FaultPlan", "FaultSource"]

#: The key under which faults of metadata queries are planned.
QUERY = "query"

_KINDS = {"html", "not-jpeg", "reset", "stall", "transient", "truncate"}


@dataclass(frozen=True)
class Fault:
    """Plan one kind of failure.

    Parameters
    ----------
    kind : str
        ``status:503`` (or another number); ``html``: a page under status 200; ``not-jpeg``: a body that is no
        JPEG, or no JSON; ``truncate``: half of the body, ended as if it were whole; ``reset``: half of the
        body, then no connection; ``stall``: half of the body, then silence; ``transient``: for queries, the
        service's own failure.
    times : int or None
        How often; None means always.
    retry_after : str, optional
        The Retry-After header of a status.

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
        if not (is_status or self.kind in _KINDS):
            known = ", ".join(["status:<number>", *sorted(_KINDS)])
            raise SettingsError(f"there is no fault {self.kind!r}; known faults: {known}", setting="faults")
        if self.times is not None and self.times < 0:
            raise SettingsError(f"a fault cannot happen {self.times} times", setting="faults")

    @property
    def status(self) -> int | None:
        """The HTTP status of a ``status:`` fault."""
        return int(self.kind[7:]) if self.kind.startswith("status:") else None


type Planned = Fault | str | tuple[str, int]
type FaultSource = Mapping[int | str, Planned] | Callable[[int | str], Fault | None] | None


class FaultPlan:
    """Say of each reply whether it fails, and count down.

    Parameters
    ----------
    source : mapping, callable or None
        Image id, or ``"query"``, to a :class:`Fault`, its kind, or (kind, times); or a function of the id
        that is asked for every reply.
    """

    def __init__(self, source: FaultSource = None) -> None:
        self._ask: Callable[[int | str], Fault | None] | None = None
        self._plan: dict[int | str, Fault] = {}
        self._left: dict[int | str, int] = {}
        if source is None:
            return
        if not isinstance(source, Mapping):
            self._ask = source
            return
        self._plan = {key: _fault(planned) for key, planned in source.items()}
        self._left = {key: fault.times for key, fault in self._plan.items() if fault.times is not None}

    def next_for(self, key: int | str) -> Fault | None:
        """Return what is wrong with the next reply for this image id or query, if anything."""
        if self._ask is not None:
            return self._ask(key)
        fault = self._plan.get(key)
        if fault is None or fault.times is None:
            return fault
        if self._left[key] == 0:
            return None
        self._left[key] -= 1
        return fault


def _fault(planned: Planned) -> Fault:
    if isinstance(planned, Fault):
        return planned
    if isinstance(planned, str):
        return Fault(planned)
    return Fault(*planned)
