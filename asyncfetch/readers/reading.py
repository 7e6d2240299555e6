"""What is read of a store to describe its images: records, summaries and layouts, and no pixel."""

from __future__ import annotations

import contextlib
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.allen import parse_data_set
from asyncfetch.errors import AlignmentError, SelectionError
from asyncfetch.layout.ome import CHANNELS, level_scale
from asyncfetch.layout.paths import (
    level_chunking,
    level_shapes,
    plane_chunking,
    registered_path,
    section_path,
    volume_path,
)
from asyncfetch.layout.titles import age_of, title_of
from asyncfetch.readers.images import UNKNOWN, About, Level, PlacedImage
from asyncfetch.store.blocks import BLOCK_SHARD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.readers.images import OpenedStore

__all__ = ["ViewReader"]

_COLOURS = tuple(label for label, _ in CHANNELS)
_UM = "micrometer"


class ViewReader:
    """What describes the images of one view of a data set, as far as they are asked for.

    Parameters
    ----------
    opened : OpenedStore
        The store.
    data_set_id : int
        The data set.
    view : str, optional
        The view, ``image`` unless told otherwise.

    Raises
    ------
    SelectionError
        The store does not hold that data set.
    """

    def __init__(self, opened: OpenedStore, data_set_id: int, view: str = "image") -> None:
        self._opened = opened
        self.view = view
        self.data_set = opened.store.data_set(data_set_id, view)
        self._parsed = parse_data_set(self.data_set.record)
        self.title = title_of(self._parsed, view)

    @cached_property
    def sections(self) -> dict[int, SectionSummary]:
        """What is stored of the view, by image id."""
        return self._opened.store.sections(self.data_set.id, self.view)

    def about(self, space_id: int | None = None) -> About:
        """Return what images of this view show, in their own reference space or in another."""
        data_set = self._parsed
        plane = ""
        with contextlib.suppress(AlignmentError):
            plane = str(data_set.plane)
        specimen_id = data_set.record.get("specimen_id")
        space_id = data_set.reference_space_id if space_id is None else space_id
        return About(
            data_set_id=data_set.id,
            view=self.view,
            gene=", ".join(gene.acronym for gene in data_set.genes if gene.acronym),
            plane=plane,
            age=age_of(data_set),
            specimen_id=specimen_id if isinstance(specimen_id, int) else UNKNOWN,
            reference_space_id=UNKNOWN if space_id is None else space_id,
        )

    def image(self, image: str | int) -> PlacedImage:
        """Return one image: ``registered``, ``volume``, or the section of that id.

        Raises
        ------
        SelectionError
            The view has no such image; the message says what it has.
        """
        if isinstance(image, int):
            return self.section(image)
        if image == "registered":
            found, opening = self.registered(), self.data_set.open_registered
        elif image == "volume":
            found, opening = self.volume(), self.data_set.open_volume
        else:
            raise SelectionError(
                f"{image!r} is not an image of a view; give 'registered', 'volume' or the id of a section"
            )
        if found is None:
            # says what to do about it
            opening()
            raise SelectionError(f"data set {self.data_set.id}, view {self.view}, has no image {image}")
        return found

    def registered(self) -> PlacedImage | None:
        """Return the planes in the reference space, None where that layer is not stored."""
        layout = self.data_set.read_registered_layout()
        if layout is None:
            return None
        um, plane, origin_um = layout.grid.um, layout.grid.plane, layout.recipe.origin_um
        z_um = layout.z_um
        step_um, first_um = _steps_of(z_um)
        level = Level(
            shape=(3, *layout.shape),
            chunks=(3, 1, *plane_chunking(layout.grid.shape).shard),
            pitch=(step_um, um, um),
            origin=(first_um, origin_um, origin_um),
            opener=partial(_open_registered, self._opened, self.data_set.id, self.view),
        )
        ids = [UNKNOWN if slot.image_id is None else slot.image_id for slot in layout.slots]
        stored = {key for key, section in self.sections.items() if "registered" in section.layers}
        return PlacedImage(
            kind="registered",
            path=registered_path(self.data_set.id, self.view),
            name=f"{self.title}, registered {um:g} µm",
            about=self.about(layout.reference_space_id),
            levels=(level,),
            channels=_COLOURS,
            axes=(plane.slice_axis, plane.y_axis, plane.x_axis),
            units=(None if z_um is None else _UM, _UM, _UM),
            z_um=z_um,
            image_ids=np.array(ids, dtype=np.int64),
            section_numbers=np.array([slot.section_number for slot in layout.slots], dtype=np.int64),
            is_stored=np.array([image_id in stored for image_id in ids], dtype=np.bool),
        )

    def volume(self) -> PlacedImage | None:
        """Return the volume, None where there is none."""
        layout = self.data_set.read_volume_layout()
        if layout is None:
            return None
        levels = []
        for level, shape in enumerate(layout.level_shapes):
            pitch_um = layout.um * 2**level
            chunks = tuple(min(side, block) for side, block in zip(shape, BLOCK_SHARD, strict=True))
            levels.append(
                Level(
                    shape=(layout.n_channels, *shape),
                    chunks=(layout.n_channels, chunks[0], chunks[1], chunks[2]),
                    pitch=(pitch_um, pitch_um, pitch_um),
                    origin=(pitch_um / 2, pitch_um / 2, pitch_um / 2),
                    opener=partial(_open_volume, self._opened, self.data_set.id, self.view, level),
                )
            )
        return PlacedImage(
            kind="volume",
            path=volume_path(self.data_set.id, self.view),
            name=f"{self.title}, volume {layout.um:g} µm",
            about=self.about(layout.reference_space_id),
            levels=tuple(levels),
            channels=_COLOURS if layout.n_channels == len(_COLOURS) else ("expression level",),
            axes=(0, 1, 2),
            units=(_UM, _UM, _UM),
        )

    def section(self, image_id: int) -> PlacedImage:
        """Return one section in its own frame: from its levels, or from its JPEG where only that is stored.

        Raises
        ------
        SelectionError
            It is not committed, or neither is stored.
        """
        summary = self.sections.get(image_id)
        if summary is None or not {"sections", "source"} & set(summary.layers):
            # says which sections there are; else that neither layer is stored
            self.data_set.section(image_id).read_jpeg()
            raise SelectionError(
                f"section {image_id} is not in the summary of its data set; run: asyncfetch verify"
            )
        commit = self.data_set.section(image_id).commit
        resolution_um = summary.resolution_um
        levels = []
        for level, shape in enumerate(level_shapes(summary.shape)):
            pitch, origin = level_scale(resolution_um or 1.0, summary.downsample + level)
            height, width = shape
            chunks = level_chunking(shape).shard if "sections" in summary.layers else shape
            levels.append(
                Level(
                    shape=(3, 1, height, width),
                    chunks=(3, 1, min(height, chunks[0]), min(width, chunks[1])),
                    pitch=(self._parsed.section_thickness or 1.0, pitch, pitch),
                    origin=(0.0, origin, origin),
                    opener=partial(_open_section, self._opened, self.data_set.id, self.view, image_id, level),
                )
            )
        affine = None if commit.image_to_reference is None else np.array(commit.image_to_reference.matrix)
        if affine is not None and resolution_um is not None:
            # from full-resolution pixels, pixel k centred at k, to µm of the section
            affine[:, :2] /= resolution_um
        unit = None if resolution_um is None else _UM
        number = summary.section_number
        return PlacedImage(
            kind="section",
            path=section_path(self.data_set.id, self.view, image_id),
            name=f"{self.title}, section {number}",
            about=self.about(),
            levels=tuple(levels),
            channels=_COLOURS,
            axes=None,
            units=(_UM, unit, unit),
            image_ids=np.array([image_id], dtype=np.int64),
            section_numbers=np.array([UNKNOWN if number is None else number], dtype=np.int64),
            is_stored=np.ones(1, dtype=np.bool),
            affine=affine,
            across_um=self._across_um(image_id),
            region=summary.region,
        )

    def section_images(self) -> Iterator[PlacedImage]:
        """Yield all sections of which pixels are stored, in order of section number and id."""
        for image_id, summary in self.sections.items():
            if {"sections", "source"} & set(summary.layers):
                yield self.section(image_id)

    def _across_um(self, image_id: int) -> NDArray[np.float64] | None:
        with contextlib.suppress(AlignmentError):
            geometry = self.data_set.geometry(image_id)
            if geometry.tvr is not None:
                return np.asarray(geometry.tvr.linear[:, 2] * geometry.section_thickness_um)
        return None


def _steps_of(z_um: NDArray[np.float64] | None) -> tuple[float, float]:
    """Return the distance of slots and where the first lies, as far as a regular grid can say it."""
    if z_um is None or not len(z_um):
        return 1.0, 0.0
    step_um = float(z_um[-1] - z_um[0]) / (len(z_um) - 1) if len(z_um) > 1 else 0.0
    return step_um or 1.0, float(z_um[0])


def _open_registered(opened: OpenedStore, data_set_id: int, view: str) -> Any:
    return opened.store.data_set(data_set_id, view).open_registered()


def _open_volume(opened: OpenedStore, data_set_id: int, view: str, level: int) -> Any:
    levels = opened.store.data_set(data_set_id, view).open_volume_levels()
    if level >= len(levels):
        raise SelectionError(
            f"the volume of data set {data_set_id}, view {view}, is gone; make it with: asyncfetch volume"
        )
    return levels[level]


def _open_section(opened: OpenedStore, data_set_id: int, view: str, image_id: int, level: int) -> Any:
    section = opened.store.data_set(data_set_id, view).section(image_id)
    if "sections" in section.commit.layers:
        return section.open_level(level)
    pixels = section.pixels(section.commit.downsample + level)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))[:, None]
