"""Selections become plans, plans become runs, runs end in a report."""

from __future__ import annotations

from asyncfetch.mirroring.plan import SectionPlan, ViewPlan, plan_view, registered_grid
from asyncfetch.mirroring.report import Failure, Report
from asyncfetch.mirroring.run import mirror, resume
from asyncfetch.mirroring.selection import Selection, parse_selection

__all__ = [
    "Failure",
    "Report",
    "SectionPlan",
    "Selection",
    "ViewPlan",
    "mirror",
    "parse_selection",
    "plan_view",
    "registered_grid",
    "resume",
]
