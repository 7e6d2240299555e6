"""Types that are read on threads: msgspec has met each before, or two threads that meet one end the process."""

from __future__ import annotations

import importlib
import typing

import msgspec
import pytest

#: Modules whose types are read from replies and stores.
MODULES = (
    "allen.envelope",
    "allen.records",
    "allen.sync",
    "settings",
    "layout.atlas",
    "layout.commit",
    "layout.recipe",
    "layout.registered",
    "layout.slots",
    "layout.table",
    "layout.volume",
    "store.damage",
    "store.holder",
    "store.records",
    "store.runs",
)


#: What is only made here, and never read.
MADE = {"MadeByRecipe", "Page", "SyncRequest", "ViewLayout"}


def structs_in(kind):
    """Return the structs that a type names, at any depth."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        hints = typing.get_type_hints(kind).values()
        return {kind}.union(*(structs_in(each) for each in hints))
    return set().union(*(structs_in(each) for each in typing.get_args(kind)))


def met_by(module):
    values = [
        each for value in vars(module).values() for each in (value if isinstance(value, list) else [value])
    ]
    return {
        struct
        for each in values
        if isinstance(each, msgspec.json.Decoder)
        for struct in structs_in(each.type)
    }


@pytest.fixture(scope="module")
def met():
    modules = [importlib.import_module(f"asyncfetch.{name}") for name in MODULES]
    return set().union(*(met_by(module) for module in modules))


@pytest.mark.parametrize("name", MODULES)
def test_every_type_of_a_module_is_met_when_it_is_imported(met, name):
    module = importlib.import_module(f"asyncfetch.{name}")
    own = {
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ == module.__name__
    }
    # what others are made of is never read itself
    bases = {base for struct in own for base in struct.__mro__[1:]}
    assert own
    assert {struct.__name__ for struct in own - bases - met} - MADE == set()
