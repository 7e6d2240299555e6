"""Filters as conditions of a query of the API. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncfetch.allen import Filter, Query, Step
from asyncfetch.selecting.traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asyncfetch.selecting.filters import Failed, Filters

__all__ = ["restricted"]


def restricted(query: Query, filters: Filters, *, failed: Failed | None = None) -> Query:
    """Return a query of data sets with the conditions of filters.

    Parameters
    ----------
    query : Query
        Of SectionDataSet.
    filters : Filters
        What the data sets have to meet.
    failed : "without", "with", "only" or None
        What holds of failed sets where the filters do not say it.
    """
    which = filters.failed or failed
    if which in {"without", "only"}:
        query = query.where(failed=which == "only")
    if filters.delegate is not None:
        query = query.where(delegate=filters.delegate)
    tree: dict[str, Any] = {}
    for trait in TRAITS:
        values = getattr(filters, trait.name)
        if values:
            node = tree
            for name in trait.path[:-1]:
                node = node.setdefault(name, {})
            one = Filter(trait.path[-1], "eq" if len(values) == 1 else "in", values)
            node.setdefault("", []).append(one)
    return query.association(*_steps(tree))


def _steps(tree: Mapping[str, Any]) -> list[Step]:
    """Return the associations of a tree, whose conditions stand under the empty name."""
    return [
        Step(name, tuple(inner.get("", ())), tuple(_steps(inner))) for name, inner in tree.items() if name
    ]
