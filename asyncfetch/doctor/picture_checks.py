"""The assumptions about images and synchronization."""

from __future__ import annotations

import io
import math
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from asyncfetch.doctor.answers import DiffersError, UnaskedError
from asyncfetch.doctor.judging import Check, require
from asyncfetch.doctor.questions import DATA_SET_ID, IMAGE_ID, NEIGHBOUR_ID, POINT, REFERENCE_POINT
from asyncfetch.errors import AlignmentError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.doctor.answers import Answers

__all__ = ["PICTURE_CHECKS"]

# The quantizer of the mean brightness: 5 at quality 85, 3 at 90, 8 at 75.
_DC_QUANTIZERS = range(4, 8)
_BYTES_PER_PIXEL = 0.5
_CLOSE = 1e-6


def _shape(answers: Answers, name: str) -> tuple[int, int]:
    height, width = answers.pixels(name).shape[:2]
    return height, width


def _img_1(answers: Answers) -> str:
    section = answers.section()
    height, width = _shape(answers, "image")
    is_tier = abs(height - section.height / 8) <= 1 and abs(width - section.width / 8) <= 1
    require(is_tier, f"downsample=3 of {section.width} x {section.height} gives {width} x {height}")
    whole, box = answers.pixels("image").astype(np.int16), answers.pixels("box").astype(np.int16)
    require(box.shape[:2] == (160, 200), f"a box of 200 x 160 pixels has {box.shape[1]} x {box.shape[0]}")
    # left=480 and top=400 in full-resolution pixels are 60 and 50 in those of the tier
    there = whole[50:210, 60:260]
    off = float(np.abs(there - box).mean()) if there.shape == box.shape else math.inf
    require(off < 8, f"a box shows another part than left and top say ({off:.0f} grey levels off)")
    return "downsample=3 halves three times; a box lies where left and top say"


def _img_2(answers: Answers) -> str:
    section = answers.section()
    found = _shape(answers, "image_5")
    rules = {
        "down": (section.height >> 5, section.width >> 5),
        "to the nearest": (round(section.height / 32), round(section.width / 32)),
        "up": (-(-section.height // 32), -(-section.width // 32)),
        "to the nearest, step by step": (_halved(section.height), _halved(section.width)),
    }
    names = [name for name, shape in rules.items() if shape == found]
    if not names:
        raise UnaskedError(f"downsample=5 gives {found[1]} x {found[0]}, which no rule of rounding makes")
    require("down" in names, f"sizes are rounded {' or '.join(names)}: {found[1]} x {found[0]}")
    return f"sizes are rounded down: {found[1]} x {found[0]}"


def _halved(side: int) -> int:
    for _ in range(5):
        side = (side + 1) // 2
    return side


def _img_3(answers: Answers) -> str:
    wrong = [
        section.id
        for section in answers.data_set().section_images
        if section.tier_count is not None
        and section.tier_count != math.ceil(math.log2(max(section.shape) / 256)) + 1
    ]
    require(
        not wrong,
        f"{counted(len(wrong), 'section has', 'sections have')} another tier_count, such as image {wrong[:1]}",
    )
    section = answers.section()
    seen = answers.seen.get("image_deeper")
    if seen is not None and seen.error is not None and seen.last is not None:
        return f"tier_count is as computed; a deeper tier is answered by HTTP {seen.last.status}"
    height, width = _shape(answers, "image_deeper")
    is_deeper = abs(width - section.width / 64) <= 1 and abs(height - section.height / 64) <= 1
    is_last = abs(width - section.width / 32) <= 1 and abs(height - section.height / 32) <= 1
    require(not is_last, "a tier beyond the last gives the last")
    require(is_deeper, f"a tier beyond the last has {width} x {height} pixels")
    return "tier_count is as computed; a tier beyond the last gives the image halved further"


def _img_4(answers: Answers) -> str:
    seen = answers.seen.get("box_outside")
    if seen is None or seen.last is None:
        raise UnaskedError("the request was not answered")
    require(seen.last.status < 500, f"a box that leaves the image is answered by HTTP {seen.last.status}")
    if seen.last.status != 200:
        return f"a box that leaves the image is answered by HTTP {seen.last.status}"
    height, width = _shape(answers, "box_outside")
    return f"a box of 200 x 160 pixels that leaves the image has {width} x {height}"


def _img_5(answers: Answers) -> str:
    body = answers.exchange("image").body
    require(body[:2] == b"\xff\xd8", f"an image begins with {body[:8]!r}")
    kind, samplings = _frame(body)
    require(kind == 0xC0, "an image is not a baseline JPEG")
    require(len(samplings) == 3, f"an image has {len(samplings)} components")
    require(samplings == [0x22, 0x11, 0x11], f"the sampling factors are {[hex(each) for each in samplings]}")
    with Image.open(io.BytesIO(body)) as image:
        quantizer = image.quantization[0][0]  # type: ignore[attr-defined]
    require(quantizer in _DC_QUANTIZERS, f"the first quantizer is {quantizer}, not near 5")
    return "baseline, 4:2:0, quality near 85"


def _frame(body: bytes) -> tuple[int, list[int]]:
    """Return the marker of the frame and the sampling factors of its components."""
    offset = 2
    while offset + 4 <= len(body):
        marker, length = struct.unpack(">xBH", body[offset : offset + 4])
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC}:
            n = body[offset + 9]
            return marker, [body[offset + 11 + 3 * k] for k in range(n)]
        offset += 2 + length
    raise DiffersError("an image has no frame header")


def _img_6(answers: Answers) -> str:
    mask, shape = answers.pixels("mask"), _shape(answers, "image")
    require(mask.shape[:2] == shape, f"a mask has {mask.shape[:2]} pixels, its image {shape}")
    is_black = float((mask.max(axis=-1) < 32).mean())
    require(is_black > 0.2, f"only {is_black:.0%} of a mask is black")
    return f"a mask has the size of its image, and {is_black:.0%} of it is black"


def _img_7(answers: Answers) -> str:
    seen = answers.seen.get("unknown_parameter")
    if seen is None or seen.last is None:
        raise UnaskedError("the request was not answered")
    require(seen.last.status == 200, f"an unknown parameter is answered by HTTP {seen.last.status}")
    require(
        _shape(answers, "unknown_parameter") == _shape(answers, "image_5"),
        "an unknown parameter does something",
    )
    return "an unknown parameter is ignored"


def _img_8(answers: Answers) -> str:
    height, width = _shape(answers, "image")
    share = len(answers.exchange("image").body) / (height * width)
    require(share < _BYTES_PER_PIXEL, f"an image takes {share:.2f} bytes per pixel")
    return f"an image takes {share:.2f} bytes per pixel"


def _reference(answers: Answers) -> dict[str, float]:
    found = answers.envelope("to_reference")["msg"]["image_to_reference"]
    return {name: float(found[name]) for name in ("x", "y", "z")}


def _expected_reference(answers: Answers, shift: float = 0.0) -> dict[str, float]:
    x, y = POINT
    try:
        point = answers.geometry().image_to_reference((x + shift, y + shift))
    except AlignmentError as error:
        raise DiffersError(error.message) from None
    return dict(zip(("x", "y", "z"), map(float, point), strict=True))


def _largest(first: dict[str, float], second: dict[str, float]) -> float:
    return max(abs(first[name] - second[name]) for name in first)


def _sync_1(answers: Answers) -> str:
    off = _largest(_reference(answers), _expected_reference(answers))
    require(off < _CLOSE, f"image_to_reference is {off:.3g} µm off the formula")
    return f"image_to_reference is as computed, within {max(off, 1e-12):.0e} µm"


def _sync_2(answers: Answers) -> str:
    (found,) = (each["image_sync"] for each in answers.envelope("to_image")["msg"])
    data_set = answers.data_set()
    deep = data_set.alignment3d
    if deep is None or deep.trv is None or not data_set.section_thickness:
        raise DiffersError("the known data set has no alignment")
    depth = float(deep.trv.apply(np.array(REFERENCE_POINT))[2]) / data_set.section_thickness
    placed = [
        each for each in data_set.section_images if each.section_number is not None and each.alignment2d
    ]
    nearest = min(placed, key=lambda each: abs((each.section_number or 0) - depth))
    require(
        found["section_number"] == nearest.section_number,
        f"section {found['section_number']} is answered, and {nearest.section_number} is nearest",
    )
    expected = answers.geometry(nearest.id).reference_to_image(np.array(REFERENCE_POINT))
    off = max(abs(float(found["x"]) - expected[0]), abs(float(found["y"]) - expected[1]))
    require(off < _CLOSE, f"reference_to_image is {off:.3g} pixels off the formula")
    return f"reference_to_image is as computed, within {max(off, 1e-12):.0e} pixels"


def _sync_3(answers: Answers) -> str:
    envelope = answers.envelope("to_image")
    found: dict[str, Any] = envelope["msg"][0]["image_sync"]
    require(
        found["section_data_set_id"] == str(DATA_SET_ID),
        f"section_data_set_id is {found['section_data_set_id']!r}, not a text",
    )
    require(isinstance(found["section_image_id"], int), f"section_image_id is {found['section_image_id']!r}")
    require(envelope.get("num_rows") == 0, f"a list service reports {envelope.get('num_rows')} rows")
    require(isinstance(answers.envelope("to_reference")["msg"], dict), "image_to_reference answers a list")
    return "lists of image_sync with the data set as text; one image_to_reference"


def _sync_4(answers: Answers) -> str:
    found = _reference(answers)
    is_shifted = _largest(found, _expected_reference(answers, 0.5)) < _CLOSE
    require(not is_shifted, "image_to_reference counts pixels from their corners")
    if _largest(found, _expected_reference(answers)) >= _CLOSE:
        raise UnaskedError("image_to_reference does not follow the formula")
    return "the formula takes (x, y) as given; where in a pixel they lie, no answer shows"


def _sync_5(answers: Answers) -> str:
    found = {int(each["image_sync"]["section_image_id"]) for each in answers.envelope("to_image_2d")["msg"]}
    require(NEIGHBOUR_ID in found, f"image {NEIGHBOUR_ID} is not answered")
    require(IMAGE_ID not in found, "the seed is answered, too")
    return "the seed is left out"


def _sync_6(_answers: Answers) -> str:
    raise UnaskedError("matrices of six digits make no point that lies exactly between two sections")


#: One for each assumption, in their order.
PICTURE_CHECKS: tuple[Check, ...] = (
    Check("IMG-1", _img_1),
    Check("IMG-2", _img_2, leans=False),
    Check("IMG-3", _img_3, leans=False),
    Check("IMG-4", _img_4, leans=False),
    Check("IMG-5", _img_5, leans=False),
    Check("IMG-6", _img_6),
    Check("IMG-7", _img_7, leans=False),
    Check("IMG-8", _img_8, leans=False),
    Check("SYNC-1", _sync_1),
    Check("SYNC-2", _sync_2),
    Check("SYNC-3", _sync_3, leans=False),
    Check("SYNC-4", _sync_4, leans=False),
    Check("SYNC-5", _sync_5, leans=False),
    Check("SYNC-6", _sync_6, leans=False),
)
