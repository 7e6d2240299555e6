"""Figures on disk: one JSON document a run of the harness, with what they depend on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asyncfetch.speed import describe_machine

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["new_results", "write_results"]


def new_results(folder: Path, name: str) -> Path:
    """Return where results go: a file of that name and of this moment, in a folder that is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"


def write_results(path: Path, results: Any, **conditions: Any) -> None:
    """Write results with the machine, the versions and the conditions they were had under.

    Parameters
    ----------
    path : Path
        From :func:`new_results`; what is there is replaced, so that a long run can keep what it has so far.
    results : JSON value
    **conditions
        Such as the seed and the number of repeats.
    """
    path.write_text(json.dumps({**describe_machine(), **conditions, "results": results}, indent=2) + "\n")
