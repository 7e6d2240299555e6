"""The six synchronization services without await; see `asyncfetch.client.sync.SyncServices`."""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.from_thread import BlockingPortal
    from numpy.typing import ArrayLike

    from asyncfetch.allen.services import IdsLike, Nested
    from asyncfetch.allen.sync import ImageSync, ReferencePoint
    from asyncfetch.client.sync import SyncServices

__all__ = ["BlockingSyncServices"]


class BlockingSyncServices:
    """The six services, without await; the ``sync`` of a blocking client.

    Parameters and errors are those of `asyncfetch.client.sync.SyncServices`.
    """

    def __init__(self, portal: BlockingPortal, services: SyncServices) -> None:
        self._portal = portal
        self._services = services

    @overload
    def image_to_reference(self, section_image_id: int, xy: Sequence[float]) -> ReferencePoint: ...
    @overload
    def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> Nested[ReferencePoint]: ...
    def image_to_reference(self, section_image_id: int, xy: ArrayLike) -> Nested[ReferencePoint]:
        """Return points of the reference space; see `SyncServices.image_to_reference`."""
        return self._portal.call(self._services.image_to_reference, section_image_id, xy)

    @overload
    def reference_to_image(
        self, reference_space_id: int, pir: Sequence[float], data_set_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    def reference_to_image(
        self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    def reference_to_image(
        self, reference_space_id: int, pir: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return positions in data sets; see `SyncServices.reference_to_image`."""
        return self._portal.call(self._services.reference_to_image, reference_space_id, pir, data_set_ids)

    @overload
    def image_to_image(
        self, section_image_id: int, xy: Sequence[float], data_set_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    def image_to_image(
        self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    def image_to_image(
        self, section_image_id: int, xy: ArrayLike, data_set_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return positions in data sets; see `SyncServices.image_to_image`."""
        return self._portal.call(self._services.image_to_image, section_image_id, xy, data_set_ids)

    @overload
    def image_to_image_2d(
        self, section_image_id: int, xy: Sequence[float], section_image_ids: IdsLike
    ) -> list[ImageSync]: ...
    @overload
    def image_to_image_2d(
        self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike
    ) -> Nested[list[ImageSync]]: ...
    def image_to_image_2d(
        self, section_image_id: int, xy: ArrayLike, section_image_ids: IdsLike
    ) -> Nested[list[ImageSync]]:
        """Return positions on images; see `SyncServices.image_to_image_2d`."""
        return self._portal.call(self._services.image_to_image_2d, section_image_id, xy, section_image_ids)

    @overload
    def image_to_atlas(self, section_image_id: int, xy: Sequence[float], atlas_id: int) -> ImageSync: ...
    @overload
    def image_to_atlas(self, section_image_id: int, xy: ArrayLike, atlas_id: int) -> Nested[ImageSync]: ...
    def image_to_atlas(self, section_image_id: int, xy: ArrayLike, atlas_id: int) -> Nested[ImageSync]:
        """Return positions on the plates of an atlas; see `SyncServices.image_to_atlas`."""
        return self._portal.call(self._services.image_to_atlas, section_image_id, xy, atlas_id)

    def structure_to_image(self, data_set_id: int, structure_ids: IdsLike) -> list[ImageSync]:
        """Return positions of structures; see `SyncServices.structure_to_image`."""
        return self._portal.call(self._services.structure_to_image, data_set_id, structure_ids)
