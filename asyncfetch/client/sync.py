"""The six synchronization services, asked of the API: same names, arguments and records as computed locally."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from asyncfetch.allen.sync import ImageSync, SyncRequest, parse_sync_json, parse_sync_xml
from asyncfetch.engine import Request
from asyncfetch.engine.groups import share_out
from asyncfetch.errors import ReplyError, SelectionError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike

    from asyncfetch.allen.services import IdsLike, Nested
    from asyncfetch.allen.sync import ReferencePoint, SyncService
    from asyncfetch.engine import Acceptance, Engine, Reply
    from asyncfetch.settings import Settings

__all__ = ["SyncServices"]

#: Targets of one request: 100 ids in one GET are known to work (RMA-10).
MAX_TARGETS = 100
# A hundred answers of 200 bytes, and room for XML and blanks.
_REPLY_LIMIT_BYTES = 2**20


class SyncServices:
    """The six services; ``client.sync`` is one.

    The services take one point a request. Points of any leading shape are asked about concurrently, as the
    client's settings allow, and their answers come in the same nesting: for one point a record (or the list of
    records of its targets), for an array of points a list of these. A call fails as a whole with the
    error of the first request that fails.

    Raises
    ------
    SelectionError
        By every service: a point is of another shape or not finite, or there are no targets.
    QueryError
        The service refuses the request, in its words.
    AsyncFetchError
        An answer is unavailable.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._base_url = settings.base_url
        self._n_workers = settings.max_images_at_once + 1

    def __repr__(self) -> str:
        return f"SyncServices({self._base_url!r})"

    @overload
    async def image_to_reference(self, section_image_id: int, xy: Sequence[float]) -> ReferencePoint: ...
    @overload
    async def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> Nested[ReferencePoint]: ...
    async def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> Nested[ReferencePoint]:
        """Return the points of the reference space that points of an image show.

        Parameters
        ----------
        section_image_id : int
            The image.
        xy : (..., 2) array of float64
            (x, y) in full-resolution pixels.

        Returns
        -------
        ReferencePoint, or lists of them
            In µm of the space of the image's data set.
        """
        found: Nested[ReferencePoint] = await self._ask_all(
            "image_to_reference", section_image_id, _points(xy, 2), None
        )
        return found

    @overload
    async def reference_to_image(
        self, reference_space_id: int, pir: Sequence[float], data_set_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    async def reference_to_image(
        self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    async def reference_to_image(
        self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return the nearest section of each data set, and where on it the points lie.

        Parameters
        ----------
        reference_space_id : int
            The space of the points.
        pir : (..., 3) array of float64
            (p, i, r), which the API calls x, y and z, in µm.
        data_set_ids : (n,) sequence of int
            The data sets to look in.

        Returns
        -------
        list of n ImageSync, or lists of these lists
            In the order of ``data_set_ids``; a target that fails has no ``section_image_id``.
        """
        found: Nested[list[ImageSync]] = await self._ask_all(
            "reference_to_image", reference_space_id, _points(pir, 3), data_set_ids
        )
        return found

    @overload
    async def image_to_image(
        self, section_image_id: int, xy: Sequence[float], data_set_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    async def image_to_image(
        self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    async def image_to_image(
        self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return the nearest section of each data set to points of an image, and where on it they lie.

        Parameters and result are those of `image_to_reference` and `reference_to_image`.
        """
        found: Nested[list[ImageSync]] = await self._ask_all(
            "image_to_image", section_image_id, _points(xy, 2), data_set_ids
        )
        return found

    @overload
    async def image_to_image_2d(
        self, section_image_id: int, xy: Sequence[float], section_image_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    async def image_to_image_2d(
        self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    async def image_to_image_2d(
        self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return where points of an image lie on other images, by their alignments in the plane alone.

        Returns
        -------
        list of n ImageSync, or lists of these lists
            In the order of ``section_image_ids``. The service probably leaves the seed out (SYNC-5);
            then it is given its own point here.
        """
        found: Nested[list[ImageSync]] = await self._ask_all(
            "image_to_image_2d", section_image_id, _points(xy, 2), section_image_ids
        )
        return found

    @overload
    async def image_to_atlas(
        self, section_image_id: int, xy: Sequence[float], atlas_id: int
    ) -> ImageSync: ...
    @overload
    async def image_to_atlas(
        self, section_image_id: int, xy: ArrayLike, atlas_id: int
    ) -> Nested[ImageSync]: ...
    async def image_to_atlas(self, section_image_id: int, xy: ArrayLike, atlas_id: int) -> Nested[ImageSync]:
        """Return the nearest annotated plate of an atlas to points of an image, and where on it they lie.

        Returns
        -------
        ImageSync, or lists of them
        """
        found: Nested[ImageSync] = await self._ask_all(
            "image_to_atlas", section_image_id, _points(xy, 2), [atlas_id]
        )
        return found

    async def structure_to_image(self, data_set_id: int, structure_ids: IdsLike) -> list[ImageSync]:
        """Return the sections nearest to the centres of structures, and where on them the centres lie.

        Returns
        -------
        list of n ImageSync
            In the order of ``structure_ids``; the answers of the service do not name the structures.
        """
        found: list[ImageSync] = await self._ask_all(
            "structure_to_image", data_set_id, np.empty(0), structure_ids
        )
        return found

    async def ask(
        self, request: SyncRequest, fmt: Literal["json", "xml"] = "json"
    ) -> ReferencePoint | ImageSync | list[ImageSync]:
        """Send one request as it is, and return the answer as it comes.

        Parameters
        ----------
        request : SyncRequest
            The request.
        fmt : {"json", "xml"}
            The language of the answer; both carry the same values.
        """
        url = request.url(self._base_url, fmt)
        parse = parse_sync_xml if fmt == "xml" else parse_sync_json

        async def check(reply: Reply, _accept: Acceptance) -> ReferencePoint | ImageSync | list[ImageSync]:
            return parse(request.service, reply.body, url=reply.url)

        label = f"{request.service} of {request.seed_id}"
        return await self._engine.fetch(Request(url, "metadata", _REPLY_LIMIT_BYTES, label), check)

    async def _ask_all(
        self, service: SyncService, seed_id: int, points: np.ndarray, targets: IdsLike | None
    ) -> Any:
        wanted = None if targets is None else _ids(targets)
        shape = points.shape[:-1]
        parts = [wanted] if wanted is None else _batches(wanted)
        # built before the first is sent, so that a point that cannot be asked about costs no request
        requests = [
            SyncRequest(service=service, seed_id=seed_id, point=tuple(point), target_ids=tuple(part or ()))
            for point in points.reshape(math.prod(shape), points.shape[-1]).tolist()
            for part in parts
        ]
        answers = await self._gather(requests)
        if service in {"image_to_reference", "image_to_atlas"}:
            return _nest(shape, iter(answers))
        n = len(parts)
        whole = [[each for part in answers[k : k + n] for each in part] for k in range(0, len(answers), n)]
        return _nest(shape, iter(whole))

    async def _gather(self, requests: list[SyncRequest]) -> list[Any]:
        """Return the answers in the order of the requests."""
        answers: list[Any] = [None] * len(requests)

        async def ask(k: int) -> None:
            answers[k] = _in_order(requests[k], await self.ask(requests[k]))

        await share_out(range(len(requests)), ask, min(self._n_workers, len(requests)))
        return answers


def _points(values: ArrayLike, n_axes: int) -> np.ndarray:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SelectionError(f"points are numbers in an array of shape (..., {n_axes}): {error}") from error
    if points.shape[-1:] != (n_axes,):
        raise SelectionError(f"points have the shape (..., {n_axes}), not {points.shape}")
    return points


def _ids(values: IdsLike) -> list[int]:
    ids = np.asarray(values)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise SelectionError(f"targets are a list of one or more integers, not {values!r}")
    return [int(each) for each in ids]


def _batches(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + MAX_TARGETS] for start in range(0, len(ids), MAX_TARGETS)]


def _nest(shape: tuple[int, ...], flat: Iterator[Any]) -> Any:
    return next(flat) if not shape else [_nest(shape[1:], flat) for _ in range(shape[0])]


def _in_order(request: SyncRequest, answer: ReferencePoint | ImageSync | list[ImageSync]) -> Any:
    """Return one answer a target, in the order of the targets.

    Raises
    ------
    ReplyError
        Answers do not belong to the targets.
    """
    if not isinstance(answer, list):
        return answer
    if request.service == "structure_to_image":
        if len(answer) != len(request.target_ids):
            raise _unasked(
                request,
                f"{counted(len(answer), 'answer')} to {counted(len(request.target_ids), 'structure')}",
            )
        return answer
    if request.service == "image_to_image_2d":
        x, y = request.point
        own = ImageSync(section_image_id=request.seed_id, x=x, y=y)
        found: dict[int, ImageSync] = {request.seed_id: own}
        return _matched(request, answer, found, lambda each: each.section_image_id, lambda _: ImageSync())
    return _matched(
        request,
        answer,
        {},
        lambda each: each.section_data_set_id,
        lambda target: ImageSync(section_data_set_id=target),
    )


def _matched(
    request: SyncRequest,
    answer: list[ImageSync],
    found: dict[int, ImageSync],
    key: Callable[[ImageSync], int | None],
    missing: Callable[[int], ImageSync],
) -> list[ImageSync]:
    keyed = {number: each for each in answer if (number := key(each)) is not None}
    strange = keyed.keys() - set(request.target_ids)
    if strange:
        raise _unasked(request, f"an answer for {min(strange)}, which was not asked about")
    # an answer that names nothing, beside those that do, is that of a target that failed
    found = found | keyed
    return [found[target] if target in found else missing(target) for target in request.target_ids]


def _unasked(request: SyncRequest, what: str) -> ReplyError:
    return ReplyError(f"{request.service} of {request.seed_id} sent {what}; ask again later")
