"""One window for many machines: how many images each of them asks for at once, never more than the limit together.

A machine says how many it could use and how many it holds: as many as it may have by the last answer that reached
it, or as are still on their way. It is answered how many it may have from then on. A lower number counts once the
machine holds no more, so that answers that are late or lost let fewer run and never more. Pure.
"""

from __future__ import annotations

__all__ = ["Permits"]


class Permits:
    """What shares out the images at once.

    Parameters
    ----------
    n_permits : int
        Images at once, of all machines together.
    """

    def __init__(self, n_permits: int) -> None:
        self.n_permits = n_permits
        self._held: dict[str, int] = {}
        self._wanted: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"Permits({sum(self._held.values())} of {self.n_permits} held by {len(self._held)})"

    def ask(self, owner: str, n_wanted: int, n_held: int) -> int:
        """Return how many images at once a machine may have from now on.

        Parameters
        ----------
        owner : str
            The machine.
        n_wanted : int
            How many it could use.
        n_held : int
            How many it may have, by what it was told before, or are still on their way.
        """
        self._wanted[owner] = n_wanted
        others = sum(n for other, n in self._held.items() if other != owner)
        granted = max(0, min(self._share_of(owner), self.n_permits - others))
        # until the machine says that it holds less, it may not have heard of it
        self._held[owner] = max(granted, n_held)
        return granted

    def forget(self, owner: str) -> None:
        """Take all permits of a machine, which has stopped."""
        self._held.pop(owner, None)
        self._wanted.pop(owner, None)

    def _share_of(self, owner: str) -> int:
        """Return the fair share of a machine: those that want little get that, and the others the same each."""
        left, waiting = self.n_permits, sorted(self._wanted, key=lambda each: self._wanted[each])
        while waiting:
            each = waiting.pop(0)
            # the earlier ones get less where it cannot be divided, but never none while there is enough
            share = min(self._wanted[each], max(left // (len(waiting) + 1), min(1, left)))
            if each == owner:
                return share
            left -= share
        return 0
