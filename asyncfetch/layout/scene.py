"""NGFF 0.6: named coordinate systems in images, and the scene that places the sections of a view (RFC-5). Pure.

A scene takes the place of the collection, because readers that know both show the collection. Its sections lie in the
reference space by the affines of their commits; across a section, which has a thickness, by the alignment of its set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from asyncfetch.geometry import SPACE_TRANSFORMS
from asyncfetch.layout.ome import space_axes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.commit import Commit

__all__ = ["SECTION", "as_06", "reference_system", "scene_attributes"]

_VERSION = "0.6"
#: The coordinate system of a section's own frame: y and x in µm, z across the section, from its middle.
SECTION = "section"
_P_I_R = (0, 1, 2)


def reference_system(reference_space_id: int | None) -> str:
    """Return the name of the coordinate system of a reference space."""
    return "reference" if reference_space_id is None else f"reference space {reference_space_id}"


def as_06(ome: dict[str, Any], system: str) -> dict[str, Any]:
    """Return ``attributes.ome`` of an image as NGFF 0.6 has it.

    Parameters
    ----------
    ome : dict
        The same of NGFF 0.5: with ``axes``, and a scale and a translation for each level.
    system : str
        What the coordinate system that the levels lie in is called.
    """
    return ome | {
        "version": _VERSION,
        "multiscales": [_multiscale(each, system) for each in ome["multiscales"]],
    }


def scene_attributes(commits: Iterable[Commit], data_set: SectionDataSet) -> dict[str, Any] | None:
    """Return ``attributes.ome`` of the group above sections: the place of each in the reference space.

    Parameters
    ----------
    commits : iterable of Commit
        Those that hold pixels. One that has no place in the reference space is left out.
    data_set : SectionDataSet
        Their data set, in its own reference space.

    Returns
    -------
    dict or None
        None where no section has a place.
    """
    spaces = set()
    transformations = []
    for commit in commits:
        affine = _section_to_reference(commit, data_set)
        if affine is None:
            continue
        spaces.add(commit.recipe.space or data_set.reference_space_id)
        transformations.append(
            {
                "type": "affine",
                "input": {"path": str(commit.image_id), "name": SECTION},
                "output": {"name": reference_system(commit.recipe.space or data_set.reference_space_id)},
                "affine": affine.tolist(),
            }
        )
    if not transformations:
        return None
    systems = [
        _system(reference_system(space), space_axes(_P_I_R, space)) for space in sorted(spaces, key=str)
    ]
    return {
        "version": _VERSION,
        "scene": {"coordinateSystems": systems, "coordinateTransformations": transformations},
    }


def _section_to_reference(commit: Commit, data_set: SectionDataSet) -> NDArray[np.float64] | None:
    """Return the (4, 5) map from (c, z, y, x) of a section, in µm of its own frame, to (c, p, i, r)."""
    alignment = data_set.alignment3d
    tvr = None if alignment is None else alignment.tvr
    if commit.image_to_reference is None or tvr is None:
        return None
    to_reference = np.array(commit.image_to_reference.matrix)
    across = tvr.linear[:, 2]
    there = SPACE_TRANSFORMS.get((data_set.reference_space_id or 0, commit.recipe.space or 0))
    if there is not None:
        to_reference = there.linear @ to_reference
        to_reference[:, 2] += there.offset
        across = there.linear @ across
    affine = np.eye(4, 5)
    # pixels without a known size are their own unit
    affine[1:, 1:4] = np.column_stack(
        [across, *(to_reference[:, axis] / (commit.resolution_um or 1.0) for axis in (1, 0))]
    )
    affine[1:, 4] = to_reference[:, 2]
    return affine


def _multiscale(multiscale: dict[str, Any], system: str) -> dict[str, Any]:
    found = {name: value for name, value in multiscale.items() if name != "axes"}
    found["coordinateSystems"] = [{"name": system, "axes": multiscale["axes"]}]
    found["datasets"] = [
        {
            "path": dataset["path"],
            "coordinateTransformations": [
                {
                    "type": "sequence",
                    "input": {"path": dataset["path"]},
                    "output": {"name": system},
                    "transformations": dataset["coordinateTransformations"],
                }
            ],
        }
        for dataset in multiscale["datasets"]
    ]
    return found


def _system(name: str, axes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "axes": [{"name": "c", "type": "channel"}, *axes]}
