"""Metadata that follow from commits and records: written once more beside the store, and compared with what is there.

They are made by what writes a store, so that there is no second place that knows what they are to say.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from zarr.storage import MemoryStore

from asyncfetch.errors import AsyncFetchError
from asyncfetch.layout.paths import registered_path, section_path, table_path
from asyncfetch.layout.registered import ViewLayout
from asyncfetch.store.objects import Place, metadata_key
from asyncfetch.store.records import read_commits, read_registered_layout
from asyncfetch.store.root import check_root, choose_ngff, ngff_of
from asyncfetch.store.volume import VolumeWriter, read_volume_layout
from asyncfetch.store.writer import StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zarr.abc.buffer import Buffer

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.commit import Commit
    from asyncfetch.settings import Layer
    from asyncfetch.store.view_writer import ViewWriter

__all__ = ["Expected"]


_ROOT = "zarr.json"
_TABLE_ARRAY = re.compile(r".*/table/[^/]+/zarr\.json")


class Expected:
    """What the metadata of one data set are to say, written once more in memory, a section after the other.

    Parameters
    ----------
    place : Place
        The store; it is read alone.
    data_set : SectionDataSet
        The stored record with its sections.
    views : iterable of str
        Those that are stored.

    Attributes
    ----------
    problems : list of (str, str)
        Paths, and phrases that follow them: what contradicts the records; complete once all objects were taken.
    """

    def __init__(self, place: Place, data_set: SectionDataSet, views: Iterable[str]) -> None:
        self.problems: list[tuple[str, str]] = []
        self._stored = place
        self._data_set = data_set
        self._views = tuple(views)
        self._buffers: dict[str, Buffer] = {}
        self._place = Place(MemoryStore(self._buffers))
        check_root(self._place, create=True)
        choose_ngff(self._place, ngff_of(place))
        self._writer = StoreWriter(self._place)

    def objects(self) -> Iterator[tuple[str, bytes]]:
        """Yield what is to be there, by key."""
        for view in self._views:
            yield from self._objects_of_view(view)
            layout = read_volume_layout(self._stored, self._data_set.id, view)
            if layout is not None:
                VolumeWriter.begin(self._place, self._data_set.id, view, layout).commit()
        self._writer.write_table(self._data_set)
        table = f"{table_path(self._data_set.id)}/"
        # what the table says has a checksum, and may be newer than commits
        yield from self._taken(
            lambda key: key != _ROOT and (not key.startswith(table) or bool(_TABLE_ARRAY.fullmatch(key)))
        )

    def _taken(self, is_taken: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
        for key in [key for key in self._buffers if is_taken(key)]:
            yield key, self._buffers.pop(key).to_bytes()

    def _objects_of_view(self, view: str) -> Iterator[tuple[str, bytes]]:
        there, commits = self._opened(view)
        if there is None:
            return
        for commit in commits:
            there.commit(commit)
            if "sections" in commit.layers:
                there.create_levels(
                    commit.image_id,
                    commit.shape,
                    codec=commit.recipe.codec,
                    downsample=commit.downsample,
                    resolution_um=commit.resolution_um,
                )
                # coordinates of large levels are large, too
                levels = f"{section_path(self._data_set.id, view, commit.image_id)}/scale"
                yield from self._taken(partial(_is_below, levels))
        there.finish()

    def _opened(self, view: str) -> tuple[ViewWriter | None, list[Commit]]:
        commits = list(read_commits(self._stored, self._data_set.id, view).values())
        registered = read_registered_layout(self._stored, self._data_set.id, view)
        layers: tuple[Layer, ...] = tuple(
            dict.fromkeys(layer for commit in commits for layer in commit.layers)
        )
        holder = registered or next(iter(commits), None)
        if holder is None:
            return None, commits
        path = registered_path(self._data_set.id, view)
        if registered is not None:
            self._place.write_group(path, {"asyncfetch": registered.to_attributes()})
            others: tuple[Layer, ...] = tuple(layer for layer in layers if layer != "registered")
            layers = (*others, "registered")
        try:
            seen = self._data_set.in_space(holder.recipe.space)
            layout = ViewLayout.of_data_set(seen, view, layers=layers, recipe=holder.recipe)
            there = self._writer.open_view(layout)
        except AsyncFetchError as error:
            self.problems.append((metadata_key(path), f"does not fit the sections ({error.message})"))
            return None, commits
        if registered is not None and there.registered != registered:
            self.problems.append((metadata_key(path), "has other slots than the sections"))
        return there, commits


def _is_below(prefix: str, key: str) -> bool:
    return key.startswith(prefix)
