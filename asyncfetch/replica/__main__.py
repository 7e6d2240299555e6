"""The replica in a process of its own: ``python -m asyncfetch.replica '{"port": 0}'``.

The base URL goes to stdout as one line; the argument is a JSON object of the options of ``open_replica``, and
``store`` or ``generated`` where a mirrored store, or a product of so many data sets, is to be served instead of the
sample atlas.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

import anyio

from asyncfetch import store
from asyncfetch.replica.app import AtlasSource, open_replica
from asyncfetch.replica.generated import GeneratedAtlas
from asyncfetch.replica.mirrored import MirroredAtlas

_END_S = 1.0


async def _serve(text: str) -> None:
    options = json.loads(text)
    location, n_data_sets = options.pop("store", None), options.pop("generated", None)
    atlas: AtlasSource | None = None
    if location is not None:
        atlas = MirroredAtlas(store.open(location))
    elif n_data_sets is not None:
        atlas = GeneratedAtlas(n_data_sets)
    faults = options.get("faults") or {}
    if isinstance(faults, dict) and not isinstance(faults.get("faults"), list):
        # Keys of JSON are text; those of images are numbers.
        options["faults"] = {
            int(key) if key.isdigit() else key: _planned(kind) for key, kind in faults.items()
        }
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_replica(atlas, **options) as replica:
            sys.stdout.write(f"{replica.base_url}\n")
            sys.stdout.flush()
            async for _ in signals:
                # images that are still drawn for clients that have gone hold up nothing
                last_resort = threading.Timer(_END_S, os._exit, [0])
                last_resort.daemon = True
                last_resort.start()
                break


def _planned(kind: object) -> object:
    return tuple(kind) if isinstance(kind, list) else kind


if __name__ == "__main__":
    anyio.run(_serve, sys.argv[1] if len(sys.argv) > 1 else "{}")
