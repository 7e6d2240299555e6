"""What a format is: options, and the files that it makes of what was chosen of a store.

A format is a frozen record whose fields are its options; `asyncfetch.exporting.formats` lists it. It says which files
there are to be and how each is written. Everything else is the same for all formats and lies in
`asyncfetch.exporting.export`: which sections are meant, which files are there already, threads, memory, interrupts,
temporary names and the report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.files import Facts
    from asyncfetch.failures import Failure

__all__ = ["Format", "Made", "Output"]


class Output(NamedTuple):
    """One file that an export is to contain, or one folder that counts as a file.

    Attributes
    ----------
    name : str
        Its path below the folder of the export, with ``/`` between the parts.
    item : str
        The selection that exports it alone, such as ``dataset:479``; failures are told by it.
    view : str or None
        The view that it shows.
    content : mapping of str to value
        What its bytes depend on besides the options of the format, in values that JSON knows. A file is written again
        when this, the options or the `version` of the format have changed.
    write : callable
        Writes it to a path, which is a temporary one, on a thread of its own; returns facts that `Format.closing` is
        handed and the manifest keeps.
    working_bytes : int
        The memory that this takes, at most.
    """

    name: str
    item: str
    view: str | None
    content: Mapping[str, Any]
    write: Callable[[Path], Facts]
    working_bytes: int = 0


class Made(msgspec.Struct, frozen=True):
    """A file that is there, whoever wrote it: this run or an earlier one.

    Attributes
    ----------
    name, item, view : str
        As of the `Output`.
    facts : dict
        What was told when it was written.
    """

    name: str
    item: str
    view: str | None
    facts: dict[str, Any]


class Format(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of all formats; their fields are their options."""

    #: Goes up when the same options come to mean other bytes, so that files are made again.
    version: ClassVar[int] = 1
    #: The packages that it imports when it writes, beyond those that come with asyncfetch.
    needs: ClassVar[tuple[str, ...]] = ()
    #: The extra that installs them.
    extra: ClassVar[str] = "export"

    def outputs(self, chosen: Chosen) -> Iterable[Output | Failure]:
        """Return the files of one view of a data set, and the items that there cannot be one of; no pixel is read.

        Raises
        ------
        AsyncFetchError
            There cannot be any, which is told as a failure of the data set.
        """
        raise NotImplementedError

    def closing(self, folder: Path, made: Sequence[Made]) -> Iterable[Output]:
        """Return the files that are written last, from what has been made: tables and lists.

        Parameters
        ----------
        folder : Path
            Where the others are.
        made : sequence of Made
            All files of the export that are there, in order of their names.
        """
        return ()
