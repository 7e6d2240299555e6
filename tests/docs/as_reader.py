"""A snippet, run as it stands: ``python as_reader.py FILE``. Only the default address is another: that of a replica."""

from __future__ import annotations

import os
import runpy
import sys
from functools import partial

import asyncfetch
from asyncfetch import blocking, mirroring

ADDRESS = os.environ["ASYNCFETCH_BASE_URL"]
SETTINGS = asyncfetch.Settings(base_url=ADDRESS, requests_per_s=1000.0, proxy="none")

for module in (asyncfetch, blocking, mirroring):
    for name in ("Client", "mirror", "resume"):
        if hasattr(module, name):
            setattr(module, name, partial(getattr(module, name), settings=SETTINGS))

runpy.run_path(sys.argv[1], run_name="__main__")
