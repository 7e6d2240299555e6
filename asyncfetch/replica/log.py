"""The log of the replica: a record of each request, remembered, and written as a line of JSON once it has ended."""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from aiohttp import web

from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

__all__ = ["LOG_PATH", "RequestLog", "RequestRecord", "current_record"]

#: Where the log is served.
LOG_PATH = "/replica/requests"
_LOG = logging.getLogger(__name__)
# What a record takes beside the text of its address.
_RECORD_BYTES = 300


@dataclass(kw_only=True, eq=False)
class RequestRecord:
    """One request that was answered, or is being answered.

    Attributes
    ----------
    kind : str
        ``download`` (answered by a redirect), ``image`` (the bytes), ``query``, ``sync``, ``refused`` (by the
        limit of requests) or ``other``.
    path : str
        Path and query as they came.
    image_id : int or None
    status : int
        0 until the reply begins, and for a connection that was cut.
    size_bytes : int
        Bytes of the body, as sent.
    started_s, ended_s : float
        On the clock of the event loop; ``ended_s`` is None while the reply is under way.
    fault : str or None
        The fault that was played.
    """

    kind: str
    path: str
    image_id: int | None = None
    status: int = 0
    size_bytes: int = 0
    started_s: float = 0.0
    ended_s: float | None = None
    fault: str | None = None


_RECORD: ContextVar[RequestRecord] = ContextVar("record")


def current_record() -> RequestRecord:
    """Return the record of the request that is being answered."""
    return _RECORD.get()


class RequestLog:
    """The records of requests, of which the oldest are forgotten beyond a bound.

    Parameters
    ----------
    max_records : int or None
        How many of the latest are remembered, up to twice as many for a while; None remembers all.
    max_bytes : int
        What they may take; beyond it the older half is forgotten.
    path : path, optional
        Where a line of JSON is added for each request that ended.

    Attributes
    ----------
    requests : list of RequestRecord
        All requests so far, or the latest.
    """

    def __init__(
        self, max_records: int | None = None, max_bytes: int = 2**27, path: str | Path | None = None
    ) -> None:
        self.requests: list[RequestRecord] = []
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._n_bytes = 0
        self._path = path
        self._file: FileIO | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write to the file, where there is one, for as long as the context is open.

        Raises
        ------
        SettingsError
            The file cannot be written.
        """
        if self._path is None:
            yield
            return
        try:
            # not buffered, so that a full disk is met once and not again when the file is closed
            file = Path(self._path).open("ab", buffering=0)  # noqa: SIM115 - closed below
        except OSError as error:
            raise SettingsError(
                f"the log {self._path} cannot be written: {error.strerror}", setting="log_path"
            ) from error
        self._file = file
        try:
            yield
        finally:
            self._file = None
            with suppress(OSError):
                file.close()

    def begin(self, path: str) -> RequestRecord:
        """Return the record of a request that has come."""
        record = RequestRecord(kind="other", path=path, started_s=anyio.current_time())
        _RECORD.set(record)
        if self._max_records is not None and len(self.requests) >= 2 * self._max_records:
            del self.requests[: -self._max_records]
        self.requests.append(record)
        self._n_bytes += len(path) + _RECORD_BYTES
        if self._n_bytes > self._max_bytes:
            self._drop_older_half()
        return record

    def end(self, record: RequestRecord) -> None:
        """Write the record of a request that has ended."""
        record.ended_s = anyio.current_time()
        if self._file is None or record.path == LOG_PATH:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "kind": record.kind,
            "path": record.path,
            "image_id": record.image_id,
            "status": record.status,
            "size_bytes": record.size_bytes,
            "elapsed_s": round(record.ended_s - record.started_s, 6),
            "fault": record.fault,
        }
        left = json.dumps(line).encode() + b"\n"
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            # the replies are worth more than their log
            self._file = None
            _LOG.warning("the log %s ends here: %s", self._path, error.strerror)

    async def show(self, _request: web.Request) -> web.StreamResponse:
        """Send the log."""
        with suppress(ValueError):
            # another request may have pushed it out
            self.requests.remove(current_record())
        return web.json_response([vars(record) for record in self.requests])

    def _drop_older_half(self) -> None:
        n_bytes, most = 0, self._max_bytes // 2
        for n_kept, record in enumerate(reversed(self.requests)):
            if n_kept and n_bytes + len(record.path) + _RECORD_BYTES > most:
                del self.requests[:-n_kept]
                break
            n_bytes += len(record.path) + _RECORD_BYTES
        self._n_bytes = n_bytes
