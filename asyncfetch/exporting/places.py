"""Where sections, planes and volumes lie in space 9: affine maps of their own frames, all in µm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.exporting.space import to_world_space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from asyncfetch.exporting.chosen import Chosen
    from asyncfetch.exporting.stacks import Stack

__all__ = ["section_to_world", "stack_to_world"]


def stack_to_world(stack: Stack, what: str) -> NDArray[np.float64]:
    """Return the (3, 4) map from (z, y, x, 1) of a stack to (p, i, r) of space 9.

    Raises
    ------
    SelectionError
        Its reference space is another one, of which that is not known; `what` names the stack in the message.
    """
    to_world = to_world_space(stack.space, what)
    return np.column_stack([to_world[:3, list(stack.axes)], to_world[:3, 3]])


def section_to_world(chosen: Chosen, image_id: int) -> NDArray[np.float64]:
    """Return the (3, 4) map from (z, y, x, 1) of a section's own frame to (p, i, r) of space 9.

    Across the section, which has a thickness, it follows the axis of the volume frame.

    Raises
    ------
    SelectionError
        Where the section lies is not known.
    """
    to_world = to_world_space(chosen.record.reference_space_id, chosen.item)
    geometry = chosen.stored.geometry(image_id)
    image_to_reference = geometry.image_to_reference_matrix()
    assert geometry.tvr is not None, "the matrix was made of it"
    # pixels without a known size are their own unit
    resolution_um = chosen.sections[image_id].resolution_um or 1.0
    x, y = image_to_reference[:, 0] / resolution_um, image_to_reference[:, 1] / resolution_um
    affine = to_world[:3, :3] @ np.column_stack([geometry.tvr.linear[:, 2], y, x, image_to_reference[:, 2]])
    affine[:, 3] += to_world[:3, 3]
    return np.asarray(affine)
