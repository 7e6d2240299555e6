"""Where the images of a data set lie on its registered grid; found out before a contender's clock starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import asyncfetch
from asyncfetch.geometry import full_to_tier, tier_for
from asyncfetch.mirroring import registered_grid
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.contenders.job import Job

__all__ = ["Placed", "placed_images"]

#: libjpeg decodes at 1/8 at the smallest.
_MAX_HALVINGS = 3


class Placed(NamedTuple):
    """One image and its place.

    Attributes
    ----------
    image_id : int
    grid_to_pixels : (2, 3) array of float64
        Grid indices to pixels of the image halved ``n_halvings`` times.
    shape : tuple of int
        (y, x) of the grid.
    n_halvings : int
        As many as leave pixels at least twice as fine as the grid.
    """

    image_id: int
    grid_to_pixels: NDArray[np.float64]
    shape: tuple[int, int]
    n_halvings: int


async def placed_images(job: Job) -> list[Placed]:
    """Ask for the alignments and compute the places."""
    async with asyncfetch.Client(job.base_url) as client:
        data_set = await client.data_set(job.data_set_id)
    grid = registered_grid(data_set, Settings.from_layers({"um": job.um}))
    placed = []
    for section in data_set.section_images:
        if job.image_ids and section.id not in job.image_ids:
            continue
        n_halvings = min(_MAX_HALVINGS, tier_for(grid.um, section.resolution or 1.0))
        matrix = full_to_tier(n_halvings) @ grid.grid_to_image(data_set.geometry(section))
        placed.append(Placed(section.id, matrix.matrix, grid.shape, n_halvings))
    return placed
