"""Recordings: every answer of a server in a file, without secrets, so that it can be played again elsewhere.

A recording is a text file of JSON, one object a line. The first line of each run says ``{"format":
"asyncfetch-recording", "version": 1, "asyncfetch": …, "time": …}``. Each further line is one exchange: ``time``,
``url``, ``status``, ``headers`` (a list of pairs) and the decompressed body, as ``text`` where it is UTF-8 and as
``base64`` elsewhere. A line is written when its answer is whole, so that what came before a crash is kept.

What could be a secret is taken out: cookies, credentials and keys in headers, the user part of addresses, and the
values of parameters that are named like a key.
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import re
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from asyncfetch.engine.exchanges import Exchange, observing
from asyncfetch.errors import SettingsError
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["FORMAT", "is_heading", "parse_exchange", "recording", "without_secrets"]

#: The word by which a recording is known, and its version.
FORMAT: dict[str, Any] = {"format": "asyncfetch-recording", "version": 1}

_SECRET_HEADERS = re.compile(
    r"(set-)?cookie2?|(proxy-)?authori[sz]ation|(proxy-|www-)?authenticat\w*(-info)?|.*(token|secret|api-?key).*",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?<=://)[^/?#@\s\"']*@")
_SECRET_PARAMETERS = re.compile(
    r"([?&;][\w.%-]*(?:token|secret|signature|passw|api_?key|access_?key|credential)[\w.%-]*=)[^&;#\s]*",
    re.IGNORECASE,
)


@contextmanager
def recording(path: Path | str, on_trouble: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """Write every answer to requests of the block to a file; a recording that is there is continued.

    Parameters
    ----------
    path : path
        The file.
    on_trouble : callable, optional
        Told once, in words, when the file cannot be written any more; requests continue without it.

    Raises
    ------
    SettingsError
        The file cannot be opened, or holds something else.
    """
    path = Path(path)
    try:
        with path.open("ab+", buffering=0) as file:
            _require_recording(path, file)
            recorder = _Recorder(path, file, on_trouble)
            recorder.write(FORMAT | {"asyncfetch": __version__, "time": _now()})
            with observing(recorder):
                yield
    except OSError as error:
        if error.filename != str(path):
            raise
        raise SettingsError(
            f"--record: {path} cannot be written: {error.strerror}; name another file", setting="record"
        ) from error


def without_secrets(exchange: Exchange) -> Exchange:
    """Return an exchange without what could be a secret."""
    return exchange._replace(
        url=_cleaned(exchange.url),
        headers=tuple(
            (name, _cleaned(value)) for name, value in exchange.headers if not _SECRET_HEADERS.fullmatch(name)
        ),
        # The page of a redirect or an error often repeats the address.
        body=exchange.body if exchange.status == 200 else _cleaned_bytes(exchange.body),
    )


def is_heading(line: bytes) -> bool:
    """Whether a line is one that begins a run."""
    return line.startswith(b'{"format":"asyncfetch-recording"')


def parse_exchange(line: bytes) -> Exchange | None:
    """Read a line of a recording; None for one that begins a run, or that was cut off by a crash.

    Raises
    ------
    ValueError
        The line is whole, but not of a recording.
    """
    try:
        fields = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if isinstance(fields, dict) and fields.get("format") == FORMAT["format"]:
        if fields.get("version") != FORMAT["version"]:
            raise ValueError(f"the recording has version {fields.get('version')}, not {FORMAT['version']}")
        return None
    try:
        body = (
            fields["text"].encode() if "text" in fields else base64.b64decode(fields["base64"], validate=True)
        )
        headers = tuple((str(name), str(value)) for name, value in fields["headers"])
        return Exchange(str(fields["url"]), int(fields["status"]), headers, body)
    except (TypeError, KeyError, ValueError, AttributeError, binascii.Error) as error:
        raise ValueError(f"the line is not an exchange: {error!r}") from None


class _Recorder:
    """What writes exchanges to an open file, for as long as that works."""

    def __init__(self, path: Path, file: IO[bytes], on_trouble: Callable[[str], None]) -> None:
        self._path = path
        self._file = file
        self._on_trouble = on_trouble
        self._is_well = True

    def __call__(self, exchange: Exchange) -> None:
        clean = without_secrets(exchange)
        fields: dict[str, Any] = {"time": _now(), "url": clean.url, "status": clean.status}
        fields["headers"] = clean.headers
        try:
            fields["text"] = clean.body.decode()
        except UnicodeDecodeError:
            fields["base64"] = base64.b64encode(clean.body).decode("ascii")
        self.write(fields)

    def write(self, fields: dict[str, Any]) -> None:
        if not self._is_well:
            return
        try:
            line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
            if self._file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._is_well = False
            self._on_trouble(f"{self._path} cannot be written: {error.strerror}; the recording ends here")


def _require_recording(path: Path, file: IO[bytes]) -> None:
    """Raise unless a file is empty or a recording; end its last line where a crash cut it off."""
    if not path.is_file():
        # A device or a pipe holds nothing.
        return
    file.seek(0)
    first = file.read(100)
    if not first:
        return
    if not is_heading(first):
        raise SettingsError(
            f"--record: {path} exists and is not a recording; name another file", setting="record"
        )
    file.seek(-1, 2)
    if file.read(1) != b"\n":
        file.write(b"\n")


def _cleaned(text: str) -> str:
    return _SECRET_PARAMETERS.sub(r"\1***", _USERINFO.sub("", text))


def _cleaned_bytes(body: bytes) -> bytes:
    return _cleaned(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
