"""What is asked of a service: requests about records that are known to be there.

All of them are small: records of one data set, one image at its deeper tiers, a few points.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

__all__ = [
    "AGED_ID",
    "DATA_SET_ID",
    "IMAGE_ID",
    "NEIGHBOUR_ID",
    "POINT",
    "QUESTIONS",
    "REFERENCE_POINT",
    "Question",
]

#: A coronal data set in space 9, and two of its section images, of which records were seen.
DATA_SET_ID, IMAGE_ID, NEIGHBOUR_ID = 479, 101349756, 101349764
#: A sagittal data set of which the age of the donor was seen: P56.
AGED_ID = 69289763
#: In full-resolution pixels of the image.
POINT = (2116.0, 1932.0)
#: In µm of space 9.
REFERENCE_POINT = (6085.0, 3670.0, 4883.0)
# Data sets that have more images together than a page has rows by default.
_LARGER = f"{DATA_SET_ID},123,69289763"
_STRANGER = 999_999_999_999
_N_IDS = 100


class Question(NamedTuple):
    """One request.

    Attributes
    ----------
    name : str
        By which checks know its answer.
    path : str
        Path and query, percent-encoded.
    kind : {"rows", "image", "sync", "other"}
        What is to come: ``rows`` and ``sync`` as an envelope in JSON, ``image`` as a JPEG.
    """

    name: str
    path: str
    kind: str


def _rows(name: str, criteria: str, *options: str) -> Question:
    text = f"{criteria},rma::options{''.join(options)}" if options else criteria
    return Question(name, f"/api/v2/data/query.json?criteria={quote(text, safe=':,$=')}", "rows")


def _image(name: str, parameters: str, image_id: int = IMAGE_ID) -> Question:
    return Question(name, f"/api/v2/image_download/{image_id}?{parameters}", "image")


def _images_of(data_sets: str) -> str:
    return f"model::SectionImage,rma::criteria,[data_set_id$in{data_sets}]"


def _all_questions() -> tuple[Question, ...]:
    x, y = POINT
    p, i, r = REFERENCE_POINT
    at = f"x={x:g}&y={y:g}"
    ordered = "[order$eq'sub_images.id']"
    ids = ",".join(str(each) for each in (*range(1, _N_IDS - 1), IMAGE_ID, NEIGHBOUR_ID))
    return (
        _rows(
            "data_set",
            f"model::SectionDataSet,rma::criteria,[id$eq{DATA_SET_ID}],"
            "rma::include,alignment3d,section_images(alignment2d)",
        ),
        Question("xml", f"/api/v2/data/SectionImage/{IMAGE_ID}.xml", "other"),
        Question("csv", "/api/v2/data/query.csv?criteria=model::PlaneOfSection", "other"),
        _rows("default_page", _images_of(_LARGER), ordered),
        _rows("large_page", _images_of(_LARGER), "[num_rows$eq2500]", ordered),
        _rows("huge_page", "model::StructureCenter", "[num_rows$eq2500]", "[order$eq'structure_centers.id']"),
        _rows("first_rows", _images_of(_LARGER), "[num_rows$eq6]", "[start_row$eq0]", ordered),
        _rows("next_rows", _images_of(_LARGER), "[num_rows$eq6]", "[start_row$eq6]", ordered),
        _rows("refused", "model::SectionDataSet,rma::criteria,[name$eq'unbalanced]"),
        _rows("plane", "model::PlaneOfSection,rma::criteria,[name$eq'sagittal']"),
        _rows("plane_in_capitals", "model::PlaneOfSection,rma::criteria,[name$eq'SAGITTAL']"),
        _rows(
            "filtered",
            f"model::SectionImage,rma::criteria,[data_set_id$eq{DATA_SET_ID}]",
            "[num_rows$eq2000]",
            ordered,
        ),
        _rows("hundred_ids", f"model::SectionImage,rma::criteria,[id$in{ids}]", "[num_rows$eq2000]", ordered),
        _rows("failed_set", "model::SectionDataSet,rma::criteria,[failed$eqtrue]", "[num_rows$eq1]"),
        _rows(
            "by_age",
            f"model::SectionDataSet,rma::criteria,[id$in{DATA_SET_ID},{AGED_ID}],specimen(donor(age[name$eq'P56'])),"
            "plane_of_section[name$eq'sagittal'],rma::include,plane_of_section,probes,specimen(donor(age)),treatments",
        ),
        _rows(
            "by_another_age",
            f"model::SectionDataSet,rma::criteria,[id$eq{AGED_ID}],specimen(donor(age[name$eq'E11.5']))",
        ),
        _rows(
            "centre", "model::StructureCenter,rma::criteria,[structure_id$eq1018],[reference_space_id$in9,10]"
        ),
        _rows(
            "centres", "model::StructureCenter,rma::criteria,[reference_space_id$eq9]", "[num_rows$eq2000]"
        ),
        _rows(
            "transform",
            "model::ReferenceToReferenceTransform,rma::criteria,"
            "[from_reference_space_id$eq10],[to_reference_space_id$eq9]",
        ),
        _image("unknown_image", "downsample=5", _STRANGER),
        _image("image", "downsample=3"),
        _image("image_5", "downsample=5"),
        _image("image_deeper", "downsample=6"),
        _image("box", "downsample=3&left=480&top=400&width=200&height=160"),
        _image("box_outside", "downsample=3&left=4000&top=3600&width=200&height=160"),
        _image("mask", "downsample=3&view=expression"),
        _image("unknown_parameter", "downsample=5&asyncfetch_doctor=1"),
        Question("to_reference", f"/api/v2/image_to_reference/{IMAGE_ID}.json?{at}", "sync"),
        Question(
            "to_image",
            f"/api/v2/reference_to_image/9.json?x={p:g}&y={i:g}&z={r:g}&section_data_set_ids={DATA_SET_ID}",
            "sync",
        ),
        Question(
            "to_image_2d",
            f"/api/v2/image_to_image_2d/{IMAGE_ID}.json?{at}&section_image_ids={IMAGE_ID},{NEIGHBOUR_ID}",
            "sync",
        ),
    )


#: In the order in which they are asked.
QUESTIONS = _all_questions()
