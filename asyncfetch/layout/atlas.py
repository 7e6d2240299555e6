"""What a store holds of an atlas. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from asyncfetch.layout.bounds import Id  # noqa: TC001 - msgspec reads annotations

__all__ = ["AtlasRecord"]


class AtlasRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An atlas whose plates are stored.

    Attributes
    ----------
    record : dict
        The API's row, verbatim.
    data_set_ids : tuple of int
        The data sets of its plates.
    """

    record: dict[str, Any]
    data_set_ids: tuple[Id, ...]
