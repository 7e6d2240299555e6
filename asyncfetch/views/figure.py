"""Figures made of labelled panels, drawn with Pillow and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

__all__ = ["Panel", "draw_figure", "save_figure"]

_GAP = 12
_TEXT = 16
_INK = (34, 34, 40)
_PAPER = (255, 255, 255)


class Panel(NamedTuple):
    """One picture and the line above it.

    Attributes
    ----------
    label : str
        What the panel shows.
    pixels : (y, x, 3) array of uint8
        The picture.
    """

    label: str
    pixels: npt.NDArray[np.uint8]


def draw_figure(title: str, rows: Sequence[Sequence[Panel]]) -> Image.Image:
    """Lay panels out in rows below a title, each column as wide as its widest panel.

    Parameters
    ----------
    title : str
        The line at the top.
    rows : sequence of sequences of Panel
        The panels, row by row; rows may differ in length.
    """
    font = ImageFont.load_default(_TEXT)
    n_columns = max(len(row) for row in rows)
    widths = [max(_width(row[k], font) for row in rows if k < len(row)) for k in range(n_columns)]
    heights = [max(panel.pixels.shape[0] for panel in row) + _TEXT + _GAP for row in rows]
    size = (sum(widths) + _GAP * (n_columns + 1), sum(heights) + _GAP * (len(rows) + 1) + 2 * _TEXT)
    figure = Image.new("RGB", (max(size[0], int(font.getlength(title)) + 2 * _GAP), size[1]), _PAPER)
    pen = ImageDraw.Draw(figure)
    pen.text((_GAP, _GAP), title, fill=_INK, font=font)
    top = _GAP + 2 * _TEXT
    for row, height in zip(rows, heights, strict=True):
        left = _GAP
        for panel, width in zip(row, widths, strict=False):
            pen.text((left, top), panel.label, fill=_INK, font=font)
            figure.paste(Image.fromarray(np.ascontiguousarray(panel.pixels)), (left, top + _TEXT + _GAP // 2))
            left += width + _GAP
        top += height + _GAP
    return figure


def save_figure(path: Path, title: str, rows: Sequence[Sequence[Panel]]) -> None:
    """Draw a figure and write it as a PNG."""
    draw_figure(title, rows).save(path, format="PNG", optimize=True)


def _width(panel: Panel, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return max(int(panel.pixels.shape[1]), int(font.getlength(panel.label)) + 1)
