"""A server that differs: changes of requests and replies at the replica's edge, each a pure function.

A `Difference` breaks one assumption of allen-api.md. What it changes is one of two things, or both: the request before
it is answered (a server that reads it otherwise), and the reply before it is sent.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from aiohttp import web
from yarl import URL

from asyncfetch.replica.edge import Answer, Asked, answer_of, asked_of
from asyncfetch.replica.log import current_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from aiohttp.typedefs import Middleware

    from asyncfetch.replica.edge import Handler
    from asyncfetch.replica.images import ImageSource

__all__ = ["Difference", "differing", "envelope_of"]


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


def differing(differences: Sequence[Difference], source: ImageSource, follow: Handler) -> Middleware:
    """Return a middleware that makes a server differ.

    Parameters
    ----------
    differences : sequence of Difference
        In the order in which they change a request or a reply.
    source : ImageSource
        Knows the images that requests name.
    follow : callable
        Answers a request for the bytes of an image.
    """
    counts: Counter[str] = Counter()

    @web.middleware
    async def differ(request: web.Request, handler: Handler) -> web.StreamResponse:
        counts[request.raw_path] += 1
        asked = asked_of(request, source)._replace(n=counts[request.raw_path])
        changed = asked
        for difference in differences:
            changed = difference.request(changed)
        if changed != asked:
            request = request.clone(rel_url=URL.build(path=changed.path, query=changed.query))
        reply = await handler(request)
        record = current_record()
        if asked.is_download and reply.status == 302 and any(each.follows for each in differences):
            target = URL(reply.headers["Location"], encoded=True)
            request = request.clone(rel_url=target.relative() if target.absolute else target)
            asked = asked_of(request, source)._replace(n=asked.n)
            record.kind, record.image_id = asked.kind, asked.image_id
            reply = await follow(request)
        if record.fault is not None or not isinstance(reply, web.Response):
            # what went wrong stays as it is
            return reply
        return await anyio.to_thread.run_sync(_changed, differences, asked, reply)

    return differ


def _changed(differences: Sequence[Difference], asked: Asked, reply: web.Response) -> web.Response:
    """Return the reply as the server sends it that differs."""
    answer = answer_of(reply)
    for difference in differences:
        answer = difference.reply(asked, answer)
    return answer.packed()
