"""The six synchronization services, computed in float64 for many points and targets at once. Pure.

The formulas are those that reproduce the recorded answers of the service (allen-api.md SYNC-1, SYNC-2)::

    image to reference: v = tsv · [x, y, 1];  z = section_number · section_thickness;  ref = tvr · [v_x, v_y, z, 1]
    reference to image: v = trv · [p, i, r, 1];  section = argmin |section_number − v_z / section_thickness|
                        (x, y) = tvs(section) · [v_x, v_y, 1]

image_to_image is the one after the other, image_to_atlas the same among annotated plates, image_to_image_2d
tvs(target) · tsv(seed), structure_to_image the second formula for the structure's centre (inferred,
SYNC-5).

Unknown (SYNC-6), and chosen here or by the arguments of `Atlas`: which section is taken for a point in the middle
between two (``ties``) and of several with the same number (that of the lowest id); whether images that failed are
answered with (``failed_images``; they are); that sections without a number or without tvs are passed over; that a
query in another space than the data set's is converted at all (``convert_spaces``; it is not); whether a target that
is not known or cannot be placed stays in the list (it does, without an image); that image_to_image_2d gives the seed
its own point.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from asyncfetch.atlas.nearest import Buffers, Target, Ties, locate, map_points
from asyncfetch.atlas.positions import NO_ID, ImagePositions, ReferencePositions
from asyncfetch.errors import AlignmentError, SelectionError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from asyncfetch.allen.services import IdsLike
    from asyncfetch.allen.sync import SyncService
    from asyncfetch.atlas.catalogue import Catalogue

__all__ = ["Atlas", "FailedImages"]

type Floats = NDArray[np.float64]
type Ids = NDArray[np.int64]
type FailedImages = Literal["include", "exclude"]

_MAX_TARGETS_KEPT = 1024
_IDENTITY_2D = np.eye(2, 3)


class Atlas:
    """The six services, computed from a catalogue.

    Every service takes points of any leading shape, one point or ten millions, and returns arrays of that shape; a
    service with a list of targets adds an axis of targets at the end. Memory beyond the answer does not grow
    with the number of points.

    Parameters
    ----------
    catalogue : Catalogue
        What is known.
    ties : {"lower", "higher"}
        Which section number is taken for a point in the middle between two; unknown of the service.
    failed_images : {"include", "exclude"}
        Whether images that are marked as failed are answered with; unknown of the service.
    convert_spaces : bool
        Whether points are taken to the space of a target by the catalogue's transforms. That the service does so is
        inferred; without it, a target in another space is an error.

    Raises
    ------
    SelectionError
        An argument is not one of these.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        ties: Ties = "lower",
        failed_images: FailedImages = "include",
        convert_spaces: bool = False,
    ) -> None:
        for name, value, allowed in (
            ("ties", ties, ("lower", "higher")),
            ("failed_images", failed_images, ("include", "exclude")),
        ):
            if value not in allowed:
                raise SelectionError(f"{name} is {' or '.join(allowed)}, not {value!r}")
        self.catalogue = catalogue
        self.ties: Ties = ties
        self.failed_images: FailedImages = failed_images
        self.convert_spaces = convert_spaces
        self._target = lru_cache(_MAX_TARGETS_KEPT)(self._make_target)

    def __repr__(self) -> str:
        return (
            f"Atlas({self.catalogue!r}, ties={self.ties!r}, failed_images={self.failed_images!r}, "
            f"convert_spaces={self.convert_spaces})"
        )

    def with_catalogue(self, catalogue: Catalogue) -> Atlas:
        """Return an atlas with the same choices and another catalogue."""
        return Atlas(
            catalogue,
            ties=self.ties,
            failed_images=self.failed_images,
            convert_spaces=self.convert_spaces,
        )

    def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> ReferencePositions:
        """Return the points of the reference space that points of an image show.

        Parameters
        ----------
        section_image_id : int
            The image.
        xy : (..., 2) array of float64
            (x, y) in full-resolution pixels.

        Returns
        -------
        ReferencePositions
            ``pir`` is (..., 3), in µm of the reference space of the image's data set.

        Raises
        ------
        SelectionError
            The image is not in the catalogue.
        AlignmentError
            Its tsv, its number, or its data set's tvr or thickness is missing.
        """
        points = _points(xy, 2)
        matrix, space = self._image_to_reference(section_image_id)
        pir = np.empty((*points.shape[:-1], 3))
        map_points(matrix, points.reshape(-1, 2), pir.reshape(-1, 3))
        return ReferencePositions(pir=pir, reference_space_id=None if space == NO_ID else space)

    def reference_to_image(
        self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike
    ) -> ImagePositions:
        """Return the nearest section of each data set, and where on it the points lie.

        Parameters
        ----------
        reference_space_id : int
            The space of the points.
        pir : (..., 3) array of float64
            (p, i, r), which the API calls x, y and z, in µm.
        data_set_ids : (n,) sequence of int
            The data sets to look in.

        Returns
        -------
        ImagePositions
            Arrays of shape (..., n).

        Raises
        ------
        SelectionError
            A data set lies in another space, and spaces are not converted.
        """
        points = _points(pir, 3)
        return self._into_data_sets(
            "reference_to_image", reference_space_id, points, np.eye(3, 4), reference_space_id, data_set_ids
        )

    def image_to_image(self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike) -> ImagePositions:
        """Return the nearest section of each data set to points of an image, and where on it they lie.

        Parameters
        ----------
        section_image_id, xy
            As for `image_to_reference`.
        data_set_ids : (n,) sequence of int
            The data sets to look in.

        Returns
        -------
        ImagePositions
            Arrays of shape (..., n).

        Raises
        ------
        SelectionError, AlignmentError
            As for `image_to_reference` and `reference_to_image`.
        """
        points = _points(xy, 2)
        to_reference, space = self._image_to_reference(section_image_id)
        return self._into_data_sets(
            "image_to_image", section_image_id, points, to_reference, space, data_set_ids
        )

    def image_to_image_2d(
        self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike
    ) -> ImagePositions:
        """Return where points of an image lie on other images, by their alignments in the plane alone.

        Parameters
        ----------
        section_image_id, xy
            As for `image_to_reference`.
        section_image_ids : (n,) sequence of int
            The images; the seed among them keeps the points.

        Returns
        -------
        ImagePositions
            Arrays of shape (..., n).

        Raises
        ------
        SelectionError
            The image is not in the catalogue.
        AlignmentError
            Its tsv is missing.
        """
        points = _points(xy, 2)
        sections = self.catalogue.sections
        tsv = sections.tsv[self._section_row(section_image_id)]
        _require(tsv, "tsv", f"image {section_image_id}")
        wanted = _ids(section_image_ids, "section_image_ids")
        rows = self.catalogue.section_rows(wanted)
        tvs = np.where((rows >= 0)[:, None, None], sections.tvs[rows], np.nan)
        matrices = _compose(tvs, tsv)
        matrices[wanted == section_image_id] = _IDENTITY_2D
        n = len(wanted)
        mapped = np.empty((*points.shape[:-1], n, 2))
        map_points(matrices.reshape(-1, 3), points.reshape(-1, 2), mapped.reshape(-1, 2 * n))
        is_lost = np.isnan(mapped[..., 0])
        number = np.nan_to_num(sections.section_number[rows], nan=NO_ID).astype(np.int64)
        return ImagePositions(
            service="image_to_image_2d",
            seed_id=section_image_id,
            section_data_set_id=np.broadcast_to(
                np.where(rows >= 0, sections.data_set_id[rows], NO_ID), is_lost.shape
            ),
            section_image_id=np.where(is_lost, NO_ID, wanted),
            section_number=np.where(is_lost, NO_ID, number),
            xy=mapped,
        )

    def image_to_atlas(self, section_image_id: int, xy: ArrayLike, atlas_id: int) -> ImagePositions:
        """Return the nearest annotated plate of an atlas to points of an image, and where on it they lie.

        Parameters
        ----------
        section_image_id, xy
            As for `image_to_reference`.
        atlas_id : int
            The atlas; ``catalogue.atlas_data_sets`` says which data set holds its plates.

        Returns
        -------
        ImagePositions
            Arrays of shape (...).

        Raises
        ------
        SelectionError
            The image or the atlas is not in the catalogue, or they lie in different spaces that are not converted.
        AlignmentError
            The image or the data set of the atlas cannot be placed, or it has no annotated plate.
        """
        points = _points(xy, 2)
        to_reference, space = self._image_to_reference(section_image_id)
        data_set_id = self.catalogue.atlas_data_sets.get(atlas_id)
        if data_set_id is None or not self._is_known(data_set_id):
            raise SelectionError(
                f"the catalogue holds no plates of atlas {atlas_id}"
                + ("" if data_set_id is None else f", which are in data set {data_set_id}")
            )
        target = self._placed(data_set_id, space, annotated=True)
        if target is None:
            raise AlignmentError(f"data set {data_set_id} has no annotated plate that can be placed")
        found = _Found(points.shape[:-1])
        target.locate(to_reference, points.reshape(-1, 2), found)
        return found.positions("image_to_atlas", section_image_id, np.array(data_set_id))

    def structure_to_image(self, data_set_id: int, structure_ids: IdsLike) -> ImagePositions:
        """Return the sections nearest to the centres of structures, and where on them the centres lie.

        Parameters
        ----------
        data_set_id : int
            The data set to look in.
        structure_ids : (n,) sequence of int
            The structures; one without a centre in the data set's space fails.

        Returns
        -------
        ImagePositions
            Arrays of shape (n,).

        Raises
        ------
        SelectionError
            The data set is not in the catalogue.
        AlignmentError
            It cannot be placed.
        """
        wanted = _ids(structure_ids, "structure_ids")
        if not self._is_known(data_set_id):
            raise SelectionError(f"the catalogue holds no data set {data_set_id}")
        space = self._space(data_set_id)
        target = self._placed(data_set_id, space)
        if target is None:
            raise AlignmentError(f"data set {data_set_id} has no section that can be placed")
        found = _Found(wanted.shape)
        target.locate(np.eye(3, 4), self.catalogue.structure_centers.find(wanted, space), found)
        return found.positions("structure_to_image", data_set_id, np.array(data_set_id))

    def _into_data_sets(
        self,
        service: SyncService,
        seed_id: int,
        points: Floats,
        to_reference: Floats,
        space: int,
        data_set_ids: IdsLike,
    ) -> ImagePositions:
        wanted = _ids(data_set_ids, "data_set_ids")
        # all before the first: an error should not cost the work of the targets before it
        targets = [self._placed(data_set_id, space) for data_set_id in wanted.tolist()]
        found = _Found((*points.shape[:-1], len(wanted)))
        for column, target in enumerate(targets):
            if target is None:
                found.fail(column)
            else:
                target.locate(to_reference, points.reshape(-1, points.shape[-1]), found, column)
        return found.positions(service, seed_id, wanted)

    def _image_to_reference(self, image_id: int) -> tuple[Floats, int]:
        """Return the (3, 3) map of an image to its space, and the space."""
        row = self._section_row(image_id)
        sections, data_sets = self.catalogue.sections, self.catalogue.data_sets
        owner = self.catalogue.data_set_rows(sections.data_set_id[[row]])[0]
        if owner < 0:
            raise SelectionError(f"the catalogue holds no data set of image {image_id}")
        tsv, tvr = sections.tsv[row], data_sets.tvr[owner]
        _require(tsv, "tsv", f"image {image_id}")
        _require(tvr, "tvr", f"data set {data_sets.id[owner]}")
        depth_um = sections.section_number[row] * data_sets.section_thickness_um[owner]
        if np.isnan(depth_um):
            raise AlignmentError(
                f"image {image_id} has no section number or its data set {data_sets.id[owner]} no thickness"
            )
        to_volume = np.array([tsv[0], tsv[1], [0.0, 0.0, depth_um]])
        return _compose(tvr, to_volume), int(data_sets.reference_space_id[owner])

    def _section_row(self, image_id: int) -> int:
        row = int(self.catalogue.section_rows(np.array([image_id]))[0])
        if row < 0:
            raise SelectionError(f"the catalogue holds no image {image_id}")
        return row

    def _is_known(self, data_set_id: int) -> bool:
        return bool(self.catalogue.data_set_rows(np.array([data_set_id]))[0] >= 0)

    def _space(self, data_set_id: int) -> int:
        row = self.catalogue.data_set_rows(np.array([data_set_id]))[0]
        return int(self.catalogue.data_sets.reference_space_id[row])

    def _placed(self, data_set_id: int, space: int, *, annotated: bool = False) -> _Placed | None:
        """Return a target for points of a space, None where it fails.

        Raises
        ------
        SelectionError
            It lies in another space, and spaces are not converted.
        """
        target = self._target(data_set_id, annotated)
        if target is None:
            return None
        own_space = self._space(data_set_id)
        if own_space == space:
            return _Placed(target, target.trv)
        if not self.convert_spaces:
            raise SelectionError(
                f"data set {data_set_id} lies in reference space {own_space}, not in {space}; "
                "points are converted only when asked for (convert_spaces)"
            )
        transforms = self.catalogue.space_transforms
        way, back = transforms.get((space, own_space)), transforms.get((own_space, space))
        if way is None and back is not None:
            way = back.inverse()
        return None if way is None else _Placed(target, _compose(target.trv, way.matrix))

    def _make_target(self, data_set_id: int, annotated: bool) -> Target | None:
        row = self.catalogue.data_set_rows(np.array([data_set_id]))[0]
        if row < 0:
            return None
        data_sets, sections = self.catalogue.data_sets, self.catalogue.sections
        trv, thickness_um = data_sets.trv[row], float(data_sets.section_thickness_um[row])
        own = np.arange(len(sections))[self.catalogue.sections_of(data_set_id)]
        is_candidate = np.isfinite(sections.section_number[own]) & np.isfinite(sections.tvs[own]).all((1, 2))
        if annotated:
            is_candidate &= sections.annotated[own]
        if self.failed_images == "exclude":
            is_candidate &= ~sections.failed[own]
        own = own[is_candidate]
        if not (len(own) and np.isfinite(trv).all() and np.isfinite(thickness_um)):
            return None
        # sections are sorted by number and id, so that the first of each number has the lowest id
        numbers, first = np.unique(sections.section_number[own].astype(np.int64), return_index=True)
        own = own[first]
        return Target.of(trv, thickness_um, sections.image_id[own], numbers, sections.tvs[own], self.ties)


class _Placed:
    """A target with the way into its volume."""

    def __init__(self, target: Target, to_volume: Floats) -> None:
        self._target = target
        self._to_volume = to_volume

    def locate(self, to_reference: Floats, points: Floats, found: _Found, column: int | None = None) -> None:
        """Find positions of points (n, d) that ``to_reference``, (3, d + 1), takes to the space."""
        locate(
            points, _compose(self._to_volume, to_reference), self._target, found.buffers, *found.flat(column)
        )


class _Found:
    """The arrays of an answer while they are filled."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.image_id = np.empty(shape, dtype=np.int64)
        self.number = np.empty(shape, dtype=np.int64)
        self.xy = np.empty((*shape, 2))
        self.buffers = Buffers(self.image_id.size)

    def fail(self, column: int) -> None:
        """Say of one target that it has no position."""
        self.image_id[..., column] = self.number[..., column] = NO_ID
        self.xy[..., column, :] = np.nan

    def flat(self, column: int | None) -> tuple[Ids, Ids, Floats]:
        """Return the arrays with the points' axes as one, for one target where there is an axis of them."""
        if column is None:
            return self.image_id.reshape(-1), self.number.reshape(-1), self.xy.reshape(-1, 2)
        n = self.image_id.shape[-1]
        return (
            self.image_id.reshape(-1, n)[:, column],
            self.number.reshape(-1, n)[:, column],
            self.xy.reshape(-1, n, 2)[:, column],
        )

    def positions(self, service: SyncService, seed_id: int, data_set_ids: Ids) -> ImagePositions:
        return ImagePositions(
            service=service,
            seed_id=seed_id,
            section_data_set_id=np.broadcast_to(data_set_ids, self.image_id.shape),
            section_image_id=self.image_id,
            section_number=self.number,
            xy=self.xy,
        )


def _points(values: ArrayLike, n_axes: int) -> Floats:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SelectionError(f"points are numbers in an array of shape (..., {n_axes}): {error}") from error
    if points.shape[-1:] != (n_axes,):
        raise SelectionError(f"points have the shape (..., {n_axes}), not {points.shape}")
    return points


def _ids(values: IdsLike, name: str) -> Ids:
    ids = np.asarray(values)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise SelectionError(f"{name} is a list of one or more integers, not {values!r}")
    return ids.astype(np.int64)


def _require(matrix: Floats, name: str, owner: str) -> None:
    if not np.isfinite(matrix).all():
        raise AlignmentError(
            f"{owner} cannot be placed: its matrix {name} is missing or cannot be an alignment", matrix=name
        )


def _compose(second: Floats, first: Floats) -> Floats:
    """Return the affine map that applies ``first`` and then ``second``, both without their homogeneous row."""
    composed: Floats = second[..., :-1] @ first
    composed[..., -1] += second[..., -1]
    return composed
