"""The manifest of an export: which files are there, and what each was made from.

It is a file of JSON lines in the folder of the export. A line is added once a file has its final name, so that a run
that is killed loses at most the mention of files, which are then written again; the last line of a name counts.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING, Any, Self

import msgspec

from asyncfetch.errors import StoreBusyError
from asyncfetch.exporting.files import mapped_errors, measured
from asyncfetch.store.lock_file import lock_open_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from io import FileIO
    from pathlib import Path

__all__ = ["MANIFEST", "Manifest", "Record", "digest_of"]

MANIFEST = "asyncfetch-export.jsonl"


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the manifest: a file that is there.

    Attributes
    ----------
    name : str
        Its path below the folder of the export.
    format : str
        The format that made it.
    digest : str
        SHA-256 of `made_from`.
    n_bytes, n_files : int
        Its length; of a folder, the sum of all files below it, and how many there are.
    made_from : dict
        The store, the options, and what of the store its bytes depend on.
    item, view : str
        What it shows.
    facts : dict
        What its writer told.
    time, tool_version : str
        When it was written, ISO 8601 in UTC, and by which asyncfetch.
    """

    name: str
    format: str
    digest: str
    n_bytes: int
    n_files: int = 1
    made_from: dict[str, Any] = {}
    item: str = ""
    view: str | None = None
    facts: dict[str, Any] = {}
    time: str = ""
    tool_version: str = ""


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of values that JSON knows, whatever the order of their names."""
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


class Manifest:
    """The manifest of a folder, held by one run at a time; made by `open`. Its functions block.

    Attributes
    ----------
    folder : Path
        The folder of the export.
    """

    def __init__(self, folder: Path, file: FileIO, records: dict[str, Record], n_lines: int) -> None:
        self.folder = folder
        self._file = file
        self._records = records
        self._n_lines = n_lines

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open the manifest of a folder, which is made where there is none.

        Raises
        ------
        StoreBusyError
            Another export is writing to the folder.
        StoreError
            The folder cannot be used.
        """
        with mapped_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / MANIFEST).open("ab+", buffering=0)
        if lock_open_file(file.fileno()) is False:
            file.close()
            raise StoreBusyError(
                f"another export is writing to {folder}; wait until it has ended, or choose another folder with -o",
                location=str(folder),
            )
        with mapped_errors(folder):
            file.seek(0)
            lines = file.read().split(b"\n")
            if lines[-1]:
                # a line that a killed run has cut
                file.write(b"\n")
        records: dict[str, Record] = {}
        for line in lines:
            with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
                record = msgspec.json.decode(line, type=Record)
                records[record.name] = record
        return cls(folder, file, records, len(lines))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._file:
            if self._n_lines > 2 * len(self._records) + 1:
                self._compact()

    def find(self, name: str, digest: str) -> Record | None:
        """Return the record of a file that is there, complete, and made from just that."""
        record = self._records.get(name)
        if record is None or record.digest != digest:
            return None
        with mapped_errors(self.folder):
            is_there = measured(self.folder / name) == (record.n_bytes, record.n_files)
        return record if is_there else None

    def add(self, record: Record) -> None:
        """Note that a file has its final name."""
        with mapped_errors(self.folder):
            self._file.write(msgspec.json.encode(record) + b"\n")
        self._records[record.name] = record
        self._n_lines += 1

    def _compact(self) -> None:
        """Drop the lines that later ones have replaced."""
        path = self.folder / MANIFEST
        temporary = path.with_name(f".{MANIFEST}.part")
        with mapped_errors(self.folder):
            lines = (msgspec.json.encode(record) + b"\n" for record in self._records.values())
            temporary.write_bytes(b"".join(lines))
            os.replace(temporary, path)  # noqa: PTH105 - atomic on every system
