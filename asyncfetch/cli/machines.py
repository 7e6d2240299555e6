"""The machines of a command that takes ``--cluster``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.cli.console import tell

if TYPE_CHECKING:
    from pathlib import Path

    from asyncfetch.cluster import DaskCluster

__all__ = ["cluster_at", "drained_s"]

#: Workers are told, finish, are heard, and a cluster that was started goes away.
_DRAINED_S = 30.0


def drained_s(where: object) -> float | None:
    """Return how long after an interrupt a command with ``--cluster`` ends at the latest, None without."""
    return None if where is None else _DRAINED_S


def cluster_at(where: str | None, *, record: Path | None = None, quiet: bool = False) -> DaskCluster | None:
    """Return the cluster that ``--cluster`` names, None where it is not given; nothing is started yet.

    Raises
    ------
    SettingsError
        It names none, or a library is missing; or what the workers ask is to be recorded here.
    """
    if where is None:
        return None
    if record is not None:
        from asyncfetch.errors import SettingsError

        raise SettingsError(
            "--record keeps what this process asks, and with --cluster the images are asked for by others; leave one "
            "of them out",
            setting="cluster",
        )
    from asyncfetch.cluster import DaskCluster

    return DaskCluster(where) if quiet else DaskCluster(where, tell=tell)
