"""Bodies that are packed: bytes as they came in, bytes as they were meant out, never more than there is room for."""

from __future__ import annotations

from typing import cast

from zlib_ng import zlib_ng

__all__ = ["Inflater", "UndecodableError"]

# zlib-ng's stub takes the class for an instance.
_GzipError = cast("type[Exception]", zlib_ng.error)
# Members of bgzip hold up to 64 KiB each, so that a gigabyte of those has 16 000. Each costs a few microseconds,
# also one that holds nothing.
_MAX_MEMBERS = 50_000


class UndecodableError(Exception):
    """A body that cannot be decompressed."""


class Inflater:
    """A gzip body that is decompressed in pieces, never making more bytes than asked for."""

    def __init__(self) -> None:
        self._stream = zlib_ng.decompressobj(16 + zlib_ng.MAX_WBITS)
        self._is_fresh = True
        self._n_members = 1

    @classmethod
    def for_encoding(cls, encoding: str) -> Inflater | None:
        """Return what decodes a Content-Encoding, or None where the bytes are plain."""
        if encoding in {"gzip", "x-gzip"}:
            return cls()
        if encoding in {"", "identity"}:
            return None
        raise UndecodableError(f"the Content-Encoding {encoding!r} was not asked for")

    @property
    def is_whole(self) -> bool:
        """Whether the stream has come to its own end."""
        return self._stream.eof or self._is_fresh

    def inflate(self, piece: bytes, room: int) -> bytes:
        """Return at most ``room`` bytes of what ``piece`` holds; a full result means that there may be more."""
        made: list[bytes] = []
        while piece and room > 0:
            # gzip allows members one after another (RFC 1952 section 2.2); what else follows is padding.
            if self._stream.eof:
                if not piece.startswith(b"\x1f"):
                    break
                self._begin_member()
            self._is_fresh = False
            try:
                made.append(self._stream.decompress(piece, room))
            except _GzipError as error:
                raise UndecodableError(str(error)) from error
            room -= len(made[-1])
            piece = self._stream.unused_data
        return b"".join(made)

    def _begin_member(self) -> None:
        self._n_members += 1
        if self._n_members > _MAX_MEMBERS:
            raise UndecodableError(f"it has more than {_MAX_MEMBERS} parts")
        self._stream = zlib_ng.decompressobj(16 + zlib_ng.MAX_WBITS)
