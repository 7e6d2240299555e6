"""Selections become plans, plans become runs, runs end in a report."""

from __future__ import annotations

from asyncfetch.mirroring.flaws import Flaw
from asyncfetch.mirroring.forecasting import Forecast, ViewForecast, forecast
from asyncfetch.mirroring.gaps import VolumeGap
from asyncfetch.mirroring.rebuild import rebuild
from asyncfetch.mirroring.report import Failure, Report
from asyncfetch.mirroring.run import mirror, resume
from asyncfetch.mirroring.runs import UnfinishedRun, dismiss_runs, unfinished_runs
from asyncfetch.mirroring.selection import SELECTION_FORMS, Selection, parse_selection
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.mirroring.verify import VerifyReport, verify
from asyncfetch.mirroring.volume import VolumeReport, build_volume
from asyncfetch.planning import SectionPlan, ViewPlan, plan_view, registered_grid

__all__ = [
    "SELECTION_FORMS",
    "Failure",
    "Flaw",
    "Forecast",
    "Report",
    "SectionPlan",
    "Selection",
    "UnfinishedRun",
    "VerifyReport",
    "ViewForecast",
    "ViewPlan",
    "VolumeGap",
    "VolumeReport",
    "build_volume",
    "dismiss_runs",
    "forecast",
    "mirror",
    "open_writer",
    "parse_selection",
    "plan_view",
    "rebuild",
    "registered_grid",
    "resume",
    "unfinished_runs",
    "verify",
]
