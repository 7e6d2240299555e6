"""Wanted against stored: what is there, what is made again, what stays, and what a commit will say. Pure.

It is the one place where that is decided. Mirrors, rebuilds and repairs ask it, and act by its answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from asyncfetch.errors import SettingsError
from asyncfetch.planning.regions import hull, tier_box

if TYPE_CHECKING:
    from asyncfetch.geometry import Box
    from asyncfetch.layout.commit import SectionSummary
    from asyncfetch.layout.recipe import Recipe
    from asyncfetch.settings import Layer

__all__ = ["Difference", "Wanted", "compare", "stale_layers"]

_SOURCE: tuple[Layer, ...] = ("source",)
_PLANE: frozenset[Layer] = frozenset({"registered"})


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one view of one section.

    Attributes
    ----------
    recipe : Recipe
        How its pixels are made; without a grid where the section has no plane.
    layers : tuple of str
        Which of ``source``, ``sections`` and ``registered``, less what cannot be made of it.
    downsample : int
        The tier.
    is_tier_fixed : bool
        Whether it has to be that tier; otherwise a finer one serves, too.
    shape : tuple of int
        (y, x) of the whole image at the tier.
    region : Box or None
        The pixels of the tier that are wanted; None means all.
    """

    recipe: Recipe
    layers: tuple[Layer, ...]
    downsample: int
    is_tier_fixed: bool = False
    shape: tuple[int, int]
    region: Box | None = None

    @property
    def has_plane(self) -> bool:
        """Whether a registered plane is wanted."""
        return "registered" in self.layers


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What separates a stored section from what is wanted of it.

    Attributes
    ----------
    is_served : bool
        What is stored serves: there is nothing to do.
    layers : tuple of str
        What the commit will vouch for in the end: what is wanted, and what is stored beside it.
    recipe : Recipe
        What the commit will say of how its pixels were made.
    region : Box or None
        The pixels of the tier that are stored in the end, not yet aligned; None means all.
    kept : tuple of str
        Layers that stay as they are, if the JPEG is the one that is stored, at the same tier.
    kept_of_another : tuple of str
        Layers that stay whatever JPEG comes.
    """

    is_served: bool
    layers: tuple[Layer, ...]
    recipe: Recipe
    region: Box | None = None
    kept: tuple[Layer, ...] = ()
    kept_of_another: tuple[Layer, ...] = ()

    @classmethod
    def from_nothing(cls, wanted: Wanted) -> Self:
        """Return what there is to do where nothing is stored."""
        return cls(is_served=False, layers=wanted.layers, recipe=wanted.recipe, region=wanted.region)


def compare(wanted: Wanted, stored: SectionSummary | None) -> Difference:
    """Compare what is wanted of a section with what is stored of it.

    Nothing that is stored is taken away: layers that are not asked for stay, and are made again where the JPEG or the
    colours change.

    Parameters
    ----------
    wanted : Wanted
        What is asked for.
    stored : SectionSummary or None
        What the store holds, less what it no longer vouches for; see `stale_layers`.

    Raises
    ------
    SettingsError
        A plane of colours would stand beside levels in one commit, or the other way round.
    """
    if stored is None:
        return Difference.from_nothing(wanted)
    if wanted.layers == _SOURCE:
        # a JPEG is the same whatever its pixels are made into
        is_numeric = stored.recipe.numeric_expression
        recipe = msgspec.structs.replace(wanted.recipe, numeric_expression=is_numeric)
        wanted = msgspec.structs.replace(wanted, recipe=recipe)
    others: tuple[Layer, ...] = tuple(layer for layer in stored.layers if layer not in wanted.layers)
    keeps_plane = "registered" in others
    if keeps_plane and stored.recipe.numeric_expression != wanted.recipe.numeric_expression:
        raise SettingsError(
            f"image:{stored.image_id} of data set {stored.data_set_id} is registered with numeric_expression = "
            f"{stored.recipe.numeric_expression}, not {wanted.recipe.numeric_expression}; use the same again, or name "
            "the layer registered, too, after a rebuild of its planes",
            setting="numeric_expression",
        )
    return Difference(
        is_served=_serves(stored, wanted),
        layers=(*wanted.layers, *others),
        recipe=wanted.recipe.with_planes_of(stored.recipe) if keeps_plane else wanted.recipe,
        region=_joined(wanted, stored),
        kept=_kept(wanted, stored),
        # no plane is asked for, so the one there is stays
        kept_of_another=("registered",) if keeps_plane else (),
    )


def stale_layers(stored: SectionSummary, recipe: Recipe) -> set[Layer]:
    """Return the layers of a commit that a recipe would make otherwise, apart from planes at another pitch."""
    return stored.recipe.layers_made_otherwise(recipe) & set(stored.layers)


def _serves(stored: SectionSummary, wanted: Wanted) -> bool:
    """Tell whether what is stored serves as what is wanted: all layers, at the pitch and the tier, or finer."""
    if not set(wanted.layers) <= set(stored.layers):
        return False
    if stored.recipe.numeric_expression != wanted.recipe.numeric_expression:
        return False
    if wanted.has_plane and not _is_same_grid(wanted, stored):
        return False
    if stored.region is not None:
        there = tier_box(stored.region, wanted.downsample, wanted.shape)
        if wanted.region is None or wanted.region.intersect(there) != wanted.region:
            return False
    asked = stored.downsample if stored.asked_downsample is None else stored.asked_downsample
    tiers = {stored.downsample, asked}
    return wanted.downsample in tiers if wanted.is_tier_fixed else min(tiers) <= wanted.downsample


def _is_same_grid(wanted: Wanted, stored: SectionSummary) -> bool:
    um, space = wanted.recipe.um, wanted.recipe.space
    return um is not None and (um, space) == (stored.recipe.um, stored.recipe.space)


def _kept(wanted: Wanted, stored: SectionSummary) -> tuple[Layer, ...]:
    """Return the layers that need not be written again where the JPEG is the same."""
    kept = set(stored.layers)
    if stored.recipe.numeric_expression != wanted.recipe.numeric_expression:
        kept &= {"source"}
    if wanted.has_plane and not _is_same_grid(wanted, stored):
        kept -= _PLANE
    return tuple(layer for layer in stored.layers if layer in kept)


def _joined(wanted: Wanted, stored: SectionSummary) -> Box | None:
    if wanted.region is None or stored.region is None:
        return None
    return hull(wanted.region, tier_box(stored.region, wanted.downsample, wanted.shape))
