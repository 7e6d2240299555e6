"""The plan of a rebuild: what of a stored view is made again from its JPEGs, and what ceases to count before. Pure."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from asyncfetch.errors import SettingsError
from asyncfetch.layout.recipe import CHOSEN, Recipe
from asyncfetch.planning.difference import stale_layers
from asyncfetch.planning.section import tier_of
from asyncfetch.planning.view import ViewPlan, plan_view, resolve_recipe
from asyncfetch.settings import Layer, Settings
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from asyncfetch.allen import SectionDataSet
    from asyncfetch.layout.commit import Commit
    from asyncfetch.layout.registered import RegisteredLayout
    from asyncfetch.settings import View

__all__ = ["LAYERS", "StoredView", "as_stored", "has_to_be_laid_out_again", "plan_rebuild", "sharpness_notes"]

#: The order of layers in a commit.
LAYERS: tuple[Layer, ...] = get_args(Layer)


class StoredView(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds of one view of a data set.

    Attributes
    ----------
    data_set : SectionDataSet
        The record with all its sections.
    view : str
        The view.
    commits : mapping of int to Commit
        By image id.
    registered : RegisteredLayout or None
        How its planes lie.
    """

    data_set: SectionDataSet
    view: View
    commits: Mapping[int, Commit]
    registered: RegisteredLayout | None = None


def as_stored(stored: StoredView, layers: tuple[Layer, ...], chosen: dict[str, Any]) -> Settings:
    """Return the settings of a rebuild: as chosen, else as stored, else the defaults.

    Parameters
    ----------
    stored : StoredView
        What there is.
    layers : tuple of str
        The layers that are made.
    chosen : dict
        Single settings by name.
    """
    taken: dict[str, Any] = {}
    for holder in (*stored.commits.values(), stored.registered):
        if holder is not None:
            found = {name: getattr(holder.recipe, name) for name in CHOSEN}
            taken |= {name: value for name, value in found.items() if value is not None}
    if stored.view == "expression":
        # a mask of colours is nearest whatever was chosen, which is not a choice for one of levels
        taken.pop("interpolation", None)
    there: Iterator[Layer] = (layer for commit in stored.commits.values() for layer in commit.layers)
    return Settings.from_layers(chosen, {"layers": _joined(layers, there)}, taken)


def has_to_be_laid_out_again(stored: StoredView, wanted: RegisteredLayout | None) -> bool:
    """Tell whether the planes that there are cannot stand beside those that are wanted, so that all are made again.

    Raises
    ------
    SettingsError
        Planes would be lost, because their JPEGs are not stored.
    """
    before = stored.registered
    if before is None or wanted is None or before.is_same_grid(wanted):
        return False
    lost = [
        commit.image_id
        for commit in stored.commits.values()
        if "registered" in commit.layers and "source" not in commit.layers
    ]
    if lost:
        raise SettingsError(
            f"data set {stored.data_set.id}, view {stored.view}, cannot be registered differently: {len(lost)} of its "
            f"sections, such as image:{lost[0]}, are stored without their JPEG, so that their planes would be "
            "lost; mirror them with the layer source first",
            setting="um",
        )
    return True


def plan_rebuild(
    stored: StoredView,
    settings: Settings,
    layers: tuple[Layer, ...],
    slots: Mapping[int, int],
    image_ids: Collection[int] | None = None,
) -> list[ViewPlan]:
    """Return what there is to make, a plan for each tier and set of layers.

    Parameters
    ----------
    stored : StoredView
        What there is, its view begun.
    settings : Settings
        As `as_stored` returns them.
    layers : tuple of str
        The layers that are made.
    slots : mapping of int to int
        The slot z of each image that has one, by image id.
    image_ids : collection of int, optional
        Only these sections.
    """
    recipe = resolve_recipe(stored.data_set, stored.view, settings)
    plans = []
    for downsample, wanted, commits in _groups(stored, layers, image_ids):
        # the JPEG is there, whatever it was fetched for
        of_group = settings.replace(downsample=downsample, layers=wanted, fetch="images")
        rest = {commit.image_id: _without_stale(commit, recipe) for commit in commits}
        plan = plan_view(stored.data_set, stored.view, of_group, rest, slots, rest.keys())
        in_order = [
            msgspec.structs.replace(each, layers=tuple(layer for layer in LAYERS if layer in each.layers))
            for each in plan.to_fetch
        ]
        plans.append(msgspec.structs.replace(plan, to_fetch=tuple(in_order)))
    return plans


def sharpness_notes(stored: StoredView, settings: Settings, plans: Iterable[ViewPlan]) -> Iterator[str]:
    """Yield what is worth knowing though nothing failed: planes that are made of coarser images than they could be."""
    free = settings.replace(downsample=None)
    n_coarse = sum(
        each.z is not None and tier_of(each.section, free) < each.downsample
        for plan in plans
        for each in plan.to_fetch
    )
    if n_coarse:
        yield (
            f"data set {stored.data_set.id}, view {stored.view}: "
            f"{counted(n_coarse, 'section is', 'sections are')} stored coarser than {free.um} µm call for; planes of "
            "them are less sharp than those of a mirror at that pitch"
        )


def _joined(layers: tuple[Layer, ...], others: Iterable[Layer]) -> tuple[Layer, ...]:
    """Return layers of both, in the order in which a commit names them."""
    both = {*layers, *others}
    return tuple(layer for layer in LAYERS if layer in both)


def _groups(
    stored: StoredView, layers: tuple[Layer, ...], image_ids: Collection[int] | None
) -> Iterator[tuple[int, tuple[Layer, ...], list[Commit]]]:
    def key(commit: Commit) -> tuple[int, tuple[Layer, ...]]:
        return commit.downsample, _joined(layers, commit.layers)

    chosen = [each for each in stored.commits.values() if image_ids is None or each.image_id in image_ids]
    for (downsample, wanted), commits in groupby(sorted(chosen, key=key), key=key):
        yield downsample, wanted, list(commits)


def _without_stale(commit: Commit, recipe: Recipe) -> Commit:
    stale = stale_layers(commit, recipe)
    return commit.vouching_for(tuple(layer for layer in commit.layers if layer not in stale))
