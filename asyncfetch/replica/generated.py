"""A generated product of any size as what the replica answers from: rows and images are made when they are asked for.

Everything follows from ids by arithmetic, so that 60 000 data sets with 10^6 sections take no more memory than ten.
Data set k has 12, 14, 16, 18, 20 or 20 sections in turn, a hundred for every six sets. Two of three sets are coronal
and like 479 of the sample atlas, the others sagittal and like 123, in images 64 times as small, through alignments that
place these at the same points. Three sets share a gene and four a specimen. All belong to product 1, none has failed.

Images of the same place look alike, but for a stamp: the bits of the image's id as bright and dark squares in the
upper left corner of the full resolution, from which `stamped_id` reads it back.
"""

from __future__ import annotations

import bisect
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.errors import NotFoundError, SettingsError
from asyncfetch.geometry import Affine2D, Box, tier_shape, tier_to_full
from asyncfetch.replica.tables import GeneratedLinks, GeneratedTable, Table, positions_of
from asyncfetch.sample import sample_atlas
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from asyncfetch.replica.images import Picture
    from asyncfetch.replica.tables import Links
    from asyncfetch.sample import SampleAtlas

__all__ = ["GeneratedAtlas", "stamped_id"]

type Row = dict[str, Any]

#: Ids have nine and ten digits, as those of the API, and lie beside those of the sample atlas.
_FIRST_DATA_SET_ID, _DATA_SET_STEP = 700_000_000, 10
_FIRST_IMAGE_ID, _IMAGE_STEP = 1_100_000_000, 2
_FIRST_GENE_ID, _FIRST_SPECIMEN_ID, _FIRST_DONOR_ID = 710_000_000, 720_000_000, 730_000_000
_PRODUCT_ID = 1
_MAX_DATA_SETS = 1_000_000

_SETS_PER_GENE, _SETS_PER_SPECIMEN = 3, 4
_SECTIONS = (12, 14, 16, 18, 20, 20)
_BEGINNINGS = (0, *itertools.accumulate(_SECTIONS))
_SECTIONS_PER_TURN = _BEGINNINGS[-1]

#: The data sets of the sample atlas that generated ones are like, in turn, and every which of their sections.
_LIKE = ((479, 3), (479, 3), (123, 2))
_N_HALVINGS = 6
_VIEWS = ("image", "expression")
_AS_IN_THE_SAMPLE = (
    "Age",
    "Ontology",
    "PlaneOfSection",
    "Product",
    "ReferenceSpace",
    "ReferenceToReferenceTransform",
    "Structure",
    "StructureCenter",
    "StructureGraph",
    "Treatment",
)

_STAMP_BITS, _STAMP_COLUMNS, _STAMP_SIDE = 32, 8, 4
_DARK, _BRIGHT = 40, 215


class GeneratedAtlas:
    """A product of any number of data sets, made by arithmetic.

    Parameters
    ----------
    n_data_sets : int
        How many data sets, at most a million.

    Attributes
    ----------
    n_data_sets, n_sections : int
        How many there are.
    tables, links : mapping
        The rows, as queries see them.

    Raises
    ------
    SettingsError
        There would be no data set, or too many.
    """

    def __init__(self, n_data_sets: int) -> None:
        if not 1 <= n_data_sets <= _MAX_DATA_SETS:
            raise SettingsError(
                f"a generated product has between 1 and {_MAX_DATA_SETS} data sets, not {n_data_sets}",
                setting="generated",
            )
        self.n_data_sets = n_data_sets
        self.n_sections = _n_before(n_data_sets)
        self._sample = sample_atlas()
        self._models = [_Model(self._sample, *like) for like in dict.fromkeys(_LIKE)]
        self._model_of = [self._models[[*dict.fromkeys(_LIKE)].index(like)] for like in _LIKE]
        self.tables = self._tables()
        self.links: Mapping[str, Sequence[tuple[int, int]] | Links] = {
            "data_sets_products": GeneratedLinks(
                lambda _: (_PRODUCT_ID,), lambda own: self._data_set_ids() if own == _PRODUCT_ID else ()
            ),
            "data_sets_genes": GeneratedLinks(
                lambda own: (_FIRST_GENE_ID + self._index_of(own) // _SETS_PER_GENE,),
                lambda own: [_data_set_id(k) for k in self._sharing(own - _FIRST_GENE_ID, _SETS_PER_GENE)],
            ),
            "data_sets_treatments": GeneratedLinks(
                lambda _: (self._treatment["id"],),
                lambda own: self._data_set_ids() if own == self._treatment["id"] else (),
            ),
        }

    def __repr__(self) -> str:
        return (
            f"GeneratedAtlas({counted(self.n_data_sets, 'data set')}, {counted(self.n_sections, 'section')})"
        )

    def _tables(self) -> Mapping[str, Sequence[Row]]:
        sample = self._sample.tables
        self._treatment = next(row for row in sample["Treatment"] if row["name"] == "ISH")
        n, n_sections = self.n_data_sets, self.n_sections
        n_genes, n_specimens = -(-n // _SETS_PER_GENE), -(-n // _SETS_PER_SPECIMEN)
        gene, specimen, donor = (sample[model][0] for model in ("Gene", "Specimen", "Donor"))
        sets, images = (_FIRST_DATA_SET_ID, _DATA_SET_STEP), (_FIRST_IMAGE_ID, _IMAGE_STEP)

        def with_name(k: int) -> str:
            return f"G{k:05}"

        made: dict[str, Sequence[Row]] = {
            "SectionDataSet": GeneratedTable(
                n,
                *sets,
                self._data_set_row,
                {"specimen_id": lambda each: self._sharing(each - _FIRST_SPECIMEN_ID, _SETS_PER_SPECIMEN)},
            ),
            "Alignment3d": GeneratedTable(
                n,
                sets[0] + 1,
                sets[1],
                self._alignment3d_row,
                {"aligned_id": self._one_set},
            ),
            "SectionImage": GeneratedTable(
                n_sections, *images, self._image_row, {"data_set_id": self._positions_of_set}
            ),
            "Alignment2d": GeneratedTable(
                n_sections,
                images[0] + 1,
                images[1],
                self._alignment2d_row,
                {"section_image_id": lambda each: positions_of(each, *images, n_sections)},
            ),
            "Gene": GeneratedTable(
                n_genes,
                _FIRST_GENE_ID,
                1,
                lambda k: (
                    gene
                    | {
                        "id": _FIRST_GENE_ID + k,
                        "acronym": with_name(k),
                        "name": f"gene {with_name(k)}",
                        "entrez_id": k + 1,
                    }
                ),
            ),
            "Specimen": GeneratedTable(
                n_specimens,
                _FIRST_SPECIMEN_ID,
                1,
                lambda k: (
                    specimen
                    | {
                        "id": _FIRST_SPECIMEN_ID + k,
                        "name": f"generated {k}",
                        "donor_id": _FIRST_DONOR_ID + k,
                    }
                ),
                {"donor_id": lambda each: positions_of(each, _FIRST_DONOR_ID, 1, n_specimens)},
            ),
            "Donor": GeneratedTable(
                n_specimens,
                _FIRST_DONOR_ID,
                1,
                lambda k: (
                    donor
                    | {"id": _FIRST_DONOR_ID + k, "name": f"generated {k}", "sex": "MF"[k % 2]}
                    | {"sex_full_name": ("Male", "Female")[k % 2]}
                ),
            ),
        }
        return {model: sample[model] for model in _AS_IN_THE_SAMPLE} | made

    def _data_set_ids(self) -> range:
        end = _FIRST_DATA_SET_ID + self.n_data_sets * _DATA_SET_STEP
        return range(_FIRST_DATA_SET_ID, end, _DATA_SET_STEP)

    def _index_of(self, data_set_id: int) -> int:
        return (data_set_id - _FIRST_DATA_SET_ID) // _DATA_SET_STEP

    def _one_set(self, data_set_id: int) -> Sequence[int]:
        return positions_of(data_set_id, _FIRST_DATA_SET_ID, _DATA_SET_STEP, self.n_data_sets)

    def _sharing(self, k: int, n_each: int) -> range:
        """Return the data sets that share a gene or a specimen."""
        return range(max(0, k * n_each), min(self.n_data_sets, (k + 1) * n_each)) if k >= 0 else range(0)

    def _positions_of_set(self, data_set_id: int) -> Sequence[int]:
        return [j for k in self._one_set(data_set_id) for j in range(_n_before(k), _n_before(k + 1))]

    def _data_set_row(self, k: int) -> Row:
        like = self._model_of[k % len(_LIKE)]
        return like.data_set | {
            "id": _data_set_id(k),
            "specimen_id": _FIRST_SPECIMEN_ID + k // _SETS_PER_SPECIMEN,
        }

    def _alignment3d_row(self, k: int) -> Row:
        like = self._model_of[k % len(_LIKE)]
        return like.alignment | {"id": _data_set_id(k) + 1, "aligned_id": _data_set_id(k)}

    def _image_row(self, j: int) -> Row:
        k, section = self._section_at(j)
        image_id, data_set_id = _FIRST_IMAGE_ID + j * _IMAGE_STEP, _data_set_id(k)
        path = f"/generated/{data_set_id}/{image_id}"
        return section.image | {
            "id": image_id,
            "data_set_id": data_set_id,
            "lims1_id": image_id,
            "path": f"{path}.aff",
            "expression_path": f"{path}_expression.aff",
        }

    def _alignment2d_row(self, j: int) -> Row:
        image_id = _FIRST_IMAGE_ID + j * _IMAGE_STEP
        return self._section_at(j)[1].alignment | {"id": image_id + 1, "section_image_id": image_id}

    def _section_at(self, j: int) -> tuple[int, _Section]:
        """Return the data set and the section at a position among all sections."""
        turn, within = divmod(j, _SECTIONS_PER_TURN)
        place = bisect.bisect_right(_BEGINNINGS, within) - 1
        k = turn * len(_SECTIONS) + place
        return k, self._model_of[k % len(_LIKE)].sections[within - _BEGINNINGS[place]]

    def _section_of(self, image_id: int) -> _Section:
        for j in positions_of(image_id, _FIRST_IMAGE_ID, _IMAGE_STEP, self.n_sections):
            return self._section_at(j)[1]
        raise NotFoundError(f"the generated product has no image {image_id}")

    def image_row(self, image_id: int) -> Row | None:
        """Return the record of a section image, or None where there is none."""
        rows = self.tables["SectionImage"]
        assert isinstance(rows, Table)
        return next(iter(rows.where("id", image_id)), None)

    def image_at(self, path: str) -> tuple[int, str] | None:
        """Return the image and the view that a record's path names, or None."""
        name, _, view = path.rpartition("/")[2].removesuffix(".aff").partition("_")
        row = self.image_row(int(name)) if name.isdecimal() else None
        view = view or "image"
        if row is None or view not in _VIEWS:
            return None
        return (row["id"], view) if self.image_path(row["id"], view) == path else None

    def image_path(self, image_id: int, view: str) -> str:
        """Return the path of a view of an image."""
        row = self.image_row(image_id)
        if row is None:
            raise NotFoundError(f"the generated product has no image {image_id}")
        return str(row["expression_path" if view == "expression" else "path"])

    def has_view(self, image_id: int, view: str) -> bool:
        """Return whether an image exists in a view."""
        return view in _VIEWS

    def image_levels(self, image_id: int) -> tuple[int, ...] | None:
        """Return None: no data set has an Equalization."""

    def outlines(
        self, image_id: int, *, downsample: int, box: Box, atlas_id: int
    ) -> NDArray[np.bool_] | None:
        """Return None: there are no plates."""

    def stored(self, picture: Picture) -> bytes | None:
        """Return None: every picture is drawn."""

    def n_source_pixels(self, image_id: int, view: str) -> int:
        """Return 0: nothing is decoded."""
        return 0

    def draw(
        self, image_id: int, *, downsample: int = 0, box: Box | None = None, view: str = "image"
    ) -> NDArray[np.uint8]:
        """Draw an image or a part of one: the place in the phantom, and at full resolution the stamp.

        Returns
        -------
        (h, w, 3) array of uint8
            (h, w, 1) for ``expression_level``.

        Raises
        ------
        NotFoundError
            There is no such image.
        """
        pixels = self._section_of(image_id).drawn(self._sample, downsample, view)
        if not downsample and view == "image":
            pixels = pixels.copy()
            stamp = _stamp(image_id)
            pixels[: stamp.shape[0], : stamp.shape[1]] = stamp
        if box is None:
            return pixels
        return pixels[box.y0 : box.y1, box.x0 : box.x1]


class _Section:
    """What the sections at one place of all sets like one have in common."""

    def __init__(self, image: Row, alignment: Row, sample_id: int) -> None:
        self.image = image
        self.alignment = alignment
        self._sample_id = sample_id
        self._drawn: dict[tuple[int, str], NDArray[np.uint8]] = {}

    def drawn(self, sample: SampleAtlas, downsample: int, view: str) -> NDArray[np.uint8]:
        """Return the pixels of a tier, drawn once."""
        key = (downsample, view)
        if key not in self._drawn:
            shape = tier_shape(self.image["height"], self.image["width"], downsample)
            self._drawn[key] = sample.draw(
                self._sample_id, downsample=downsample + _N_HALVINGS, box=Box.of_shape(shape), view=view
            )
        return self._drawn[key]


class _Model:
    """A data set of the sample atlas, 64 times as small, that generated ones are like."""

    def __init__(self, sample: SampleAtlas, data_set_id: int, step: int) -> None:
        tables = sample.tables
        self.data_set = next(row for row in tables["SectionDataSet"] if row["id"] == data_set_id)
        self.alignment = next(row for row in tables["Alignment3d"] if row["aligned_id"] == data_set_id)
        flat = {row["section_image_id"]: row for row in tables["Alignment2d"]}
        rows = [row for row in tables["SectionImage"] if row["data_set_id"] == data_set_id]
        rows.sort(key=lambda row: row["section_number"])
        self.sections = [
            _shrunken(row, flat[row["id"]]) for row in rows[1 : 1 + step * max(_SECTIONS) : step]
        ]
        if len(self.sections) < max(_SECTIONS):
            raise AssertionError(f"data set {data_set_id} has too few sections")


def _shrunken(row: Row, alignment: Row) -> _Section:
    """Return a section of the sample atlas in an image 64 times as small, at the same place."""
    height, width = tier_shape(row["height"], row["width"], _N_HALVINGS)
    to_volume = Affine2D.from_api([alignment[f"tsv_{i:02}"] for i in range(6)]) @ tier_to_full(_N_HALVINGS)
    tsv = [float(f"{number:.6g}") for number in to_volume.to_api()]
    tvs = [float(f"{number:.6g}") for number in Affine2D.from_api(tsv).inverse().to_api()]
    image = row | {
        "height": height,
        "image_height": height,
        "width": width,
        "image_width": width,
        "resolution": row["resolution"] * 2**_N_HALVINGS,
        "tier_count": 1,
    }
    numbers = {
        f"{name}_{i:02}": value for name, six in (("tsv", tsv), ("tvs", tvs)) for i, value in enumerate(six)
    }
    return _Section(image, alignment | numbers, row["id"])


def stamped_id(pixels: NDArray[np.uint8]) -> int:
    """Read the id of a generated image from its pixels.

    Parameters
    ----------
    pixels : (y, x, 3) array of uint8
        The image at full resolution, decoded from its JPEG.
    """
    side, rows = _STAMP_SIDE, _STAMP_BITS // _STAMP_COLUMNS
    stamp = pixels[: rows * side, : _STAMP_COLUMNS * side].mean(axis=2)
    means = stamp.reshape(rows, side, _STAMP_COLUMNS, side).mean(axis=(1, 3)).ravel()
    return sum(1 << bit for bit, mean in enumerate(means) if mean > (_DARK + _BRIGHT) / 2)


def _stamp(image_id: int) -> NDArray[np.uint8]:
    bits = np.array([image_id >> bit & 1 for bit in range(_STAMP_BITS)]).reshape(-1, _STAMP_COLUMNS)
    squares = np.where(bits, _BRIGHT, _DARK).astype(np.uint8)
    return np.repeat(np.repeat(squares, _STAMP_SIDE, axis=0), _STAMP_SIDE, axis=1)[..., np.newaxis]


def _data_set_id(k: int) -> int:
    return _FIRST_DATA_SET_ID + k * _DATA_SET_STEP


def _n_before(k: int) -> int:
    """Return how many sections the first k data sets have."""
    turn, place = divmod(k, len(_SECTIONS))
    return turn * _SECTIONS_PER_TURN + _BEGINNINGS[place]
