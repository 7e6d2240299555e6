"""The built-in sample atlas: a small, deterministic set of records with real matrices, drawn from the phantom.

Real single facts of the Allen Institute's API (REC-1, REC-3 to REC-8):

* data set 69289763 (sagittal, space 10): all 18 sections with their ids, numbers, sizes and alignments, the
  alignment of the set, its specimen, donor and products;
* data sets 479 (coronal, space 9) and 123 (sagittal, space 10): the alignments of the sets, and the sections
  101349756, 101349764 and 101945191;
* products, planes, reference spaces, atlases, structure centres and the transform between the spaces 9 and 10.

Everything else is made: the other sections of 479 and 123, their genes, and whole small data sets for what goes
wrong (ids from 900000001 on). A made image says so itself: its ``path`` starts with ``/sample/made/``, a
recorded one's with ``/sample/recorded/``; :attr:`SampleAtlas.recorded_image_ids` holds the latter.

The small data sets have images of about 1 700 x 1 200 pixels of 6.52 µm:

========= ======================================================================================
900000001 failed (``failed`` is true)
900000002 no alignment3d and no alignment2d
900000003 single nulls: a section without number, one without alignment2d, one with a null in it
900000004 Nissl: no expression mask; its sections are associates of 479's
900000005 sound; alone in the made product 900000000, for quick runs
900000006 connectivity: an Equalization, and the view projection instead of the expression mask
900000007 tumor features: the views tumor_feature_annotation and tumor_feature_boundary
========= ======================================================================================

900000009 is like 123 but of 60 sections at 1.2 µm, whose JPEGs have 5 to 6 MB each as many real ones have; it is in no
product, so that only who names it waits for it to be drawn.
The data set 900000010 has one section of 27 000 x 34 000 pixels of 0.4 µm.

Which gene, animal and probe a set is of stands in `asyncfetch.sample.origins`.

The atlases 1 and 2 have one atlas data set each, 100048576 (coronal, a real id) and 900000008 (sagittal), with made
images of which some are annotated plates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import Affine2D, Affine3D, Box, SectionGeometry, tier_shape, tier_to_full
from asyncfetch.imaging.jet import luminosity
from asyncfetch.sample import recorded
from asyncfetch.sample.anatomy import OUTSIDE, outlines, region_colours, regions
from asyncfetch.sample.origins import ORIGIN_LINKS, ORIGIN_MODELS, add_origins, gene_facts
from asyncfetch.sample.phantom import Phantom
from asyncfetch.sample.tables import general_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = [
    "ATLAS_DATA_SET_ID",
    "CONNECTIVITY_DATA_SET_ID",
    "FAILED_DATA_SET_ID",
    "HUGE_DATA_SET_ID",
    "LARGE_DATA_SET_ID",
    "NISSL_DATA_SET_ID",
    "NULLS_DATA_SET_ID",
    "SAGITTAL_ATLAS_DATA_SET_ID",
    "SAMPLE_PRODUCT_ID",
    "SMALL_DATA_SET_ID",
    "TUMOR_DATA_SET_ID",
    "UNALIGNED_DATA_SET_ID",
    "Row",
    "SampleAtlas",
    "sample_atlas",
]

type Row = dict[str, Any]
type Link = tuple[int, int]

#: Ids of what is made.
FAILED_DATA_SET_ID = 900000001
UNALIGNED_DATA_SET_ID = 900000002
NULLS_DATA_SET_ID = 900000003
NISSL_DATA_SET_ID = 900000004
SMALL_DATA_SET_ID = 900000005
CONNECTIVITY_DATA_SET_ID = 900000006
TUMOR_DATA_SET_ID = 900000007
SAGITTAL_ATLAS_DATA_SET_ID = 900000008
LARGE_DATA_SET_ID = 900000009
HUGE_DATA_SET_ID = 900000010
SAMPLE_PRODUCT_ID = 900000000
#: The atlas data set of the adult mouse, a real id; its images are made.
ATLAS_DATA_SET_ID = 100048576

_ISH, _NISSL = 900000010, 900000011
# Made data sets take the alignment of a recorded one: coronal ones that of 479.
_LIKE = 479
_LIKE_SAGITTAL = {SAGITTAL_ATLAS_DATA_SET_ID: 123, LARGE_DATA_SET_ID: 123}
_SAGITTAL = {123, 69289763, SAGITTAL_ATLAS_DATA_SET_ID, LARGE_DATA_SET_ID}
_TUMOR_VIEWS = ("tumor_feature_annotation", "tumor_feature_boundary")

_MODELS = (
    "Age",
    "Alignment2d",
    "Alignment3d",
    "AlternateImage",
    "Atlas",
    "AtlasDataSet",
    "AtlasImage",
    "Donor",
    "Equalization",
    "Gene",
    "GraphicGroupLabel",
    "Ontology",
    "PlaneOfSection",
    "Product",
    "ReferenceSpace",
    "ReferenceToReferenceTransform",
    "SectionDataSet",
    "SectionImage",
    "Specimen",
    "Structure",
    "StructureCenter",
    "StructureGraph",
    "Treatment",
)
_LINKS = (
    "associates",
    "atlas_data_sets_atlases",
    "atlases_graphic_group_labels",
    "data_sets_genes",
    "data_sets_products",
    "data_sets_treatments",
)

_GENE: Row = dict.fromkeys(
    (
        "alias_tags",
        "chromosome_id",
        "ensembl_id",
        "entrez_id",
        "homologene_id",
        "legacy_ensembl_gene_id",
        "sphinx_id",
    )
) | {"organism_id": 2, "type": "EntrezGene"}

_SPECIMEN: Row = dict.fromkeys(
    (
        "data",
        "external_specimen_name",
        "parent_id",
        "parent_x_coord",
        "parent_y_coord",
        "parent_z_coord",
        "rna_integrity_number",
        "structure_id",
        "tissue_ph",
        "treatment_id",
    )
) | {"hemisphere": "(none)", "is_cell_specimen": False, "is_ish": False, "failed_facet": 734881840}

_DONOR_4965: Row = dict.fromkeys(
    (
        "condition_description",
        "data",
        "date_of_birth",
        "external_donor_name",
        "multifocal",
        "smoker",
        "theiler_stage",
        "transgenic_mouse_id",
    )
) | {
    "id": 4965,
    "age_id": 15,
    "handedness": "unknown",
    "name": "05-0660",
    "organism_id": 2,
    "pmi": 0.0,
    "sex": "M",
    "sex_full_name": "Male",
    "strain": "C57BL/6J",
    "tags": "05-0660 unknown",
}


@dataclass(frozen=True, repr=False, eq=False)
class SampleAtlas:
    """The records of the sample atlas, and its images, drawn when they are asked for.

    Attributes
    ----------
    tables : mapping of str to list of dict
        The rows of every model, as the API would give them.
    links : mapping of str to list of (int, int)
        The join tables of many-to-many associations, as pairs of ids.
    recorded_image_ids : frozenset of int
        Images whose ids, sizes and alignments are those of the real atlas.
    phantom : Phantom
        What the images show.
    """

    tables: Mapping[str, list[Row]]
    links: Mapping[str, list[Link]]
    recorded_image_ids: frozenset[int]
    phantom: Phantom
    _images: Mapping[int, Row]
    _drawn_through: Mapping[int, tuple[NDArray[np.float64], int]]
    _views: Mapping[int, tuple[str, ...]]
    _levels: Mapping[int, tuple[int, ...]]
    _atlases: Mapping[int, tuple[int, ...]]

    def image_row(self, image_id: int) -> Row | None:
        """Return the record of a section or atlas image, or None where there is none."""
        return self._images.get(image_id)

    def image_to_reference(self, image_id: int) -> NDArray[np.float64]:
        """Return the map through which an image is drawn, its alignment where it has one.

        Images without an alignment are drawn through one that their records do not tell.

        Returns
        -------
        (3, 3) array of float64
            Takes (x, y, 1), in pixels of the full-resolution slide, to (p, i, r) in µm of the set's space.

        Raises
        ------
        SelectionError
            There is no such image.
        """
        return self._drawn(image_id)[0].copy()

    def reference_space_id(self, image_id: int) -> int:
        """Return the reference space, 9 or 10, that :meth:`image_to_reference` maps to.

        Raises
        ------
        SelectionError
            There is no such image.
        """
        return self._drawn(image_id)[1]

    def image_at(self, path: str) -> tuple[int, str] | None:
        """Return the image and the view that a path names: a record's own, or that of another view."""
        stem, suffix, rest = path.rpartition("/")[2].partition(".aff")
        name, _, view = stem.partition("_")
        if not suffix or rest or not name.isdecimal() or int(name) not in self._images:
            return None
        view = view or "image"
        image_id = int(name)
        return (image_id, view) if self.image_path(image_id, view) == path else None

    def image_path(self, image_id: int, view: str) -> str:
        """Return the path of a view of an image."""
        row = self._images[image_id]
        if view == "expression":
            return str(row["expression_path"])
        path = str(row["path"])
        return path if view == "image" else f"{path.removesuffix('.aff')}_{view}.aff"

    def image_levels(self, image_id: int) -> tuple[int, ...] | None:
        """Return the window of the image's data set, None where it has no Equalization."""
        return self._levels.get(self._images[image_id]["data_set_id"])

    def stored(self, picture: object) -> None:
        """Return None: every picture is drawn."""

    def n_source_pixels(self, image_id: int, view: str) -> int:
        """Return 0: nothing is decoded."""
        return 0

    def has_view(self, image_id: int, view: str) -> bool:
        """Return whether an image exists in a view: Nissl images have no expression mask."""
        return view in self._views.get(image_id, ())

    def draw(
        self, image_id: int, *, downsample: int = 0, box: Box | None = None, view: str = "image"
    ) -> NDArray[np.uint8]:
        """Draw an image or a part of one.

        Parameters
        ----------
        image_id : int
            A section or atlas image.
        downsample : int
            The tier.
        box : Box, optional
            Pixels of the tier; the whole image when not given. It may reach over the borders.
        view : str
            ``image``, ``expression`` (jet colours on black), ``expression_level`` (grey on black),
            ``projection`` (the level in green on a dim image), ``tumor_feature_annotation`` (a colour a region)
            or ``tumor_feature_boundary`` (the borders between them, on white).

        Returns
        -------
        (h, w, 3) array of uint8
            (h, w, 1) for ``expression_level``.

        Raises
        ------
        SelectionError
            There is no such image, or no such view of it.
        """
        index_to_reference, space, shape = self._tier(image_id, downsample)
        if not self.has_view(image_id, "expression" if view == "expression_level" else view):
            raise SelectionError(f"image {image_id} has no view {view}")
        if view in _TUMOR_VIEWS:
            labelled = regions if view == "tumor_feature_annotation" else outlines
            wanted = Box.of_shape(shape) if box is None else box
            return region_colours(
                labelled(self.phantom, index_to_reference, wanted, reference_space_id=space)
            )
        if view == "image":
            return self.phantom.render(index_to_reference, shape, box=box, reference_space_id=space)
        if view == "expression":
            return self.phantom.expression_mask(index_to_reference, shape, box=box, reference_space_id=space)
        grey = self.phantom.expression_grey(index_to_reference, shape, box=box, reference_space_id=space)
        if view == "projection":
            image = self.phantom.render(index_to_reference, shape, box=box, reference_space_id=space)
            dim = luminosity(image) // 4
            return np.stack([dim, np.maximum(dim, grey), dim], axis=-1)
        return grey[..., np.newaxis]

    def outlines(
        self, image_id: int, *, downsample: int, box: Box, atlas_id: int
    ) -> NDArray[np.bool_] | None:
        """Return the borders of the phantom's regions on an image of an atlas.

        Returns
        -------
        (h, w) array of bool, or None
            None where the image is of no atlas, of others than ``atlas_id``, or no annotated plate.
        """
        atlases = self._atlases.get(image_id, ())
        if not atlases or atlas_id not in {0, *atlases}:
            return None
        index_to_reference, space, _ = self._tier(image_id, downsample)
        lines = outlines(self.phantom, index_to_reference, box, reference_space_id=space)
        return np.asarray(lines != OUTSIDE)

    def _tier(self, image_id: int, downsample: int) -> tuple[NDArray[np.float64], int, tuple[int, int]]:
        """Return the map from a tier's pixels to the reference space, the space and the tier's shape."""
        matrix, space = self._drawn(image_id)
        row = self._images[image_id]
        to_full = np.vstack([tier_to_full(downsample).matrix, [0.0, 0.0, 1.0]])
        return matrix @ to_full, space, tier_shape(row["height"], row["width"], downsample)

    def _drawn(self, image_id: int) -> tuple[NDArray[np.float64], int]:
        try:
            return self._drawn_through[image_id]
        except KeyError:
            raise SelectionError(f"the sample atlas has no image {image_id}") from None


def sample_atlas() -> SampleAtlas:
    """Build the sample atlas; every call gives the same records and pixels."""
    return _Builder().build()


class _Builder:
    """The rows of the sample atlas while they are collected."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {model: [] for model in (*_MODELS, *ORIGIN_MODELS)}
        self.links: dict[str, list[Link]] = {name: [] for name in (*_LINKS, *ORIGIN_LINKS)}
        self.recorded: set[int] = set()
        self.drawn_through: dict[int, tuple[NDArray[np.float64], int]] = {}
        self.other_views: dict[int, tuple[str, ...]] = {}

    def build(self) -> SampleAtlas:
        self.add_small_tables()
        self.add_69289763()
        self.add_479()
        self.add_123()
        self.add_small_data_sets()
        self.add_large()
        self.add_atlas()
        add_origins(self.tables, self.links, _DONOR_4965, _SPECIMEN)
        images = {row["id"]: row for model in ("SectionImage", "AtlasImage") for row in self.tables[model]}
        return SampleAtlas(
            tables=self.tables,
            links=self.links,
            recorded_image_ids=frozenset(self.recorded),
            phantom=Phantom(),
            _images=images,
            _drawn_through=self.drawn_through,
            _views={
                image_id: ("image", *self.other_views.get(image_id, ("expression",))) for image_id in images
            },
            _levels={row["section_data_set_id"]: _levels(row) for row in self.tables["Equalization"]},
            _atlases=self.atlases_of_plates(),
        )

    def atlases_of_plates(self) -> dict[int, tuple[int, ...]]:
        """Return the atlases that every annotated plate belongs to."""
        atlases: dict[int, tuple[int, ...]] = {}
        for data_set_id, atlas_id in self.links["atlas_data_sets_atlases"]:
            for row in self.tables["AtlasImage"]:
                if row["data_set_id"] == data_set_id and row["annotated"]:
                    atlases[row["id"]] = (*atlases.get(row["id"], ()), atlas_id)
        return atlases

    def add_small_tables(self) -> None:
        empty = {"description": None, "documentation": None, "tags": None}
        sample = {
            "id": SAMPLE_PRODUCT_ID,
            "abbreviation": "Sample",
            "name": "Made for quick runs",
            "resource": "asyncfetch",
            "species": "Mouse",
        }
        self.tables["Product"] = [empty | product for product in (*recorded.PRODUCTS, sample)]
        self.tables["Treatment"] = [
            {"id": _ISH, "name": "ISH", "tags": None},
            {"id": _NISSL, "name": "NISSL", "tags": None},
        ]
        self.tables |= general_tables()

    def add_69289763(self) -> None:
        self.tables["Donor"].append(_DONOR_4965)
        self.add_data_set(
            69289763,
            space=10,
            plane=2,
            products=(3, 1),
            gene="Prox1",
            specimen={"id": 68870790, "name": "05-0660", "donor_id": 4965, "specimen_id_path": "/68870790/"},
            qc_date="2009-05-02T22:45:57Z",
            sphinx_id=157167,
            weight=5470,
            storage_directory="/external/aibssan/production32/prod327/image_series_69289763/",
        )
        for section in recorded.SECTIONS[69289763]:
            self.add_section(69289763, section, resolution=1.049, is_recorded=True)

    def add_479(self) -> None:
        self.add_data_set(479, space=9, plane=1, products=(1,), gene="Pvalb")
        self.add_equalization(479, red=(0, 932), green=(0, 1279), blue=(0, 4095))
        real = recorded.SECTIONS[479]
        for section in real:
            self.add_section(479, section, resolution=1.63, is_recorded=True)
        for i, number in enumerate(range(20, 501, 8)):
            # From the size of the last real section to 7 000 x 5 000 in the middle of the brain, and back.
            growth = math.sin(math.pi * (i + 3) / 64)
            width, height = int(4536 + 2464 * growth), int(4016 + 984 * growth)
            section = self.made_section(479, 947900000 + i, number, (width, height), 1.63)
            self.add_section(479, section, resolution=1.63)

    def add_123(self) -> None:
        self.add_data_set(
            123,
            space=10,
            plane=2,
            products=(1,),
            gene="Adora2a",
            specimen={"id": 702643, "name": "made 123", "donor_id": 4965, "specimen_id_path": "/702643/"},
        )
        # The ids descend as the section numbers ascend, as they do in some real sets.
        for i, number in enumerate(range(15, 171, 4)):
            section = self.made_section(123, 912300100 - i, number, (8992, 4936), 1.63)
            self.add_section(123, section, resolution=1.63)
        for section in recorded.SECTIONS[123]:
            self.add_section(123, section, resolution=1.63, is_recorded=True)

    def add_large(self) -> None:
        self.add_data_set(LARGE_DATA_SET_ID, space=10, plane=2, products=())
        # Where the brain fills the image, and at this pitch, a JPEG has the size that the link is measured with.
        for i, number in enumerate(range(40, 159, 2)):
            section = self.made_section(LARGE_DATA_SET_ID, 912400000 + i, number, (8992, 4936), 1.2)
            self.add_section(LARGE_DATA_SET_ID, section, resolution=1.2)

    def add_small_data_sets(self) -> None:
        self.add_small(FAILED_DATA_SET_ID, range(100, 133, 8), failed=True)
        self.add_small(UNALIGNED_DATA_SET_ID, range(100, 133, 8), is_aligned=False)
        self.add_small(NULLS_DATA_SET_ID, range(100, 141, 8))
        self.add_small(NISSL_DATA_SET_ID, range(60, 421, 120), treatment=_NISSL)
        self.add_small(SMALL_DATA_SET_ID, range(60, 421, 40), products=(SAMPLE_PRODUCT_ID,), gene="Gad1")
        self.add_small(CONNECTIVITY_DATA_SET_ID, range(100, 261, 80), products=(5,), views=("projection",))
        self.add_equalization(CONNECTIVITY_DATA_SET_ID, red=(0, 923), green=(0, 987), blue=(0, 4095))
        self.add_small(TUMOR_DATA_SET_ID, range(200, 241, 40), products=(), views=_TUMOR_VIEWS)
        # as large as the largest of the real ones; all of it takes minutes to draw
        self.add_data_set(HUGE_DATA_SET_ID, space=9, plane=1, products=())
        section = self.made_section(HUGE_DATA_SET_ID, HUGE_DATA_SET_ID + 1000, 260, (27000, 34000), 0.4)
        self.add_section(HUGE_DATA_SET_ID, section, resolution=0.4)
        images = [row for row in self.tables["SectionImage"] if row["data_set_id"] == NULLS_DATA_SET_ID]
        images[1]["section_number"] = None
        alignments = {row["section_image_id"]: row for row in self.tables["Alignment2d"]}
        self.tables["Alignment2d"].remove(alignments[images[2]["id"]])
        alignments[images[3]["id"]]["tsv_04"] = None
        nissl = [row for row in self.tables["SectionImage"] if row["data_set_id"] == NISSL_DATA_SET_ID]
        for row in self.tables["SectionImage"]:
            if row["data_set_id"] == 479:
                nearest = min(nissl, key=lambda image: abs(image["section_number"] - row["section_number"]))
                self.links["associates"].append((row["id"], nearest["id"]))

    def add_small(
        self,
        data_set_id: int,
        numbers: Iterable[int],
        *,
        products: tuple[int, ...] = (1,),
        gene: str | None = None,
        treatment: int = _ISH,
        failed: bool = False,
        is_aligned: bool = True,
        views: tuple[str, ...] | None = None,
    ) -> None:
        self.add_data_set(
            data_set_id,
            space=9,
            plane=1,
            products=products,
            gene=gene,
            treatment=treatment,
            failed=failed,
            is_aligned=is_aligned,
        )
        for i, number in enumerate(numbers):
            image_id = data_set_id + 1000 * (i + 1)
            section = self.made_section(data_set_id, image_id, number, (1701 + 16 * (i % 5), 1213), 6.52)
            self.add_section(data_set_id, section, resolution=6.52, is_aligned=is_aligned)
            if treatment == _NISSL:
                self.other_views[image_id] = ()
            if views is not None:
                self.other_views[image_id] = views

    def add_atlas(self) -> None:
        self.tables["Atlas"] = [
            {
                "id": atlas_id,
                "name": name,
                "structure_graph_id": graph,
                "image_type": "Atlas - Adult Mouse",
                "reference_space_id": 10 if atlas_id == 2 else 9,
                "specimen_id": None,
                "treatment_id": _NISSL,
                "xyz_sort": None,
            }
            for atlas_id, (name, graph) in recorded.ATLASES.items()
        ]
        self.links["atlases_graphic_group_labels"] += [(atlas_id, 28) for atlas_id in recorded.ATLASES]
        plates = range(101, 302, 50)
        self.add_atlas_images(1, ATLAS_DATA_SET_ID, 948576000, (1749, 1240), plates, annotated=True)
        between = range(126, 277, 50)
        self.add_atlas_images(1, ATLAS_DATA_SET_ID, 948576100, (1749, 1240), between, annotated=False)
        plates = range(39, 200, 40)
        self.add_atlas_images(2, SAGITTAL_ATLAS_DATA_SET_ID, 948577000, (2201, 1240), plates, annotated=True)

    def add_atlas_images(
        self,
        atlas_id: int,
        data_set_id: int,
        first_image_id: int,
        size: tuple[int, int],
        numbers: Iterable[int],
        *,
        annotated: bool,
    ) -> None:
        if data_set_id not in {row["id"] for row in self.tables["AtlasDataSet"]}:
            is_sagittal = data_set_id in _SAGITTAL
            self.add_data_set(
                data_set_id,
                space=10 if is_sagittal else 9,
                plane=2 if is_sagittal else 1,
                products=(1,),
                treatment=_NISSL,
                model="AtlasDataSet",
            )
            self.links["atlas_data_sets_atlases"].append((data_set_id, atlas_id))
        for i, number in enumerate(numbers):
            section = self.made_section(data_set_id, first_image_id + i, number, size, 6.52)
            self.add_section(data_set_id, section, resolution=6.52, model="AtlasImage")
            self.tables["AtlasImage"][-1]["annotated"] = annotated
            self.other_views[section.image_id] = ()
            if annotated:
                # The plate of an atlas, under the type that the atlas's own record names.
                self.tables["AlternateImage"].append(
                    {
                        "id": len(self.tables["AlternateImage"]) + 1,
                        "image_type": "Atlas - Adult Mouse",
                        "path": self.tables["AtlasImage"][-1]["path"],
                        "sub_image_id": section.image_id,
                    }
                )

    def add_equalization(self, data_set_id: int, **limits: tuple[int, int]) -> None:
        row: Row = {"id": len(self.tables["Equalization"]) + 1, "section_data_set_id": data_set_id}
        for colour, (lower, upper) in limits.items():
            row |= {f"{colour}_lower": lower, f"{colour}_upper": upper}
            row |= {f"{colour}_mean": None, f"{colour}_std_dev": None}
        self.tables["Equalization"].append(row)

    def add_data_set(
        self,
        data_set_id: int,
        *,
        space: int,
        plane: int,
        products: tuple[int, ...],
        gene: str | None = None,
        treatment: int = _ISH,
        failed: bool = False,
        is_aligned: bool = True,
        model: str = "SectionDataSet",
        specimen: Row | None = None,
        **fields: Any,
    ) -> None:
        row = {
            "id": data_set_id,
            "blue_channel": None,
            "delegate": True,
            "expression": treatment == _ISH,
            "failed": failed,
            "failed_facet": 734881840,
            "green_channel": None,
            "name": None,
            "plane_of_section_id": plane,
            "qc_date": None,
            "red_channel": None,
            "reference_space_id": space,
            "rnaseq_design_id": None,
            "section_thickness": 25.0,
            "specimen_id": specimen["id"] if specimen else None,
            "sphinx_id": None,
            "storage_directory": None,
            "weight": 5470,
        }
        self.tables[model].append(row | fields)
        if specimen:
            self.tables["Specimen"].append(_SPECIMEN | specimen)
        self.links["data_sets_products"] += [(data_set_id, product) for product in products]
        self.links["data_sets_treatments"].append((data_set_id, treatment))
        if gene:
            gene_id = 900000100 + len(self.tables["Gene"])
            self.tables["Gene"].append(_GENE | {"id": gene_id, "acronym": gene} | gene_facts(gene))
            self.links["data_sets_genes"].append((data_set_id, gene_id))
        if is_aligned:
            alignment_id, tvr, trv = recorded.ALIGNMENTS_3D.get(
                data_set_id, (data_set_id, *_alignment_3d(data_set_id)[1:])
            )
            self.tables["Alignment3d"].append(
                {"id": alignment_id, "aligned_id": data_set_id, "aligned_type": "DataSet"}
                | _numbered("trv", trv)
                | _numbered("tvr", tvr)
            )

    def made_section(
        self, data_set_id: int, image_id: int, number: int, size: tuple[int, int], resolution: float
    ) -> recorded.Section:
        """Make a section whose image shows the middle of the reference box in its middle.

        The alignment is a similarity with the scale ``resolution`` and a small rotation; the inverse is that of
        the printed numbers, as in the real records.
        """
        _, _, trv = _alignment_3d(data_set_id)
        to_volume = Affine3D.from_api(trv)
        # The middle of the box in p, i, r; along the slice axis the section number decides, not this point.
        middle = to_volume.apply((6600.0, 4000.0, 5700.0))[:2]
        # A turn of up to 1.5 degrees and a shift of up to 60 µm that differ from section to section.
        turn = 0.026 * math.sin(2.4 * number + 1.0)
        shift = 60.0 * np.array([math.cos(1.7 * number), math.sin(2.9 * number)])
        linear = resolution * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
        offset = middle + shift - linear @ (np.array(size) / 2)
        tsv = _printed(Affine2D(np.column_stack([linear, offset])))
        tvs = _printed(Affine2D.from_api(tsv).inverse())
        return recorded.Section(image_id, number, *size, image_id + 500000, tsv, tvs)

    def add_section(
        self,
        data_set_id: int,
        section: recorded.Section,
        *,
        resolution: float,
        is_recorded: bool = False,
        is_aligned: bool = True,
        model: str = "SectionImage",
    ) -> None:
        source = "recorded" if is_recorded else "made"
        self.tables[model].append(
            {
                "id": section.image_id,
                "annotated": False,
                "axes": None,
                "bits_per_component": 8,
                "data_set_id": data_set_id,
                "expression": None,
                "expression_path": f"/sample/{source}/{data_set_id}/{section.image_id}_expression.aff",
                "failed": False,
                "height": section.height,
                "image_height": section.height,
                "image_type": "Primary",
                "image_width": section.width,
                "isi_experiment_id": None,
                "lims1_id": section.image_id,
                "number_of_components": 3,
                "ophys_experiment_id": None,
                "path": f"/sample/{source}/{data_set_id}/{section.image_id}.aff",
                "projection_function": None,
                "resolution": resolution,
                "section_number": section.section_number,
                "specimen_id": None,
                "structure_id": None,
                "tier_count": math.ceil(math.log2(max(section.width, section.height) / 256)) + 1,
                "width": section.width,
                "x": 0,
                "y": 0,
            }
        )
        if is_recorded:
            self.recorded.add(section.image_id)
        if is_aligned:
            self.tables["Alignment2d"].append(
                {"id": section.alignment_id, "section_image_id": section.image_id}
                | _numbered("tsv", section.tsv)
                | _numbered("tvs", section.tvs)
            )
        _, tvr, _ = _alignment_3d(data_set_id)
        geometry = SectionGeometry(
            tsv=Affine2D.from_api(section.tsv),
            tvr=Affine3D.from_api(tvr),
            section_number=section.section_number,
            section_thickness_um=25.0,
        )
        space = 10 if data_set_id in _SAGITTAL else 9
        self.drawn_through[section.image_id] = (geometry.image_to_reference_matrix(), space)


def _alignment_3d(data_set_id: int) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """Return the alignment of a set, or of the recorded one that it is made like."""
    return recorded.ALIGNMENTS_3D.get(
        data_set_id, recorded.ALIGNMENTS_3D[_LIKE_SAGITTAL.get(data_set_id, _LIKE)]
    )


def _levels(row: Row) -> tuple[int, ...]:
    return tuple(row[f"{colour}_{end}"] for colour in ("red", "green", "blue") for end in ("lower", "upper"))


def _numbered(name: str, values: Iterable[float]) -> Row:
    return {f"{name}_{i:02}": value for i, value in enumerate(values)}


def _printed(affine: Affine2D) -> tuple[float, ...]:
    """Return the numbers with the six significant digits that the API prints."""
    return tuple(float(f"{value:.6g}") for value in affine.to_api())
