"""Tiles as files, or in tar files as WebDataset reads them, and the table of all tiles."""

from __future__ import annotations

import csv
import io
import tarfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from asyncfetch.exporting.files import Facts
    from asyncfetch.exporting.protocol import Made

__all__ = ["TAR", "open_folder", "write_list", "write_table"]

#: The rows of a section, beside its tiles.
ROWS = "tiles.jsonl"
#: The tiles of a section, where they are packed.
TAR = "tiles.tar"
#: The columns of the table, in order.
_COLUMNS = (
    *("file", "key", "image_id", "data_set_id", "specimen_id", "genes", "view", "plane", "section_number"),
    *("split", "um", "x", "y", "width", "height", "tissue", "reference_space_id"),
    *("p0_um", "p1_um", "i0_um", "i1_um", "r0_um", "r1_um", "sha256"),
)


type Row = dict[str, Any]


@contextmanager
def open_folder(folder: Path, pack: Literal["none", "webdataset"]) -> Iterator[Callable[[Row, bytes], None]]:
    """Make a folder for the tiles of a section, and give what puts one there: its row, and its picture.

    The rows lie beside the tiles, as JSON lines; in a tar file each also follows its tile.
    """
    folder.mkdir(parents=True)
    with (folder / ROWS).open("wb") as rows:

        def put_file(row: Row, data: bytes) -> None:
            (folder / row["file"]).write_bytes(data)
            rows.write(msgspec.json.encode(row) + b"\n")

        if pack == "none":
            yield put_file
            return
        with tarfile.open(folder / TAR, "w", format=tarfile.USTAR_FORMAT) as tar:

            def put_member(row: Row, data: bytes) -> None:
                encoded = msgspec.json.encode(row)
                for name, content in ((row["file"], data), (f"{row['key']}.json", encoded)):
                    # without times, so that the same tiles are the same bytes
                    member = tarfile.TarInfo(name)
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
                rows.write(encoded + b"\n")

            yield put_member


def write_table(folder: Path, made: Sequence[Made], kind: Literal["csv", "jsonl"], path: Path) -> Facts:
    """Join the rows of all sections into one table, without holding it."""
    n = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, restval="", lineterminator="\n")
        if kind == "csv":
            writer.writeheader()
        for each in made:
            for line in (folder / each.name / ROWS).read_bytes().splitlines():
                row = msgspec.json.decode(line)
                row = {**row, "file": f"{each.name}/{row['file']}"}
                n += 1
                if kind == "csv":
                    writer.writerow(row)
                else:
                    file.write(msgspec.json.encode(row).decode() + "\n")
    return {"n_tiles": n}


def write_list(made: Sequence[Made], path: Path) -> Facts:
    """Write the paths of tar files, one per line."""
    path.write_text("".join(f"{each.name}/{TAR}\n" for each in made), encoding="utf-8")
    return {"n_files": len(made)}
