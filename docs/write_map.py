"""The lists of modules on the page ``explanation/map.md``: ``python docs/write_map.py`` writes them again."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "explanation" / "map.md"
MARK = "<!-- what follows is written by docs/write_map.py -->\n"


def _first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].removesuffix(" Pure.").replace("``", "`").replace("|", "\\|")


def _is_module(path: Path) -> bool:
    return path.name not in {"__init__.py", "__main__.py"}


def module_lists() -> str:
    """Return a heading and a table for every package, and for the modules that stand alone."""
    package = ROOT / "asyncfetch"
    lines = []
    for folder in sorted({path.parent for path in package.rglob("*.py")}):
        name = folder.relative_to(ROOT).as_posix()
        lines += [f"## `{name}`", "", _first_line(folder / "__init__.py"), ""]
        modules = sorted(path for path in folder.glob("*.py") if _is_module(path))
        if modules:
            lines += ["| module | what it is |", "|---|---|"]
            lines += [f"| `{path.name}` | {_first_line(path)} |" for path in modules]
            lines.append("")
    return "\n".join(lines)


def page() -> str:
    """Return the page as it should be: what stands before the mark, and the lists."""
    written_by_hand = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return f"{written_by_hand}{MARK}\n{module_lists()}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
