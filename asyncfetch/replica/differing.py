"""A server that differs: changes of requests and replies at the replica's edge, each a pure function.

A `Difference` breaks one assumption of allen-api.md. What it changes is one of two things, or both: the request before
it is answered (a server that reads it otherwise), and the reply before it is sent.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio.to_thread
from aiohttp import web
from yarl import URL
from zlib_ng import zlib_ng

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

__all__ = ["Answer", "Asked", "Difference", "differing", "envelope_of"]

type Row = dict[str, Any]
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
    """

    path: str
    query: Mapping[str, str]
    origin: str = ""
    n: int = 1
    image: Row | None = None

    @property
    def criteria(self) -> str:
        """The criteria of a query, or nothing."""
        return self.query.get("criteria", self.query.get("q", ""))

    @property
    def is_rows(self) -> bool:
        """Whether records are asked for."""
        return self.path.startswith("/api/v2/data/")

    @property
    def is_bytes(self) -> bool:
        """Whether the bytes of an image are asked for."""
        return self.path == "/cgi-bin/imageservice"

    @property
    def is_download(self) -> bool:
        """Whether an image is asked for by its id, which a redirect answers."""
        return self.path.startswith("/api/v2/") and "image_download/" in self.path


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


def _same_request(asked: Asked) -> Asked:
    return asked


def _same_reply(_asked: Asked, answer: Answer) -> Answer:
    return answer


@dataclass(frozen=True)
class Difference:
    """One way in which a server differs from what is assumed of it.

    Attributes
    ----------
    name : str
        The id of the assumption and a word: ``RMA-4=cap4``.
    what : str
        What this server does.
    request : callable
        `Asked` to `Asked`: how it reads a request.
    reply : callable
        `Asked` and `Answer` to `Answer`: what it sends instead.
    follows : bool
        Whether it answers with what its redirect leads to, instead of with the redirect.
    options : mapping
        Options of the server that make the difference, where there are such.
    """

    name: str
    what: str
    request: Callable[[Asked], Asked] = field(default=_same_request, repr=False)
    reply: Callable[[Asked, Answer], Answer] = field(default=_same_reply, repr=False)
    follows: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def assumption(self) -> str:
        """The id of the assumption that it breaks."""
        return self.name.partition("=")[0]


def envelope_of(asked: Asked, answer: Answer) -> dict[str, Any] | None:
    """Return the envelope of rows in JSON, None for any other reply."""
    if not asked.is_rows or answer.status != 200 or not answer.body.startswith(b"{"):
        return None
    found = json.loads(answer.body)
    return found if isinstance(found.get("msg"), list) and found.get("success") else None


def differing(
    differences: Sequence[Difference],
    image_row: Callable[[str], Row | None],
    follow: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """Return a middleware that makes a server differ.

    Parameters
    ----------
    differences : sequence of Difference
        In the order in which they change a request or a reply.
    image_row : callable
        Gives the record of the image at the path of the image service.
    follow : callable
        Answers a request for the bytes of an image.
    """
    counts: Counter[str] = Counter()

    @web.middleware
    async def differ(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        counts[request.raw_path] += 1
        asked = _asked(request, counts[request.raw_path], image_row)
        changed = asked
        for difference in differences:
            changed = difference.request(changed)
        if changed != asked:
            request = request.clone(rel_url=URL.build(path=changed.path, query=changed.query))
        reply = await handler(request)
        if reply.status == 302 and any(difference.follows for difference in differences):
            target = URL(reply.headers["Location"], encoded=True)
            request = request.clone(rel_url=target.relative() if target.absolute else target)
            asked = _asked(request, asked.n, image_row)
            reply = await follow(request)
        if not isinstance(reply, web.Response):
            return reply
        return await anyio.to_thread.run_sync(_changed, differences, asked, reply)

    return differ


def _asked(request: web.Request, n: int, image_row: Callable[[str], Row | None]) -> Asked:
    query = dict(request.query)
    image = image_row(query["path"]) if request.path == "/cgi-bin/imageservice" and "path" in query else None
    return Asked(request.path, query, f"{request.scheme}://{request.host}", n, image)


def _changed(differences: Sequence[Difference], asked: Asked, reply: web.Response) -> web.Response:
    """Return the reply as the server sends it that differs."""
    body = reply.body if isinstance(reply.body, bytes) else b""
    is_gzip = reply.headers.get("Content-Encoding") == "gzip"
    headers = {name: value for name, value in reply.headers.items() if name.lower() not in _OF_THE_BODY}
    headers["Content-Type"] = reply.headers.get("Content-Type", "text/plain")
    answer = Answer(reply.status, headers, zlib_ng.decompress(body, 31) if is_gzip else body, is_gzip)
    for difference in differences:
        answer = difference.reply(asked, answer)
    sent = zlib_ng.compress(answer.body, 1, 31) if answer.is_gzip else answer.body
    changed = web.Response(status=answer.status, headers=answer.headers, body=sent)
    if answer.is_gzip:
        changed.headers["Content-Encoding"] = "gzip"
        changed.enable_chunked_encoding()
    if answer.closes:
        changed.force_close()
    return changed
