"""JPEG in and out: a header read without decoding, and a decode that is whole or an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import simplejpeg

from asyncfetch.errors import CorruptImageError, NotAnImageError, SelectionError

if TYPE_CHECKING:
    from collections.abc import Buffer

    from numpy.typing import NDArray

__all__ = ["JpegHeader", "decode", "encode", "read_header"]

_START = b"\xff\xd8"
_N_BEGINNING_BYTES = 200
# Markers that stand alone, without a length: TEM and RST0 … RST7 (ITU-T T.81, table B.1).
_LONE_MARKERS = {0x01, *range(0xD0, 0xD8)}
# SOF0 … SOF15 without DHT, JPG and DAC, which share the range.
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_END_OR_SCAN = {0xD9, 0xDA}
# A Huffman-coded block of 64 pixels takes one bit for its DC coefficient at least, so no whole JPEG holds
# more than 512 pixels a byte; twice that leaves no doubt.
_MOST_PIXELS_PER_BYTE = 1024
_MOST_REDUCTIONS = 3


class JpegHeader(NamedTuple):
    """Hold what a frame header says: sizes in pixels, and 1 component for grey or 3 for colour."""

    height: int
    width: int
    n_components: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width


def read_header(data: Buffer) -> JpegHeader:
    """Read the frame header of a JPEG; nothing is decoded and nothing is allocated by what it claims.

    Parameters
    ----------
    data : bytes-like
        The JPEG, or as much of its beginning as holds the frame header.

    Raises
    ------
    NotAnImageError
        The data are no JPEG; ``beginning`` holds what they begin with.
    CorruptImageError
        The data begin as a JPEG but have no frame header with a size.
    """
    view = memoryview(data).cast("B")
    if bytes(view[:2]) != _START:
        beginning = bytes(view[:_N_BEGINNING_BYTES])
        shown = beginning[:40].decode("latin-1").strip() or "nothing"
        raise NotAnImageError(f"the body is no JPEG; it begins with {shown!r}", beginning=beginning)
    position = 2
    while position + 4 <= len(view):
        if view[position] != 0xFF:
            raise CorruptImageError(f"byte {position} of the JPEG's header is no marker")
        marker = view[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in _LONE_MARKERS:
            position += 2
        elif marker in _END_OR_SCAN:
            raise CorruptImageError("the JPEG has no frame header before its pixels")
        elif marker in _FRAME_MARKERS:
            return _read_frame(view[position + 4 : position + 10])
        else:
            position += 2 + int.from_bytes(view[position + 2 : position + 4])
    raise CorruptImageError(f"the JPEG ends within its header, after {len(view)} bytes")


def decode(data: Buffer, *, reduce: int = 0, buffer: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Decode a whole JPEG to RGB, or raise.

    libjpeg only warns of a body that was cut short and fills the rest with grey; here every warning is an
    error, down to a missing end marker.

    Parameters
    ----------
    data : bytes-like
        The JPEG. Grey ones come back with three equal channels.
    reduce : 0, 1, 2 or 3
        Halve that many times while decoding (libjpeg's scaled inverse DCT), which costs half of a full
        decode. The sizes are rounded up; pixel k covers the full pixels k · 2^n … k · 2^n + 2^n - 1, and
        those at the right and lower edge partly lie beyond the image.
    buffer : (n,) array of uint8, optional
        At least as large as the result, which then is a view of it. A reused buffer saves the page faults of
        a new one, and is what lets two threads decode at twice the speed of one.

    Returns
    -------
    (y, x, 3) array of uint8

    Raises
    ------
    NotAnImageError
        The data are no JPEG.
    CorruptImageError
        The data do not decode to their end.
    SelectionError
        ``reduce`` is out of range, or the buffer too small.
    """
    if not 0 <= reduce <= _MOST_REDUCTIONS:
        raise SelectionError(f"reduce must be 0 to {_MOST_REDUCTIONS}, not {reduce}")
    header = read_header(data)
    n_bytes = memoryview(data).nbytes
    if header.n_components not in {1, 3}:
        raise CorruptImageError(f"the JPEG has {header.n_components} components, not 1 or 3")
    if header.height * header.width > _MOST_PIXELS_PER_BYTE * n_bytes:
        raise CorruptImageError(
            f"{n_bytes} bytes cannot hold the {header.height} x {header.width} pixels that the JPEG claims"
        )
    height, width = (-(-side >> reduce) for side in header.shape)
    if buffer is not None and buffer.nbytes < height * width * 3:
        raise SelectionError(
            f"{height} x {width} pixels need {height * width * 3} bytes, not {buffer.nbytes}"
        )
    try:
        # libjpeg takes the smallest scale that reaches the least size and is no smaller than 1 / min_factor:
        # asking for exactly the reduced size names one scale.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, min_factor=2**reduce, buffer=buffer, strict=True
        )
    except ValueError as error:
        raise CorruptImageError(f"the JPEG of {n_bytes} bytes does not decode: {error}") from error
    if pixels.shape != (height, width, 3):
        raise CorruptImageError(f"the JPEG decoded to {pixels.shape}, not {(height, width, 3)}")
    return pixels


def encode(
    pixels: NDArray[np.uint8],
    quality: int = 85,
    subsampling: Literal["444", "422", "420", "440", "411"] = "420",
) -> bytes:
    """Encode pixels as a baseline JPEG.

    Parameters
    ----------
    pixels : (y, x, 3) or (y, x, 1) array of uint8
        RGB, or grey.
    quality : int
        0 to 100. The server's own JPEGs are near 85, with 4:2:0 (IMG-5).
    subsampling : str
        How colour is thinned out; grey has none.

    Raises
    ------
    SelectionError
        The pixels have another shape or type, or the quality is out of range.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in {1, 3} or 0 in pixels.shape:
        raise SelectionError(
            f"pixels must be (y, x, 3) or (y, x, 1) uint8, not {pixels.shape} {pixels.dtype}"
        )
    if not 0 <= quality <= 100:
        raise SelectionError(f"quality must be 0 to 100, not {quality}")
    is_grey = pixels.shape[2] == 1
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels),
            quality=quality,
            colorspace="GRAY" if is_grey else "RGB",
            colorsubsampling="Gray" if is_grey else subsampling,
        )
    )


def _read_frame(frame: memoryview) -> JpegHeader:
    """Read precision, height, width and the number of components (ITU-T T.81, B.2.2)."""
    if len(frame) < 6:
        raise CorruptImageError("the JPEG ends within its frame header")
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    if height == 0 or width == 0:
        raise CorruptImageError(f"the JPEG claims a size of {height} x {width} pixels")
    return JpegHeader(height, width, frame[5])
