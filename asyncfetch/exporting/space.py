"""Where voxels of the reference spaces lie in the frame that files of volumes state: RAS+, in millimetres. Pure.

Files are in one world, whichever reference space an image lies in: its origin is the corner of the box of space 9, and
R = r9, A = -p and S = -i. Space 10 is seen through the API's own transform, r9 = 11350 - r10 (REC-5), so that files of
both spaces lie on each other in every viewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from asyncfetch.errors import SelectionError
from asyncfetch.geometry import SPACE_TRANSFORMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["WORLD_SPACE", "to_world_space", "voxel_to_ras_mm"]

#: The reference space whose corner is the origin of the world.
WORLD_SPACE = 9
#: From (p, i, r) of that space in µm to (R, A, S) in mm.
_TO_RAS = np.array([[0.0, 0.0, 1e-3], [-1e-3, 0.0, 0.0], [0.0, -1e-3, 0.0]])


def to_world_space(space: int | None, what: str) -> NDArray[np.float64]:
    """Return the (4, 4) map from (p, i, r, 1) of a reference space to that of space 9, in µm.

    Raises
    ------
    SelectionError
        It is not known; the message says of what, which `what` names.
    """
    matrix = np.eye(4)
    if space == WORLD_SPACE:
        return matrix
    transform = SPACE_TRANSFORMS.get((space or 0, WORLD_SPACE))
    if transform is None:
        raise SelectionError(
            f"{what} lies in reference space {space}, of which is not known which way its axes run; images of the "
            "spaces 9 and 10 can be exported"
        )
    matrix[:3] = transform.matrix
    return matrix


def voxel_to_ras_mm(
    first_um: Sequence[float], step_um: Sequence[float], space: int | None, what: str
) -> NDArray[np.float64]:
    """Return the affine of an array whose axes are p, i and r, as NIfTI states it.

    Parameters
    ----------
    first_um : sequence of float
        (p, i, r) of the centre of the first voxel, in µm of the reference space.
    step_um : sequence of float
        From one voxel to the next along each axis, in µm.
    space : int or None
        The API's id of the reference space.
    what : str
        What it is of, for messages.

    Returns
    -------
    (4, 4) array of float64
        Takes the index (p, i, r, 1) of a voxel to (R, A, S, 1) of its centre in mm.
    """
    to_space = np.eye(4)
    to_space[:3, :3] = np.diag(step_um)
    to_space[:3, 3] = first_um
    to_ras = np.eye(4)
    to_ras[:3, :3] = _TO_RAS
    affine: NDArray[np.float64] = to_ras @ to_world_space(space, what) @ to_space
    # a zero that was multiplied by a negative number reads badly in a header
    return affine + 0.0
