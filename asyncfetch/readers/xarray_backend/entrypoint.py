"""What xarray calls: it opens an image, a whole store as a tree, and tells whether a path is a store of ours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar

import xarray
from xarray.backends import BackendEntrypoint

from asyncfetch.errors import SelectionError
from asyncfetch.layout.paths import data_set_path
from asyncfetch.readers.images import OpenedStore, is_local_store
from asyncfetch.readers.parts import part_of
from asyncfetch.readers.reading import ViewReader
from asyncfetch.readers.xarray_backend.datasets import dataset_of, overview_of
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from asyncfetch.readers.images import PlacedImage
    from asyncfetch.readers.parts import Part

__all__ = ["AsyncfetchBackend"]

_SHOWN_IDS = 5


class AsyncfetchBackend(BackendEntrypoint):
    """The engine ``asyncfetch`` of `xarray.open_dataset` and `xarray.open_datatree`."""

    description: ClassVar[str] = "Open images of an asyncfetch store, with positions in µm and labels"
    open_dataset_parameters: ClassVar[tuple[Any, ...] | None] = (
        "filename_or_obj",
        "drop_variables",
        "data_set",
        "view",
        "image",
        "level",
    )
    supports_groups: ClassVar[bool] = True

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Tell whether a path is a store of ours in a directory, or a part of one; nothing is asked of a network."""
        return is_local_store(part_of(filename_or_obj).location)

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        data_set: int | None = None,
        view: str | None = None,
        image: str | int | None = None,
        level: int | None = None,
    ) -> xarray.Dataset:
        """Open one level of one image of a store.

        Parameters
        ----------
        filename_or_obj : str, Path or zarr Store
            What `asyncfetch.open` takes, or the path or address of a part of a store, such as
            ``brains.ome.zarr/data_sets/479/image/volume``; what it names need not be given again.
        drop_variables : str or iterable of str, optional
            Variables that are not wanted.
        data_set : int, optional
            The data set; it may be left out where the store holds one.
        view : str, optional
            The view; ``image`` by default.
        image : str or int, optional
            ``registered`` (the default), ``volume``, or the id of a section image.
        level : int, optional
            The level, 0 (the default) being the finest.

        Returns
        -------
        Dataset
            The variable ``image``, (c, z, y, x) uint8, read when it is needed. Its coordinates are ``c``, the names of
            the channels; ``z``, ``y`` and ``x`` in µm, of the reference space or, for a section, ``y`` and ``x`` of its
            own frame; ``image_id``, ``section_number`` and ``is_stored`` along z, with the id -1 for a slot without a
            section; ``data_set_id``, ``gene``, ``plane``, ``age`` and ``reference_space_id``; and for a section
            ``section_to_reference``, the (3, 3) matrix from (x, y, 1) to (p, i, r), NaN where it has no alignment.

        Raises
        ------
        SelectionError
            The store does not hold that image; the message says what it holds.
        StoreError
            As `asyncfetch.open`.
        """
        part = part_of(filename_or_obj)
        opened = OpenedStore(part.location)
        wanted = part.image if image is None else image
        # an id may come out of an array
        wanted = wanted if wanted is None or isinstance(wanted, str) else int(wanted)
        if wanted == "sections":
            raise SelectionError(
                f"{filename_or_obj} names all sections; name one of them with image=IMAGE_ID, or open all with "
                "xarray.open_datatree"
            )
        reader = ViewReader(opened, _chosen(opened, part, data_set), view or part.view or "image")
        found = reader.image("registered" if wanted is None else wanted)
        chosen = part.level or 0 if level is None else level
        if not 0 <= chosen < len(found.levels):
            raise SelectionError(
                f"{found.name} has {counted(len(found.levels), 'level')}; level {chosen} is not one of them"
            )
        return dataset_of(found, chosen, _names(drop_variables))

    def open_datatree(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        sections: bool | None = None,
    ) -> xarray.DataTree:
        """Open a whole store, or a part of it, as a tree whose paths are those of the store.

        Parameters
        ----------
        filename_or_obj : str, Path or zarr Store
            As for `open_dataset`.
        drop_variables : str or iterable of str, optional
            Variables that are not wanted.
        sections : bool, optional
            Whether there is a node for each level of each section, which takes a read for each section. By default
            where the path names a data set or a part of one.

        Returns
        -------
        DataTree
            The root says along ``data_set`` what each data set shows; images are below
            ``data_sets/<id>/<view>/registered/scale0``, and so on, as `open_dataset` opens them. Data sets whose record
            cannot be read are left out.
        """
        groups = self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables, sections=sections)
        return xarray.DataTree.from_dict(groups)

    def open_groups_as_dict(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        sections: bool | None = None,
    ) -> dict[str, xarray.Dataset]:
        """Open a whole store, or a part of it, as data sets by their paths; see `open_datatree`."""
        part = part_of(filename_or_obj)
        opened = OpenedStore(part.location)
        with_sections = part.data_set_id is not None if sections is None else sections
        left_out = _names(drop_variables)
        if part.data_set_id is not None:
            ids: tuple[int, ...] = (part.data_set_id,)
            # says so where there is none
            opened.store.data_set(part.data_set_id)
        else:
            ids = opened.store.list_data_set_ids()
        abouts = []
        groups: dict[str, xarray.Dataset] = {"/": xarray.Dataset()}
        for data_set_id in ids:
            # a record that cannot be read is remembered by the store
            with contextlib.suppress(SelectionError):
                first = ViewReader(opened, data_set_id)
                abouts.append(first.about())
                groups[f"/{data_set_path(data_set_id)}"] = xarray.Dataset(attrs={"title": first.title})
                for image in _images_of(opened, first, part, with_sections=with_sections):
                    for level in range(len(image.levels)):
                        groups[f"/{image.path}/scale{level}"] = dataset_of(image, level, left_out)
        groups["/"] = overview_of(abouts).drop_vars(left_out, errors="ignore")
        return groups


def _images_of(
    opened: OpenedStore, first: ViewReader, part: Part, *, with_sections: bool
) -> Iterator[PlacedImage]:
    # a web server lists no views: one that was named is looked at as it is
    for view in first.data_set.read_views() if part.view is None else (part.view,):
        reader = first if view == first.view else ViewReader(opened, first.data_set.id, view)
        if isinstance(part.image, int):
            yield reader.section(part.image)
            continue
        for name in ("registered", "volume"):
            if part.image in {None, name}:
                image = reader.registered() if name == "registered" else reader.volume()
                if image is not None:
                    yield image
        if with_sections and part.image in {None, "sections"}:
            yield from reader.section_images()


def _chosen(opened: OpenedStore, part: Part, data_set_id: int | None) -> int:
    if data_set_id is None:
        data_set_id = part.data_set_id
    if data_set_id is not None:
        return int(data_set_id)
    ids = opened.store.read_data_set_ids()
    if len(ids) == 1:
        return ids[0]
    some = ", ".join(map(str, ids[:_SHOWN_IDS])) + (", …" if len(ids) > _SHOWN_IDS else "")
    raise SelectionError(
        f"{opened.store.location} holds {counted(len(ids), 'data set')}{f' ({some})' if ids else ''}; name one with "
        "data_set=ID, or open all with xarray.open_datatree"
    )


def _names(names: str | Iterable[str] | None) -> Collection[str]:
    return () if names is None else {names} if isinstance(names, str) else set(names)
