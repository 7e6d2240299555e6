"""The unfinished runs that a store remembers, read from the metadata of its root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from asyncfetch.store.objects import Place

__all__ = ["read_runs"]


class _Run(msgspec.Struct):
    selection: list[str]
    settings: dict[str, Any] = {}


def read_runs(place: Place) -> list[dict[str, Any]]:
    """Return what unfinished runs were asked for, the newest at the end."""
    ours = (place.attributes("") or {}).get("asyncfetch")
    runs = ours.get("runs") if isinstance(ours, dict) else None
    found = runs if isinstance(runs, list) else []
    sound = [run for run in found if _is_run(run)]
    if len(sound) < len(found) or (runs is not None and runs != found):
        place.damage.add("zarr.json", "names an unfinished run that cannot be read, which")
    return sound


def _is_run(run: Any) -> bool:
    try:
        msgspec.convert(run, _Run)
    except msgspec.ValidationError:
        return False
    return True


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = [msgspec.json.Decoder(_Run)]
