"""Public names of packages that are loaded when they are first used."""

from __future__ import annotations

import importlib
import importlib.util

import pytest

PACKAGES = ["asyncfetch", "asyncfetch.client", "asyncfetch.store"]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there(package):
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_is_hidden_by_a_module_of_the_same_name(package):
    module = importlib.import_module(package)
    hidden = {name for name in module._HOMES if importlib.util.find_spec(f"{package}.{name}")}
    assert hidden == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_name_that_is_missing_is_refused_by_the_name_of_the_package(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        importlib.import_module(package).nothing  # noqa: B018 - reading it is what is tried
