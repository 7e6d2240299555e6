"""Whether a time says something of the client at all, or only of the server that it waited for. Pure."""

from __future__ import annotations

import math

__all__ = ["SERVER_SHARE", "server_share", "why_no_conclusion"]

#: From this share of a run on that the server alone would have taken, the run is not a measure of the client. At one
#: half a client that cost nothing at all would look at most twice as fast as it is measured to be.
SERVER_SHARE = 0.5


def server_share(served_s: float, wall_s: float) -> float:
    """Return which share of a run the server would have taken for the same bodies, had nobody used them.

    Parameters
    ----------
    served_s : float
        Seconds in which the same bodies are fetched and thrown away. Where the link is shaped, this is measured
        without the shaping, because the link is then what the clients are compared on.
    wall_s : float
        Seconds of the run.
    """
    if not math.isfinite(served_s) or not math.isfinite(wall_s) or wall_s <= 0:
        return math.inf
    return served_s / wall_s


def why_no_conclusion(served_s: float, *walls_s: float) -> str | None:
    """Return why runs must not be compared, or None where they may.

    Parameters
    ----------
    served_s : float
        As for :func:`server_share`.
    *walls_s : float
        Seconds of the runs that are compared, for the same bodies; the fastest counts.
    """
    if not walls_s:
        return "there was no run"
    share = max(server_share(served_s, wall_s) for wall_s in walls_s)
    if share <= SERVER_SHARE:
        return None
    if math.isinf(share):
        return "a run or the server was not measured"
    return (
        f"the server alone takes {served_s:.3g} s for the bodies, {share:.0%} of the fastest run; "
        f"more than {SERVER_SHARE:.0%} says more of the server than of the client"
    )
