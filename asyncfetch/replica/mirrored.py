"""A mirrored store as what the replica answers from: its records, and pixels from its layers. Read-only.

The rows are the stored records; what they include (alignments, genes, products) becomes rows of its own, so that
queries can go through it. Sections that are not committed do not exist here. Structure centres, the transforms
between reference spaces and atlases are those of the store's catalogue; where a store has none, and for planes,
reference spaces and structures, which no store holds, the sample atlas's stand in.

A whole tier that was fetched just as it is asked for is answered with the stored JPEG, byte for byte. Everything else
is made of stored pixels: from the levels of the layer ``sections`` where there are any, else from the decoded JPEG;
coarser tiers by halving. A tier finer than the stored one, and a view that is not stored, are not found. The
expression level in grey is the brightest channel of the stored mask.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.atlas import ATLAS_DATA_SETS
from asyncfetch.errors import ImageError, NotFoundError, SelectionError, StoreItemError
from asyncfetch.imaging import decode, halve
from asyncfetch.replica.display import Display
from asyncfetch.replica.images import DEFAULT_QUALITY
from asyncfetch.replica.schema import ASSOCIATIONS
from asyncfetch.sample import recorded
from asyncfetch.sample.tables import general_tables
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from asyncfetch.geometry import Box
    from asyncfetch.replica.images import Picture
    from asyncfetch.replica.rma import Row
    from asyncfetch.store import Commit, Store, StoredSection

__all__ = ["MirroredAtlas"]

_CACHE_BYTES = 2**28
_PLAIN = Display()


@dataclass(frozen=True)
class _Rows:
    """Rows by model and id, and the links between them."""

    tables: dict[str, dict[int, Row]]
    links: dict[str, dict[tuple[int, int], None]]

    def add(self, model: str, record: Mapping[str, Any]) -> None:
        """Add a record; what it includes becomes rows of its own."""
        row = dict(record)
        for name, way in ASSOCIATIONS[model].items():
            if name not in row:
                continue
            included = row.pop(name)
            for target in included if isinstance(included, list) else [included]:
                if not isinstance(target, dict) or "id" not in target:
                    continue
                if way.kind == "has":
                    target = {way.key: row["id"], **target}
                elif way.kind != "belongs_to":
                    pair = (row[way.own], target["id"])
                    pair = pair if way.kind == "left" else pair[::-1]
                    self.links.setdefault(way.key, {})[pair] = None
                self.add(way.model, target)
        self.tables.setdefault(model, {}).setdefault(row["id"], row)


class MirroredAtlas:
    """The answers of a mirrored store, as it is when this is made.

    Parameters
    ----------
    store : Store
        Opened by ``asyncfetch.store.open``.
    cache_bytes : int
        Most bytes of decoded JPEGs kept in memory.

    Attributes
    ----------
    tables, links : mapping
        The rows, as queries see them.
    """

    def __init__(self, store: Store, *, cache_bytes: int = _CACHE_BYTES) -> None:
        self._store = store
        self._cache_bytes = cache_bytes
        self._cache: OrderedDict[tuple[int, str], NDArray[np.uint8]] = OrderedDict()
        self._caching = threading.Lock()
        self._commits: dict[tuple[int, str], Commit] = {}
        #: Sections whose levels were found to be whole.
        self._whole: set[tuple[int, str]] = set()
        rows = _Rows({}, {})
        self._atlases = self._add_catalogue(rows)
        for data_set_id in store.read_data_set_ids():
            self._add(data_set_id, rows)
        self.tables: Mapping[str, Sequence[Row]] = general_tables() | {
            model: list(by_id.values()) for model, by_id in rows.tables.items()
        }
        self.links: Mapping[str, Sequence[tuple[int, int]]] = {
            name: list(pairs) for name, pairs in rows.links.items()
        }
        self._images = {image_id: _boxed(commit) for (image_id, _), commit in self._commits.items()}
        self._levels = {
            row["section_data_set_id"]: tuple(
                row[f"{colour}_{end}"] for colour in ("red", "green", "blue") for end in ("lower", "upper")
            )
            for row in self.tables.get("Equalization", ())
            if row.get("red_upper") is not None
        }

    def __repr__(self) -> str:
        return f"MirroredAtlas({self._store!r}, {counted(len(self._images), 'image')})"

    def _add_catalogue(self, rows: _Rows) -> list[tuple[int, int]]:
        """Add what belongs to no data set, and return the pairs of an atlas and a data set of its plates."""
        for model, stored in (
            ("StructureCenter", self._store.read_structure_centers()),
            ("ReferenceToReferenceTransform", self._store.read_space_transforms() or ()),
        ):
            for row in stored:
                rows.add(model, row)
        pairs = []
        for atlas_id, atlas in self._store.read_atlases().items():
            rows.add("Atlas", atlas.record)
            pairs += [(atlas_id, data_set_id) for data_set_id in atlas.data_set_ids]
        stored_sets = set(self._store.read_data_set_ids())
        for atlas_id, data_set_id in ATLAS_DATA_SETS.items():
            # plates that were stored without their atlas
            if data_set_id in stored_sets and (atlas_id, data_set_id) not in pairs:
                name, graph = recorded.ATLASES[atlas_id]
                rows.add("Atlas", {"id": atlas_id, "name": name, "structure_graph_id": graph})
                pairs.append((atlas_id, data_set_id))
        return pairs

    def _add(self, data_set_id: int, rows: _Rows) -> None:
        atlases = [atlas for atlas, of in self._atlases if of == data_set_id]
        kind = "Atlas" if atlases else "Section"
        data_set = self._store.data_set(data_set_id)
        rows.add(f"{kind}DataSet", data_set.record)
        for atlas in atlases:
            rows.links.setdefault("atlas_data_sets_atlases", {})[data_set_id, atlas] = None
        for view in data_set.read_views():
            for commit in self._store.data_set(data_set_id, view).read_commits():
                self._commits[commit.image_id, view] = commit
                rows.add(f"{kind}Image", commit.record)

    def image_row(self, image_id: int) -> Row | None:
        """Return the record of a committed section, or None."""
        return self._images.get(image_id)

    def image_at(self, path: str) -> tuple[int, str] | None:
        """Return the image and the view that a path of `image_path` names."""
        stem = path.rpartition("/")[2].removesuffix(".aff")
        name, _, view = stem.partition("_")
        view = view or "image"
        if not name.isdecimal() or (int(name), view) not in self._commits:
            return None
        return (int(name), view) if self.image_path(int(name), view) == path else None

    def image_path(self, image_id: int, view: str) -> str:
        """Return a path of our own, because records may hold none, or the same for two views."""
        suffix = "" if view == "image" else f"_{view}"
        return f"/mirrored/{self._images[image_id]['data_set_id']}/{image_id}{suffix}.aff"

    def image_levels(self, image_id: int) -> tuple[int, ...] | None:
        """Return the window of the image's data set, None where its record includes no Equalization."""
        return self._levels.get(self._images[image_id]["data_set_id"])

    def has_view(self, image_id: int, view: str) -> bool:
        """Return whether an image is committed in a view."""
        return (image_id, view) in self._commits

    def stored(self, picture: Picture) -> bytes | None:
        """Return the stored JPEG where a picture is asked for just as it was fetched."""
        commit = self._commits.get((picture.image_id, picture.view))
        if commit is None or "source" not in commit.layers:
            return None
        is_same = (
            picture.is_whole
            and picture.downsample == commit.downsample
            and picture.quality == (DEFAULT_QUALITY if commit.quality is None else commit.quality)
            and picture.display == _PLAIN
            and not picture.is_gray_mask
        )
        return self._sent(commit) if is_same else None

    def _sent(self, commit: Commit) -> bytes:
        """Return a stored JPEG that is the one that was committed.

        Raises
        ------
        NotFoundError
            It is missing, or another one.
        """
        try:
            jpeg = self._section(commit).read_jpeg()
        except StoreItemError as error:
            raise NotFoundError(error.message) from error
        if hashlib.sha256(jpeg).hexdigest() != commit.sha256:
            raise NotFoundError(
                f"the stored JPEG of image {commit.image_id} is not the one that was committed"
            )
        return jpeg

    def n_source_pixels(self, image_id: int, view: str) -> int:
        """Return the pixels of the stored image: what is drawn is made of all of them."""
        commit = self._commits.get((image_id, view))
        return 0 if commit is None else commit.shape[0] * commit.shape[1]

    def draw(
        self, image_id: int, *, downsample: int = 0, box: Box | None = None, view: str = "image"
    ) -> NDArray[np.uint8]:
        """Return the pixels of a box of a tier.

        Raises
        ------
        NotFoundError
            The view is not stored, or only coarser than that, or what is stored of it is damaged.
        """
        is_level = view == "expression_level"
        commit = self._commits.get((image_id, "expression" if is_level else view))
        if commit is None:
            raise NotFoundError(f"the store holds no view {view} of image {image_id}")
        if downsample < commit.downsample:
            raise NotFoundError(
                f"the store holds image {image_id} from downsample {commit.downsample} on, not {downsample}"
            )
        pixels = self._pixels(commit, downsample, box)
        return np.ascontiguousarray(pixels.max(axis=2, keepdims=True) if is_level else pixels)

    def outlines(self, image_id: int, *, downsample: int, box: Box, atlas_id: int) -> None:
        """Return None: a store holds no annotations."""

    def _pixels(self, commit: Commit, downsample: int, box: Box | None) -> NDArray[np.uint8]:
        section = self._section(commit)
        # the API serves the mask's colours, which the JPEG alone has kept
        if "sections" in commit.layers and not commit.recipe.numeric_expression:
            try:
                return self._from_levels(commit, section, downsample, box)
            except StoreItemError as error:
                if "source" not in commit.layers:
                    raise NotFoundError(error.message) from error
        pixels = self._decoded(commit, section)
        for _ in range(downsample - commit.downsample):
            pixels = halve(pixels)
        return pixels if box is None else pixels[box.slices]

    def _from_levels(
        self, commit: Commit, section: StoredSection, downsample: int, box: Box | None
    ) -> NDArray[np.uint8]:
        """Return pixels of stored levels, which are looked at before the first.

        Raises
        ------
        StoreItemError
            They are damaged.
        """
        key = commit.image_id, commit.view
        if key not in self._whole:
            section.check_levels()
            self._whole.add(key)
        levels, k = section.open_levels(), downsample - commit.downsample
        finest = min(k, len(levels) - 1)
        rows, columns = (slice(None), slice(None)) if box is None or k > finest else box.slices
        planes = np.asarray(levels[finest][:, 0, rows, columns])
        pixels: NDArray[np.uint8] = np.ascontiguousarray(planes.transpose(1, 2, 0))
        if k == finest:
            return pixels
        for _ in range(k - finest):
            pixels = halve(pixels)
        return pixels if box is None else pixels[box.slices]

    def _decoded(self, commit: Commit, section: StoredSection) -> NDArray[np.uint8]:
        key = commit.image_id, commit.view
        with self._caching:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        if "source" in commit.layers:
            self._sent(commit)
        try:
            pixels = decode(section.read_jpeg(), shape=commit.shape)
        except (ImageError, StoreItemError) as error:
            raise NotFoundError(error.message) from error
        with self._caching:
            self._cache[key] = pixels
            while sum(each.nbytes for each in self._cache.values()) > self._cache_bytes:
                self._cache.popitem(last=False)
        return pixels

    def _section(self, commit: Commit) -> StoredSection:
        try:
            return self._store.data_set(commit.data_set_id, commit.view).section(commit.image_id)
        except SelectionError as error:
            # it was committed when this was made
            raise NotFoundError(error.message) from error


def _boxed(commit: Commit) -> Row:
    """Return a section's record with what the image services need, where the API gave it as null."""
    height, width = (side << commit.downsample for side in commit.shape)
    needed = {"x": 0, "y": 0, "width": width, "height": height, "data_set_id": commit.data_set_id}
    known = {name: value for name, value in commit.record.items() if value is not None}
    return commit.record | needed | known
