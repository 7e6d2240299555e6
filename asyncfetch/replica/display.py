"""How the values of a picture are shown: windows, gains, contrast and colour maps, applied in this order.

Documented by the API are the names, the number of values and their bounds alone (IMG-1). The arithmetic is chosen
here, simple enough to be checked by hand, for a channel value v of 0..255:

* ``range=l,u,l,u,l,u``: a source level s becomes 255 · (s - l) / (u - l), cut to 0..255. The source level of a drawn
  value v is L + v · (U - L) / 255, where L and U are the levels of the data set's Equalization, or 0 and 255.
* ``rgb=r,g,b``: each channel times its gain.
* ``contrast=gain,bias``: gain · v + 255 · bias.
* ``colormap=0.5,threshold,0,256,id``: the luminosity between 0 and 1 becomes a colour of the map; what is not above
  the threshold becomes black. ``filter=colormap&filterVals=threshold,1,0,256,id`` is the same.

A value that is not a number, and a list of another length, is a bad request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from asyncfetch.allen import COLORMAPS
from asyncfetch.errors import SelectionError
from asyncfetch.imaging.jet import jet, luminosity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["PLAIN_LEVELS", "Display", "apply_display", "colour", "read_display"]

#: The window of images whose data set has no Equalization.
PLAIN_LEVELS = (0, 255, 0, 255, 0, 255)

type Shares = tuple[float, ...]


class Display(NamedTuple):
    """How a picture is to be shown; None leaves a step out.

    Attributes
    ----------
    levels : tuple of int or None
        ``range``: lower and upper of red, green and blue.
    gains : tuple of float or None
        ``rgb``.
    contrast : tuple of float or None
        Gain and bias.
    colormap : tuple of float or None
        The five numbers of ``colormap``.
    annotation : int or None
        The atlas whose outlines are drawn on top; 0 for any.
    """

    levels: tuple[int, ...] | None = None
    gains: Shares | None = None
    contrast: Shares | None = None
    colormap: Shares | None = None
    annotation: int | None = None

    def parameters(self) -> dict[str, str]:
        """Return the display as parameters of an address, from which `read_display` makes it again."""
        named = {
            "range": self.levels,
            "rgb": self.gains,
            "contrast": self.contrast,
            "colormap": self.colormap,
        }
        found = {
            name: ",".join(f"{value:g}" for value in values)
            for name, values in named.items()
            if values is not None
        }
        if self.annotation is not None:
            found["annotation"] = "true"
            if self.annotation:
                found["atlas"] = str(self.annotation)
        return found


def read_display(parameters: Mapping[str, str]) -> Display:
    """Read the parameters that say how a picture is to be shown.

    Raises
    ------
    SelectionError
        A value is not a number, a list has another length, or a colour map is unknown.
    """
    levels = _numbers(parameters, "range", 6)
    gains = _numbers(parameters, "rgb", 3)
    contrast = _numbers(parameters, "contrast", 2)
    colormap = _numbers(parameters, "colormap", 5)
    if parameters.get("filter") == "colormap" and colormap is None:
        values = _numbers(parameters, "filterVals", 5)
        colormap = None if values is None else (0.5, values[0], *values[2:])
    if colormap is not None and colormap[4] not in COLORMAPS.values():
        raise SelectionError(f"there is no colour map {colormap[4]:g}")
    annotation = None
    if parameters.get("annotation", "").lower() == "true":
        atlas = _numbers(parameters, "atlas", 1) or (0.0,)
        annotation = int(atlas[0])
    return Display(None if levels is None else tuple(map(int, levels)), gains, contrast, colormap, annotation)


def apply_display(
    pixels: NDArray[np.uint8], display: Display, drawn_levels: tuple[int, ...] = PLAIN_LEVELS
) -> NDArray[np.uint8]:
    """Return pixels as they are to be shown; outlines are not drawn here.

    Parameters
    ----------
    pixels : (h, w, c) array of uint8
        As drawn.
    display : Display
        What to do.
    drawn_levels : tuple of int
        The source levels that 0 and 255 of each channel stand for.

    Returns
    -------
    (h, w, c) array of uint8
        With 3 channels where a colour map was applied.
    """
    if display.levels is not None:
        pixels = _through(
            pixels, [_windowed(display.levels, drawn_levels, k) for k in range(pixels.shape[2])]
        )
    if display.gains is not None:
        ramp = np.arange(256, dtype=np.float64)
        pixels = _through(pixels, [ramp * display.gains[k % 3] for k in range(pixels.shape[2])])
    if display.contrast is not None:
        gain, bias = display.contrast
        pixels = _through(pixels, [np.arange(256, dtype=np.float64) * gain + 255 * bias] * pixels.shape[2])
    if display.colormap is not None:
        pixels = colour(luminosity(pixels), int(display.colormap[4]), threshold=_threshold(display.colormap))
    return pixels


def colour(level: NDArray[np.uint8], colormap: int, *, threshold: float = 0.0) -> NDArray[np.uint8]:
    """Return the colours of levels by a colour map's number, black where not above the threshold.

    Parameters
    ----------
    level : (h, w) array of uint8
    colormap : int
        One of ``COLORMAPS``.
    threshold : float
        Between 0 and 1.

    Returns
    -------
    (h, w, 3) array of uint8
    """
    ramp = np.linspace(0.0, 1.0, 256, dtype=np.float32)
    names = {number: name for name, number in COLORMAPS.items()}
    table: NDArray[np.uint8] = _ramp(names[colormap], ramp)
    table[ramp <= threshold] = 0
    return np.asarray(table[level])


def _ramp(name: str, t: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the 256 colours of a map; those without a common meaning are two-coloured ramps."""
    zero = np.zeros_like(t)
    if name in {"jet", "expression", "aba", "colormap"}:
        return jet(t)
    channels = {
        "hotmetal": (3 * t, 3 * t - 1, 3 * t - 2),
        "redtemp": (1.5 * t, 2 * t - 1, 2 * t - 1),
        "red": (t, zero, zero),
        "green": (zero, t, zero),
        "blue": (zero, zero, t),
        "aibsmap_alt": (t, 1 - np.abs(2 * t - 1), 1 - t),
        "projection": (2 * t - 1, t, 0.25 * t),
    }.get(name, (t, t, t))
    shares = np.clip(np.stack(channels, axis=-1), 0.0, 1.0)
    return np.asarray(np.rint(255 * shares), dtype=np.uint8)


def _windowed(levels: tuple[int, ...], drawn: tuple[int, ...], channel: int) -> NDArray[np.float64]:
    k = channel % 3
    lower, upper = levels[2 * k], levels[2 * k + 1]
    source = np.linspace(drawn[2 * k], drawn[2 * k + 1], 256)
    return np.asarray(255.0 * (source - lower) / max(upper - lower, 1))


def _through(pixels: NDArray[np.uint8], tables: list[NDArray[np.float64]]) -> NDArray[np.uint8]:
    shown = np.empty_like(pixels)
    for k, table in enumerate(tables):
        shown[..., k] = np.rint(np.clip(table, 0, 255)).astype(np.uint8)[pixels[..., k]]
    return shown


def _threshold(colormap: Shares) -> float:
    return min(max(colormap[1], 0.0), 1.0)


def _numbers(parameters: Mapping[str, str], name: str, n: int) -> tuple[float, ...] | None:
    text = parameters.get(name, "").strip()
    if not text:
        return None
    try:
        numbers = tuple(map(float, text.strip("[]").split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) != n or not np.isfinite(numbers).all() or max(map(abs, numbers)) > 2**31:
        raise SelectionError(f"{name}={text!r} does not hold {n} numbers")
    return numbers
