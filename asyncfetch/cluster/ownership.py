"""Who owns which data set: one machine at a time, for as long as it is heard of.

The lease of a machine is counted twice. The machine counts from when it **sent** the message that was answered last and
writes no more once a lease has passed since; the one who keeps the register counts from when the message was
**received**, and a margin longer. A message is sent before it is received, so the machine has stopped before its data
sets are given to another, and no clocks are compared. Pure: ``now`` is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Ownership"]


@dataclass(slots=True)
class _Owner:
    heard: float
    keys: set[str] = field(default_factory=set)


class Ownership:
    """The register of machines and of what they own.

    Parameters
    ----------
    lease_s : float
        For how long a machine may write after it sent a message that was answered.
    margin_s : float
        How much longer what it owns is kept for it: a write that has begun comes to its end.
    not_before : float
        Nothing is given out earlier, on the clock of ``now``: whoever had a lease of an earlier register has stopped.
    """

    def __init__(self, lease_s: float, margin_s: float, not_before: float = -math.inf) -> None:
        self.lease_s = lease_s
        self.margin_s = margin_s
        self._not_before = not_before
        self._owners: dict[str, _Owner] = {}
        self._owner_of: dict[str, str] = {}
        self._lost: set[str] = set()

    def __repr__(self) -> str:
        return f"Ownership({len(self._owner_of)} owned by {len(self._owners)})"

    def hear(self, owner: str, now: float) -> bool:
        """Note that a machine has sent a message; return False where it is too late, and it has lost all it owned.

        Who was lost stays so: it comes back under another name.
        """
        if owner in self._lost:
            return False
        self._owners.setdefault(owner, _Owner(now)).heard = now
        return True

    def claim(self, owner: str, key: str, now: float) -> bool:
        """Give a data set to a machine that is heard of, unless another one has it; tell whether it owns it now."""
        if now < self._not_before or owner not in self._owners:
            return False
        if self._owner_of.setdefault(key, owner) != owner:
            return False
        self._owners[owner].keys.add(key)
        return True

    def release(self, owner: str, key: str) -> None:
        """Take back a data set that a machine is done with."""
        if self._owner_of.get(key) == owner:
            del self._owner_of[key]
            self._owners[owner].keys.discard(key)

    def leave(self, owner: str) -> None:
        """Take back all that a machine owned; it says itself that it has stopped."""
        found = self._owners.pop(owner, None)
        for key in () if found is None else found.keys:
            del self._owner_of[key]
        self._lost.add(owner)

    def expire(self, now: float) -> list[str]:
        """Take back what was owned by machines that have not been heard of for too long; return these."""
        late = [
            name for name, owner in self._owners.items() if now - owner.heard > self.lease_s + self.margin_s
        ]
        for name in late:
            self.leave(name)
        return late
