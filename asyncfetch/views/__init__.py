"""Plots and pages: pictures for people, made from what a store holds."""

from __future__ import annotations

from asyncfetch.views.figure import Panel, draw_figure, save_figure

__all__ = ["Panel", "draw_figure", "save_figure"]
