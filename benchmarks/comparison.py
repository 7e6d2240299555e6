"""What runs amount to: medians, ratios, and whether they say anything at all. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from asyncfetch.speed import why_no_conclusion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["busy_s", "compare", "log_figures", "medians", "most_at_once"]

Figures = dict[str, Any]


def medians(runs: Sequence[Mapping[str, Any]]) -> Figures:
    """Return the median of every number that all runs have, and of what an image takes.

    Raises
    ------
    ValueError
        There is no run, or one that did no image.
    """
    if not runs:
        raise ValueError("there is no run to take medians of")
    if any(not run["n_images"] for run in runs):
        raise ValueError("a run did no image, so that nothing can be told an image")
    shared = set.intersection(*(set(run) for run in runs))
    found: Figures = {
        key: statistics.median(run[key] for run in runs)
        for key in sorted(shared)
        if all(isinstance(run[key], int | float) for run in runs)
    }
    cpu_s = [run["cpu_s"] + run.get("children_cpu_s", 0.0) for run in runs]
    found["s_per_image"] = statistics.median(run["wall_s"] / run["n_images"] for run in runs)
    found["cpu_s_per_image"] = statistics.median(
        cpu / run["n_images"] for cpu, run in zip(cpu_s, runs, strict=True)
    )
    if "megapixels" in found:
        rates = [run["megapixels"] / cpu for cpu, run in zip(cpu_s, runs, strict=True) if cpu]
        found["megapixels_per_cpu_s"] = statistics.median(rates) if rates else None
    walls = [run["wall_s"] / run["n_images"] for run in runs]
    found["spread"] = max(walls) / min(walls) if min(walls) else None
    found["n_runs"] = len(runs)
    return found


def compare(ours: Figures, other: Figures, served_s_per_image: float, bar: float | None = None) -> Figures:
    """Return the throughput of ours over another's, or why there is none to tell.

    Parameters
    ----------
    ours, other : dict
        From :func:`medians`.
    served_s_per_image : float
        Seconds per image that the server alone takes.
    bar : float, optional
        What the ratio of wall times has to reach.

    Returns
    -------
    dict
        ``wall``, ``cpu`` and ``bar_met``; or ``no_conclusion``, the reason.
    """
    reason = why_no_conclusion(served_s_per_image, ours["s_per_image"], other["s_per_image"])
    if reason is not None:
        return {"no_conclusion": reason}
    wall = other["s_per_image"] / ours["s_per_image"]
    cpu = other["cpu_s_per_image"] / ours["cpu_s_per_image"] if ours["cpu_s_per_image"] else None
    return {"wall": wall, "cpu": cpu, "bar": bar, "bar_met": None if bar is None else wall >= bar}


def log_figures(records: Sequence[Mapping[str, Any]]) -> Figures:
    """Return what the server saw of a run.

    Parameters
    ----------
    records : sequence of mapping
        Of the replica's log: ``kind``, ``started_s``, ``ended_s`` and ``size_bytes``.

    Returns
    -------
    dict
        Counts, bytes, the seconds in which at least one request was open, the most open image requests at once, and
        ``arrivals_s``, when each image had been sent, from the first request on.
    """
    images = [record for record in records if record["kind"] == "image" and record["ended_s"] is not None]
    begin = min((record["started_s"] for record in records), default=0.0)
    return {
        "n_requests": len(records),
        "sent_bytes": sum(record["size_bytes"] for record in records),
        "server_busy_s": busy_s((record["started_s"], record["ended_s"]) for record in records),
        "most_at_once": most_at_once((record["started_s"], record["ended_s"]) for record in images),
        "arrivals_s": sorted(round(record["ended_s"] - begin, 4) for record in images),
    }


def busy_s(spans: Iterable[tuple[float, float | None]]) -> float:
    """Return how long at least one of some spans was open; a span without an end counts for nothing."""
    total, until = 0.0, float("-inf")
    for start, end in sorted((start, end) for start, end in spans if end is not None):
        if end > until:
            total += end - max(start, until)
            until = end
    return total


def most_at_once(spans: Iterable[tuple[float, float | None]]) -> int:
    """Return how many spans were open at the same time at the most."""
    steps = []
    for start, end in spans:
        if end is not None:
            steps += [(start, 1), (end, -1)]
    most = now = 0
    # of those at one time the ends come first
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    return most
