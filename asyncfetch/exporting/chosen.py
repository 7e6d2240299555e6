"""What an export is of: views of stored data sets, found by selections, and what formats want to know of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.allen import parse_data_set
from asyncfetch.errors import SelectionError
from asyncfetch.exporting.manifest import digest_of
from asyncfetch.layout.titles import title_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.planning.region_of_space import Ranges, RegionOfSpace
    from asyncfetch.selecting.selection import Selection
    from asyncfetch.settings import Layer
    from asyncfetch.store import Store, StoredDataSet

__all__ = ["Chosen", "find_data_sets"]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """One view of a data set, and what of it is exported.

    Attributes
    ----------
    stored : StoredDataSet
        The data set, seen in the view.
    record : SectionDataSet
        Its record, without sections.
    sections : mapping of int to SectionSummary
        The stored sections that are meant, by image id, in order of section number.
    is_whole : bool
        Whether all stored sections are meant, not images that were named.
    region : RegionOfSpace or None
        The part of the reference space that is meant; None means all.
    location : str
        The store.
    """

    stored: StoredDataSet
    record: SectionDataSet
    sections: Mapping[int, SectionSummary]
    location: str
    is_whole: bool = True
    region: RegionOfSpace | None = None

    @classmethod
    def of(
        cls,
        store: Store,
        data_set_id: int,
        view: str,
        image_ids: Collection[int] | None = None,
        region: RegionOfSpace | None = None,
    ) -> Chosen:
        """Look up what is stored of a view; `image_ids` None means all of its sections.

        Raises
        ------
        SelectionError
            Nothing of it is stored.
        """
        stored = store.data_set(data_set_id, view)
        sections = store.sections(data_set_id, view)
        if image_ids is not None:
            sections = {each: section for each, section in sections.items() if each in image_ids}
        if not sections:
            raise SelectionError(f"{store.location} holds no section of data set {data_set_id}, view {view}")
        return cls(
            stored=stored,
            record=parse_data_set(stored.record),
            sections=sections,
            location=store.location,
            is_whole=image_ids is None,
            region=region,
        )

    @property
    def data_set_id(self) -> int:
        """The data set."""
        return self.stored.id

    @property
    def view(self) -> str:
        """The view."""
        return self.stored.view

    @property
    def item(self) -> str:
        """The selection that names the data set."""
        return f"dataset:{self.stored.id}"

    @property
    def title(self) -> str:
        """What people see of it, such as ``Pvalb coronal P56 (data set 479)``."""
        return title_of(self.record, self.view)

    @property
    def genes(self) -> str:
        """The acronyms of its genes, with blanks between."""
        return " ".join(gene.acronym for gene in self.record.genes if gene.acronym)

    @property
    def stem(self) -> str:
        """How the names of its files begin, with its folder: ``479/479``, ``479/479_expression``."""
        view = "" if self.view == "image" else f"_{self.view}"
        return f"{self.stored.id}/{self.stored.id}{view}"

    def stem_of(self, image_id: int) -> str:
        """Return how the names of the files of a section begin: ``479/479_s0236_101349756``.

        The digits behind ``s`` are the section number, as QuickNII and its kin look for it.
        """
        number = self.sections[image_id].section_number
        return f"{self.stem}_s{number or 0:04d}_{image_id}"

    def ranges_in(self, space: int | None) -> Ranges | None:
        """Return the ranges of p, i and r that are meant, in µm of a reference space; None means all.

        Raises
        ------
        SelectionError
            The region is not known in that space.
        """
        if self.region is None:
            return None
        ranges = self.region.boxes.get(space or 0)
        if ranges is None:
            known = " and ".join(map(str, sorted(self.region.boxes)))
            raise SelectionError(
                f"data set {self.stored.id} lies in reference space {space}, where the region is not known; it is "
                f"known in the spaces {known}"
            )
        return ranges

    def content_of(self, image_ids: Iterable[int], *layers: Layer) -> dict[str, Any]:
        """Return what pixels of sections depend on: the region, and how many sections there are, with a digest of them.

        Parameters
        ----------
        image_ids : iterable of int
            The sections.
        *layers : str
            The layers that may be read; of each section those count that it has.
        """
        rows = [_fingerprint(self.sections[image_id], layers) for image_id in image_ids]
        region = None if self.region is None else sorted(self.region.boxes.items())
        return {
            "store": self.location,
            "record": digest_of(self.stored.record),
            "region": region,
            "n_sections": len(rows),
            "sections": digest_of({"sections": rows}),
        }


def _fingerprint(section: SectionSummary, layers: Sequence[Layer]) -> list[Any]:
    """Return what tells the pixels of a section apart from others."""
    there = [layer for layer in layers if layer in section.layers]
    objects = {layer: section.objects[layer].crc32 for layer in there if layer in section.objects}
    recipe = {
        name: value for name, value in msgspec.structs.asdict(section.recipe).items() if name != "codec"
    }
    return [section.image_id, section.sha256, section.downsample, section.region, objects, recipe]


def find_data_sets(
    store: Store, selections: Sequence[Selection]
) -> tuple[dict[int, set[int] | None], list[Selection]]:
    """Look up what selections name in a store, offline.

    Parameters
    ----------
    store : Store
        Where it is looked for.
    selections : sequence of Selection
        What is wanted; none means everything.

    Returns
    -------
    found : dict of int to set of int or None
        The image ids that are meant of each data set, in order of the ids; None means all.
    missing : list of Selection
        Those that name nothing that is stored.
    """
    ids = store.read_data_set_ids()
    if not selections:
        return dict.fromkeys(ids), []
    found: dict[int, set[int] | None] = {}
    missed = set(selections)
    whole = [each for each in selections if each.kind != "image"]
    images = {int(each.id): each for each in selections if each.kind == "image"}
    plates = {atlas_id: set(atlas.data_set_ids) for atlas_id, atlas in store.read_atlases().items()}
    for data_set_id in ids:
        record = parse_data_set(store.data_set(data_set_id).record)
        named = [each for each in whole if _names(each, record, plates)]
        missed -= set(named)
        if named:
            found[data_set_id] = None
        if images:
            stored = set().union(
                *(store.sections(data_set_id, view) for view in _views_of(store, data_set_id))
            )
            missed -= {images[each] for each in images.keys() & stored}
            if not named and images.keys() & stored:
                found[data_set_id] = images.keys() & stored
    return found, [each for each in selections if each in missed]


def _views_of(store: Store, data_set_id: int) -> tuple[str, ...]:
    return store.data_set(data_set_id).read_views()


def _origins(kind: str, record: SectionDataSet) -> tuple[Any, ...]:
    """Return the id and the name of the specimen of a data set, or the id of the structure that it was taken from."""
    specimen = record.record.get("specimen")
    known = specimen if isinstance(specimen, dict) else {}
    if kind == "structure":
        return (known.get("structure_id"),)
    return record.record.get("specimen_id"), known.get("name")


def _names(selection: Selection, record: SectionDataSet, plates: Mapping[int, set[int]]) -> bool:
    """Tell whether a selection names a data set; capitals of genes and products do not count here."""
    if selection.kind == "dataset":
        return selection.id == record.id
    if selection.kind == "atlas":
        return record.id in plates.get(int(selection.id), ())
    if selection.kind in {"specimen", "structure"}:
        return selection.id in _origins(selection.kind, record)
    if selection.kind == "gene":
        names = {name for gene in record.genes for name in (gene.id, gene.acronym)}
    else:
        names = {name for product in record.products for name in (product.id, product.abbreviation)}
    wanted = selection.id if isinstance(selection.id, int) else selection.id.casefold()
    return wanted in {each.casefold() if isinstance(each, str) else each for each in names}
