"""The page of assumptions and the code that leans on them name the same ids."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/allen-api.md"
FAMILIES = "ADDR|HTTP|RMA|REC|IMG|SYNC"
CITATION = re.compile(rf"\b(?:{FAMILIES})-\d+\b")
RANGE = re.compile(rf"\b({FAMILIES})-(\d+) to \1-(\d+)\b")
HEADING = re.compile(rf"^### ((?:{FAMILIES})-\d+): (.+)\n(.+)$", re.MULTILINE)
MARKS = ("recorded", "relied on by clients", "documented", "inferred", "unknown")
#: Names of files that a text could lean on; tests may look for recorded ones and skip without them.
CITED_FILE = re.compile(r"\b(?:allen-api\.md|\w+_services\.txt|allensdk_\w+\.txt|\w+_recorded\.json)")


def read(path):
    return path.read_text(encoding="utf-8")


def sources():
    folders = ("asyncfetch", "tests", "benchmarks")
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def pages():
    return [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("changelog.d/*.md")]


def cited(text):
    within = {
        f"{family}-{number}"
        for family, first, last in RANGE.findall(text)
        for number in range(int(first), int(last) + 1)
    }
    return within | set(CITATION.findall(text))


def assumptions():
    return {name: (statement, line) for name, statement, line in HEADING.findall(read(PAGE))}


def test_each_id_stands_once_on_the_page():
    names = [match[0] for match in HEADING.findall(read(PAGE))]
    assert len(names) == len(set(names)) >= 45
    assert set(re.findall(r"^### (\S+):", read(PAGE), re.MULTILINE)) == set(names)


def test_each_id_that_is_cited_is_on_the_page():
    known = assumptions()
    unknown = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*sources(), *pages())
        for name in cited(read(path)) - set(known)
    }
    assert unknown == set()


def test_each_id_of_the_page_is_cited_by_the_code_or_a_test():
    everywhere = set().union(*(cited(read(path)) for path in sources()))
    assert set(assumptions()) - everywhere == set()


@pytest.mark.parametrize(("name", "line"), [(name, line) for name, (_, line) in assumptions().items()])
def test_an_assumption_says_how_it_is_known_and_which_files_lean_on_it(name, line):
    known, _, where = line.partition(" · ")
    assert any(mark in known for mark in MARKS), line
    files = re.findall(r"`([^`]+)`", where)
    assert files, line
    missing = [file for file in files if not (ROOT / file).exists()]
    assert missing == [], f"{name} names files that are not here"


def test_nothing_cites_a_file_that_is_not_in_the_repository():
    cited_files = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (*sources(), *pages())
        if "tests" not in path.relative_to(ROOT).parts
        for name in CITED_FILE.findall(read(path))
        if not list(ROOT.glob(f"docs/**/{name}"))
    }
    assert cited_files == set()
