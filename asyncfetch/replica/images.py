"""The image services: what a download asks for, and the JPEG that answers it, drawn once.

Unknown of the real service (IMG-2, IMG-3, IMG-4, IMG-7), and chosen here: tiers beyond the last keep halving, down to
one pixel; a box that reaches over the image is cut at its border, and one beside it is not found; a value that is not a
number is a bad request; a view that the image does not have is not found. A section that is a box (x, y, width,
height) on a slide is all that there is of the slide.
"""

from __future__ import annotations

import hashlib
import math
import threading
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlencode

import anyio
import numpy as np

from asyncfetch.errors import NotFoundError, SelectionError
from asyncfetch.geometry import Box, last_tier, tier_shape
from asyncfetch.imaging import jpeg
from asyncfetch.replica.display import PLAIN_LEVELS, Display, apply_display, read_display
from asyncfetch.replica.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

__all__ = [
    "DEFAULT_QUALITY",
    "IMAGE_SERVICE",
    "VIEWS",
    "DrawnImages",
    "ImageSource",
    "Picture",
    "Rounding",
    "named_image",
    "picture_box",
    "read_picture",
    "read_view",
]

#: How sides are rounded where an image is halved: down, to the nearest or up at once, or to the nearest tier by tier.
Rounding = Literal["down", "nearest", "up", "steps"]

DEFAULT_QUALITY = 85
IMAGE_SERVICE = "/cgi-bin/imageservice"
_MAX_TIERS = 32
#: The views beside the image itself; the older spelling of each is a parameter of its own.
VIEWS = ("expression", "projection", "tumor_feature_annotation", "tumor_feature_boundary")
# What the disk cache holds depends on the drawing; this number is raised when the drawing changes.
_DRAWING = 2
_PLAIN = Display()
# What drawing takes at its peak: the pixels and the JPEG; or those as drawn and as shown; or the floating-point numbers
# of what is drawn in one piece.
_PLAIN_BYTES_PER_PIXEL, _SHOWN_BYTES_PER_PIXEL, _WHOLE_BYTES_PER_PIXEL = 4, 12, 28
_DRAWN_IN_BLOCKS = {"image", "expression", "projection"}
# A display takes floating-point numbers for each pixel that it is applied to at once.
_ROWS_PER_LOOK = 256
_OUTLINE_COLOURS = ((20, 20, 20), (200, 30, 30), (30, 60, 200), (20, 140, 60))


class ImageSource(Protocol):
    """The records and pixels that the image services answer from."""

    def image_row(self, image_id: int) -> dict[str, Any] | None:
        """Return the record of an image, or None where there is none."""
        ...

    def image_at(self, path: str) -> tuple[int, str] | None:
        """Return the image and the view that a record's path names, or None."""
        ...

    def has_view(self, image_id: int, view: str) -> bool:
        """Return whether an image exists in a view."""
        ...

    def image_path(self, image_id: int, view: str) -> str:
        """Return the path of a view of an image, by which the image service finds it."""
        ...

    def image_levels(self, image_id: int) -> tuple[int, ...] | None:
        """Return the window (lower and upper of r, g, b) that the image is drawn with, None for plain ones."""
        ...

    def draw(
        self, image_id: int, *, downsample: int = 0, box: Box | None = None, view: str = "image"
    ) -> NDArray[np.uint8]:
        """Return the (h, w, 3) pixels of a box of a tier, or (h, w, 1) for the view expression_level.

        NotFoundError is raised where the source has no such pixels.
        """
        ...

    def outlines(
        self, image_id: int, *, downsample: int, box: Box, atlas_id: int
    ) -> NDArray[np.bool_] | None:
        """Return the (h, w) pixels on an atlas's outlines, None where it has none; 0 stands for any atlas."""
        ...

    def stored(self, picture: Picture) -> bytes | None:
        """Return the JPEG of a picture as it is kept, None where it is to be drawn."""
        ...

    def n_source_pixels(self, image_id: int, view: str) -> int:
        """Return how many pixels have to be decoded before any of an image can be drawn."""
        ...


def named_image(source: ImageSource, name: str) -> dict[str, Any] | None:
    """Return the record of the image that a download names by its id, or None where there is none."""
    text = name.removesuffix(".jpg")
    return source.image_row(int(text)) if text.isdecimal() and len(text) < 19 else None


@dataclass(frozen=True)
class Picture:
    """Which pixels are asked for, and how they are to be packed.

    Attributes
    ----------
    image_id : int
    view : str
    downsample : int
    left, top : int
        Corner in full-resolution pixels of the slide.
    width, height : int
        Size in pixels of the tier.
    quality : int
    is_gray_mask : bool
        The expression level in grey instead of jet colours (``filter=colormap&filterVals=…,0``).
    display : Display
        How values are shown.
    tier_shape : tuple of int
        Height and width of the whole image at that tier.
    is_whole : bool
        Whether no box was asked for.
    """

    image_id: int
    view: str
    downsample: int
    left: int
    top: int
    width: int
    height: int
    quality: int = DEFAULT_QUALITY
    is_gray_mask: bool = False
    display: Display = _PLAIN
    tier_shape: tuple[int, int] = field(default=(0, 0), compare=False, repr=False)
    is_whole: bool = field(default=False, compare=False, repr=False)

    def location(self, path: str) -> str:
        """Return the address that a download redirects to, given the path of the view."""
        parameters: dict[str, Any] = {
            "mime": 1,
            "path": path,
            "left": self.left,
            "top": self.top,
            "width": self.width,
            "height": self.height,
            "downsample": self.downsample,
        }
        if self.quality != DEFAULT_QUALITY:
            parameters["quality"] = self.quality
        if self.is_gray_mask:
            parameters |= {"filter": "colormap", "filterVals": "0,1,0,256,0"}
        parameters |= self.display.parameters()
        return f"{IMAGE_SERVICE}?{urlencode(parameters, safe='/,')}"

    @property
    def key(self) -> str:
        """A name for the bytes, good as the name of a file."""
        # what a box shows depends on where the tier ends
        text = repr((_DRAWING, self, None if self.is_whole else self.tier_shape))
        return (
            f"{self.image_id}-{self.view}-{self.downsample}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        )


def rounded_shape(height: int, width: int, downsample: int, rounding: Rounding) -> tuple[int, int]:
    """Return height and width of a tier, rounded in one of the ways that the real service may round (IMG-2)."""
    if rounding == "down":
        return tier_shape(height, width, downsample)
    if rounding == "steps":
        for _ in range(downsample):
            height, width = (height + 1) // 2, (width + 1) // 2
        return height, width
    extra = (1 << downsample) - 1 if rounding == "up" else (1 << downsample) >> 1
    return max(height + extra >> downsample, 1), max(width + extra >> downsample, 1)


def read_picture(
    row: Mapping[str, Any],
    parameters: Mapping[str, str],
    *,
    rounding: Rounding = "down",
    has_last_tier: bool = False,
) -> Picture:
    """Read the parameters of a download.

    Parameters
    ----------
    row : mapping
        The record of the image.
    parameters : mapping
        The query of the address; unknown names are ignored.
    rounding, has_last_tier
        As in :class:`asyncfetch.replica.ServerOptions`.

    Raises
    ------
    SelectionError
        A value is not a number, or a size is not positive.
    NotFoundError
        The box lies beside the image.
    """
    view = read_view(parameters)
    downsample = _number(parameters, "downsample", 0)
    if not 0 <= downsample <= _MAX_TIERS:
        raise SelectionError(f"downsample={downsample} is not between 0 and {_MAX_TIERS}")
    if has_last_tier:
        downsample = min(downsample, last_tier(row["height"], row["width"]))
    left, top = _number(parameters, "left", row["x"]), _number(parameters, "top", row["y"])
    tier_height, tier_width = rounded_shape(row["height"], row["width"], downsample, rounding)
    is_full_resolution = parameters.get("downsample_dimensions", "").lower() == "true"
    shift = downsample if is_full_resolution else 0
    width = _number(parameters, "width", tier_width << shift) >> shift
    height = _number(parameters, "height", tier_height << shift) >> shift
    is_whole = (left, top, width, height) == (row["x"], row["y"], tier_width, tier_height)
    if width < 1 or height < 1:
        raise SelectionError(f"a box of {width} x {height} pixels is not possible")
    quality = min(max(_number(parameters, "quality", DEFAULT_QUALITY), 0), 100)
    values = parameters.get("filterVals", "")
    is_gray_mask = view == "expression" and parameters.get("filter") == "colormap" and values.endswith(",0")
    display = read_display(parameters)
    picture = Picture(
        row["id"],
        view,
        downsample,
        left,
        top,
        width,
        height,
        quality=quality,
        is_gray_mask=is_gray_mask,
        display=display._replace(colormap=None) if is_gray_mask else display,
        tier_shape=(tier_height, tier_width),
        is_whole=is_whole,
    )
    if picture_box(picture, row).is_empty:
        raise NotFoundError(f"the box lies outside image {row['id']}")
    return picture


def picture_box(picture: Picture, row: Mapping[str, Any]) -> Box:
    """Return the pixels of the tier that a picture shows, cut at the borders of the image."""
    left, top = (
        (picture.left - row["x"]) >> picture.downsample,
        (picture.top - row["y"]) >> picture.downsample,
    )
    asked = Box(top, left, top + picture.height, left + picture.width)
    return asked.intersect(Box.of_shape(picture.tier_shape))


class DrawnImages:
    """Pictures as JPEGs, each drawn once at a time, of which the latest are kept.

    Parameters
    ----------
    source : ImageSource
        What draws.
    memory_bytes : int
        Most bytes of finished bodies kept in memory.
    folder : path, optional
        Where JPEGs are kept for the next run; nothing in it is ever removed.
    gzip_level : int
        0 to 9; a JPEG does not get smaller, so that the lowest are enough.
    n_threads : int
        Pictures drawn at once.
    drawing_bytes : int
        What drawing may take in memory; a picture that takes more is drawn when no other is.
    """

    def __init__(
        self,
        source: ImageSource,
        *,
        memory_bytes: int = 2**29,
        folder: str | Path | None = None,
        gzip_level: int = 1,
        n_threads: int = 2,
        drawing_bytes: int = 2**30,
    ) -> None:
        self._source = source
        self._memory_bytes = memory_bytes
        self._folder = None if folder is None else Path(folder)
        self._gzip_level = gzip_level
        self._threads = Threads(n_threads, drawing_bytes)
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._n_kept_bytes = 0
        self._making: dict[str, anyio.Lock] = {}
        self._counting = threading.Lock()
        self._keeping = threading.Lock()
        #: How many pictures were drawn, not counting those found in memory or on disk.
        self.n_drawn = 0

    async def jpeg(self, picture: Picture) -> bytes:
        """Return the JPEG of a picture.

        Raises
        ------
        NotFoundError
            The image does not exist.
        """
        size_bytes = self._drawing_bytes(picture)
        return await self._kept_or_made(picture.key, size_bytes, lambda: self._load_or_draw(picture))

    async def gzipped(self, picture: Picture) -> bytes:
        """Return the JPEG of a picture as a gzip stream, as the service sends it.

        Raises
        ------
        NotFoundError
            The image does not exist.
        """
        body = await self.jpeg(picture)
        return await self._kept_or_made(f"{picture.key}.gz", len(body), lambda: self._compress(body))

    async def compress(self, body: bytes) -> bytes:
        """Return a body as a gzip stream."""
        return await self._threads.run(len(body), self._compress, body)

    def _compress(self, body: bytes) -> bytes:
        return zlib.compress(body, self._gzip_level, wbits=31)

    async def _kept_or_made(self, key: str, size_bytes: int, make: Callable[[], bytes]) -> bytes:
        if (body := self._find(key)) is not None:
            return body
        # Whoever comes second waits for the first instead of drawing the same picture again.
        lock = self._making.setdefault(key, anyio.Lock())
        try:
            async with lock:
                if (body := self._find(key)) is not None:
                    return body
                return await self._threads.run(size_bytes, self._make_and_keep, key, make)
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _make_and_keep(self, key: str, make: Callable[[], bytes]) -> bytes:
        """Make a body and keep it, on a thread: also for a client that has gone, who may well ask again."""
        if (body := self._find(key)) is None:
            body = make()
            self._keep(key, body)
        return body

    def _find(self, key: str) -> bytes | None:
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            return None

    def _keep(self, key: str, body: bytes) -> None:
        with self._keeping:
            self._n_kept_bytes += len(body) - len(self._kept.pop(key, b""))
            self._kept[key] = body
            while self._n_kept_bytes > self._memory_bytes and self._kept:
                _, dropped = self._kept.popitem(last=False)
                self._n_kept_bytes -= len(dropped)

    def _drawing_bytes(self, picture: Picture) -> int:
        """Return about what drawing a picture takes."""
        row = self._source.image_row(picture.image_id)
        if row is None:
            return 0
        n_source = self._source.n_source_pixels(picture.image_id, picture.view)
        is_plain = picture.display == _PLAIN and picture.view in {"image", "expression"}
        is_in_blocks = picture.view in _DRAWN_IN_BLOCKS and picture.display.annotation is None
        per_pixel = (
            _PLAIN_BYTES_PER_PIXEL
            if is_plain
            else _SHOWN_BYTES_PER_PIXEL
            if is_in_blocks
            else _WHOLE_BYTES_PER_PIXEL
        )
        return 3 * n_source + per_pixel * math.prod(picture_box(picture, row).shape)

    def _load_or_draw(self, picture: Picture) -> bytes:
        if self._folder is None:
            return self._draw(picture)
        path = self._folder / f"{picture.key}.jpg"
        if path.exists():
            return path.read_bytes()
        body = self._draw(picture)
        self._folder.mkdir(parents=True, exist_ok=True)
        # Renaming is atomic: a killed process leaves no half JPEG under the final name.
        partial = path.with_suffix(f".partial{id(body)}")
        partial.write_bytes(body)
        partial.replace(path)
        return body

    def _draw(self, picture: Picture) -> bytes:
        row = self._source.image_row(picture.image_id)
        if row is None:
            raise NotFoundError(f"there is no image {picture.image_id}")
        if (kept := self._source.stored(picture)) is not None:
            return kept
        box = picture_box(picture, row)
        view = "expression_level" if picture.is_gray_mask else picture.view
        pixels = self._source.draw(picture.image_id, downsample=picture.downsample, box=box, view=view)
        levels = self._source.image_levels(picture.image_id) if view == "image" else None
        if picture.display != _PLAIN:
            # each pixel by itself, so that bands of rows give the same as the whole
            bands = (pixels[k : k + _ROWS_PER_LOOK] for k in range(0, len(pixels), _ROWS_PER_LOOK))
            shown = [apply_display(band, picture.display, levels or PLAIN_LEVELS) for band in bands]
            pixels = np.concatenate(shown)
        if picture.display.annotation is not None:
            pixels = self._annotated(pixels, picture, box, picture.display.annotation)
        with self._counting:
            self.n_drawn += 1
        return jpeg.encode(pixels, quality=picture.quality)

    def _annotated(
        self, pixels: NDArray[np.uint8], picture: Picture, box: Box, atlas_id: int
    ) -> NDArray[np.uint8]:
        lines = self._source.outlines(
            picture.image_id, downsample=picture.downsample, box=box, atlas_id=atlas_id
        )
        if lines is None:
            return pixels
        annotated = pixels.copy()
        annotated[lines] = _OUTLINE_COLOURS[atlas_id % len(_OUTLINE_COLOURS)]
        return annotated


def read_view(parameters: Mapping[str, str]) -> str:
    """Return the view that parameters name, in either spelling; ``image`` where they name none."""
    named = parameters.get("view") or "image"
    if named == "image":
        older = [name for name in VIEWS if parameters.get(name, "").lower() == "true"]
        named = older[0] if older else "image"
    return named


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None or not text.strip():
        return default
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        raise SelectionError(f"{name}={text!r} is not a number") from None
