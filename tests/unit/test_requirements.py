"""What the package imports is what an installation brings."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import asyncfetch

PACKAGE = Path(asyncfetch.__file__).parent
ROOT = Path(__file__).parents[2]

#: What there is for type checkers alone.
NOT_INSTALLED = {"_typeshed"}


def imported_packages():
    """Yield the packages that each module imports, and where."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0], path.name


def normalized(requirement):
    """Return the name of a requirement as the index spells it."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_every_package_that_is_imported_is_a_dependency_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normalized(each) for each in project["dependencies"]}
    for extra in project["optional-dependencies"].values():
        declared.update(normalized(each) for each in extra)
    distributions = importlib.metadata.packages_distributions()
    missing = {
        (package, where)
        for package, where in imported_packages()
        if package not in sys.stdlib_module_names | NOT_INSTALLED | {"asyncfetch"}
        and not declared & {normalized(name) for name in distributions.get(package, ())}
    }
    assert missing == set()


def installed_without_extras(name, found=None):
    """Return the metadata of a distribution and of all that it requires, by name."""
    found = {} if found is None else found
    if normalized(name) in found:
        return found
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        # required on another system or by an older Python
        return found
    found[normalized(name)] = distribution.metadata
    for requirement in distribution.requires or ():
        if "extra ==" not in requirement:
            installed_without_extras(normalized(requirement), found)
    return found


def test_nothing_that_the_package_needs_is_under_the_gpl_or_lgpl():
    found = installed_without_extras("asyncfetch")
    assert {"aiohttp", "zarr", "opencv-python-headless"} <= found.keys()
    words = {
        # some give the text of their licence, and of what their wheel contains
        name: f"{data.get('License-Expression', '')} {(data.get('License') or '').partition('\n')[0]} "
        + " ".join(each for each in data.get_all("Classifier", []) if each.startswith("License"))
        for name, data in found.items()
    }
    assert not [name for name, text in words.items() if not text.strip()]
    assert not [name for name, text in words.items() if re.search(r"GPL|General Public", text)]


def test_the_large_libraries_of_extras_do_not_come_with_the_package():
    assert not {"pyarrow", "matplotlib", "obstore"} & installed_without_extras("asyncfetch").keys()
