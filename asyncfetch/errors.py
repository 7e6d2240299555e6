"""Every error that asyncfetch raises, in one tree, split by what a caller can do about it.

::

    AsyncFetchError
    ├── SelectionError            what was asked for is malformed or does not exist (a ValueError)
    │   └── AlignmentError        this section cannot be placed: a matrix is missing or absurd
    ├── SettingsError             a setting is out of range or contradicts the store (a ValueError)
    ├── TransportError            the bytes did not come: try again
    │   ├── ConnectError          no connection: refused, reset, unknown host
    │   ├── TLSError              no connection that can be trusted: a certificate, or no TLS at all
    │   ├── StallError            bytes came too slowly or not at all
    │   ├── TruncatedError        the body ended early
    │   ├── StatusError           429, a 5xx or another HTTP status than success
    │   ├── RedirectError         a redirect loop, or one to another host
    │   ├── OutageError           the server has not answered for as long as it was waited for
    │   └── BodyTooLargeError     more bytes than the request can have
    ├── ServiceError              the API said no, with its words
    │   ├── NotFoundError         404, or no row with that id
    │   ├── QueryError            the query is wrong; asking again does not help
    │   ├── TransientServiceError a failure that the service calls its own; asking again helps
    │   ├── ReplyError            the reply is not what the API speaks: HTML, no JSON, an odd shape
    │   └── RecordError           one record lacks what is needed of it, or is not the one asked for
    ├── ImageError                the bytes are not the image they claim to be
    │   ├── NotAnImageError       no JPEG at all: an HTML or XML page under status 200
    │   ├── CorruptImageError     a JPEG that does not decode to its end
    │   └── ImageSizeError        a JPEG with other dimensions than were asked for
    │       └── ImageTierError    a finer tier than was asked for, which needs more memory
    ├── ClosedError               the client was closed while the answer was on its way
    ├── ClusterError              the machines of a cluster cannot be reached, or were lost
    └── StoreError                the disk or the layout of the store
        ├── StoreSpaceError       no space left
        ├── StoreAccessError      a path that cannot be read or written
        ├── StoreBusyError        another run is writing to the store
        ├── StoreLayoutError      a store that is not an asyncfetch store, or of another kind
        └── StoreItemError        one item of a store is damaged, or could not be read back; the rest is sound

Facts are attributes, never only words in the message. ``is_transient`` says whether the same request can
succeed later; the engine's retry policy reads nothing else. Every class pickles.
"""

from __future__ import annotations

from typing import Any

from asyncfetch.text import shown

__all__ = [
    "AlignmentError",
    "AsyncFetchError",
    "BodyTooLargeError",
    "ClosedError",
    "ClusterError",
    "ConnectError",
    "CorruptImageError",
    "ImageError",
    "ImageSizeError",
    "ImageTierError",
    "NotAnImageError",
    "NotFoundError",
    "OutageError",
    "QueryError",
    "RecordError",
    "RedirectError",
    "ReplyError",
    "SelectionError",
    "ServiceError",
    "SettingsError",
    "StallError",
    "StatusError",
    "StoreAccessError",
    "StoreBusyError",
    "StoreError",
    "StoreItemError",
    "StoreLayoutError",
    "StoreSpaceError",
    "TLSError",
    "TransientServiceError",
    "TransportError",
    "TruncatedError",
    "short_url",
]

_MAX_MESSAGE = 2000


def short_url(url: str) -> str:
    """Return the host and the path of a URL, which is what a message has room for.

    The whole URL of a query is several hundred characters of percent-encoding; it stays at hand as the
    attribute ``url`` of the error.

    Examples
    --------
    >>> short_url("http://api.brain-map.org/api/v2/data/query.json?criteria=model::Product")
    'api.brain-map.org/api/v2/data/query.json'
    """
    return url.partition("?")[0].rpartition("://")[2]


class AsyncFetchError(Exception):
    """The base of every error that asyncfetch raises on purpose.

    Parameters
    ----------
    message : str
        One sentence that names what failed, where, and what to do. Whatever words of a server, of a store or of a
        user are in it, it is one line of printable characters, and short; facts keep them as they came.
    url : str, optional
        The request that failed, where there was one.
    """

    #: Whether the same request can succeed when it is sent again.
    is_transient: bool = False

    def __init__(self, message: str, *, url: str | None = None) -> None:
        super().__init__(shown(message, _MAX_MESSAGE))
        self.url = url

    @property
    def message(self) -> str:
        """The sentence alone."""
        return str(self.args[0])

    @property
    def facts(self) -> dict[str, Any]:
        """The attributes that are set, as a dict for reports in JSON."""
        return {name: value for name, value in vars(self).items() if value is not None}


class SelectionError(AsyncFetchError, ValueError):
    """A selection or a parameter that is malformed, or names what does not exist."""


class AlignmentError(SelectionError):
    """A section that cannot be placed because a matrix is missing or cannot be an alignment.

    Parameters
    ----------
    matrix : str
        The name of the matrix: ``tsv``, ``tvs``, ``tvr`` or ``trv``.
    """

    def __init__(self, message: str, *, matrix: str | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.matrix = matrix


class SettingsError(AsyncFetchError, ValueError):
    """A setting that is out of range or contradicts what the store holds.

    Parameters
    ----------
    setting : str
        The name of the setting.
    """

    def __init__(self, message: str, *, setting: str | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.setting = setting


class TransportError(AsyncFetchError):
    """Bytes that did not come; the same request may succeed later."""

    is_transient = True


class ConnectError(TransportError):
    """No connection: refused, reset, or a host that has no address."""


class TLSError(TransportError):
    """No connection that can be trusted: a certificate that is not, or a port that does not speak TLS."""

    is_transient = False


class StallError(TransportError):
    """Bytes that came too slowly, or not at all, for too long.

    Parameters
    ----------
    received_bytes : int
        How much of the body had come.
    waited_s : float
        The seconds over which it was too little.
    """

    def __init__(
        self, message: str, *, received_bytes: int = 0, waited_s: float = 0.0, url: str | None = None
    ) -> None:
        super().__init__(message, url=url)
        self.received_bytes = received_bytes
        self.waited_s = waited_s


class TruncatedError(TransportError):
    """A body that ended before its end.

    Parameters
    ----------
    received_bytes : int
        How much of the body had come.
    """

    def __init__(self, message: str, *, received_bytes: int = 0, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.received_bytes = received_bytes


class StatusError(TransportError):
    """An HTTP status other than success.

    Parameters
    ----------
    status : int
        The HTTP status.
    retry_after : str, optional
        The Retry-After header: seconds, or an HTTP date where the reply does not say what time it is at the server.
    """

    def __init__(
        self, message: str, *, status: int = 0, retry_after: str | None = None, url: str | None = None
    ) -> None:
        super().__init__(message, url=url)
        self.status = status
        self.retry_after = retry_after
        # 202 says that the answer is being made
        self.is_transient = retry_after is not None or status in {202, 408, 425, 429} or status >= 500


class RedirectError(TransportError):
    """A redirect in a loop, or to another host.

    Parameters
    ----------
    location : str
        Where the last redirect pointed.
    """

    is_transient = False

    def __init__(self, message: str, *, location: str | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.location = location


class OutageError(TransportError):
    """A server that has not answered for as long as an outage is waited out.

    Parameters
    ----------
    waited_s : float
        How long that was, in seconds.
    """

    def __init__(self, message: str, *, waited_s: float = 0.0, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.waited_s = waited_s


class BodyTooLargeError(TransportError):
    """A body that is larger than what was asked for can be.

    Parameters
    ----------
    limit_bytes : int
        The most that was to be received.
    beginning : bytes
        What the body begins with, as far as it was kept: it tells what was sent.
    """

    is_transient = False

    def __init__(
        self, message: str, *, limit_bytes: int = 0, beginning: bytes = b"", url: str | None = None
    ) -> None:
        super().__init__(message, url=url)
        self.limit_bytes = limit_bytes
        self.beginning = beginning


class ServiceError(AsyncFetchError):
    """A refusal by the API, in its own words.

    Parameters
    ----------
    service_message : str
        The ``msg`` of the reply, word for word.
    """

    def __init__(self, message: str, *, service_message: str | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.service_message = service_message


class NotFoundError(ServiceError):
    """An id that the API does not know.

    Parameters
    ----------
    retry_after : str, optional
        The Retry-After header, as for `StatusError`, of a server that asks to be asked again.
    """

    def __init__(
        self,
        message: str,
        *,
        service_message: str | None = None,
        retry_after: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message, service_message=service_message, url=url)
        self.retry_after = retry_after
        if retry_after is not None:
            self.is_transient = True


class QueryError(ServiceError):
    """A query that is wrong, so that asking again does not help."""


class TransientServiceError(ServiceError):
    """A failure of the service by its own account, so that asking again helps."""

    is_transient = True


class ReplyError(ServiceError):
    """A reply that is not what the API speaks: HTML, not JSON, an odd shape."""

    is_transient = True


class RecordError(ServiceError):
    """A record that lacks what is needed of it, holds what cannot be, or is not the one that was asked for."""


class ImageError(AsyncFetchError):
    """Bytes that are not the image that they claim to be."""

    is_transient = True


class NotAnImageError(ImageError):
    """Bytes that are not a JPEG at all, often a page under status 200.

    Parameters
    ----------
    beginning : bytes
        The first bytes, to show what came instead.
    """

    def __init__(self, message: str, *, beginning: bytes = b"", url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.beginning = beginning


class CorruptImageError(ImageError):
    """A JPEG that does not decode to its end."""


class ImageSizeError(ImageError):
    """A JPEG of other dimensions than were asked for.

    Parameters
    ----------
    expected : tuple of int
        Height and width, in pixels, that the metadata promise.
    actual : tuple of int
        Height and width, in pixels, of the image.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: tuple[int, int] | None = None,
        actual: tuple[int, int] | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message, url=url)
        self.expected = expected
        self.actual = actual


class ImageTierError(ImageSizeError):
    """A JPEG of a finer tier of the image than was asked for, which needs more memory than was reserved."""

    is_transient = False


class ClosedError(AsyncFetchError):
    """A client that was closed while an answer was on its way, or before it was asked for."""


class ClusterError(AsyncFetchError):
    """A cluster whose scheduler or workers cannot be reached, are of another version, or were lost.

    Parameters
    ----------
    data_set_id : int, optional
        The data set that cannot be done, where others can.
    """

    def __init__(self, message: str, *, data_set_id: int | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.data_set_id = data_set_id


class StoreError(AsyncFetchError):
    """A problem with the disk or the layout of the store.

    Parameters
    ----------
    location : str
        The path or address of what failed.
    """

    def __init__(self, message: str, *, location: str | None = None, url: str | None = None) -> None:
        super().__init__(message, url=url)
        self.location = location


class StoreSpaceError(StoreError):
    """A disk without space left."""


class StoreAccessError(StoreError):
    """A path that cannot be read or written."""


class StoreBusyError(StoreError):
    """A store to which another run is writing.

    Parameters
    ----------
    command : str
        What that run was asked for.
    host, pid : str, int
        Where its process is.
    since : str
        When it began, ISO 8601 in UTC.
    """

    def __init__(
        self,
        message: str,
        *,
        command: str | None = None,
        host: str | None = None,
        pid: int | None = None,
        since: str | None = None,
        location: str | None = None,
        url: str | None = None,
    ) -> None:
        super().__init__(message, location=location, url=url)
        self.command = command
        self.host = host
        self.pid = pid
        self.since = since


class StoreLayoutError(StoreError):
    """Something that is not an asyncfetch store, or one of another kind than was asked for."""


class StoreItemError(StoreError):
    """An item of a store that is damaged, or that could not be read back if it were written.

    Only that item is concerned: whoever works through a store or a selection notes the error and continues.
    """
