"""Images of the API, each proved whole before it counts."""

from __future__ import annotations

import uuid
from abc import ABC
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload

from asyncfetch.allen import ImageRequest
from asyncfetch.engine import Engine, Request
from asyncfetch.errors import (
    AsyncFetchError,
    BodyTooLargeError,
    CorruptImageError,
    ImageError,
    ImageSizeError,
    ImageTierError,
    StoreError,
    short_url,
)
from asyncfetch.imaging import Pool, decode, read_header

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    import numpy as np
    from numpy.typing import NDArray

    from asyncfetch.allen import ImageOptions
    from asyncfetch.engine import Acceptance, Companion, Reply, Reservation
    from asyncfetch.imaging import JpegHeader
    from asyncfetch.settings import Settings

__all__ = ["ImageQueries", "Jpeg", "Parked"]

type Admits = Callable[[tuple[int, int]], bool]

type Parked = Callable[[], AbstractAsyncContextManager[None]]

type Check[T] = Callable[[Jpeg, Acceptance], T]

# What an image can have when its size is not known, and what it can have beyond its raw pixels when it is.
_IMAGE_LIMIT_BYTES = 2**31
_JPEG_EXTRA_BYTES = 2**20
# A decode at an eighth still reads every code word, so it proves a body whole at half the cost.
_PROOF_HALVINGS = 3


@dataclass(frozen=True, slots=True)
class Jpeg:
    """One image as the server sent it.

    Attributes
    ----------
    data : bytes
        The JPEG, byte for byte.
    shape : tuple of int
        Height and width, in pixels, as its header says.
    n_components : int
        1 for grey, 3 for colour.
    url : str
        What was asked for.
    """

    data: bytes = field(repr=False)
    shape: tuple[int, int]
    n_components: int
    url: str


class ImageQueries(ABC):
    """The part of a client that asks for images.

    Attributes
    ----------
    settings : Settings
        Where the API answers, and how much memory there is.
    pool : Pool
        The threads that images are decoded on.
    """

    settings: Settings
    pool: Pool
    _engine: Engine

    def reserve(self, size_bytes: int) -> AbstractAsyncContextManager[Reservation]:
        """Hold decoded bytes of the memory budget; take them before fetching, keep them while they are used."""
        return self._engine.reserve(size_bytes)

    async def image_bytes(self, image_id: int, **parameters: Unpack[ImageOptions]) -> bytes:
        """Return an image as the JPEG that the server sent, proved whole by decoding it.

        Parameters
        ----------
        image_id : int
            The image.
        **parameters
            The fields of :class:`asyncfetch.allen.ImageRequest`, such as ``downsample=4``.

        Raises
        ------
        SelectionError
            A parameter breaks its rule.
        NotFoundError
            There is no such image.
        ImageError
            What came is not a whole JPEG, however often it was asked for.
        AsyncFetchError
            The image is unavailable.
        """
        jpeg, _ = await self.fetch_jpeg(_request(image_id, parameters))
        return jpeg.data

    async def image(self, image_id: int, **parameters: Unpack[ImageOptions]) -> NDArray[np.uint8]:
        """Return an image as (y, x, 3) uint8 RGB; parameters and errors are those of :meth:`image_bytes`."""
        _, pixels = await self.fetch_jpeg(
            _request(image_id, parameters), check=lambda jpeg, _accept: decode(jpeg.data)
        )
        return pixels

    async def save_image(self, image_id: int, path: str | Path, **parameters: Unpack[ImageOptions]) -> Path:
        """Write an image, as the JPEG that the server sent, to a file; nothing is left there when it is unavailable.

        Parameters
        ----------
        image_id : int
            The image.
        path : str or Path
            The file; one that is there is replaced, once the image has come whole.
        **parameters
            As for :meth:`image_bytes`, and so are the errors.

        Raises
        ------
        StoreError
            The file cannot be written.
        """
        data = await self.image_bytes(image_id, **parameters)
        return await self.pool.run(_write, Path(path), data)

    @overload
    async def fetch_jpeg(
        self,
        request: ImageRequest,
        expected_shape: tuple[int, int] | None = None,
        *,
        admits: Admits | None = None,
        parked: Parked | None = None,
        companion: Companion | None = None,
    ) -> tuple[Jpeg, None]: ...
    @overload
    async def fetch_jpeg[T](
        self,
        request: ImageRequest,
        expected_shape: tuple[int, int] | None = None,
        *,
        admits: Admits | None = None,
        check: Check[T],
        parked: Parked | None = None,
        companion: Companion | None = None,
    ) -> tuple[Jpeg, T]: ...
    async def fetch_jpeg(
        self,
        request: ImageRequest,
        expected_shape: tuple[int, int] | None = None,
        *,
        admits: Admits | None = None,
        check: Check[Any] | None = None,
        parked: Parked | None = None,
        companion: Companion | None = None,
    ) -> tuple[Jpeg, Any]:
        """Return an image and what a check made of it; an image that fails its check is asked for again.

        Parameters
        ----------
        request : ImageRequest
            What to ask for.
        expected_shape : tuple of int, optional
            Height and width, in pixels, that the image must have.
        admits : callable, optional
            Takes height and width, where they are others, and tells whether the image can have them all the same,
            such as by the rounding of the server.
        check : callable, optional
            Blocking; called on a thread of the pool with the `Jpeg` and with ``accept``. An ``AsyncFetchError`` that is
            transient, as every ``ImageError`` is, has the image asked for again. Once the image is proved, it may call
            ``accept()`` and continue with the pixels while they are in the cache of the thread: the request is done
            then, and errors from there on are raised unchanged and have nothing asked for again. A check that returns
            without it has accepted the image. Default: decode it to its end.
        parked : callable, optional
            Gives a context in which another attempt is waited for, such as ``reservation.lent``.
        companion : Companion, optional
            Is told when the request is sent, parked and accepted; see :class:`asyncfetch.engine.Companion`.

        Returns
        -------
        Jpeg, object
            The image, and what ``check`` returned: None for the default.

        Raises
        ------
        NotAnImageError, CorruptImageError, ImageSizeError
            What came last is not a JPEG, or not whole, or of another size.
        ImageTierError
            The image has a size that is admitted, and many more pixels than were expected.
        AsyncFetchError
            The image is unavailable.

        Examples
        --------
        ::

            def measure(jpeg, accept):
                pixels = asyncfetch.imaging.decode(jpeg.data)
                accept()
                return pixels.mean()

            _, mean = await client.fetch_jpeg(ImageRequest(image_id=69177634, downsample=4), check=measure)
        """

        async def prove(reply: Reply, accept: Acceptance) -> tuple[Jpeg, Any]:
            n_halvings = _PROOF_HALVINGS if check is None else 0
            # nobody can have reserved memory for an image of unknown size
            held_bytes = 0 if expected_shape is not None else _decoded_bytes(reply, n_halvings)
            call = partial(
                _prove,
                reply,
                accept,
                expected_shape,
                admits,
                check or _decode_to_the_end,
                self.settings.memory_bytes,
            )
            proved = await self._run_with_memory(held_bytes, call)
            if isinstance(proved, int):
                proved = await self._run_with_memory(proved, call)
            assert not isinstance(proved, int), "the memory that it asked for is held"
            return proved

        limit_bytes = _IMAGE_LIMIT_BYTES
        if expected_shape is not None:
            limit_bytes = expected_shape[0] * expected_shape[1] * 3 + _JPEG_EXTRA_BYTES
        url = request.url(self.settings.base_url)
        image = Request(url, "image", limit_bytes, f"image {request.image_id}")
        try:
            return await self._engine.fetch(image, prove, parked=parked, companion=companion)
        except BodyTooLargeError as error:
            raise _as_tier(error, expected_shape, admits) from error

    async def _run_with_memory[T](self, size_bytes: int, call: Callable[[int], T]) -> T:
        """Call on a thread of the pool what takes memory that nobody reserved, held until the thread is done."""
        if not size_bytes:
            return await self.pool.run(call, 0)
        reservation = await self._engine.reserve_more(size_bytes)
        return await self.pool.run_holding(reservation.release, call, size_bytes)


def _request(image_id: int, parameters: ImageOptions) -> ImageRequest:
    return ImageRequest(image_id=image_id, **parameters)


def _write(path: Path, data: bytes) -> Path:
    # made by opening it, so that its mode is what the user's umask says, which a temporary file's is not
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            partial.write_bytes(data)
            partial.replace(path)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _decode_to_the_end(jpeg: Jpeg, _accept: Acceptance) -> None:
    decode(jpeg.data, reduce=_PROOF_HALVINGS)


def _decoded_bytes(reply: Reply, n_halvings: int) -> int:
    """Return what decoding an image takes; 0 for what will not be decoded."""
    try:
        return read_header(reply.body).working_bytes(n_halvings)
    except ImageError:
        return 0


def _coefficient_bytes(header: JpegHeader, budget_bytes: int) -> int:
    """Return what a progressive JPEG takes beside its pixels, if there is room for it at all."""
    if header.coefficient_bytes <= budget_bytes:
        return header.coefficient_bytes
    error = CorruptImageError(
        f"the JPEG of {header.height} x {header.width} pixels is progressive, and decoding it takes "
        f"{header.coefficient_bytes / 1e6:.0f} MB more than its pixels, beyond the memory budget of "
        f"{budget_bytes / 1e6:.0f} MB; allow more with --memory or the setting memory_bytes"
    )
    # the next one would be the same
    error.is_transient = False
    raise error


def _check_other_shape(header: JpegHeader, expected: tuple[int, int], admits: Admits | None) -> None:
    """See that an image of another size than was expected is one that can be taken."""
    sizes = f"the image is {header.height} x {header.width} pixels high and wide, not {expected[0]} x {expected[1]} "
    if admits is None or not admits(header.shape):
        raise ImageSizeError(f"{sizes}as its metadata promise", expected=expected, actual=header.shape)
    # a row and a column more come from rounding, and fit into what was reserved
    if header.height * header.width > (expected[0] + 1) * (expected[1] + 1):
        raise ImageTierError(f"{sizes}as the tier that was asked for", expected=expected, actual=header.shape)


def _as_tier(
    error: BodyTooLargeError, expected: tuple[int, int] | None, admits: Admits | None
) -> AsyncFetchError:
    """Return the error that a body too large is: another tier, if it begins as one, or what it was."""
    try:
        header = read_header(error.beginning)
        if expected is not None and header.shape != tuple(expected):
            _check_other_shape(header, expected, admits)
    except ImageTierError as tier:
        tier.url = error.url
        return tier
    except ImageError:
        pass
    return error


def _prove[T](
    reply: Reply,
    accept: Acceptance,
    expected_shape: tuple[int, int] | None,
    admits: Admits | None,
    check: Check[T],
    budget_bytes: int,
    held_bytes: int,
) -> tuple[Jpeg, T] | int:
    """Return an image that passed its check, or how many bytes of memory have to be held before it is decoded."""
    url = reply.url
    try:
        header = read_header(reply.body)
        if header.coefficient_bytes:
            more_bytes = _coefficient_bytes(header, budget_bytes)
            if more_bytes > held_bytes:
                return more_bytes
        if expected_shape is not None and header.shape != tuple(expected_shape):
            _check_other_shape(header, expected_shape, admits)
        jpeg = Jpeg(bytes(reply.body), header.shape, header.n_components, url)
        return jpeg, check(jpeg, accept)
    except ImageError as error:
        if error.url is None and not accept.is_given:
            error.url = url
            error.args = (f"{short_url(url)}: {error.message}",)
        raise
