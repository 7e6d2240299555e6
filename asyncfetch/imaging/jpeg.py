"""JPEG in and out: a header read without decoding, and a decode that is whole or an error.

What a decoder does with the bytes is bounded before it sees them, because a thread in native code cannot be stopped:
the pixels, by what the record or the commit says and by how little a block can take; the scans, each of which may pass
over all blocks again; and the memory, which the header tells.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import simplejpeg

from asyncfetch.errors import CorruptImageError, ImageSizeError, NotAnImageError, SelectionError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Buffer

    from numpy.typing import NDArray

__all__ = ["JpegHeader", "decode", "encode", "read_header"]

_START = b"\xff\xd8"
# In coded pixels 0xFF is followed by 0x00 or a restart marker, so that these two cannot stand in them.
_SCAN = b"\xff\xda"
_END = b"\xff\xd9"
_N_BEGINNING_BYTES = 200
# Markers that stand alone, without a length: TEM and RST0 … RST7 (ITU-T T.81, table B.1).
_LONE_MARKERS = {0x01, *range(0xD0, 0xD8)}
# SOF0 … SOF15 without DHT, JPG and DAC, which share the range.
_FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Those whose pixels come in several scans: progressive and hierarchical.
_MANY_SCAN_MARKERS = {0xC2, 0xC5, 0xC6, 0xC7, 0xCA, 0xCD, 0xCE, 0xCF}
_END_OR_SCAN = {0xD9, 0xDA}
# Segments and fill bytes before the pixels: a colour profile of 16 MB takes 256.
_MAX_SEGMENTS = 4096
# A Huffman-coded block of 64 pixels takes one bit for its DC coefficient at least, so no whole JPEG holds
# more than 512 pixels a byte; twice that leaves no doubt.
_MAX_PIXELS_PER_BYTE = 1024
# Below this the bytes are taken for pixels unseen; where there are fewer, only those between the first scan and the end
# count. Images of tissue have 6 to 20 pixels a byte, empty ones 64.
_USUAL_PIXELS_PER_BYTE = 64
# The largest known images have 900 megapixels.
_MAX_PIXELS = 2**30
# Encoders write 10 scans, and every one takes up to 70 ns for each block of 64 pixels: 64 of 44 megapixels take 3 s.
_MAX_SCANS = 64
_COEFFICIENTS_PER_BLOCK = 64
_BYTES_PER_COEFFICIENT = 2
_MAX_REDUCTIONS = 3


class JpegHeader(NamedTuple):
    """What the header of a JPEG says.

    Attributes
    ----------
    height, width : int
        In pixels.
    n_components : int
        1 for grey, 3 for colour.
    coefficient_bytes : int
        What a decoder keeps of all blocks until the last scan, as a progressive JPEG needs it; 0 where the pixels come
        in one scan.
    """

    height: int
    width: int
    n_components: int
    coefficient_bytes: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def working_bytes(self, reduce: int = 0) -> int:
        """Return the bytes that decoding takes: the pixels, halved so many times, and the coefficients."""
        height, width = (-(-side >> reduce) for side in self.shape)
        return 3 * height * width + self.coefficient_bytes


def read_header(data: Buffer) -> JpegHeader:
    """Read the frame header of a JPEG; nothing is decoded and nothing is allocated by what it claims.

    Parameters
    ----------
    data : bytes-like
        The JPEG, or as much of its beginning as holds the frame header.

    Raises
    ------
    NotAnImageError
        The data are not a JPEG; ``beginning`` holds what they begin with.
    CorruptImageError
        The data begin as a JPEG but have no frame header with a size.
    """
    return _read(_begun(data))[0]


def _begun(data: Buffer) -> memoryview:
    """Return the bytes of what begins as a JPEG."""
    view = memoryview(data).cast("B")
    if view[:2] != _START:
        beginning = bytes(view[:_N_BEGINNING_BYTES])
        shown = beginning[:40].decode("latin-1").strip() or "nothing"
        raise NotAnImageError(f"the body is not a JPEG; it begins with {shown!r}", beginning=beginning)
    return view


def _read(view: memoryview) -> tuple[JpegHeader, int]:
    """Return what the frame header says, and where the pixels begin: at the end where the data end before."""
    position, frame_at, many_scans, n_bytes = 2, 0, False, len(view)
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > n_bytes:
            position = n_bytes
            break
        marker = view[position + 1]
        if view[position] != 0xFF or marker == 0:
            raise CorruptImageError(f"byte {position} of the JPEG's header is not a marker")
        if marker == 0xFF:
            position += 1
        elif marker in _LONE_MARKERS:
            position += 2
        elif marker in _END_OR_SCAN:
            if not frame_at:
                raise CorruptImageError("the JPEG has no frame header before its pixels")
            # what is sequential may still bring its components one after the other
            many_scans = many_scans or (frame_at + 9 < n_bytes and view[position + 4] < view[frame_at + 9])
            break
        else:
            if marker in _FRAME_MARKERS:
                frame_at, many_scans = position, marker in _MANY_SCAN_MARKERS
            position += 2 + (view[position + 2] << 8 | view[position + 3])
    else:
        raise CorruptImageError(f"the JPEG has more than {_MAX_SEGMENTS} segments before its pixels")
    if not frame_at:
        raise CorruptImageError(f"the JPEG ends within its header, after {counted(n_bytes, 'byte')}")
    return _read_frame(view, frame_at + 4, has_coefficients=many_scans), position


def decode(
    data: Buffer,
    *,
    reduce: int = 0,
    buffer: NDArray[np.uint8] | None = None,
    shape: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
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
    shape : (height, width), optional
        What the JPEG must be, as its record or its commit says; without it, one of up to 2^30 pixels is decoded.

    Returns
    -------
    (y, x, 3) array of uint8

    Raises
    ------
    NotAnImageError
        The data are not a JPEG.
    ImageSizeError
        The JPEG has another shape.
    CorruptImageError
        The data do not decode to their end, or decoding them would take more than their pixels are worth.
    SelectionError
        ``reduce`` is out of range, or the buffer too small.
    """
    if not 0 <= reduce <= _MAX_REDUCTIONS:
        raise SelectionError(f"reduce must be 0 to {_MAX_REDUCTIONS}, not {reduce}")
    view = _begun(data)
    n_bytes = len(view)
    header, scan_at = _read(view)
    _check_work(header, view, scan_at, shape)
    height, width = (-(-side >> reduce) for side in header.shape)
    if buffer is not None and buffer.nbytes < height * width * 3:
        raise SelectionError(
            f"{height} x {width} pixels need {height * width * 3} bytes, not {buffer.nbytes}"
        )
    if buffer is None:
        # what is allocated is decided here, and not by another reading of the header
        buffer = np.empty(height * width * 3, dtype=np.uint8)
    try:
        # libjpeg takes the smallest scale that reaches the least size and is no smaller than 1 / min_factor:
        # asking for exactly the reduced size names one scale.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_height=height, min_width=width, min_factor=2**reduce, buffer=buffer, strict=True
        )
    except ValueError as error:
        raise CorruptImageError(f"the JPEG of {counted(n_bytes, 'byte')} does not decode: {error}") from error
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


def _check_work(header: JpegHeader, view: memoryview, scan_at: int, shape: tuple[int, int] | None) -> None:
    """Refuse what would keep a thread or take memory out of proportion."""
    height, width = header.shape
    n_pixels = height * width
    if shape is not None and header.shape != tuple(shape):
        raise ImageSizeError(
            f"the JPEG is {height} x {width} pixels high and wide, not {shape[0]} x {shape[1]}",
            expected=shape,
            actual=header.shape,
        )
    if header.n_components not in {1, 3}:
        raise CorruptImageError(f"the JPEG has {header.n_components} components, not 1 or 3")
    if n_pixels > _MAX_PIXELS:
        raise CorruptImageError(
            f"the JPEG claims {height} x {width} pixels; no more than {_MAX_PIXELS} are decoded"
        )
    n_bytes = len(view) - scan_at
    if n_pixels <= _USUAL_PIXELS_PER_BYTE * n_bytes and not header.coefficient_bytes:
        return
    scans = bytes(view[scan_at:])
    if (end := scans.find(_END)) >= 0:
        scans = scans[:end]
    if n_pixels > _MAX_PIXELS_PER_BYTE * len(scans):
        raise CorruptImageError(
            f"{counted(len(scans), 'byte')} cannot hold the {height} x {width} pixels that the JPEG claims"
        )
    # A sequential JPEG in one scan has no second one for libjpeg; a comment between others may count as one.
    if header.coefficient_bytes and (n_scans := scans.count(_SCAN)) > _MAX_SCANS:
        raise CorruptImageError(f"the JPEG has {n_scans} scans; no more than {_MAX_SCANS} are decoded")


def _read_frame(view: memoryview, position: int, *, has_coefficients: bool) -> JpegHeader:
    """Read precision, height, width and the components with their sampling (ITU-T T.81, B.2.2)."""
    if position + 6 > len(view):
        raise CorruptImageError("the JPEG ends within its frame header")
    height = view[position + 1] << 8 | view[position + 2]
    width = view[position + 3] << 8 | view[position + 4]
    n_components = view[position + 5]
    if height == 0 or width == 0:
        raise CorruptImageError(f"the JPEG claims a size of {height} x {width} pixels")
    n_bytes = 0
    if has_coefficients:
        n_bytes = _coefficient_bytes(
            height, width, bytes(view[position + 7 : position + 6 + 3 * n_components : 3])
        )
    return JpegHeader(height, width, n_components, n_bytes)


def _coefficient_bytes(height: int, width: int, sampling: bytes) -> int:
    """Return what the coefficients of all blocks take; each component has blocks for whole units of the scan (A.2)."""
    factors = [(each >> 4, each & 15) for each in sampling]
    max_x, max_y = (max((each[k] for each in factors), default=1) or 1 for k in (0, 1))
    n_units = ceil(width / (8 * max_x)) * ceil(height / (8 * max_y))
    n_blocks = n_units * sum(x * y for x, y in factors)
    return n_blocks * _COEFFICIENTS_PER_BLOCK * _BYTES_PER_COEFFICIENT
