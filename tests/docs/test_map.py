"""The map of the modules names each of them, with the words of its own docstring, and nothing that is not there."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/map.md"
PACKAGE = ROOT / "asyncfetch"
HEADING = re.compile(r"^## `(asyncfetch[\w/]*)`$", re.MULTILINE)
ROW = re.compile(r"^\| `(\w+\.py)` \| (.+) \|$", re.MULTILINE)


def test_the_lists_of_modules_are_those_of_the_code():
    as_it_should_be = runpy.run_path(str(ROOT / "docs/write_map.py"))["page"]()
    assert PAGE.read_text(encoding="utf-8") == as_it_should_be, "run `python docs/write_map.py`"


def test_every_package_and_every_module_is_named():
    _, *parts = HEADING.split(PAGE.read_text(encoding="utf-8"))
    named = {
        f"{folder}/{name}"
        for folder, text in zip(parts[::2], parts[1::2], strict=True)
        for name in [name for name, _ in ROW.findall(text)]
    }
    there = {path.relative_to(ROOT).as_posix() for path in PACKAGE.rglob("*.py")}
    own = {name for name in there if not name.endswith(("/__init__.py", "/__main__.py"))}
    assert named == own
    assert set(parts[::2]) == {name.rpartition("/")[0] for name in there}


def test_what_is_named_by_hand_is_there():
    by_hand = PAGE.read_text(encoding="utf-8").partition("<!--")[0]
    files = re.findall(r"`([\w/]+(?:\.py|/))`", by_hand)
    assert len(files) > 30
    assert [name for name in files if not (PACKAGE / name).exists()] == []


def test_the_functions_that_decide_are_there():
    by_hand = PAGE.read_text(encoding="utf-8").partition("<!--")[0]
    for name, function in re.findall(r"`([\w/]+\.py)`, `([\w.]+)`", by_hand):
        source = (PACKAGE / name).read_text(encoding="utf-8")
        for word in function.split("."):
            assert re.search(rf"\b(?:def|class) {word}\b", source), f"{name} has no {word}"
