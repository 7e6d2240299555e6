"""What a run has to do: wanted against stored, as plans that are values. Pure."""

from __future__ import annotations

from asyncfetch.planning.difference import Difference, Wanted, compare, stale_layers
from asyncfetch.planning.section import Delivery, Origin, SectionPlan, plan_section, tier_of
from asyncfetch.planning.view import ViewPlan, plan_view, registered_grid, resolve_recipe, view_layout

__all__ = [
    "Delivery",
    "Difference",
    "Origin",
    "SectionPlan",
    "ViewPlan",
    "Wanted",
    "compare",
    "plan_section",
    "plan_view",
    "registered_grid",
    "resolve_recipe",
    "stale_layers",
    "tier_of",
    "view_layout",
]
