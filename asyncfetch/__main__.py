"""``python -m asyncfetch`` and the ``asyncfetch`` command."""

from __future__ import annotations

from asyncfetch.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
