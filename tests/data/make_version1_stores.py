"""Makes version1_stores.zip: stores of layout version 1 of the sample atlas, by the last code that wrote them.

That code is the commit 59dbd08::

    git worktree add --detach /tmp/version1 59dbd08
    PYTHONPATH=/tmp/version1 python tests/data/make_version1_stores.py

What each store holds is told by version1_stores.json. All images are drawn by the replica from its phantom.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import anyio

from asyncfetch.mirroring import mirror, volume
from asyncfetch.replica import open_replica
from asyncfetch.store import LAYOUT_VERSION

HERE = Path(__file__).parent
#: Of every entry, so that the archive depends on its content alone.
EPOCH = (1980, 1, 1, 0, 0, 0)


async def make(name: str, choices: dict[str, Any], folder: Path, base_url: str) -> None:
    """Mirror one store, and make the volumes that are asked for."""
    wanted = {"um": 400.0, "requests_per_s": 1000.0, "base_url": base_url} | choices
    selection, volumes = wanted.pop("selection"), wanted.pop("volume", None)
    report = await mirror(selection, folder / name, **wanted)
    print(name, report.n_committed, [each.message for each in report.failures + report.unplaced])
    if volumes is not None:
        await volume(folder / name, **volumes)


def pack(folder: Path, archive: Path) -> None:
    """Put all files below a folder into one archive, in order."""
    with zipfile.ZipFile(archive, "w") as packed:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(str(path.relative_to(folder)), EPOCH)
                packed.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)


async def main() -> None:
    """Make all stores."""
    assert LAYOUT_VERSION == 1, "run this with the code of 59dbd08"
    stores = json.loads((HERE / "version1_stores.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        async with open_replica() as replica:
            for name, choices in stores.items():
                await make(name, choices, Path(folder), replica.base_url)
        pack(Path(folder), HERE / "version1_stores.zip")


if __name__ == "__main__":
    anyio.run(main)
