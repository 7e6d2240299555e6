"""The site: the pages as they stand in ``docs/``, and a page for every public name, from its docstring."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer

import asyncfetch

if TYPE_CHECKING:
    from types import ModuleType

    from sphinx.application import Sphinx

project = "asyncfetch"
author = "The asyncfetch developers"
version = release = asyncfetch.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
templates_path = ["_templates"]
# links between pages may lead to a heading
myst_heading_anchors = 3
# a word in single backticks is a link where there is such a name
default_role = "py:obj"
# the names of attributes are looked up like those of classes, and several classes have an image_id
suppress_warnings = ["ref.python"]
add_module_names = False
smartquotes = False
# what a public module offers is what its __all__ lists, wherever it was defined
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_member_order = "groupwise"
# numpydoc names the types, in words where those say more
autodoc_typehints = "none"
napoleon_google_docstring = False
# one entry may name several attributes, which only sections in the style of parameters allow
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"asyncfetch {version}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False

_API_PAGE = Path(__file__).parent / "reference" / "api.md"
_MODULES = [
    importlib.import_module(each.name)
    for each in pkgutil.walk_packages(asyncfetch.__path__, "asyncfetch.")
    if not each.name.endswith("__main__")
]


def _names_shown_elsewhere() -> dict[str, str]:
    """Return the names of classes that another page shows, and under which name: the first one that is its own."""
    modules = re.findall(r"^   (asyncfetch[\w.]*)$", _API_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    classes = [
        (value, name, f"{module}.{name}")
        for module in modules
        for name in importlib.import_module(module).__all__
        if inspect.isclass(value := getattr(importlib.import_module(module), name))
    ]
    shown: dict[type, str] = {}
    for value, name, full_name in classes:
        if value.__name__ == name:
            shown.setdefault(value, full_name)
    for value, _, full_name in classes:
        shown.setdefault(value, full_name)
    return {full_name: shown[value] for value, _, full_name in classes if shown[value] != full_name}


def _import_for_annotations(module: ModuleType) -> None:
    """Do what a module imports for type checkers alone, so that all of its annotations can be read."""
    tree = ast.parse(inspect.getsource(module))
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                # _typeshed is in no installation
                with contextlib.suppress(ModuleNotFoundError):
                    exec(compile(ast.Module([each], []), module.__name__, "exec"), vars(module))  # noqa: S102 - ours


def _comments_of_constants() -> dict[int, list[str]]:
    """Return the comments above constants by the identity of the value, which a re-export keeps."""
    comments = {}
    for module in _MODULES:
        try:
            found = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
        except PycodeError:
            continue
        for (owner, name), lines in found.items():
            if not owner and hasattr(module, name):
                comments[id(getattr(module, name))] = lines
    return comments


def _put_comment(_app: Sphinx, what: str, _name: str, value: Any, _options: Any, lines: list[str]) -> None:
    """Show the comment of a constant, which autodoc finds in the defining module only, instead of its type's."""
    own = (value.__doc__ or "").strip().splitlines()[:1] if not isinstance(value, type) else []
    if what == "data" and (not lines or lines[:1] == own):
        lines[:] = _COMMENTS.get(id(value), [])


for _module in _MODULES:
    _import_for_annotations(_module)
_COMMENTS = _comments_of_constants()
autosummary_context = {"elsewhere": _names_shown_elsewhere()}


def setup(app: Sphinx) -> None:
    """Connect what stands above."""
    app.connect("autodoc-process-docstring", _put_comment)
