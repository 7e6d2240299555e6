"""Which data sets and sections are wanted: selections, the filters that narrow them, and splits."""

from __future__ import annotations

from asyncfetch.selecting.filters import Filters
from asyncfetch.selecting.selection import SELECTION_FORMS, Selection, parse_selection

__all__ = ["SELECTION_FORMS", "Filters", "Selection", "parse_selection"]
