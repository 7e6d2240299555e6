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
