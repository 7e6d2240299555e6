"""The modules of the package: what imports what, and that contract, code and page tell of the same layers."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "asyncfetch"


def modules_of(folder: Path) -> dict[str, Path]:
    """Return the files of a package by the names of their modules."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the modules that one imports, wherever the statement stands: also for type checkers alone."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            named = {f"{origin}.{alias.name}" for alias in node.names}
            found |= named & modules.keys() or {origin}
    return (found & modules.keys()) - {name}


def circles_in(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other, by any way around."""

    def reached_from(start: str) -> set[str]:
        seen: set[str] = set()
        ahead = [start]
        while ahead:
            new = graph[ahead.pop()] - seen
            seen |= new
            ahead += new
        return seen

    reached = {name: reached_from(name) for name in graph}
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(circles)]


def test_no_module_is_imported_by_what_it_imports_not_even_for_type_checkers():
    modules = modules_of(PACKAGE)
    graph = {name: imports_of(name, path, modules) for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 500, "the imports were not found"
    assert circles_in(graph) == []


def test_a_circle_under_type_checking_would_be_found(tmp_path):
    package = tmp_path / "sample"
    package.mkdir()
    (package / "__init__.py").write_text("from sample.one import ONE\n")
    (package / "one.py").write_text("from . import two\nONE = 1\n")
    (package / "two.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sample.three import Three\n"
    )
    (package / "three.py").write_text("def late():\n    import sample.one\n")
    modules = modules_of(package)
    graph = {name: imports_of(name, path, modules) for name, path in modules.items()}
    assert circles_in(graph) == [["sample.one", "sample.three", "sample.two"]]


def layers_of_contract() -> list[set[str]]:
    """Return the layers that import-linter holds, from the top."""
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each.get("containers") == ["asyncfetch"]]
    return [{name.strip() for name in re.split(r"[|:]", layer)} for layer in contract["layers"]]


def layers_of_page() -> list[set[str]]:
    """Return the layers that the page on the architecture draws, from the top."""
    page = (REPOSITORY / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    drawing = page.split("## Layers", 1)[1].split("```")[1]
    lines = [line for line in drawing.splitlines() if line and not line.startswith(" ")]
    return [{name.strip() for name in re.split(r" {2,}", line)[0].split("|")} for line in lines]


def test_the_page_on_the_architecture_draws_the_layers_that_are_held():
    assert layers_of_page() == layers_of_contract()


def test_every_package_stands_in_one_layer():
    names = {name.split(".")[1] for name in modules_of(PACKAGE) if "." in name} - {"__main__"}
    layered = [name for layer in layers_of_contract() for name in layer]
    assert sorted(layered) == sorted(names)


def test_every_module_says_what_it_is():
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules_of(PACKAGE).items()}
    silent = [name for name, text in texts.items() if text.strip() and not ast.get_docstring(ast.parse(text))]
    assert silent == []
