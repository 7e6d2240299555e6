"""Archives of one Zarr hierarchy each (``.ozx``), as RFC-9 of NGFF recommends them: written and read back.

Entries are stored as they are, with the ZIP64 extension whatever their size; the metadata (``zarr.json``) come first,
breadth first from the root's, and the archive's comment says so. Times are those of no clock, so that the same
hierarchy always becomes the same bytes: every byte beside the entries' own follows from their names, sizes and CRC-32.
Numbers of sections such as 4.3.7 are those of PKWARE's APPNOTE.TXT, version 6.3.10.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, NamedTuple

from zlib_ng import zlib_ng

from asyncfetch.errors import StoreAccessError
from asyncfetch.store.wall import checked_key
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

__all__ = [
    "LOCAL_MARK",
    "ArchiveWriter",
    "Entry",
    "Read",
    "crc32_of",
    "data_offset",
    "framing_problem",
    "in_order",
    "local_entry",
    "pieces_of",
    "place_in_order",
    "read_directory",
    "usual_offset",
]

#: Reads bytes of an archive: from where, and how many.
type Read = Callable[[int, int], bytes]

#: How much of an entry is in memory at a time.
_PIECE_BYTES = 2**22

_LOCAL = struct.Struct("<IHHHHHIIIHH")  # 4.3.7
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")  # 4.3.12
_END_64 = struct.Struct("<IQHHIIQQQQ")  # 4.3.14
_LOCATOR_64 = struct.Struct("<IIQI")  # 4.3.15
_END = struct.Struct("<IHHHHIIH")  # 4.3.16
_SIZES_64 = struct.Struct("<HHQQ")  # 4.5.3: the original size, then the stored one
_LOCAL_MARK, _CENTRAL_MARK, _END_64_MARK = 0x04034B50, 0x02014B50, 0x06064B50
#: What the header before each file begins with.
LOCAL_MARK = _LOCAL_MARK.to_bytes(4, "little")
_LOCATOR_MARK, _END_MARK = 0x07064B50, 0x06054B50
_ZIP64, _ZIP64_VERSION = 1, 45
#: Made on Unix (4.4.2), so that the upper half of the external attributes is a mode: a file that all may read.
_MADE_BY, _ATTRIBUTES = 3 << 8 | _ZIP64_VERSION, 0o100644 << 16
#: The first day that a zip can name, 1980-01-01.
_DATE = 1 << 5 | 1
_UTF8, _STORED = 0x800, 0
_MAX_16, _MAX_32 = 0xFFFF, 0xFFFFFFFF
#: A comment of 64 KiB, what stands before it, and the two records of ZIP64.
_MAX_END_BYTES = 2**16 + _END.size + _LOCATOR_64.size + _END_64.size
_METADATA = "zarr.json"


class Entry(NamedTuple):
    """A file of an archive.

    Attributes
    ----------
    name : str
        Its path below the root of the hierarchy.
    offset : int
        Where its local header begins.
    size : int
        Its length in bytes.
    crc32 : int
        The CRC-32 of its bytes.
    """

    name: str
    offset: int
    size: int
    crc32: int


def in_order(names: Iterable[str]) -> list[str]:
    """Return names in the order of an archive: the root's metadata, other metadata breadth first, everything else.

    Examples
    --------
    >>> in_order(["b/c/zarr.json", "a/x.jpg", "b/zarr.json", "zarr.json", "a/zarr.json"])
    ['zarr.json', 'a/zarr.json', 'b/zarr.json', 'b/c/zarr.json', 'a/x.jpg']
    """
    return sorted(names, key=place_in_order)


def place_in_order(name: str) -> tuple[bool, int, list[str]]:
    """Return what the files of an archive are sorted by."""
    parts = name.split("/")
    is_metadata = parts[-1] == _METADATA
    return (not is_metadata, len(parts) if is_metadata else 0, parts)


class ArchiveWriter:
    """The writer of one archive; entries are added in the order of `in_order`, and `end` comes last.

    Parameters
    ----------
    file : binary file
        Where it is written, from its beginning; it must be seekable.
    ngff : str
        The version of NGFF that the hierarchy follows.
    """

    def __init__(self, file: BinaryIO, ngff: str) -> None:
        self._file = file
        self._ngff = ngff
        self._at = 0
        self._entries: list[Entry] = []

    def add(self, name: str, pieces: Iterable[bytes]) -> Entry:
        """Write one file, piece by piece."""
        entry = Entry(name, self._at, 0, 0)
        header_bytes = self._file.write(_local_header(entry))
        size, crc32 = 0, 0
        for piece in pieces:
            crc32 = zlib_ng.crc32(piece, crc32)
            size += self._file.write(piece)
        entry = entry._replace(size=size, crc32=crc32)
        self._file.seek(self._at)
        self._file.write(_local_header(entry))
        self._at += header_bytes + size
        self._file.seek(self._at)
        self._entries.append(entry)
        return entry

    def end(self) -> None:
        """Write what follows the files: the central directory, and the records that lead to it."""
        self._file.write(_after_entries(self._entries, self._at, self._ngff))


def _comment(ngff: str) -> bytes:
    """Return what RFC-9 has an archive say of itself: the version of NGFF, and that all metadata come first."""
    said = {"ome": {"version": ngff, "zipFile": {"centralDirectory": {"jsonFirst": True}}}}
    return json.dumps(said, separators=(",", ":")).encode()


def _local_header(entry: Entry) -> bytes:
    name = entry.name.encode()
    # both sizes stand in the extension alone (4.5.3)
    fields = (_ZIP64_VERSION, _flags(name), _STORED, 0, _DATE, entry.crc32, _MAX_32, _MAX_32)
    sizes = _SIZES_64.pack(_ZIP64, 16, entry.size, entry.size)
    return _LOCAL.pack(_LOCAL_MARK, *fields, len(name), len(sizes)) + name + sizes


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _central_header(entry: Entry) -> bytes:
    name = entry.name.encode()
    # here the extension has what does not fit, and nothing else (4.5.3)
    long = [value for value in (entry.size, entry.size, entry.offset) if value >= _MAX_32]
    extra = struct.pack(f"<HH{len(long)}Q", _ZIP64, 8 * len(long), *long) if long else b""
    size, offset = min(entry.size, _MAX_32), min(entry.offset, _MAX_32)
    fields = (_MADE_BY, _ZIP64_VERSION, _flags(name), _STORED, 0, _DATE, entry.crc32, size, size)
    lengths = (len(name), len(extra), 0)
    return _CENTRAL.pack(_CENTRAL_MARK, *fields, *lengths, 0, 0, _ATTRIBUTES, offset) + name + extra


def _after_entries(entries: list[Entry], at: int, ngff: str) -> bytes:
    directory = b"".join(map(_central_header, entries))
    n, size = len(entries), len(directory)
    end_64 = _END_64.pack(_END_64_MARK, _END_64.size - 12, _MADE_BY, _ZIP64_VERSION, 0, 0, n, n, size, at)
    locator = _LOCATOR_64.pack(_LOCATOR_MARK, 0, at + size, 1)
    comment = _comment(ngff)
    n_16, size_32, at_32 = min(n, _MAX_16), min(size, _MAX_32), min(at, _MAX_32)
    end = _END.pack(_END_MARK, 0, 0, n_16, n_16, size_32, at_32, len(comment))
    return directory + end_64 + locator + end + comment


def read_directory(read: Read, n_bytes: int) -> list[Entry]:
    """Return the files of an archive, in the order of its central directory.

    Parameters
    ----------
    read : callable
        Reads the archive.
    n_bytes : int
        Its length.

    Raises
    ------
    ValueError
        It is not an archive, is cut, or is one of another kind: compressed, encrypted, or in several parts.
    """
    start = max(0, n_bytes - _MAX_END_BYTES)
    end = read(start, n_bytes - start)
    n, size, at = _directory_place(end, start)
    if at + size > n_bytes or n * _CENTRAL.size > size:
        raise ValueError("its central directory is cut")
    return list(_entries_in(read(at, size), n, at))


def _directory_place(end: bytes, start: int) -> tuple[int, int, int]:
    """Return how many entries the central directory has, its length, and where it begins."""
    mark = _END_MARK.to_bytes(4, "little")
    found = end.rfind(mark, 0, len(end) - _END.size + len(mark))
    while found >= 0 and found + _END.size + int.from_bytes(end[found + 20 : found + 22], "little") != len(
        end
    ):
        found = end.rfind(mark, 0, found + len(mark) - 1)
    if found < 0:
        raise ValueError("it has no central directory at its end")
    _, disk, _, _, n, size, at, _ = _END.unpack_from(end, found)
    parts, locator = 1, found - _LOCATOR_64.size
    if locator >= 0 and end.startswith(_LOCATOR_MARK.to_bytes(4, "little"), locator):
        _, _, at_64, parts = _LOCATOR_64.unpack_from(end, locator)
        if not 0 <= at_64 - start <= locator - _END_64.size:
            raise ValueError("its central directory is not where it says")
        mark_64, *_, n, size, at = _END_64.unpack_from(end, at_64 - start)
        if mark_64 != _END_64_MARK:
            raise ValueError("its central directory is not where it says")
    if disk or parts != 1:
        raise ValueError("it is one of several parts")
    return n, size, at


def _entries_in(directory: bytes, n: int, end_of_data: int) -> Iterator[Entry]:
    at, names, unpack = 0, set(), _CENTRAL.unpack_from
    for _ in range(n):
        if at + _CENTRAL.size > len(directory):
            raise ValueError("its central directory is cut")
        fields = unpack(directory, at)
        mark, _, _, flags, method, _, _, crc32, size, full_size, n_name, n_extra, n_comment = fields[:13]
        at += _CENTRAL.size
        name = directory[at : at + n_name].decode()
        offset = fields[16]
        if _MAX_32 in {size, full_size, offset}:
            extra = directory[at + n_name : at + n_name + n_extra]
            full_size, size, offset = _in_full(extra, full_size, size, offset)
        at += n_name + n_extra + n_comment
        if mark != _CENTRAL_MARK or at > len(directory):
            raise ValueError("its central directory is damaged")
        if name.endswith("/"):
            # a folder, as other programs note them
            continue
        if method != _STORED or flags & ~_UTF8 & ~0x8 or size != full_size:
            raise ValueError(f"{name} is compressed or encrypted in it; unpack it with a zip program")
        if name in names or offset + _LOCAL.size + n_name + size > end_of_data or not _is_key(name):
            raise ValueError(f"its central directory is damaged at {name!r}")
        names.add(name)
        yield Entry(name, offset, size, crc32)


def _in_full(extra: bytes, *values: int) -> Iterator[int]:
    """Yield the sizes and the offset of an entry, those that did not fit from its ZIP64 extension."""
    at = 0
    while at + 4 <= len(extra):
        kind, n_bytes = struct.unpack_from("<HH", extra, at)
        if kind == _ZIP64:
            break
        at += 4 + n_bytes
    at += 4
    for value in values:
        if value == _MAX_32 and at + 8 <= len(extra):
            value = int.from_bytes(extra[at : at + 8], "little")
            at += 8
        yield value


def _is_key(name: str) -> bool:
    try:
        return bool(name) and checked_key(name, "") == name
    except StoreAccessError:
        return False


def data_offset(read: Read, entry: Entry) -> int:
    """Return where the bytes of a file begin, which the header before them tells.

    Raises
    ------
    ValueError
        That is the header of something else.
    """
    name = entry.name.encode()
    header = read(entry.offset, _LOCAL.size + len(name))
    if len(header) < _LOCAL.size + len(name):
        raise ValueError(f"{entry.name} is cut off in it")
    mark, *_, n_name, n_extra = _LOCAL.unpack_from(header)
    if mark != _LOCAL_MARK or n_name != len(name) or header[_LOCAL.size :] != name:
        raise ValueError(f"{entry.name} is not where its central directory says")
    return entry.offset + _LOCAL.size + int(n_name) + int(n_extra)


def usual_offset(entry: Entry) -> int:
    """Return where the bytes of a file begin whose header is as it is written here."""
    return entry.offset + len(_local_header(entry))


def local_entry(read: Read, offset: int, n_bytes: int) -> tuple[Entry, int] | None:
    """Return the file whose local header, as it is written here, stands at an offset, and where its bytes begin."""
    header = read(offset, _LOCAL.size)
    if len(header) < _LOCAL.size:
        return None
    mark, version, _, method, _, _, crc32, _, _, n_name, n_extra = _LOCAL.unpack(header)
    if mark != _LOCAL_MARK or (version, method, n_extra) != (_ZIP64_VERSION, _STORED, _SIZES_64.size):
        return None
    try:
        rest = read(offset + _LOCAL.size, n_name + n_extra)
        name, (_, _, size, _) = rest[:n_name].decode(), _SIZES_64.unpack_from(rest, n_name)
    except (UnicodeDecodeError, struct.error):
        return None
    at = offset + _LOCAL.size + n_name + n_extra
    return (Entry(name, offset, size, crc32), at) if _is_key(name) and at + size <= n_bytes else None


def crc32_of(read: Read, at: int, size: int) -> int:
    """Return the CRC-32 of bytes of an archive, read piece by piece."""
    crc32 = 0
    for piece in pieces_of(read, at, size):
        crc32 = zlib_ng.crc32(piece, crc32)
    return int(crc32)


def pieces_of(read: Read, at: int, size: int) -> Iterator[bytes]:
    """Yield bytes of an archive, or of another file, piece by piece; fewer where it ends before."""
    end = at + size
    while at < end and (piece := read(at, min(_PIECE_BYTES, end - at))):
        yield piece
        at += len(piece)


def framing_problem(read: Read, n_bytes: int, entries: list[Entry], ngff: str) -> str | None:
    """Return what of an archive is not as it is written here, apart from the files' own bytes; None where nothing is.

    Parameters
    ----------
    read : callable
        Reads the archive.
    n_bytes : int
        Its length.
    entries : list of Entry
        Its central directory.
    ngff : str
        The version of NGFF that it has to name.
    """
    if [each.name for each in entries] != in_order(each.name for each in entries):
        return "has its entries in another order than they were packed in"
    at = 0
    for entry in entries:
        header = _local_header(entry)
        if entry.offset != at or read(at, len(header)) != header:
            return f"has another header of {entry.name} than was packed"
        at += len(header) + entry.size
    after = _after_entries(entries, at, ngff)
    if at + len(after) != n_bytes or read(at, len(after)) != after:
        return (
            f"has another central directory than was packed, of {counted(len(entries), 'entry', 'entries')}"
        )
    return None
