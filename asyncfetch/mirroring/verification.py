"""The report of a verification, and the file that an interrupted one is continued from."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import SettingsError, StoreAccessError
from asyncfetch.failures import Failure  # noqa: TC001 - msgspec reads annotations
from asyncfetch.mirroring.flaws import Flaw  # noqa: TC001 - msgspec reads annotations

if TYPE_CHECKING:
    import os

    from asyncfetch.mirroring.parts import Part

__all__ = ["Progress", "ReportFile", "VerifyReport"]

#: How often the report of a verification that goes on is written.
_SAVE_EVERY_S = 5.0


class Progress(msgspec.Struct, kw_only=True):
    """How far a verification came that was interrupted.

    Attributes
    ----------
    has_begun : bool
        Whether the root and the catalogue were looked at.
    data_set_id : int
        All data sets up to this one are done.
    sections : list of str
        Of the next one, those that are done: the view and the image id, such as ``image/69177634``.
    """

    has_begun: bool = False
    data_set_id: int = 0
    sections: list[str] = msgspec.field(default_factory=list)


class VerifyReport(msgspec.Struct, kw_only=True):
    """What a verification found, and what was done about it.

    Attributes
    ----------
    location : str
        The store.
    is_full : bool
        Whether every byte was read.
    part : str
        Which part of the store was looked at; ``1/1`` is all of it.
    n_data_sets, n_sections : int
        Data sets and section views that were looked at.
    n_hashed : int
        JPEGs whose digest was compared.
    sample : list of int
        Their image ids, where they are a sample.
    seed : int
        What the sample follows from, beside the ids.
    flaws : list of Flaw
        What was found at first.
    left : list of Flaw
        What was still wrong after the repair; `flaws` where none was asked for.
    leftovers : list of str
        Temporary files of runs that were killed; they are harmless.
    was_swept : bool
        Whether these were removed.
    failures : list of Failure
        What the repair could not bring, and why.
    notes : list of str
        What else is worth knowing.
    n_requests : int
        Requests that the repair sent.
    was_repaired : bool
        Whether a repair was asked for and came to its end.
    was_continued : bool
        Whether it went on where an earlier one was interrupted.
    interrupted : bool
        Whether it was asked to stop before its end.
    elapsed_s : float
        Wall time, of all that it was continued from, too.
    progress : Progress or None
        Where it is to be continued, None at its end.
    """

    location: str
    is_full: bool = False
    part: str = "1/1"
    n_data_sets: int = 0
    n_sections: int = 0
    n_hashed: int = 0
    sample: list[int] = msgspec.field(default_factory=list)
    seed: int = 0
    flaws: list[Flaw] = msgspec.field(default_factory=list)
    left: list[Flaw] = msgspec.field(default_factory=list)
    leftovers: list[str] = msgspec.field(default_factory=list)
    was_swept: bool = False
    failures: list[Failure] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    n_requests: int = 0
    was_repaired: bool = False
    was_continued: bool = False
    interrupted: bool = False
    elapsed_s: float = 0.0
    progress: Progress | None = None

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong, or nothing any more."""
        return not self.left

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return fields

    def add(self, flaws: list[Flaw]) -> None:
        """Add flaws that are not there yet."""
        known = {(each.path, each.problem) for each in self.flaws}
        self.flaws += [each for each in flaws if (each.path, each.problem) not in known]


class ReportFile:
    """Where a report is kept while it grows, so that a run that was killed can be continued.

    Parameters
    ----------
    path : str or Path, optional
        The file; without one nothing is kept.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self._path = None if path is None else Path(path)
        self._saved_s = time.monotonic()

    def unfinished(self, location: str, part: Part, *, full: bool, seed: int) -> VerifyReport | None:
        """Return the report of an interrupted verification that asked for the same, None where there is none.

        Raises
        ------
        SettingsError
            The file is something else.
        """
        if self._path is None or not self._path.exists():
            return None
        try:
            report = msgspec.json.decode(self._path.read_bytes(), type=VerifyReport)
        except (msgspec.DecodeError, OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"{self._path} is not the report of a verification, and is left as it is ({error}); "
                "choose another file",
                setting="report",
            ) from error
        asked = (report.location, report.part, report.is_full, report.seed)
        if report.progress is None or asked != (location, str(part), full, seed):
            return None
        return report

    def save_now_and_then(self, report: VerifyReport) -> None:
        """Write the report, unless that was done just before."""
        if self._path is not None and time.monotonic() - self._saved_s >= _SAVE_EVERY_S:
            self.save(report)

    def save(self, report: VerifyReport) -> None:
        """Write the report, whole or not at all.

        Raises
        ------
        StoreAccessError
            The file cannot be written.
        """
        if self._path is None:
            return
        partial = self._path.with_name(f".{self._path.name}.partial")
        try:
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
            partial.replace(self._path)
        except OSError as error:
            raise StoreAccessError(
                f"the report {self._path} cannot be written ({error.strerror}); choose another file",
                location=str(self._path),
            ) from error
        self._saved_s = time.monotonic()
