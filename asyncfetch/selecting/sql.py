"""Filters as conditions of SQL on the tables of the catalogue. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncfetch.selecting.traits import TRAITS

if TYPE_CHECKING:
    from asyncfetch.selecting.filters import Failed, Filters

__all__ = ["sql_conditions"]

_HAS_TRAIT = (
    "data_sets.id IN (SELECT data_set_id FROM traits WHERE trait = ? AND value COLLATE NOCASE IN ({}))"
)


def sql_conditions(filters: Filters, *, failed: Failed | None = None) -> tuple[list[str], list[object]]:
    """Return conditions on the table ``data_sets`` with their parameters; all of them have to hold.

    Parameters
    ----------
    filters : Filters
        What the data sets have to meet. Capitals of traits do not count.
    failed : "without", "with", "only" or None
        What holds of failed sets where the filters do not say it.
    """
    conditions: list[str] = []
    parameters: list[object] = []
    which = filters.failed or failed
    if which in {"without", "only"}:
        conditions.append("data_sets.failed IS ?")
        parameters.append(int(which == "only"))
    if filters.delegate is not None:
        conditions.append("data_sets.delegate IS ?")
        parameters.append(int(filters.delegate))
    for trait in TRAITS:
        values = getattr(filters, trait.name)
        if values:
            conditions.append(_HAS_TRAIT.format(",".join("?" * len(values))))
            parameters += [trait.name, *values]
    return conditions, parameters
