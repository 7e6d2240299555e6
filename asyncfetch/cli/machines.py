"""The machines of a command that takes ``--cluster``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.cli.console import tell

if TYPE_CHECKING:
    from asyncfetch.cluster import DaskCluster

__all__ = ["cluster_at"]


def cluster_at(where: str | None, *, quiet: bool = False) -> DaskCluster | None:
    """Return the cluster that ``--cluster`` names, None where it is not given; nothing is started yet.

    Raises
    ------
    SettingsError
        It names none, or a library is missing.
    """
    if where is None:
        return None
    from asyncfetch.cluster import DaskCluster

    return DaskCluster(where) if quiet else DaskCluster(where, tell=tell)
