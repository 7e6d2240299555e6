"""The sections of a data set as a stream: pixels, expression mask and position on the grid, as they arrive."""

from __future__ import annotations

import math
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import anyio
import numpy as np
from msgspec.structs import replace as replace_fields

from asyncfetch.allen import ImageRequest
from asyncfetch.engine.groups import share_out
from asyncfetch.errors import (
    AlignmentError,
    AsyncFetchError,
    ImageSizeError,
    ImageTierError,
    NotFoundError,
    SelectionError,
    SettingsError,
)
from asyncfetch.geometry import full_to_tier
from asyncfetch.imaging import DisplacementField, decode, expression_level, prepare_source, warp
from asyncfetch.layout.recipe import Recipe
from asyncfetch.planning import SectionPlan, plan_section, registered_grid, tier_of
from asyncfetch.planning.section import PIXELS_PER_JPEG_BYTE, detection_point, placed
from asyncfetch.settings import Settings
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
    from numpy.typing import DTypeLike, NDArray

    from asyncfetch.allen import SectionDataSet, SectionImage
    from asyncfetch.client.images import ImageQueries, Parked
    from asyncfetch.geometry import Affine2D, ReferenceGrid
    from asyncfetch.imaging import Interpolation

__all__ = ["FetchedSection", "SectionStream", "open_sections"]


@dataclass(frozen=True, eq=False, kw_only=True)
class FetchedSection:
    """One section that has arrived, or the reason why it has not.

    Attributes
    ----------
    section : SectionImage
        Its record.
    downsample : int
        The tier of its pixels, as their size shows, which may be another than was asked for.
    pixels : (y, x, 3) array of uint8, or None
        The image; None where it is unavailable.
    expression : (y, x, 3) array of uint8, or None
        The expression mask, of the same size; None where it was not asked for, is unavailable, or does not exist.
    slice_coordinate_um : float or None
        Where the detection point lies across the plane of section, in µm; None where the section cannot be placed.
    grid : ReferenceGrid or None
        The grid of the reference space that the section is placed on.
    grid_to_pixels : Affine2D or None
        Grid index (x, y) to pixel centres of ``pixels``; None where the section cannot be placed.
    error : AsyncFetchError or None
        Why something is missing. A mask that does not exist, as of Nissl sections, is not an error.
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
        """The position in the data set."""
        return self.section.section_number

    def displacement_field(self, dtype: DTypeLike = np.float64) -> DisplacementField:
        """Return where the pixels of the grid lie in ``pixels``, as one vector a pixel.

        Raises
        ------
        AlignmentError
            The section cannot be placed.
        """
        grid, grid_to_pixels = self._position()
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
        """Return the expression mask as expression levels, (y, x, 1): 0 where it is black, 1 to 255 from blue to red.

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
        """Return the expression levels of the mask on the grid, (y, x, 1); they are mixed truly by area.

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
        grid, grid_to_source = self._position()
        pixels = source
        if interpolation != "nearest":
            pixels, grid_to_source = prepare_source(source, grid_to_source)
        averaged = self.downsample > 0 or pixels is not source
        return warp(
            pixels, grid_to_source, grid.shape, interpolation=interpolation, fill=fill, averaged=averaged
        )

    def _position(self) -> tuple[ReferenceGrid, Affine2D]:
        if self.grid is None or self.grid_to_pixels is None:
            raise AlignmentError(f"image {self.image_id} has no position on the grid") from self.error
        return self.grid, self.grid_to_pixels

    def __repr__(self) -> str:
        state = "whole" if self.error is None else type(self.error).__name__
        return f"FetchedSection({self.image_id}, {state})"


type _Offer = tuple[FetchedSection, anyio.Event]


class SectionStream:
    """The sections of a data set in the order in which they arrive; from ``open_sections``.

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
    """What is chosen for all sections; see :meth:`asyncfetch.Client.open_sections`."""

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

    @property
    def settings(self) -> Settings:
        """The choices, as settings by which sections are planned."""
        return Settings(um=self.um, downsample=self.downsample, parallel=self.parallel)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """How one section is fetched, and where it lies: its plan, the mask beside it, and fields of what comes."""

    image: SectionPlan
    requests: tuple[ImageRequest, ...]
    position: dict[str, Any]
    error: AlignmentError | None

    def place_of(self, downsample: int) -> dict[str, Any]:
        """Return where pixels of a tier lie, as fields of a `FetchedSection`."""
        if self.image.grid_to_image is None:
            return self.position
        return self.position | {"grid_to_pixels": full_to_tier(downsample) @ self.image.grid_to_image}

    @property
    def working_bytes(self) -> int:
        """Most bytes of decoded pixels and of one JPEG, as it came and as it is kept."""
        n_pixels = self.image.n_pixels
        return 3 * n_pixels * len(self.requests) + 2 * n_pixels // PIXELS_PER_JPEG_BYTE


@asynccontextmanager
async def open_sections(
    images: ImageQueries,
    read_data_set: Callable[[], Awaitable[SectionDataSet]],
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
    data_set = await read_data_set()
    grid, no_grid = _grid(data_set, choices.settings)
    ordered = sorted(data_set.section_images, key=lambda each: (each.section_number or 0, each.id))
    plans = [_plan(data_set, section, grid, no_grid, choices) for section in ordered]
    send, receive = anyio.create_memory_object_stream[_Offer](0)
    try:
        async with receive, anyio.create_task_group() as group:
            group.start_soon(_work, images, plans, send)
            yield SectionStream(data_set, grid, receive)
            group.cancel_scope.cancel()
        return
    except BaseExceptionGroup as errors:
        if len(errors.exceptions) > 1:
            raise
        failure: BaseException = next(iter(errors.exceptions))
    # The group is this function's own affair: its one error is raised as it was.
    raise failure


async def _work(images: ImageQueries, plans: list[_Plan], send: MemoryObjectSendStream[_Offer]) -> None:
    """Fetch all sections and hand them over, one more at a time than may be in flight.

    The section that the consumer holds keeps its worker.
    """
    async with send:
        n_workers = min(images.settings.max_images_at_once + 1, len(plans))
        await share_out(plans, lambda plan: _bring(images, plan, send), n_workers)


async def _bring(images: ImageQueries, plan: _Plan, send: MemoryObjectSendStream[_Offer]) -> None:
    """Fetch a section and hand it over; one that turns out to need more memory is fetched once more, with that."""
    try:
        await _offer(images, plan, send, is_last=False)
    except ImageTierError as error:
        await _offer(
            images,
            replace(plan, image=replace_fields(plan.image, shape=error.actual or plan.image.shape)),
            send,
            is_last=True,
        )


async def _offer(
    images: ImageQueries, plan: _Plan, send: MemoryObjectSendStream[_Offer], *, is_last: bool
) -> None:
    """Fetch a section and hand it over; its bytes are held until the consumer is done with it."""
    async with images.reserve(plan.working_bytes) as reservation:
        is_done_with = anyio.Event()
        section = await _fetch(images, plan, reservation.lent)
        if not is_last and plan.image.downsample and isinstance(section.error, ImageTierError):
            raise section.error
        await send.send((section, is_done_with))
        await is_done_with.wait()


async def _fetch(images: ImageQueries, plan: _Plan, parked: Parked) -> FetchedSection:
    found: list[NDArray[np.uint8] | None] = [None, None]
    error: AsyncFetchError | None = plan.error
    image = plan.image
    downsample = image.downsample
    for k, request in enumerate(plan.requests):
        try:
            jpeg, pixels = await images.fetch_jpeg(
                request,
                image.shape,
                admits=image.admits,
                check=lambda jpeg, _accept: decode(jpeg.data),
                parked=parked,
            )
            tier = image.tier_of(jpeg.shape)
            if k and tier != downsample:
                raise ImageSizeError(
                    f"the expression mask of image {image.section.id} is tier {tier}, not {downsample} as the image",
                    actual=jpeg.shape,
                )
        except AsyncFetchError as failure:
            if not (k and isinstance(failure, NotFoundError)):
                error = failure
            break
        found[k] = pixels
        downsample = image.downsample if tier is None else tier
    return FetchedSection(
        section=image.section,
        downsample=downsample,
        pixels=found[0],
        expression=found[1],
        error=error,
        **plan.place_of(downsample),
    )


def _grid(data_set: SectionDataSet, settings: Settings) -> tuple[ReferenceGrid | None, AlignmentError | None]:
    try:
        return registered_grid(data_set, settings), None
    except AlignmentError as error:
        return None, error


def _plan(
    data_set: SectionDataSet,
    section: SectionImage,
    grid: ReferenceGrid | None,
    no_grid: AlignmentError | None,
    choices: _Choices,
) -> _Plan:
    settings = choices.settings
    recipe = Recipe.of("image", settings, grid)
    image = plan_section(data_set, section, "image", recipe, downsample=tier_of(section, settings))
    detection_xy = choices.detection_xy or detection_point(section)
    position: dict[str, Any] = {}
    error = no_grid
    if grid is not None:
        try:
            image = placed(image, data_set, detection_xy)
            across_um = data_set.geometry(section).image_to_reference(detection_xy)[grid.plane.slice_axis]
            position = {"grid": grid, "slice_coordinate_um": float(across_um)}
        except AlignmentError as failure:
            error = failure
    mask = replace_fields(image.request, view="expression")
    return _Plan(
        image=image,
        requests=(image.request, mask) if choices.view_expression else (image.request,),
        position=position,
        error=error,
    )
