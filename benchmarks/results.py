"""Figures on disk: one JSON document a run of the harness, with what they depend on."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asyncfetch.speed import describe_machine

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_results"]


def write_results(folder: Path, name: str, results: Any, **conditions: Any) -> Path:
    """Write results with the machine, the versions and the conditions they were had under.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    name : str
        What was measured; the file's name also tells when.
    results : JSON value
    **conditions
        Such as the seed and the number of repeats.

    Returns
    -------
    Path
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({**describe_machine(), **conditions, "results": results}, indent=2) + "\n")
    return path
