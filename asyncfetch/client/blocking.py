"""The same verbs without await, for scripts: an event loop on a thread of its own does the waiting."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack

from anyio.from_thread import start_blocking_portal

from asyncfetch.client.blocking_sync import BlockingSyncServices
from asyncfetch.client.client import Client
from asyncfetch.events import ignore

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    import numpy as np
    from anyio.from_thread import BlockingPortal
    from numpy.typing import NDArray

    from asyncfetch.allen import ImageOptions, Product, Query, SectionDataSet, SectionImage
    from asyncfetch.client.pages import OddRow
    from asyncfetch.client.queries import Ids, Names
    from asyncfetch.engine import Transport
    from asyncfetch.errors import RecordError
    from asyncfetch.events import Listener
    from asyncfetch.settings import Settings

__all__ = ["BlockingClient"]


class BlockingClient:
    """A client of the Allen Brain Atlas API without await; a context manager, for any thread without an event loop.

    Parameters
    ----------
    base_url, settings, on_event, transport
        As for :class:`asyncfetch.Client`; ``on_event`` is called on the loop's thread.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        settings: Settings | None = None,
        on_event: Listener = ignore,
        transport: Transport | None = None,
    ) -> None:
        self._make = partial(Client, base_url, settings=settings, on_event=on_event, transport=transport)
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._client: Client | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal("asyncio"))
            client = portal.call(self._make)
            stack.enter_context(portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()
        self._portal, self._client = portal, client
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal = self._client = None
        self._stack.close()

    def rows(
        self,
        query: Query,
        *,
        fmt: Literal["json", "xml", "csv"] = "json",
        odd_rows: list[OddRow] | None = None,
        page_rows: int | None = None,
    ) -> list[dict[str, Any]]:
        """Return all rows of a query; see :meth:`asyncfetch.Client.rows`."""
        portal, client = self._open()
        return portal.call(partial(client.rows, query, fmt=fmt, odd_rows=odd_rows, page_rows=page_rows))

    def data_set(self, data_set_id: int) -> SectionDataSet:
        """Return a data set with its section images; see :meth:`asyncfetch.Client.data_set`."""
        portal, client = self._open()
        return portal.call(client.data_set, data_set_id)

    def section_image(self, image_id: int) -> SectionImage:
        """Return a section image with its alignment; see :meth:`asyncfetch.Client.section_image`."""
        portal, client = self._open()
        return portal.call(client.section_image, image_id)

    def image_bytes(self, image_id: int, **parameters: Unpack[ImageOptions]) -> bytes:
        """Return an image as the server's JPEG; see :meth:`asyncfetch.Client.image_bytes`."""
        portal, client = self._open()
        return portal.call(partial(client.image_bytes, image_id, **parameters))

    def image(self, image_id: int, **parameters: Unpack[ImageOptions]) -> NDArray[np.uint8]:
        """Return an image as (y, x, 3) uint8 RGB; see :meth:`asyncfetch.Client.image`."""
        portal, client = self._open()
        return portal.call(partial(client.image, image_id, **parameters))

    def save_image(self, image_id: int, path: str | Path, **parameters: Unpack[ImageOptions]) -> Path:
        """Write an image to a file; see :meth:`asyncfetch.Client.save_image`."""
        portal, client = self._open()
        return portal.call(partial(client.save_image, image_id, path, **parameters))

    def data_sets(
        self,
        *,
        ids: Ids | None = None,
        product: Names | None = None,
        gene: Names | None = None,
        plane: Names | None = None,
        specimen: Ids | None = None,
        reference_space: Ids | None = None,
        failed: bool | None = False,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionDataSet]:
        """Return the data sets that meet all conditions; see :meth:`asyncfetch.Client.data_sets`."""
        portal, client = self._open()
        return portal.call(
            partial(
                client.data_sets,
                ids=ids,
                product=product,
                gene=gene,
                plane=plane,
                specimen=specimen,
                reference_space=reference_space,
                failed=failed,
                unreadable=unreadable,
            )
        )

    def section_images(
        self,
        data_set: Ids | None = None,
        *,
        ids: Ids | None = None,
        gene: Names | None = None,
        specimen: Ids | None = None,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionImage]:
        """Return section images with their alignments; see :meth:`asyncfetch.Client.section_images`."""
        portal, client = self._open()
        return portal.call(
            partial(
                client.section_images, data_set, ids=ids, gene=gene, specimen=specimen, unreadable=unreadable
            )
        )

    def atlas_images(
        self,
        atlas_id: int,
        image_type: str | None = None,
        *,
        annotated: bool | None = True,
        unreadable: list[RecordError] | None = None,
    ) -> list[SectionImage]:
        """Return the images of an atlas; see :meth:`asyncfetch.Client.atlas_images`."""
        portal, client = self._open()
        return portal.call(
            partial(client.atlas_images, atlas_id, image_type, annotated=annotated, unreadable=unreadable)
        )

    def section_image_ranges(self, image_ids: Ids) -> dict[int, tuple[int, ...] | None]:
        """Return the windows of images; see :meth:`asyncfetch.Client.section_image_ranges`."""
        portal, client = self._open()
        return portal.call(client.section_image_ranges, image_ids)

    def products(self) -> list[Product]:
        """Return the products; see :meth:`asyncfetch.Client.products`."""
        portal, client = self._open()
        return portal.call(client.products)

    def structures(self, graph: int = 1) -> list[dict[str, Any]]:
        """Return the structures of a graph; see :meth:`asyncfetch.Client.structures`."""
        portal, client = self._open()
        return portal.call(client.structures, graph)

    def structure_centers(self, reference_space: Ids | None = None) -> list[dict[str, Any]]:
        """Return the centres of structures; see :meth:`asyncfetch.Client.structure_centers`."""
        portal, client = self._open()
        return portal.call(client.structure_centers, reference_space)

    def space_transforms(self) -> list[dict[str, Any]]:
        """Return the transforms between reference spaces; see :meth:`asyncfetch.Client.space_transforms`."""
        portal, client = self._open()
        return portal.call(client.space_transforms)

    def atlases(self) -> list[dict[str, Any]]:
        """Return the atlases; see :meth:`asyncfetch.Client.atlases`."""
        portal, client = self._open()
        return portal.call(client.atlases)

    @property
    def sync(self) -> BlockingSyncServices:
        """The six synchronization services; see :class:`asyncfetch.client.sync.SyncServices`."""
        portal, client = self._open()
        return BlockingSyncServices(portal, client.sync)

    def _open(self) -> tuple[BlockingPortal, Client]:
        if self._portal is None or self._client is None:
            raise RuntimeError("the client is not open; use `with BlockingClient() as client:`")
        return self._portal, self._client

    def __repr__(self) -> str:
        return f"BlockingClient({self._client!r})" if self._client else "BlockingClient(closed)"
