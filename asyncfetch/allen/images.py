"""Requests for images, with the rules of every parameter (allen-api.md, IMG-1 to IMG-7). Pure.

Not known, and left to the server: what it sends beyond the last tier, and for a box that reaches out of the image;
what left and top of a box become on a tier whose pixels they do not begin; what a view means for an atlas image; how
``downsample_dimensions`` changes width and height. ``image_download`` is not documented to draw annotations, and
parameters that a service does not know are ignored, so that those of atlas images are refused for other kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import tier_shape

if TYPE_CHECKING:
    from asyncfetch.allen.records import SectionImage

__all__ = ["COLORMAPS", "VIEWS", "ImageOptions", "ImageRequest"]

#: Colour maps of the service, by name (ImageDownloadApi.COLORMAPS).
COLORMAPS = {
    "gray": 0,
    "hotmetal": 1,
    "jet": 2,
    "redtemp": 3,
    "expression": 4,
    "red": 5,
    "blue": 6,
    "green": 7,
    "aba": 8,
    "aibsmap_alt": 9,
    "colormap": 10,
    "projection": 11,
}

Kind = Literal["image", "section", "atlas", "projection"]

VIEWS = ("expression", "projection", "tumor_feature_annotation", "tumor_feature_boundary")

_ENDPOINTS = {
    "image": "image_download",
    "section": "section_image_download",
    "atlas": "atlas_image_download",
    "projection": "projection_image_download",
}
#: The channels are windowed between grey levels up to this one: connectivity images have 12 bits.
_MAX_GREY_LEVEL = 4095
_SENT = (
    "downsample",
    "quality",
    "left",
    "top",
    "width",
    "height",
    "downsample_dimensions",
    "view",
    "range",
    "rgb",
    "contrast",
    "colormap",
    "annotation",
    "atlas",
)


class ImageOptions(TypedDict, total=False):
    """What can be asked for beside the id of an image: the fields of `ImageRequest`."""

    kind: Kind
    downsample: int | None
    quality: int | None
    left: int | None
    top: int | None
    width: int | None
    height: int | None
    downsample_dimensions: bool | None
    view: str | None
    range: tuple[int, ...] | None
    rgb: tuple[float, ...] | None
    contrast: tuple[float, ...] | None
    colormap: tuple[float, str | int] | None
    annotation: bool | None
    atlas: int | None


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an image, a tier of it, or a box of a tier.

    Attributes
    ----------
    image_id : int
        SubImage.id.
    kind : "image", "section", "atlas" or "projection"
        The service that is asked; ``image`` serves sections, too.
    downsample : int, optional
        How many times the image is halved.
    quality : int, optional
        JPEG quality from 0 to 100; about 85 where none is asked for.
    left, top : int, optional
        Corner of a box, in full-resolution pixels of the slide scan; where left out, the section's own x and y.
    width, height : int, optional
        Size of the box, in pixels of the tier asked for.
    downsample_dimensions : bool, optional
        Whether the service is to adjust width and height to the tier.
    view : str, optional
        One of `VIEWS` instead of the image itself.
    range : sequence of int, optional
        Six grey levels from 0 to 4095, lower and upper for red, green and blue.
    rgb : sequence of float, optional
        Three gains from 0 to 1.
    contrast : sequence of float, optional
        Gain and bias from 0 to 1.
    colormap : (float, str or int), optional
        Lower threshold from 0 to 1, and the name or id of a colour map of `COLORMAPS`.
    annotation : bool, optional
        Whether to draw the annotations of an atlas image; for kind ``atlas`` alone.
    atlas : int, optional
        Atlas.id whose annotations are meant; for kind ``atlas`` alone.

    Raises
    ------
    SelectionError
        A parameter breaks its rule; the message names it and its value.
    """

    image_id: int
    kind: Kind = "image"
    downsample: int | None = None
    quality: int | None = None
    left: int | None = None
    top: int | None = None
    width: int | None = None
    height: int | None = None
    downsample_dimensions: bool | None = None
    view: str | None = None
    range: tuple[int, ...] | None = None
    rgb: tuple[float, ...] | None = None
    contrast: tuple[float, ...] | None = None
    colormap: tuple[float, str | int] | None = None
    annotation: bool | None = None
    atlas: int | None = None

    def __post_init__(self) -> None:
        for name in ("range", "rgb", "contrast", "colormap"):
            value = getattr(self, name)
            if isinstance(value, list):
                msgspec.structs.force_setattr(self, name, tuple(value))
        self._require("image_id", _is_integer(self.image_id) and self.image_id >= 0, "an id, 0 or greater")
        self._require(
            "kind", isinstance(self.kind, str) and self.kind in _ENDPOINTS, f"one of {', '.join(_ENDPOINTS)}"
        )
        for name in ("downsample", "left", "top"):
            self._check_integer(name, 0)
        for name in ("width", "height"):
            self._check_integer(name, 1)
        self._check_integer("quality", 0, 100)
        self._require("view", self.view is None or self.view in VIEWS, f"one of {', '.join(VIEWS)}")
        self._check_range()
        self._check_shares("rgb", 3)
        self._check_shares("contrast", 2)
        self._check_colormap()
        self._check_integer("atlas", 0)
        for name in ("downsample_dimensions", "annotation"):
            self._require(name, isinstance(getattr(self, name), bool | None), "True or False")
        for name in ("annotation", "atlas"):
            is_fit = getattr(self, name) is None or self.kind == "atlas"
            self._require(name, is_fit, f"left out for kind {self.kind!r}: only kind 'atlas' knows it")

    @property
    def is_box(self) -> bool:
        """Whether a part of the image is asked for."""
        return any(value is not None for value in (self.left, self.top, self.width, self.height))

    def url(self, base_url: str) -> str:
        """Return the address of the image; what is not set is left out."""
        pairs = [(name, getattr(self, name)) for name in _SENT]
        query = "&".join(f"{name}={self._sent(name, value)}" for name, value in pairs if value is not None)
        path = f"{base_url.rstrip('/')}/api/v2/{_ENDPOINTS[self.kind]}/{self.image_id}"
        return f"{path}?{query}" if query else path

    def expected_shape(self, section: SectionImage) -> tuple[int, int] | None:
        """Return height and width, in pixels, that the image must have.

        Parameters
        ----------
        section : SectionImage
            The record of the image that is asked for.

        Returns
        -------
        tuple of int, or None
            For a whole image the size of its tier, rounded down; for a box the size asked for. None where the
            service's rule is not known: a tier beyond the last, a box that leaves the section or gives one of
            width and height alone, and a box with ``downsample_dimensions``.
        """
        downsample = self.downsample or 0
        if section.tier_count is not None and downsample >= max(section.tier_count, 1):
            return None
        if not self.is_box:
            return tier_shape(*section.shape, downsample)
        if self.width is None or self.height is None or self.downsample_dimensions is not None:
            return None
        x, y = section.x or 0, section.y or 0
        left = x if self.left is None else self.left
        top = y if self.top is None else self.top
        is_within = x <= left <= x + section.width - (
            self.width << downsample
        ) and y <= top <= y + section.height - (self.height << downsample)
        return (self.height, self.width) if is_within else None

    def _sent(self, name: str, value: object) -> str:
        if name == "colormap" and self.colormap is not None:
            threshold, colormap = self.colormap
            number = COLORMAPS[colormap] if isinstance(colormap, str) else colormap
            return f"0.5,{threshold},0,256,{number}"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, tuple):
            return ",".join(str(each) for each in value)
        return str(value)

    def _require(self, name: str, holds: bool, rule: str) -> None:
        if not holds:
            raise SelectionError(f"image {self.image_id}: {name} = {getattr(self, name)!r} must be {rule}")

    def _check_integer(self, name: str, least: int, most: int | None = None) -> None:
        value = getattr(self, name)
        if value is None:
            return
        rule = f"an integer of at least {least}" + ("" if most is None else f" and at most {most}")
        self._require(name, _is_integer(value) and value >= least and (most is None or value <= most), rule)

    def _check_range(self) -> None:
        bounds = self.range
        if bounds is None:
            return
        holds = _is_row_of(bounds, 6) and all(map(_is_integer, bounds))
        holds = holds and all(
            0 <= low <= high <= _MAX_GREY_LEVEL for low, high in zip(bounds[::2], bounds[1::2], strict=True)
        )
        self._require(
            "range", holds, f"six integers, lower and upper of each channel, from 0 to {_MAX_GREY_LEVEL}"
        )

    def _check_shares(self, name: str, n: int) -> None:
        values = getattr(self, name)
        holds = values is None or (_is_row_of(values, n) and all(map(_is_share, values)))
        self._require(name, holds, f"{n} numbers from 0 to 1")

    def _check_colormap(self) -> None:
        if self.colormap is None:
            return
        holds = (
            _is_row_of(self.colormap, 2) and _is_share(self.colormap[0]) and _is_colormap(self.colormap[1])
        )
        self._require("colormap", holds, f"a threshold from 0 to 1 and one of {', '.join(COLORMAPS)}")


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_row_of(values: Any, n: int) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and len(values) == n


def _is_colormap(colormap: Any) -> bool:
    """Tell a colour map of the service, by its name or its id."""
    if isinstance(colormap, str):
        return colormap in COLORMAPS
    return _is_integer(colormap) and colormap in COLORMAPS.values()
