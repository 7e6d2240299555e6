"""Upgrades: stores of an earlier layout version turned into those of today's, in place and offline."""

from __future__ import annotations

from asyncfetch.upgrading.upgrade import upgrade

__all__ = ["upgrade"]
