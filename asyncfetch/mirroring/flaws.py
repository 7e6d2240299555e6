"""Flaws of a store: what is not as it was written, and the item that it belongs to. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from asyncfetch.layout.paths import section_path

if TYPE_CHECKING:
    from asyncfetch.store import Problem

__all__ = ["Flaw", "flaw_at", "flaw_of", "flaw_of_commit"]

_BELOW_DATA_SET = re.compile(r"data_sets/(\d+)(?:/(\w+)/(?:sections|source)/(\d+))?")


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """Something of a store that is not as it was written.

    Attributes
    ----------
    item : str
        The selection that it belongs to, such as ``image:69177634``; ``store`` where it belongs to none.
    path : str
        The object, or the folder of objects.
    problem : str
        A phrase that follows the path.
    data_set_id, image_id : int or None
        The data set and the section image.
    view, layer : str or None
        The view, and the layer of the section; without a layer it is its commit that is wrong.
    is_derived : bool
        Whether it follows from what else is stored, and can be written again as it is.
    """

    item: str
    path: str
    problem: str
    data_set_id: int | None = None
    image_id: int | None = None
    view: str | None = None
    layer: str | None = None
    is_derived: bool = False


def flaw_of(data_set_id: int, view: str, image_id: int, problem: Problem) -> Flaw:
    """Return what is wrong with one layer of a section as a flaw."""
    return Flaw(
        item=f"image:{image_id}",
        path=problem.path,
        problem=problem.words,
        data_set_id=data_set_id,
        image_id=image_id,
        view=view,
        layer=problem.layer,
    )


def flaw_of_commit(data_set_id: int, view: str, image_id: int, problem: str) -> Flaw:
    """Return what is wrong with the commit of a section as a flaw."""
    return flaw_at(f"{section_path(data_set_id, view, image_id)}/zarr.json", problem)


def flaw_at(path: str, problem: str, *, is_derived: bool = False) -> Flaw:
    """Return what is wrong with an object as a flaw of the item that its path belongs to."""
    match = _BELOW_DATA_SET.match(path)
    if match is None:
        return Flaw(item="store", path=path, problem=problem, is_derived=is_derived)
    data_set_id, view, image_id = match.groups()
    return Flaw(
        item=f"dataset:{data_set_id}" if image_id is None else f"image:{image_id}",
        path=path,
        problem=problem,
        data_set_id=int(data_set_id),
        image_id=None if image_id is None else int(image_id),
        view=view,
        is_derived=is_derived,
    )
