"""Every public name has a page on the site, and the pages use public names alone."""

from __future__ import annotations

import importlib
import inspect
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API_PAGE = ROOT / "docs/reference/api.md"
MODULES = re.findall(r"^   (asyncfetch[\w.]*)$", API_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
#: What a script leans on; the page may list more.
PUBLIC = {
    "asyncfetch",
    "asyncfetch.blocking",
    "asyncfetch.replica",
    "asyncfetch.sample",
    "asyncfetch.errors",
    "asyncfetch.events",
    "asyncfetch.settings",
}
IMPORTED = re.compile(r"^ *(?:from (asyncfetch[\w.]*) import|import (asyncfetch[\w.]*))", re.MULTILINE)
SNIPPET = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def site():
    """Return the folder of the built site, where `nox -s docs` names one."""
    if "BUILT_SITE" not in os.environ:
        pytest.skip("no built site; `nox -s docs` builds one and runs this test")
    return Path(os.environ["BUILT_SITE"])


@pytest.fixture(scope="module")
def documented(site):
    """Return the page of each name that the site documents."""
    from sphinx.util.inventory import InventoryFile

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {
        name: item.uri.partition("#")[0]
        for kind, items in inventory.data.items()
        if kind.startswith("py:")
        for name, item in items.items()
    }


def names_of(module_name, name):
    """Return the names under which a public name may be listed: its own, and that of the class where it is defined."""
    value = getattr(importlib.import_module(module_name), name)
    own = {f"{module_name}.{name}"}
    return own | ({f"{value.__module__}.{value.__qualname__}"} if inspect.isclass(value) else set())


def test_the_page_lists_all_public_modules():
    assert PUBLIC - set(MODULES) == set()


@pytest.mark.parametrize("module_name", MODULES)
def test_a_public_module_says_what_it_offers(module_name):
    module = importlib.import_module(module_name)
    assert module.__all__
    assert module.__doc__
    undocumented = [
        name
        for name in module.__all__
        if inspect.isroutine(value := getattr(module, name)) or inspect.isclass(value)
        if not inspect.getdoc(value)
    ]
    assert undocumented == []


@pytest.mark.parametrize("module_name", MODULES)
def test_every_public_name_has_a_page(documented, site, module_name):
    names = importlib.import_module(module_name).__all__
    missing = [name for name in names if not names_of(module_name, name) & documented.keys()]
    assert missing == []
    pages = {documented[each] for name in names for each in names_of(module_name, name) & documented.keys()}
    assert [page for page in pages if not (site / page).is_file()] == []


def test_snippets_import_from_public_modules_only():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
    imported = {
        module
        for page in pages
        for snippet in SNIPPET.findall(page.read_text(encoding="utf-8"))
        for names in IMPORTED.findall(snippet)
        for module in names
        if module
    }
    assert "asyncfetch" in imported
    assert imported - set(MODULES) == set()
