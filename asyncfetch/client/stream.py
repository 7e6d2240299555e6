"""The sections of a data set as a stream: pixels, expression mask and place on the grid, as they arrive."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import anyio
import numpy as np

from asyncfetch.allen import ImageRequest
from asyncfetch.errors import (
    AlignmentError,
    AsyncFetchError,
    ImageSizeError,
    ImageTierError,
    NotFoundError,
    SelectionError,
    SettingsError,
)
from asyncfetch.geometry import (
    REFERENCE_BOXES_UM,
    ReferenceGrid,
    full_to_tier,
    tier_for,
    tier_of_shape,
    tier_shape,
)
from asyncfetch.imaging import DisplacementField, decode, expression_level, prepare_source, warp
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from numpy.typing import DTypeLike, NDArray

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.client.client import Client, Parked
    from asyncfetch.geometry import Affine2D
    from asyncfetch.imaging import Interpolation

__all__ = ["FetchedSection", "SectionStream", "open_sections"]

#: The largest image whose bytes are known has 0.16 a pixel (2980 x 1888 in 898 kB, IMG-8).
_PIXELS_A_JPEG_BYTE = 6


@dataclass(frozen=True, eq=False, kw_only=True)
class FetchedSection:
    """Be one section that has arrived, or the reason why it has not.

    Attributes
    ----------
    section : SectionImage
        Its record.
    downsample : int
        The tier of its pixels, as their size shows, which may be another than was asked for.
    pixels : (y, x, 3) array of uint8, or None
        The image; None where it could not be had.
    expression : (y, x, 3) array of uint8, or None
        The expression mask, of the same size; None where it was not asked for, could not be had, or does not exist.
    slice_coordinate_um : float or None
        Where the detection point lies across the plane of section, in µm; None where the section cannot be placed.
    grid : ReferenceGrid or None
        The grid of the reference space that the section is placed on.
    grid_to_pixels : Affine2D or None
        Grid index (x, y) to pixel centres of ``pixels``; None where the section cannot be placed.
    error : AsyncFetchError or None
        Why something is missing. A mask that does not exist, as of Nissl sections, is no error.
    """

    section: SectionImage
    downsample: int
    pixels: NDArray[np.uint8] | None = None
    expression: NDArray[np.uint8] | None = None
    slice_coordinate_um: float | None = None
    grid: ReferenceGrid | None = None
    grid_to_pixels: Affine2D | None = None
    error: AsyncFetchError | None = None

    @property
    def image_id(self) -> int:
        """The id of the section image."""
        return self.section.id

    @property
    def section_number(self) -> int | None:
        """The place in the data set."""
        return self.section.section_number

    def displacement_field(self, dtype: DTypeLike = np.float64) -> DisplacementField:
        """Return where the pixels of the grid lie in ``pixels``, as one vector a pixel.

        Raises
        ------
        AlignmentError
            The section cannot be placed.
        """
        grid, grid_to_pixels = self._place()
        return DisplacementField.from_affine(grid_to_pixels, grid.shape, dtype)

    def registered(self, *, interpolation: Interpolation = "linear", fill: int = 0) -> NDArray[np.uint8]:
        """Return the image on the grid, as :func:`asyncfetch.imaging.warp` makes it.

        Raises
        ------
        AlignmentError
            The section cannot be placed.
        SelectionError
            There are no pixels.
        """
        return self._warped(self.pixels, "pixels", interpolation, fill)

    def registered_expression(self, *, fill: int = 0) -> NDArray[np.uint8]:
        """Return the expression mask on the grid; its colours are codes, so that none are mixed.

        Raises
        ------
        AlignmentError
            The section cannot be placed.
        SelectionError
            There is no mask.
        """
        return self._warped(self.expression, "expression mask", "nearest", fill)

    def expression_level(self) -> NDArray[np.uint8]:
        """Return the expression mask as levels, (y, x, 1): 0 where it is black, 1 to 255 from blue to red.

        Raises
        ------
        SelectionError
            There is no mask.
        """
        if self.expression is None:
            raise SelectionError(f"image {self.image_id} has no expression mask") from self.error
        return expression_level(self.expression)

    def registered_expression_level(
        self, *, interpolation: Interpolation = "linear", fill: int = 0
    ) -> NDArray[np.uint8]:
        """Return the levels of the expression mask on the grid, (y, x, 1); they are mixed truly by area.

        Raises
        ------
        AlignmentError
            The section cannot be placed.
        SelectionError
            There is no mask.
        """
        return self._warped(self.expression_level(), "expression mask", interpolation, fill)

    def _warped(
        self, source: NDArray[np.uint8] | None, what: str, interpolation: Interpolation, fill: int
    ) -> NDArray[np.uint8]:
        if source is None:
            raise SelectionError(f"image {self.image_id} has no {what} to warp") from self.error
        grid, grid_to_source = self._place()
        pixels = source
        if interpolation != "nearest":
            pixels, grid_to_source = prepare_source(source, grid_to_source)
        averaged = self.downsample > 0 or pixels is not source
        return warp(
            pixels, grid_to_source, grid.shape, interpolation=interpolation, fill=fill, averaged=averaged
        )

    def _place(self) -> tuple[ReferenceGrid, Affine2D]:
        if self.grid is None or self.grid_to_pixels is None:
            raise AlignmentError(f"image {self.image_id} has no place on the grid") from self.error
        return self.grid, self.grid_to_pixels

    def __repr__(self) -> str:
        state = "whole" if self.error is None else type(self.error).__name__
        return f"FetchedSection({self.image_id}, {state})"


type _Offer = tuple[FetchedSection, anyio.Event]


class SectionStream:
    """Iterate over the sections of a data set in the order in which they arrive; from ``open_sections``.

    Attributes
    ----------
    data_set : SectionDataSet
        The record with all its sections.
    grid : ReferenceGrid or None
        The grid of the reference space; None where its extent or the plane of section is not known.
    n_sections : int
        How many sections will come, whole or not.
    """

    def __init__(
        self,
        data_set: SectionDataSet,
        grid: ReferenceGrid | None,
        offers: MemoryObjectReceiveStream[_Offer],
    ) -> None:
        self.data_set = data_set
        self.grid = grid
        self.n_sections = len(data_set.section_images)
        self._offers = offers
        self._is_done_with: anyio.Event | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FetchedSection:
        # Whoever asks for the next section is done with the one before, so that its memory counts no more.
        if self._is_done_with is not None:
            self._is_done_with.set()
        section, self._is_done_with = await anext(self._offers)
        return section

    def __repr__(self) -> str:
        return f"SectionStream(data set {self.data_set.id}, {counted(self.n_sections, 'section')})"


@dataclass(frozen=True, kw_only=True)
class _Choices:
    """Hold what is chosen for all sections; see :meth:`asyncfetch.Client.open_sections`."""

    um: float
    downsample: int | None
    view_expression: bool
    parallel: bool
    detection_xy: tuple[float, float] | None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.um) and self.um > 0):
            raise SettingsError(f"um must be a positive number of micrometres, not {self.um!r}", setting="um")
        point = self.detection_xy
        if point is not None and not (len(point) == 2 and np.isfinite(point).all()):
            raise SelectionError(f"detection_xy is a point (x, y) of the image, not {point!r}")
        # A number of halvings that breaks its rule is told before anything is asked.
        ImageRequest(image_id=0, downsample=self.downsample)

    def tier_of(self, section: SectionImage) -> int:
        """Return the tier that is fetched."""
        if self.downsample is not None:
            return self.downsample
        return tier_for(self.um, section.resolution, section.tier_count) if section.resolution else 0


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Say how one section is fetched, and where it lies: the fields of its record that tell that."""

    section: SectionImage
    requests: tuple[ImageRequest, ...]
    shape: tuple[int, int]
    downsample: int
    place: dict[str, Any]
    grid_to_image: Affine2D | None
    error: AlignmentError | None

    def tier_of(self, shape: tuple[int, int]) -> int | None:
        """Return the tier that an image of a shape is of the section, None where it is none."""
        count = self.section.tier_count
        return tier_of_shape(shape, self.section.shape, self.downsample, count - 1 if count else None)

    def admits(self, shape: tuple[int, int]) -> bool:
        """Tell whether the image can have a shape, be it rounded otherwise than is expected, or another tier's."""
        return self.tier_of(shape) is not None

    def place_of(self, downsample: int) -> dict[str, Any]:
        """Return where pixels of a tier lie, as fields of a `FetchedSection`."""
        if self.grid_to_image is None:
            return self.place
        return self.place | {"grid_to_pixels": full_to_tier(downsample) @ self.grid_to_image}

    @property
    def working_bytes(self) -> int:
        """Most bytes of decoded pixels and of one JPEG, as it came and as it is kept."""
        n_pixels = self.shape[0] * self.shape[1]
        return 3 * n_pixels * len(self.requests) + 2 * n_pixels // _PIXELS_A_JPEG_BYTE


@asynccontextmanager
async def open_sections(
    client: Client,
    data_set_id: int,
    *,
    um: float = 25.0,
    downsample: int | None = None,
    view_expression: bool = True,
    parallel: bool = False,
    detection_xy: tuple[float, float] | None = None,
) -> AsyncGenerator[SectionStream]:
    """Give the sections of a data set as they arrive; see :meth:`asyncfetch.Client.open_sections`."""
    choices = _Choices(
        um=um,
        downsample=downsample,
        view_expression=view_expression,
        parallel=parallel,
        detection_xy=detection_xy,
    )
    data_set = await client.data_set(data_set_id)
    grid, no_grid = _grid(data_set, um)
    ordered = sorted(data_set.section_images, key=lambda each: (each.section_number or 0, each.id))
    plans = [_plan(data_set, section, grid, no_grid, choices) for section in ordered]
    send, receive = anyio.create_memory_object_stream[_Offer](0)
    to_fetch = iter(plans)
    try:
        async with receive, anyio.create_task_group() as group:
            async with send:
                # One more than there are places: the section that the consumer holds keeps its worker.
                for _ in range(min(client.settings.most_images_at_once + 1, len(plans))):
                    group.start_soon(_work, client, to_fetch, send.clone())
            yield SectionStream(data_set, grid, receive)
            group.cancel_scope.cancel()
        return
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) > 1:
            raise
        failure: BaseException = next(iter(errors.exceptions))
    # The group is this function's own affair: its one error is raised as it was.
    raise failure


async def _work(client: Client, to_fetch: Iterator[_Plan], send: MemoryObjectSendStream[_Offer]) -> None:
    async with send:
        for plan in to_fetch:
            await _bring(client, plan, send)


async def _bring(client: Client, plan: _Plan, send: MemoryObjectSendStream[_Offer]) -> None:
    """Fetch a section and hand it over; one that turns out to need more memory is fetched once more, with that."""
    try:
        await _offer(client, plan, send, is_last=False)
    except ImageTierError as error:
        await _offer(client, replace(plan, shape=error.actual or plan.shape), send, is_last=True)


async def _offer(client: Client, plan: _Plan, send: MemoryObjectSendStream[_Offer], *, is_last: bool) -> None:
    """Fetch a section and hand it over; its bytes are held until the consumer is done with it."""
    async with client.reserve(plan.working_bytes) as reservation:
        is_done_with = anyio.Event()
        section = await _fetch(client, plan, reservation.lent)
        if not is_last and plan.downsample and isinstance(section.error, ImageTierError):
            raise section.error
        await send.send((section, is_done_with))
        await is_done_with.wait()


async def _fetch(client: Client, plan: _Plan, parked: Parked) -> FetchedSection:
    found: list[NDArray[np.uint8] | None] = [None, None]
    error: AsyncFetchError | None = plan.error
    downsample = plan.downsample
    for k, request in enumerate(plan.requests):
        try:
            jpeg, pixels = await client.fetch_jpeg(
                request,
                plan.shape,
                admits=plan.admits,
                check=lambda jpeg, _accept: decode(jpeg.data),
                parked=parked,
            )
            tier = plan.tier_of(jpeg.shape)
            if k and tier != downsample:
                raise ImageSizeError(
                    f"the expression mask of image {plan.section.id} is tier {tier}, not {downsample} as the image",
                    actual=jpeg.shape,
                )
        except AsyncFetchError as failure:
            if not (k and isinstance(failure, NotFoundError)):
                error = failure
            break
        found[k] = pixels
        downsample = plan.downsample if tier is None else tier
    return FetchedSection(
        section=plan.section,
        downsample=downsample,
        pixels=found[0],
        expression=found[1],
        error=error,
        **plan.place_of(downsample),
    )


def _grid(data_set: SectionDataSet, um: float) -> tuple[ReferenceGrid | None, AlignmentError | None]:
    box_um = REFERENCE_BOXES_UM.get(data_set.reference_space_id or 0)
    if box_um is None:
        return None, AlignmentError(
            f"data set {data_set.id} cannot be placed: the extent of reference space "
            f"{data_set.reference_space_id} is not known"
        )
    try:
        return ReferenceGrid(plane=data_set.plane, um=um, box_um=box_um), None
    except AlignmentError as error:
        return None, error


def _plan(
    data_set: SectionDataSet,
    section: SectionImage,
    grid: ReferenceGrid | None,
    no_grid: AlignmentError | None,
    choices: _Choices,
) -> _Plan:
    downsample = choices.tier_of(section)
    height, width = section.shape
    detection_xy = choices.detection_xy or (width / 2, height / 2)
    place: dict[str, Any] = {}
    grid_to_image: Affine2D | None = None
    error = no_grid
    if grid is not None:
        try:
            geometry = data_set.geometry(section)
            to_image = grid.grid_to_image(geometry, parallel=choices.parallel, detection_xy=detection_xy)
            across_um = geometry.image_to_reference(detection_xy)[grid.plane.slice_axis]
        except AlignmentError as failure:
            error = failure
        else:
            grid_to_image = to_image
            place = {"grid": grid, "slice_coordinate_um": float(across_um)}
    request = ImageRequest(image_id=section.id, downsample=downsample or None)
    mask = ImageRequest(image_id=section.id, downsample=downsample or None, view="expression")
    return _Plan(
        section=section,
        requests=(request, mask) if choices.view_expression else (request,),
        shape=tier_shape(height, width, downsample),
        downsample=downsample,
        place=place,
        grid_to_image=grid_to_image,
        error=error,
    )
