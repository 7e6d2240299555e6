"""What a run says of itself while it works, for whoever asks from another process. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from asyncfetch.layout.paths import LOCK_PATH

__all__ = ["LIVE_KEY", "LIVE_PATH", "LiveFigures", "RunState", "figures_in", "live_document"]

#: The group that has the figures; it lies in that of the lock, and ends with it.
LIVE_PATH = f"{LOCK_PATH}/figures"
LIVE_KEY = f"{LIVE_PATH}/zarr.json"

type RunState = Literal["working", "paused", "ending", "waiting for the server"]


class LiveFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is.

    Attributes
    ----------
    time : str
        When this was so, ISO 8601 in UTC.
    state : str
        What it does: ``working``, ``paused``, ``ending`` where nothing more is begun, or ``waiting for the server``.
    elapsed_s : float
        Seconds since the run began.
    n_data_sets, n_sections : int
        Data sets that are planned, and views of their sections that are to be made.
    is_plan_whole : bool
        Whether everything that was selected is planned; until then there are more sections to come.
    n_committed, n_skipped : int
        Section views that were made, and those that were there.
    n_failed : dict of str to int
        Those that failed, by the class of the error.
    received_bytes : int
        Bytes of all bodies.
    goodput_bytes_per_s, sections_per_s : float
        Over the last minutes.
    left_s : float or None
        How long the rest of what is planned will take at that speed; None where there is none to tell it by.
    token : str
        Of the run, as the lock has it.
    """

    time: str
    state: RunState = "working"
    elapsed_s: float = 0.0
    n_data_sets: int = 0
    n_sections: int = 0
    is_plan_whole: bool = False
    n_committed: int = 0
    n_skipped: int = 0
    n_failed: dict[str, int] = {}
    received_bytes: int = 0
    goodput_bytes_per_s: float = 0.0
    sections_per_s: float = 0.0
    left_s: float | None = None
    token: str = ""


def live_document(figures: LiveFigures) -> bytes:
    """Return the object that holds figures: the metadata of an empty group, so that readers of Zarr take it for one."""
    return msgspec.json.encode(
        {"zarr_format": 3, "node_type": "group", "attributes": {"asyncfetch": {"figures": figures}}}
    )


def figures_in(data: bytes | None) -> LiveFigures | None:
    """Return the figures of an object, None where it holds none that can be read."""
    try:
        document: Any = msgspec.json.decode(data or b"")
        return msgspec.convert(document["attributes"]["asyncfetch"]["figures"], LiveFigures)
    except (msgspec.DecodeError, msgspec.ValidationError, LookupError, TypeError):
        return None


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(LiveFigures)
