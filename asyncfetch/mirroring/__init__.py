"""Selections become plans, plans become runs, runs end in a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncfetch.deprecation import warn_of_old_name
from asyncfetch.failures import Failure
from asyncfetch.mirroring.estimating import Estimate, ViewEstimate, estimate
from asyncfetch.mirroring.flaws import Flaw
from asyncfetch.mirroring.gaps import VolumeGap
from asyncfetch.mirroring.mirror import mirror, resume
from asyncfetch.mirroring.packing import PackReport, pack, unpack
from asyncfetch.mirroring.rebuild import rebuild
from asyncfetch.mirroring.report import Report
from asyncfetch.mirroring.runs import dismiss_runs
from asyncfetch.mirroring.turns import open_writer
from asyncfetch.mirroring.verify import VerifyReport, verify
from asyncfetch.mirroring.volume import VolumeReport, volume
from asyncfetch.mirroring.volumes import VolumesReport, volumes
from asyncfetch.planning import SectionPlan, ViewPlan, plan_view, registered_grid
from asyncfetch.runs import UnfinishedRun, unfinished_runs
from asyncfetch.selecting import SELECTION_FORMS, Filters, Selection, parse_selection

__all__ = [
    "SELECTION_FORMS",
    "Estimate",
    "Failure",
    "Filters",
    "Flaw",
    "PackReport",
    "Report",
    "SectionPlan",
    "Selection",
    "UnfinishedRun",
    "VerifyReport",
    "ViewEstimate",
    "ViewPlan",
    "VolumeGap",
    "VolumeReport",
    "VolumesReport",
    "dismiss_runs",
    "estimate",
    "mirror",
    "open_writer",
    "pack",
    "parse_selection",
    "plan_view",
    "rebuild",
    "registered_grid",
    "resume",
    "unfinished_runs",
    "unpack",
    "verify",
    "volume",
    "volumes",
]

if TYPE_CHECKING:
    build_volume, forecast, Forecast, ViewForecast = volume, estimate, Estimate, ViewEstimate
else:
    _OLD_NAMES = {
        "Forecast": "Estimate",
        "ViewForecast": "ViewEstimate",
        "build_volume": "volume",
        "forecast": "estimate",
    }

    def __getattr__(name: str) -> Any:
        """Return what is known under another name now, with a warning."""
        if name not in _OLD_NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warn_of_old_name(f"{__name__}.{name}", f"asyncfetch.mirroring.{_OLD_NAMES[name]}")
        return globals()[_OLD_NAMES[name]]
