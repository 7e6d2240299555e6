"""The checksum of what a group says of ours, so that a changed letter is noticed wherever it is.

It stands in the content itself, ``attributes.asyncfetch.checksum``: the CRC-32C, in hexadecimal digits, of the JSON of
``asyncfetch`` without it and of ``ome``, compact and with sorted names. How a document is spaced, the order of its
names, and what others have put beside are free. When a section was committed, which host answered, and how long commits
are for it, are left out, so that two mirrors of the same sections can be compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google_crc32c
import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["CHECKSUM", "checksum_problem", "is_misspelt", "with_checksum", "without_checksum"]

#: The name below ``attributes.asyncfetch``.
CHECKSUM = "checksum"
_LEFT_OUT = {CHECKSUM, "time"}


def with_checksum(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a group with the checksum of what is ours, where something is."""
    ours = attributes.get("asyncfetch")
    if not isinstance(ours, dict):
        return attributes
    ours = without_checksum(ours)
    return {**attributes, "asyncfetch": {**ours, CHECKSUM: _checksum(ours, attributes.get("ome"))}}


def without_checksum(ours: dict[str, Any]) -> dict[str, Any]:
    """Return the content alone."""
    return {name: value for name, value in ours.items() if name != CHECKSUM}


def checksum_problem(attributes: Mapping[str, Any]) -> str | None:
    """Return what the checksum says to be wrong with attributes, as a phrase that follows their path."""
    ours = attributes.get("asyncfetch")
    if not isinstance(ours, dict):
        return "does not hold what asyncfetch writes there"
    if CHECKSUM not in ours:
        return "has no checksum"
    if ours[CHECKSUM] != _checksum(without_checksum(ours), attributes.get("ome")):
        return "was changed: its checksum is wrong"
    return None


def is_misspelt(name: str, ours: Collection[str]) -> bool:
    """Tell whether a name is one of ours with one letter changed, as a flipped bit leaves it."""
    return any(
        len(name) == len(each) and sum(a != b for a, b in zip(name, each, strict=True)) == 1 for each in ours
    )


def _checksum(ours: dict[str, Any], ome: Any) -> str:
    vouched = {name: value for name, value in ours.items() if name not in _LEFT_OUT}
    url = vouched.get("url")
    if isinstance(url, str):
        # without scheme and host
        vouched["url"] = url.partition("://")[2].partition("/")[2]
    if isinstance(vouched.get("summary"), dict):
        vouched["summary"] = {view: _without_lengths(each) for view, each in vouched["summary"].items()}
    data = msgspec.json.encode([vouched, ome], order="deterministic")
    checksum: int = google_crc32c.value(data)
    return f"{checksum:08x}"


def _without_lengths(summary: Any) -> Any:
    """Return the summary of a view without the lengths of its commits, which can be compared with these."""
    entries = summary.get("entries") if isinstance(summary, dict) else None
    if not isinstance(entries, list | tuple) or not all(isinstance(each, dict) for each in entries):
        return summary
    short = [{name: value for name, value in each.items() if name != "n_bytes"} for each in entries]
    return {**summary, "entries": short}
