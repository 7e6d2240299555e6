from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
import simplejpeg

from asyncfetch.errors import CorruptImageError, ImageSizeError, NotAnImageError, SelectionError
from asyncfetch.imaging import JpegHeader, decode, encode, read_header


def texture(height, width, n_channels=3):
    y, x = np.mgrid[:height, :width]
    waves = [128 + 80 * np.sin(x / (5 + c)) * np.cos(y / 7) for c in range(n_channels)]
    return np.stack(waves, axis=-1).astype(np.uint8)


def with_size(data, height, width):
    """Return the JPEG with another size in its frame header."""
    changed = bytearray(data)
    place = changed.index(b"\xff\xc0") + 5
    changed[place : place + 4] = height.to_bytes(2) + width.to_bytes(2)
    return bytes(changed)


JPEG = encode(texture(121, 203))


def test_a_header_is_read_without_decoding():
    assert read_header(JPEG) == JpegHeader(121, 203, 3)
    assert read_header(JPEG).shape == (121, 203)
    assert read_header(encode(texture(5, 9, 1))) == JpegHeader(5, 9, 1)
    assert read_header(JPEG[:700]) == read_header(bytearray(JPEG)) == JpegHeader(121, 203, 3)


def test_a_header_may_claim_anything_without_cost():
    assert read_header(with_size(JPEG, 65535, 65535)) == JpegHeader(65535, 65535, 3)


def test_fill_bytes_and_unknown_segments_are_passed_over():
    comment = b"\xff\xfe\x00\x06\xff\xc0\xff\xc0"
    assert read_header(JPEG[:2] + comment + b"\xff\xff" + JPEG[2:]) == JpegHeader(121, 203, 3)


@pytest.mark.parametrize("read", [read_header, decode])
def test_what_is_no_jpeg_shows_how_it_begins(read):
    page = b"<html><body>Site unavailable</body></html>" + b" " * 500
    with pytest.raises(NotAnImageError, match="Site unavailable") as caught:
        read(page)
    assert caught.value.beginning == page[:200]
    with pytest.raises(NotAnImageError, match="nothing"):
        read(b"")


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:2],
        JPEG[:100],
        JPEG[:2] + b"\xff\xd9",
        JPEG[:2] + b"garbage" * 20,
        with_size(JPEG, 0, 203),
        with_size(JPEG, 121, 0),
        JPEG[: JPEG.index(b"\xff\xc0") + 7],
    ],
)
def test_a_header_without_a_size_is_corrupt(data):
    with pytest.raises(CorruptImageError):
        read_header(data)
    with pytest.raises(CorruptImageError):
        decode(data)


def test_decoding_gives_back_the_pixels():
    pixels = texture(121, 203)
    error = decode(encode(pixels, 95, "444")).astype(int) - pixels
    assert np.abs(error).max() < 12
    assert decode(JPEG).shape == (121, 203, 3)
    assert decode(JPEG).dtype == np.uint8


@pytest.mark.parametrize("reduce", range(4))
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.99, -3, -2, -1])
def test_a_jpeg_cut_short_never_decodes(kept, reduce):
    cut = JPEG[: int(kept * len(JPEG))] if kept > 0 else JPEG[:kept]
    with pytest.raises(CorruptImageError):
        decode(cut, reduce=reduce)


def test_a_jpeg_cut_short_and_closed_again_never_decodes():
    large = encode(texture(400, 500))
    # libjpeg itself is content with a warning and fills the rest with grey.
    closed = large[: len(large) // 2] + b"\xff\xd9"
    assert simplejpeg.decode_jpeg(closed, strict=False).shape == (400, 500, 3)
    with pytest.raises(CorruptImageError, match="does not decode"):
        decode(closed)


def test_a_jpeg_overwritten_in_its_middle_never_decodes():
    damaged = bytearray(JPEG)
    middle = len(damaged) // 2
    damaged[middle : middle + 200] = bytes(200)
    with pytest.raises(CorruptImageError):
        decode(damaged)


def test_a_claim_beyond_what_the_bytes_can_hold_is_refused_before_memory_is_taken():
    with pytest.raises(CorruptImageError, match="cannot hold"):
        decode(with_size(JPEG, 30000, 30000))
    with pytest.raises(CorruptImageError, match="no more than 1073741824 are decoded"):
        decode(with_size(JPEG, 65000, 65000))


@pytest.mark.parametrize("place", ["after the end", "before the pixels"])
def test_bytes_that_are_no_pixels_do_not_count_for_what_a_jpeg_can_hold(place):
    padding, claim = bytes(2_000_000), with_size(JPEG, 20000, 20000)
    if place == "after the end":
        padded = claim + padding
    else:
        comments = b"".join(b"\xff\xfe\xff\xff" + padding[:65533] for _ in range(30))
        padded = claim[:2] + comments + claim[2:]
    with pytest.raises(CorruptImageError, match="cannot hold"):
        decode(padded)


def test_no_more_pixels_are_decoded_than_the_record_says():
    assert decode(JPEG, shape=(121, 203)).shape == (121, 203, 3)
    with pytest.raises(ImageSizeError, match="121 x 203 pixels high and wide, not 121 x 200") as caught:
        decode(JPEG, shape=(121, 200))
    assert (caught.value.expected, caught.value.actual) == ((121, 200), (121, 203))


def progressive(side, n_scans):
    """Return a black square as a JPEG of so many scans, none of which libjpeg has anything to say against."""

    def segment(marker, payload):
        return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2) + payload

    def scan(spectrum, bits, data):
        return segment(0xDA, bytes([1, 1, 0, spectrum, spectrum, bits])) + data

    n_blocks = (side // 8) ** 2
    assert n_blocks % 2**14 == 0
    zeros = ("0" * 15) * (
        n_blocks // 2**14
    )  # runs of 2^14 empty blocks: one bit for the code, 14 for the rest
    zeros += "1" * (-len(zeros) % 8)
    empty = int(zeros, 2).to_bytes(len(zeros) // 8).replace(b"\xff", b"\xff\x00")
    refinements = (
        (k, (high + 1) << 4 | high if high < 13 else 13) for k in range(1, 64) for high in range(13, -1, -1)
    )
    return (
        b"\xff\xd8"
        + segment(0xDB, bytes([0] + [1] * 64))
        + segment(0xC2, b"\x08" + side.to_bytes(2) * 2 + b"\x01\x01\x11\x00")
        + segment(0xC4, bytes([0x00, 1] + [0] * 15 + [0x00]))
        + segment(0xC4, bytes([0x10, 1] + [0] * 15 + [0xE0]))
        + scan(0, 0, bytes(n_blocks // 8))
        + b"".join(scan(k, bits, empty) for k, bits in islice(refinements, n_scans - 1))
        + b"\xff\xd9"
    )


def test_a_progressive_jpeg_has_a_bounded_number_of_scans():
    assert decode(progressive(1024, 64)).shape == (1024, 1024, 3)
    assert decode(progressive(1024, 64) + b"\xff\xda" * 100).shape == (1024, 1024, 3)
    with pytest.raises(CorruptImageError, match="800 scans; no more than 64"):
        decode(progressive(1024, 800))


def test_the_header_of_a_progressive_jpeg_tells_the_memory_of_its_coefficients():
    # one component: a coefficient of two bytes for each pixel of its blocks
    assert read_header(progressive(1024, 3)).coefficient_bytes == 2 * 1024 * 1024
    assert read_header(progressive(1024, 3)).working_bytes(3) == 2 * 1024 * 1024 + 3 * 128 * 128
    # 4:2:0: 13 x 8 units of 16 x 16 pixels, of four blocks of brightness and two of colour
    changed = JPEG.replace(b"\xff\xc0", b"\xff\xc2", 1)
    assert read_header(changed).coefficient_bytes == 13 * 8 * 6 * 128
    assert read_header(JPEG).coefficient_bytes == 0


def test_a_sequential_jpeg_whose_components_come_one_after_the_other_keeps_its_coefficients_too():
    start = JPEG.index(b"\xff\xda")
    alone = JPEG[:start] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + JPEG[start + 14 :]
    assert read_header(alone).coefficient_bytes == 13 * 8 * 6 * 128


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xe0\x00\x02"])
def test_a_header_without_end_is_corrupt(filling):
    with pytest.raises(CorruptImageError, match="more than 4096 segments"):
        read_header(b"\xff\xd8" + filling * 10_000)


def test_a_header_is_read_as_libjpeg_reads_it():
    # libjpeg passes over 0xFF 0x00 byte by byte, and so may find another frame than one that trusts a length
    with pytest.raises(CorruptImageError, match="byte 2 of the JPEG's header is not a marker"):
        read_header(JPEG[:2] + b"\xff\x00\x00\x04ab" + JPEG[2:])


@pytest.mark.parametrize("marker", [0xC3, *range(0xC5, 0xC8), *range(0xCA, 0xCC), *range(0xCD, 0xD0)])
def test_codings_that_libjpeg_has_no_use_for_are_corrupt(marker):
    with pytest.raises(CorruptImageError):
        decode(JPEG.replace(b"\xff\xc0", bytes([0xFF, marker]), 1))


def test_an_empty_plane_compresses_no_better_than_the_claim_limit():
    blank = encode(np.full((2048, 2048, 1), 255, dtype=np.uint8), 0)
    assert decode(blank).shape == (2048, 2048, 3)


def test_grey_comes_back_as_three_equal_channels():
    pixels = decode(encode(texture(40, 30, 1)))
    assert pixels.shape == (40, 30, 3)
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("reduce", range(4))
@pytest.mark.parametrize("shape", [(121, 203), (8, 8), (7, 9), (1, 5), (64, 129)])
def test_reduced_sizes_are_rounded_up(shape, reduce):
    pixels = decode(encode(texture(*shape)), reduce=reduce)
    assert pixels.shape == (-(-shape[0] // 2**reduce), -(-shape[1] // 2**reduce), 3)


@pytest.mark.parametrize("subsampling", ["444", "420"])
@pytest.mark.parametrize("reduce", [1, 2, 3])
def test_reduced_decoding_has_the_half_pixel_phase_of_area_averaging(reduce, subsampling):
    side = 2**reduce
    y, x = np.mgrid[:256, :320]
    waves = 128 + 100 * np.sin(x / 30) * np.cos(y / 25)
    pixels = np.repeat(waves[..., None], 3, axis=-1).astype(np.uint8)
    pixels[..., 2] = 255 - pixels[..., 2]
    reduced = decode(encode(pixels, 98, subsampling), reduce=reduce).astype(float)
    averaged = pixels.reshape(256 // side, side, 320 // side, side, 3).mean(axis=(1, 3))
    for channel in range(3):
        for axis in (0, 1):
            gradient = np.gradient(averaged[..., channel], axis=axis)
            difference = reduced[..., channel] - averaged[..., channel]
            shift_px = -(difference * gradient).sum() / (gradient**2).sum() * side
            assert abs(shift_px) < 0.02 * side
    assert np.sqrt(((reduced - averaged) ** 2).mean()) < 1.5


def test_a_reused_buffer_holds_the_pixels():
    buffer = np.zeros(121 * 203 * 3 + 100, dtype=np.uint8)
    pixels = decode(JPEG, buffer=buffer)
    assert np.shares_memory(pixels, buffer)
    assert np.array_equal(pixels, decode(JPEG))
    with pytest.raises(SelectionError, match="bytes"):
        decode(JPEG, buffer=buffer[:1000])


@pytest.mark.parametrize("reduce", [-1, 4])
def test_libjpeg_halves_three_times_at_most(reduce):
    with pytest.raises(SelectionError, match="reduce"):
        decode(JPEG, reduce=reduce)


def test_encoding_takes_pixels_only():
    for pixels in (np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros((4, 4, 2), dtype=np.uint8)):
        with pytest.raises(SelectionError, match="uint8"):
            encode(pixels)
    with pytest.raises(SelectionError, match="quality"):
        encode(texture(8, 8), 101)


def test_encoding_accepts_views():
    pixels = texture(64, 64)
    assert encode(pixels[::2, ::2]) == encode(pixels[::2, ::2].copy())


def test_the_recorded_image_decodes_whole(recorded):
    data = (recorded / "atlas_image_100883869_downsample4.jpg").read_bytes()
    assert decode(data).shape == (*read_header(data).shape, 3)
    with pytest.raises(CorruptImageError):
        decode(data[: len(data) // 2])
