"""The service of the replica: downloads, queries, synchronization, each answered in full.

What headers and redirects look like is recorded (HTTP-1, HTTP-3). Unknown, and chosen here: the image service behind
the redirect takes the parameters of the download.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from asyncfetch.allen.sync import SYNC_SERVICES
from asyncfetch.errors import NotFoundError, QueryError, SelectionError
from asyncfetch.replica import replies, rma
from asyncfetch.replica.images import IMAGE_SERVICE, ImageSource, named_image, read_picture
from asyncfetch.replica.sync import SyncServices
from asyncfetch.replica.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from asyncfetch.replica.images import DrawnImages, Picture, Rounding

__all__ = ["AtlasSource", "Service"]

# Queries that are evaluated at once, for seconds at most; they run Python and gain nothing from more.
_MAX_QUERIES = 2
_DOWNLOADS = ("image_download", "section_image_download", "atlas_image_download", "projection_image_download")
_IMAGE_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Content-Disposition": "attachment; filename=imagefile.jpg",
    "Keep-Alive": "timeout=15, max=99",
    "Last-Modified": "Thu, 31 Jan 2013 22:05:16 GMT",
    "Server": "Apache",
    "Vary": "Accept-Encoding",
}


class AtlasSource(ImageSource, rma.RowSource, Protocol):
    """Everything that the replica answers from: records and pixels."""


class Service:
    """The service of the replica: a true answer to each request.

    Parameters
    ----------
    atlas : AtlasSource
        What to answer from.
    images : DrawnImages
        The drawn pictures of the atlas.
    is_packing : bool
        Send image bodies packed to clients that accept gzip.
    rounding, has_last_tier, ignored_parameters, redirect_base
        As in :class:`asyncfetch.replica.ServerOptions`.
    """

    def __init__(
        self,
        atlas: AtlasSource,
        images: DrawnImages,
        *,
        is_packing: bool = True,
        rounding: Rounding = "down",
        has_last_tier: bool = False,
        ignored_parameters: tuple[str, ...] = (),
        redirect_base: str = "http://{host}",
    ) -> None:
        self.atlas = atlas
        self.images = images
        self._is_packing = is_packing
        self._read_picture = functools.partial(read_picture, rounding=rounding, has_last_tier=has_last_tier)
        self._ignored_parameters = ignored_parameters
        self._redirect_base = redirect_base
        self._threads = Threads(_MAX_QUERIES, 0)
        self._rma = rma.Evaluator(atlas)
        self._sync = SyncServices(atlas)

    def routes(self) -> Iterable[web.RouteDef]:
        """Return what is answered where."""
        data, services = "/api/v2/data", "|".join(SYNC_SERVICES)
        known = "json|xml|csv"
        return [
            web.get(f"/api/v2/{{service:{'|'.join(_DOWNLOADS)}}}/{{image_id}}", self.download),
            web.get(IMAGE_SERVICE, self.image),
            web.get(f"/api/v2/{{service:{services}}}/{{seed:[^/.]+}}.{{format:json|xml}}", self.sync),
            web.get(f"{data}/query.{{format:{known}}}", self.query),
            web.get(f"{data}/enumerate.{{format:{known}}}", self.enumerate),
            web.get(f"{data}/{{model}}/describe.{{format:json|xml}}", self.describe),
            web.get(f"{data}/{{model}}/query.{{format:{known}}}", self.query),
            web.get(f"{data}/{{model}}/{{id}}.{{format:{known}}}", self.query),
        ]

    async def download(self, request: web.Request) -> web.Response:
        """Redirect to the image service, or say that there is no such image."""
        row = named_image(self.atlas, request.match_info["image_id"])
        if row is None:
            return web.Response(status=404, text="no such image")
        ignored = self._ignored_parameters
        parameters = {name: value for name, value in request.query.items() if name not in ignored}
        if request.match_info["service"] != "atlas_image_download":
            # Only this service is documented to draw annotations; others ignore what they do not know.
            parameters.pop("annotation", None)
        picture = self._picture(row, parameters)
        if isinstance(picture, web.Response):
            return picture
        if not self.atlas.has_view(row["id"], picture.view):
            return web.Response(status=404, text=f"no view {picture.view} of this image")
        location = self._base_of(request) + picture.location(self.atlas.image_path(row["id"], picture.view))
        return web.Response(status=302, headers={"Location": location, "Server": "Apache"})

    def _picture(self, row: dict[str, Any], parameters: Mapping[str, str]) -> Picture | web.Response:
        """Return the picture that is asked for, or the refusal."""
        try:
            return self._read_picture(row, parameters)
        except (NotFoundError, SelectionError) as error:
            return _refusal(error)

    def _base_of(self, request: web.Request) -> str:
        host = request.headers.get("Host", "localhost")
        return self._redirect_base.format(host=host, name=re.sub(r":\d*$", "", host))

    async def image(self, request: web.Request) -> web.Response:
        """Give the bytes of an image."""
        found = self.atlas.image_at(request.query.get("path", ""))
        row = None if found is None else self.atlas.image_row(found[0])
        if found is None or row is None:
            return web.Response(status=404, text="no such image")
        picture = self._picture(row, {**request.query, "view": found[1]})
        if isinstance(picture, web.Response):
            return picture
        is_packed = self._is_packing and "gzip" in request.headers.get("Accept-Encoding", "")
        try:
            body = await (self.images.gzipped(picture) if is_packed else self.images.jpeg(picture))
        except (NotFoundError, SelectionError) as error:
            return _refusal(error)
        reply = web.Response(body=body, content_type="image/jpeg", headers=_IMAGE_HEADERS)
        if is_packed:
            reply.headers["Content-Encoding"] = "gzip"
        if request.version >= (1, 1):
            reply.enable_chunked_encoding()
        return reply

    async def query(self, request: web.Request) -> web.Response:
        """Answer a metadata query."""
        fmt = request.match_info["format"]

        def make() -> bytes:
            query = rma.read_request(request.match_info, request.query)
            return replies.pack(self._rma.evaluate(query), fmt)

        return await self._answer(fmt, make)

    async def enumerate(self, request: web.Request) -> web.Response:
        """List the models."""
        fmt = request.match_info["format"]
        names = replies.model_names()
        answer = rma.Answer("Model", names, 0, len(names))
        return await self._answer(fmt, lambda: replies.pack(answer, fmt))

    async def describe(self, request: web.Request) -> web.Response:
        """Describe a model."""
        fmt, model = request.match_info["format"], request.match_info["model"]
        return await self._answer(fmt, lambda: replies.describe_model(self._rma, model, fmt))

    async def sync(self, request: web.Request) -> web.Response:
        """Answer one of the synchronization services."""
        service, seed, fmt = (request.match_info[name] for name in ("service", "seed", "format"))
        make = functools.partial(self._sync.answer, service, seed, dict(request.query), fmt)
        return await self._answer(fmt, make)

    async def _answer(self, fmt: str, make: Callable[[], bytes]) -> web.Response:
        """Reply with what ``make`` returns in a thread, or with its error's words under status 200."""
        content_type = replies.CONTENT_TYPES[fmt]
        try:
            data = await self._threads.run(0, make)
        except (QueryError, SelectionError, RecursionError) as error:
            said = "the query is nested too deeply" if isinstance(error, RecursionError) else error.message
            data = replies.pack_failure(said, fmt)
            if fmt == "csv":  # which has no form for an error
                content_type = replies.CONTENT_TYPES["json"]
        return web.Response(body=data, content_type=content_type, charset="utf-8")


def _refusal(error: NotFoundError | SelectionError) -> web.Response:
    return web.Response(status=404 if isinstance(error, NotFoundError) else 400, text=error.message)
