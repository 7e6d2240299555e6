"""``python -m asyncfetch`` and the ``asyncfetch`` command."""

from __future__ import annotations

import gc

# loading modules makes objects that stay, and looking for garbage among them takes a tenth of the time of the help
gc.disable()
from asyncfetch.cli import main  # noqa: E402

gc.enable()

__all__ = ["main"]

if __name__ == "__main__":
    main()
