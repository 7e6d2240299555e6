"""The command line."""

from __future__ import annotations

from asyncfetch.cli.app import app, main, register_commands

__all__ = ["app", "main", "register_commands"]
