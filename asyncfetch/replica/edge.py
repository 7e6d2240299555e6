"""The edge of the service: a request and its reply as values, for what stands around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from aiohttp import web
from zlib_ng import zlib_ng

from asyncfetch.replica.images import IMAGE_SERVICE, named_image

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from asyncfetch.replica.images import ImageSource

__all__ = ["Answer", "Asked", "Handler", "answer_of", "asked_of", "subject_of"]

type Row = dict[str, Any]
type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROWS = "/api/v2/data/"
# Those that follow from how a body is sent.
_OF_THE_BODY = frozenset({"content-length", "content-encoding", "transfer-encoding", "content-type"})


class Asked(NamedTuple):
    """One request.

    Attributes
    ----------
    path : str
        Without the query.
    query : mapping of str to str
        Percent-decoded; of a name that comes twice, the last.
    origin : str
        Scheme, host and port that the client used.
    n : int
        1 for the first request for this address, 2 for the second, and so on.
    image : dict or None
        The record of the image, where the bytes of one are asked for.
    kind : str
        As in :class:`asyncfetch.replica.RequestRecord`; ``other`` where nothing is served.
    image_id : int or None
        The image of a download or of bytes, where there is such an image.
    """

    path: str
    query: Mapping[str, str]
    origin: str = ""
    n: int = 1
    image: Row | None = None
    kind: str = "other"
    image_id: int | None = None

    @property
    def criteria(self) -> str:
        """The criteria of a query, or nothing."""
        return self.query.get("criteria", self.query.get("q", ""))

    @property
    def is_rows(self) -> bool:
        """Whether records are asked for."""
        return self.path.startswith(_ROWS)

    @property
    def is_bytes(self) -> bool:
        """Whether the bytes of an image are asked for."""
        return self.path == IMAGE_SERVICE

    @property
    def is_download(self) -> bool:
        """Whether an image is asked for by its id, which a redirect answers."""
        return _is_download(self.path)


class Answer(NamedTuple):
    """One reply; the body is plain, whatever the client accepts."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_gzip: bool = False
    closes: bool = False

    def with_headers(self, **headers: str) -> Answer:
        """Return the reply with more headers; a dash stands as an underscore."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._replace(headers={**self.headers, **named})

    def packed(self) -> web.Response:
        """Return the reply as it is sent; it takes time for a body that is large."""
        sent = zlib_ng.compress(self.body, 1, 31) if self.is_gzip else self.body
        reply = web.Response(status=self.status, headers=self.headers, body=sent)
        if self.is_gzip:
            reply.headers["Content-Encoding"] = "gzip"
            reply.enable_chunked_encoding()
        if self.closes:
            reply.force_close()
        return reply


def answer_of(reply: web.Response) -> Answer:
    """Return a reply that was not sent yet as a value; it takes time for a body that is large."""
    body = reply.body if isinstance(reply.body, bytes) else b""
    is_gzip = reply.headers.get("Content-Encoding") == "gzip"
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in _OF_THE_BODY}
    headers["Content-Type"] = reply.headers.get("Content-Type", "text/plain")
    return Answer(reply.status, headers, zlib_ng.decompress(body, 31) if is_gzip else body, is_gzip)


def asked_of(request: web.Request, source: ImageSource) -> Asked:
    """Read what a request asks for."""
    kind, row = subject_of(request, source)
    return Asked(
        request.path,
        dict(request.query),
        f"{request.scheme}://{request.host}",
        image=row if kind == "image" else None,
        kind=kind,
        image_id=None if row is None else row["id"],
    )


def subject_of(request: web.Request, source: ImageSource) -> tuple[str, Row | None]:
    """Return the kind of a request, as in `Asked`, and the record of the image that it names, if there is one."""
    path = request.path
    if request.match_info.http_exception is not None:
        return "other", None
    if path == IMAGE_SERVICE:
        found = source.image_at(request.query.get("path", ""))
        return "image", None if found is None else source.image_row(found[0])
    if path.startswith(_ROWS):
        return "query", None
    if _is_download(path):
        return "download", named_image(source, path.rpartition("/")[2])
    return "sync" if path.startswith("/api/") else "other", None


def _is_download(path: str) -> bool:
    return path.startswith("/api/v2/") and "image_download/" in path
