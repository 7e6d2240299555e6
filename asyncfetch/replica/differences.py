"""The ways in which the replica can be told to differ from what is assumed of the service, by name.

Each breaks one assumption of docs/reference/allen-api.md, and its name begins with the id: ``RMA-4=cap4``. Tests go
through all of them; ``asyncfetch serve --break NAME`` plays one.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from asyncfetch.errors import SettingsError
from asyncfetch.imaging import jpeg
from asyncfetch.names import did_you_mean
from asyncfetch.replica.differing import Difference, envelope_of
from asyncfetch.replica.edge import Answer, Asked
from asyncfetch.text import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["DIFFERENCES", "differences_named"]

type Row = dict[str, Any]
type Change = Callable[[Asked, Answer], Answer]

_PAGE = b"<html><head><title>Site unavailable</title></head><body>Site unavailable</body></html>"
_CAP = 4
#: One section of the small data set, and of the recorded one: where a difference concerns a single item.
_ODD_IMAGES = frozenset({900003005, 101349756})


def differences_named(names: Sequence[str]) -> list[Difference]:
    """Return differences by their names.

    Raises
    ------
    SettingsError
        There is no such difference.
    """
    known = {difference.name: difference for difference in DIFFERENCES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(
            f"there is no difference '{shown(unknown[0], 60)}'{did_you_mean(unknown[0], known)}; list them with: "
            "asyncfetch serve --break list",
            setting="differences",
        )
    return [known[name] for name in names]


# Replies of any kind


def _status(status: int, body: bytes = _PAGE, content_type: str = "text/html", **headers: str) -> Answer:
    return Answer(status, {"Content-Type": content_type}, body).with_headers(**headers)


def _first(answer: Answer, applies: Callable[[Asked], bool]) -> Change:
    """Answer the first request for each address so, and the others as usual."""
    return lambda asked, usual: answer if asked.n == 1 and applies(asked) else usual


def _always(answer: Answer, applies: Callable[[Asked], bool]) -> Change:
    return lambda asked, usual: answer if applies(asked) else usual


def _when(applies: Callable[[Asked], bool], change: Callable[[Answer], Answer]) -> Change:
    return lambda asked, usual: change(usual) if applies(asked) and usual.status == 200 else usual


def _is_bytes(asked: Asked) -> bool:
    return asked.is_bytes


def _is_rows(asked: Asked) -> bool:
    return asked.is_rows


def _is_api(asked: Asked) -> bool:
    return asked.path.startswith("/api/")


def _is_odd_image(asked: Asked) -> bool:
    return asked.image is not None and asked.image["id"] in _ODD_IMAGES


def _redirected(change: Callable[[Asked, str], str], status: int = 302) -> Change:
    """Name another address in redirects; what it leads to is the same."""

    def reply(asked: Asked, usual: Answer) -> Answer:
        if usual.status != 302:
            return usual
        target = usual.headers["Location"]
        path = target.removeprefix(asked.origin)
        return usual._replace(status=status).with_headers(Location=change(asked, path))

    return reply


def _unknown_image(asked: Asked, usual: Answer) -> Answer:
    return _status(200) if asked.is_download and usual.status == 404 else usual


def _with_length(_asked: Asked, usual: Answer) -> Answer:
    return usual._replace(is_gzip=False)


# Rows


def _envelope(change: Callable[[Asked, dict[str, Any]], None]) -> Change:
    """Change the envelope of rows in place."""

    def reply(asked: Asked, usual: Answer) -> Answer:
        found = envelope_of(asked, usual)
        if found is None:
            return usual
        change(asked, found)
        return usual._replace(body=json.dumps(found, separators=(",", ":")).encode())

    return reply


def _rows(change: Callable[[Row], object], model: str = "") -> Change:
    """Change each row in place; of one model, wherever it is included."""

    def reply(_asked: Asked, found: dict[str, Any]) -> None:
        for row in _walk(found["msg"]):
            if not model or _IS_ROW_OF[model](row):
                change(row)

    return _envelope(reply)


_IS_ROW_OF: dict[str, Callable[[Row], bool]] = {
    "SectionImage": lambda row: "section_number" in row and "image_width" in row,
    "SectionDataSet": lambda row: "section_thickness" in row,
    "Alignment2d": lambda row: "tsv_00" in row,
    "Alignment3d": lambda row: "tvr_00" in row,
    "StructureCenter": lambda row: "structure_id" in row and "x" in row and "z" in row,
    "ReferenceToReferenceTransform": lambda row: "from_reference_space_id" in row,
}


def _walk(value: Any) -> list[Row]:
    """Return all rows of an answer, the included ones too."""
    if isinstance(value, list):
        return [row for each in value for row in _walk(each)]
    if isinstance(value, dict):
        return [value, *(row for each in value.values() for row in _walk(each))]
    return []


def _set(**fields: Any) -> Callable[[Row], object]:
    return lambda row: row.update({name: value for name, value in fields.items() if name in row})


def _of_odd_image(change: Callable[[Row], object]) -> Callable[[Row], object]:
    return lambda row: change(row) if row.get("id") in _ODD_IMAGES else None


def _by_columns(row: Row) -> None:
    """Write the matrices of the plane column by column."""
    for name in ("tsv", "tvs"):
        row[f"{name}_01"], row[f"{name}_02"] = row[f"{name}_02"], row[f"{name}_01"]


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_text(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_text(each) for each in value]
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _criteria(pattern: str, replacement: str | Callable[[re.Match[str]], str]) -> Callable[[Asked], Asked]:
    """Read queries as if something else stood in them."""

    def request(asked: Asked) -> Asked:
        if not asked.is_rows or not asked.criteria:
            return asked
        name = "criteria" if "criteria" in asked.query else "q"
        text = re.sub(pattern, replacement, asked.criteria)
        return asked._replace(query={**asked.query, name: text})

    return request


def _smaller(found: re.Match[str]) -> str:
    asked = found.group(1)
    n_rows = min(int(asked), _CAP) if asked.isdecimal() else _CAP
    return f"[num_rows$eq{n_rows}]"


_capped = _criteria(r"\[num_rows\$eq'?(\w+)'?\]", _smaller)


def _set_total(total: Callable[[dict[str, Any]], int | None]) -> Change:
    def change(_asked: Asked, found: dict[str, Any]) -> None:
        n_total = total(found)
        if n_total is None:
            found.pop("total_rows", None)
        else:
            found["total_rows"] = n_total

    return _envelope(change)


def _reversed_pages(asked: Asked, found: dict[str, Any]) -> None:
    if found["start_row"]:
        found["msg"].reverse()


def _nulls_between(_asked: Asked, found: dict[str, Any]) -> None:
    found["msg"] = [each for row in found["msg"] for each in (row, None)]


def _repeat(_asked: Asked, found: dict[str, Any]) -> None:
    found["msg"] = [each for row in found["msg"] for each in (row, row)]


def _listed_alignments(row: Row) -> None:
    for name in ("alignment2d", "alignment3d"):
        if isinstance(row.get(name), dict):
            row[name] = [row[name]]


def _include_ids(row: Row) -> None:
    for name in ("alignment2d", "alignment3d"):
        if isinstance(row.get(name), dict):
            row[name] = row[name]["id"]
    if isinstance(row.get("section_images"), list):
        row["section_images"] = [each["id"] for each in row["section_images"] if each]


def _renamed(_asked: Asked, found: dict[str, Any]) -> None:
    found["result"] = found.pop("msg")


def _without_origins(row: Row) -> None:
    for name in ("specimen", "treatments", "probes", "plane_of_section"):
        row.pop(name, None)


def _on_slide(row: Row) -> None:
    """Let an image be a box within the scan."""
    row["x"], row["y"] = 48, 32
    row["width"], row["height"] = row["width"] - 96, row["height"] - 64


def _words_of_errors(asked: Asked, usual: Answer) -> Answer:
    is_error = asked.is_rows and usual.body.startswith(b'{"success":false')
    return usual._replace(status=500) if is_error else usual


_TRANSIENT = {"success": False, "id": 0, "start_row": 0, "num_rows": 0, "total_rows": 0}


def _refusal(words: str) -> Answer:
    return Answer(
        200, {"Content-Type": "application/json"}, json.dumps({**_TRANSIENT, "msg": words}).encode()
    )


# Images


def _pixels(change: Callable[[Asked, NDArray[np.uint8]], NDArray[np.uint8]], **how: Any) -> Change:
    """Change the pixels of images."""

    def reply(asked: Asked, usual: Answer) -> Answer:
        if not asked.is_bytes or usual.status != 200:
            return usual
        pixels = np.ascontiguousarray(change(asked, jpeg.decode(usual.body)))
        return usual._replace(body=_packed(pixels, **how))

    return reply


def _packed(pixels: NDArray[np.uint8], fmt: str = "JPEG", **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(
        file, fmt, **({"quality": 95} | how if fmt == "JPEG" else how)
    )
    return file.getvalue()


def _tier(change: Callable[[int], int]) -> Callable[[Asked], Asked]:
    """Send another tier than was asked for."""

    def request(asked: Asked) -> Asked:
        if not asked.is_download or "downsample" not in asked.query:
            return asked
        tier = change(int(asked.query["downsample"]))
        return asked._replace(query={**asked.query, "downsample": str(tier)})

    return request


def _corner_in_tier_pixels(asked: Asked) -> Asked:
    if not asked.is_download or "left" not in asked.query:
        return asked
    tier = int(asked.query.get("downsample", "0"))
    moved = {name: str(int(asked.query[name]) << tier) for name in ("left", "top") if name in asked.query}
    return asked._replace(query={**asked.query, **moved})


def _is_mask(asked: Asked) -> bool:
    return asked.is_bytes and "expression" in asked.query.get("path", "")


def _half_masks(asked: Asked, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels[::2, ::2] if _is_mask(asked) else pixels


def _bright_masks(asked: Asked, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return 255 - pixels if _is_mask(asked) else pixels


def _grey(_asked: Asked, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.rint(pixels.mean(axis=-1, keepdims=True)).astype(np.uint8)


def _unchanged(_asked: Asked, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pixels


def _heavy(asked: Asked, usual: Answer) -> Answer:
    """Fill JPEGs with comments to more than a byte per pixel."""
    if not asked.is_bytes or usual.status != 200:
        return usual
    header = jpeg.read_header(usual.body)
    comment = b"\xff\xfe\xff\xff" + bytes(2**16 - 3)
    n = header.height * header.width // len(comment) + 1
    return usual._replace(body=usual.body[:2] + comment * n + usual.body[2:])


def _strict(asked: Asked, usual: Answer) -> Answer:
    known = {
        *("downsample", "quality", "left", "top", "width", "height", "view", "range", "rgb", "contrast"),
        *("colormap", "filter", "filterVals", "annotation", "atlas", "downsample_dimensions", "expression"),
    }
    is_strange = asked.is_download and not set(asked.query) <= known
    return _status(400, b"unknown parameter", "text/plain") if is_strange else usual


def _filled(asked: Asked, usual: Answer) -> Answer:
    """Refuse a box that leaves the image."""
    if not asked.is_bytes or asked.image is None or usual.status != 200:
        return usual
    left, top, width, height, tier = (
        int(asked.query[name]) for name in ("left", "top", "width", "height", "downsample")
    )
    image = asked.image
    is_within = (width << tier) <= image["width"] - left and (height << tier) <= image["height"] - top
    return usual if is_within and left >= 0 and top >= 0 else _status(500, b"out of range", "text/plain")


# Synchronization


def _sync(service: str, change: Callable[[Asked, Any], Any]) -> Change:
    """Change what a synchronization service answers, in JSON."""

    def reply(asked: Asked, usual: Answer) -> Answer:
        if f"/api/v2/{service}/" not in asked.path or not usual.body.startswith(b'{"success":true'):
            return usual
        found = json.loads(usual.body)
        found["msg"] = change(asked, found["msg"])
        return usual._replace(body=json.dumps(found, separators=(",", ":")).encode())

    return reply


def _shift(**micrometres: float) -> Callable[[Asked, Any], Any]:
    def change(_asked: Asked, msg: Any) -> Any:
        point = msg["image_to_reference"]
        return {"image_to_reference": {name: point[name] + micrometres.get(name, 0.0) for name in point}}

    return change


def _half_a_pixel(asked: Asked) -> Asked:
    if "/api/v2/image_to_reference/" not in asked.path:
        return asked
    moved = {name: f"{float(asked.query[name]) + 0.5:f}" for name in ("x", "y")}
    return asked._replace(query={**asked.query, **moved})


def _each(change: Callable[[Row], Row]) -> Callable[[Asked, Any], Any]:
    return lambda _asked, msg: [{"image_sync": change(each["image_sync"])} for each in msg]


def _other_section(row: Row) -> Row:
    return row | {"section_number": row["section_number"] + 8, "x": row["x"] + 40.0}


def _with_seed(asked: Asked, msg: Any) -> Any:
    seed = asked.path.rpartition("/")[2].partition(".")[0]
    own = {"section_image_id": seed, "x": float(asked.query["x"]), "y": float(asked.query["y"])}
    answered = {str(each["image_sync"].get("section_image_id")) for each in msg}
    return msg if seed in answered else [{"image_sync": own}, *msg]


# XML and CSV


def _is_xml(asked: Asked) -> bool:
    return asked.is_rows and asked.path.endswith(".xml")


def _is_csv(asked: Asked) -> bool:
    return asked.is_rows and asked.path.endswith(".csv")


def _underscored(answer: Answer) -> Answer:
    tags = re.compile(rb"(</?)([a-z0-9-]+)")
    return answer._replace(body=tags.sub(lambda found: found[1] + found[2].replace(b"-", b"_"), answer.body))


def _outside_the_box(row: Row) -> None:
    row["x"] = 14_000


#: All differences, in the order of the assumptions.
DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "ADDR-1=page",
        "a page of HTML answers in the place of the API",
        reply=_always(_status(200), _is_api),
    ),
    Difference(
        "ADDR-2=elsewhere",
        "redirects lead to a host of somebody else",
        reply=_redirected(lambda _asked, path: f"http://elsewhere.invalid{path}"),
    ),
    Difference("HTTP-1=direct", "an image is answered at once, without a redirect", follows=True),
    Difference(
        "HTTP-1=relative",
        "redirects name a path alone",
        reply=_redirected(lambda _asked, path: path),
    ),
    Difference(
        "HTTP-1=moved",
        "redirects have the status 307",
        reply=_redirected(lambda asked, path: f"{asked.origin}{path}", status=307),
    ),
    Difference(
        "HTTP-2=https",
        "redirects name https, where nothing answers",
        reply=_redirected(lambda asked, path: f"{asked.origin.replace('http://', 'https://')}{path}"),
    ),
    Difference(
        "HTTP-3=length",
        "bodies are sent plain, with a Content-Length",
        reply=_with_length,
    ),
    Difference(
        "HTTP-3=cut",
        "bodies of images are plain and end in the middle, always",
        reply=_when(
            _is_bytes, lambda usual: usual._replace(body=usual.body[: len(usual.body) // 2], is_gzip=False)
        ),
    ),
    Difference(
        "HTTP-4=closes",
        "a connection serves one request",
        reply=lambda _asked, usual: usual._replace(closes=True).with_headers(Keep_Alive="timeout=1, max=1"),
    ),
    Difference(
        "HTTP-5=page",
        "an unknown image is answered by a page of HTML with the status 200",
        reply=_unknown_image,
    ),
    Difference(
        "HTTP-6=accepted",
        "images are answered by 202 and Retry-After first",
        reply=_first(_status(202, b"", Retry_After="0"), lambda asked: asked.is_download),
    ),
    Difference(
        "HTTP-6=forbidden",
        "images are answered by 403 and Retry-After first",
        reply=_first(_status(403, b"", Retry_After="0"), lambda asked: asked.is_download),
    ),
    Difference(
        "HTTP-7=refuses",
        "each address is refused by 429 first",
        reply=_first(_status(429, b"", Retry_After="0"), _is_api),
    ),
    Difference(
        "HTTP-8=page-first",
        "each image comes as a page of HTML first",
        reply=_first(_status(200), _is_bytes),
    ),
    Difference("HTTP-8=page", "all images come as a page of HTML", reply=_always(_status(200), _is_bytes)),
    Difference(
        "HTTP-9=broken-first",
        "each image comes cut in the middle first",
        reply=lambda asked, usual: (
            usual._replace(body=usual.body[: len(usual.body) // 2])
            if asked.is_bytes and asked.n == 1
            else usual
        ),
    ),
    Difference(
        "HTTP-9=never",
        "one image never comes",
        reply=_always(_status(504), _is_odd_image),
    ),
    Difference("RMA-1=renamed", "rows stand under another name", reply=_envelope(_renamed)),
    Difference(
        "RMA-1=text",
        "all numbers of rows are texts",
        reply=_envelope(lambda _asked, found: found.update(msg=_as_text(found["msg"]))),
    ),
    Difference("RMA-2=underscores", "XML keeps underscores", reply=_when(_is_xml, _underscored)),
    Difference(
        "RMA-3=no-header",
        "CSV has no header row",
        reply=_when(_is_csv, lambda usual: usual._replace(body=usual.body.partition(b"\n")[2])),
    ),
    Difference("RMA-4=cap4", "pages hold 4 rows, whatever is asked for", request=_capped),
    Difference(
        "RMA-4=cap4-unannounced",
        "pages hold 4 rows, and the total is not told",
        request=_capped,
        reply=_set_total(lambda _found: None),
    ),
    Difference(
        "RMA-5=page",
        "pages hold 4 rows, and these are announced as the total",
        request=_capped,
        reply=_set_total(lambda found: len(found["msg"])),
    ),
    Difference("RMA-5=missing", "the total is not told", reply=_set_total(lambda _found: None)),
    Difference(
        "RMA-5=more",
        "two rows more are announced than there are",
        reply=_set_total(
            lambda found: found["total_rows"] + 2 if found.get("total_rows") else found.get("total_rows")
        ),
    ),
    Difference(
        "RMA-5=fewer",
        "one row is announced where there are more",
        reply=_set_total(lambda found: min(1, len(found["msg"]))),
    ),
    Difference(
        "RMA-6=same-page",
        "pages hold 4 rows, and every page is the first",
        request=lambda asked: _criteria(r"\[start_row\$eq'?\d+'?\]", "[start_row$eq0]")(_capped(asked)),
    ),
    Difference(
        "RMA-6=reversed",
        "pages hold 4 rows, and the second and later ones run backwards",
        request=_capped,
        reply=_envelope(_reversed_pages),
    ),
    Difference("RMA-7=nulls", "nulls stand between rows", reply=_envelope(_nulls_between)),
    Difference("RMA-7=twice", "each row comes twice", reply=_envelope(_repeat)),
    Difference("RMA-7=lists", "included records are lists of one", reply=_rows(_listed_alignments)),
    Difference("RMA-7=ids", "includes hold ids instead of records", reply=_rows(_include_ids)),
    Difference("RMA-8=status", "refused queries have the status 500", reply=_words_of_errors),
    Difference(
        "RMA-8=transient-first",
        "each query fails first, by the service's own account",
        reply=_first(_refusal("Error in query: Informatics service request failed"), _is_rows),
    ),
    Difference(
        "RMA-8=refuses",
        "all queries are refused",
        reply=_always(_refusal("Error in query: no queries today"), _is_rows),
    ),
    Difference(
        "RMA-9=any-case",
        "values are matched without regard to case",
        request=_criteria(r"'SAGITTAL'", "'sagittal'"),
    ),
    Difference(
        "RMA-9=no-filter",
        "a filter by data_set_id lets the rows of another set through",
        request=_criteria(r"\[data_set_id\$eq(\d+)\]", r"[data_set_id$in\1,900000004]"),
    ),
    Difference(
        "RMA-10=ten",
        "only ten ids of a list are looked at",
        request=_criteria(
            r"\[id\$in((?:'?\d+'?,){10})[^\]]*\]", lambda found: f"[id$in{found[1].rstrip(',')}]"
        ),
    ),
    Difference(
        "REC-1=no-width",
        "one section has no width",
        reply=_rows(_of_odd_image(_set(width=None)), "SectionImage"),
    ),
    Difference(
        "REC-1=no-resolution",
        "sections have no resolution",
        reply=_rows(_set(resolution=None), "SectionImage"),
    ),
    Difference(
        "REC-2=huge",
        "one section has an id of 2^63",
        reply=_rows(_of_odd_image(_set(id=2**63)), "SectionImage"),
    ),
    Difference(
        "REC-3=columns", "tsv and tvs are written column by column", reply=_rows(_by_columns, "Alignment2d")
    ),
    Difference(
        "REC-4=outside",
        "a structure's centre lies outside the box of the space",
        reply=_rows(_outside_the_box, "StructureCenter"),
    ),
    Difference(
        "REC-5=11400",
        "the spaces mirror each other at 11 400 µm",
        reply=_rows(
            lambda row: row.update({name: 11400.0 for name, value in row.items() if value == 11350.0}),
            "ReferenceToReferenceTransform",
        ),
    ),
    Difference(
        "REC-6=fractions",
        "centres of structures are not whole µm",
        reply=_rows(lambda row: row.update(z=row["z"] + 0.5), "StructureCenter"),
    ),
    Difference(
        "REC-7=middle",
        "the depth of a section is that of its middle",
        reply=_sync("image_to_reference", _shift(x=-12.5)),
    ),
    Difference(
        "REC-8=words",
        "failed is told in words",
        reply=_rows(
            lambda row: row.update(failed="yes" if row["failed"] else "no") if "failed" in row else None
        ),
    ),
    Difference(
        "REC-9=scan",
        "downloads give the whole scan instead of the section's box",
        reply=_rows(_on_slide, "SectionImage"),
    ),
    Difference(
        "REC-10=any-age",
        "conditions on ages are ignored",
        request=_criteria(r",specimen\(donor\(age\[[^\]]*\]\)\)", ""),
    ),
    Difference(
        "REC-10=no-origins",
        "records do not tell where their data sets come from",
        reply=_rows(_without_origins, "SectionDataSet"),
    ),
    Difference("IMG-1=ignored", "downsample is ignored", options={"ignored_parameters": ("downsample",)}),
    Difference(
        "IMG-1=corner",
        "the corner of a box counts pixels of the tier",
        request=_corner_in_tier_pixels,
    ),
    Difference("IMG-2=up", "sizes are rounded up", options={"rounding": "up"}),
    Difference("IMG-2=nearest", "sizes are rounded to the nearest", options={"rounding": "nearest"}),
    Difference("IMG-2=steps", "sizes are rounded from tier to tier", options={"rounding": "steps"}),
    Difference(
        "IMG-3=second", "tiers beyond the second give the second", request=_tier(lambda tier: min(tier, 1))
    ),
    Difference("IMG-3=last", "tiers beyond the last give the last", options={"has_last_tier": True}),
    Difference("IMG-4=refused", "a box that leaves the image is answered by 500", reply=_filled),
    Difference("IMG-5=progressive", "JPEGs are progressive", reply=_pixels(_unchanged, progressive=True)),
    Difference("IMG-5=grey", "JPEGs have one component", reply=_pixels(_grey)),
    Difference("IMG-5=png", "images are PNGs", reply=_pixels(_unchanged, fmt="PNG")),
    Difference("IMG-6=half", "masks have half the size of their images", reply=_pixels(_half_masks)),
    Difference("IMG-6=white", "masks are white where nothing is expressed", reply=_pixels(_bright_masks)),
    Difference("IMG-7=strict", "unknown parameters are refused by 400", reply=_strict),
    Difference("IMG-8=heavy", "JPEGs take more than a byte per pixel", reply=_heavy),
    Difference(
        "SYNC-1=shifted",
        "points of the reference space are off by a voxel",
        reply=_sync("image_to_reference", _shift(x=25.0)),
    ),
    Difference(
        "SYNC-2=next", "another section is nearest", reply=_sync("reference_to_image", _each(_other_section))
    ),
    Difference(
        "SYNC-3=numbers",
        "data sets are told as integers",
        reply=_sync(
            "reference_to_image",
            _each(lambda row: row | {"section_data_set_id": int(row["section_data_set_id"])}),
        ),
    ),
    Difference("SYNC-4=corner", "pixels are counted from their corners", request=_half_a_pixel),
    Difference("SYNC-5=seed", "the seed is answered too", reply=_sync("image_to_image_2d", _with_seed)),
)
