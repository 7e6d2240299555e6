"""Plots and pages: pictures for people, made from what a store holds."""

from __future__ import annotations

from asyncfetch.views.cuts import cut_panels
from asyncfetch.views.figure import Panel, draw_figure, save_figure
from asyncfetch.views.outlines import draw_outlines

__all__ = ["Panel", "cut_panels", "draw_figure", "draw_outlines", "save_figure"]
