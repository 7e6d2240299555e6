"""The language of docstrings and messages: noun phrases for what is a thing, and the words that readers know."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("asyncfetch", "benchmarks", "tests")


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that a noun phrase may begin with, beside plurals and gerunds. An unknown word is refused, so that a new verb
#: is: where it is the beginning of a noun phrase after all, it goes into this list.
OPENINGS = words(
    # articles, numbers, and what asks or points
    """a an the all another any both each every everything few half many most no nothing one several some something
    two three four ten how what whatever when where whether which who whose why in"""
    # nouns that have no plural here, and adjectives
    """ data memory metadata ngff pixels progress stdout text tls verification work affine decoded displacement
    integer jpeg large long nifti nrrd old plain public registered regular single small stored wanted whole allensdk
    atldld expression limit ome-tiff"""
)
#: What follows a verb and hardly ever a plural: "Draws each plane …".
OBJECTS = words("a an the all any each every it its one them")


def begins_with_a_noun(docstring: str) -> bool:
    """Return whether the first line of a docstring can be a noun phrase."""
    words = docstring.split()
    first, second = words[0], (words[1] if len(words) > 1 else "")
    word = re.sub(r"\W+$", "", first).lower()
    if not re.match(r"[A-Za-z]", first) or first.endswith(":") or first == "asyncfetch":
        return True
    if word in OPENINGS:
        return True
    is_plural = word.endswith("s") and not word.endswith("ss")
    is_gerund = len(word) > 5 and word.endswith("ing")
    return (is_plural or is_gerund) and second.lower() not in OBJECTS


def documented() -> list[tuple[str, str]]:
    """Return the docstrings of modules and classes, and where they stand."""
    found = []
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            place = str(path.relative_to(REPOSITORY))
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef) and (docstring := ast.get_docstring(node)):
                    name = getattr(node, "name", "module")
                    found.append((f"{place}: {name}", docstring.splitlines()[0]))
    return found


def test_classes_and_modules_say_what_they_are_not_what_to_do():
    docstrings = documented()
    assert len(docstrings) > 600, "the docstrings were not found"
    verbs = [f"{place}: {line}" for place, line in docstrings if not begins_with_a_noun(line)]
    assert verbs == []


@pytest.mark.parametrize(
    "line",
    [
        "Be one answer, whole.",
        "Hold the rows of one reply.",
        "Say that a request was sent.",
        "Draws each plane of a phantom once.",
        "Bring again what is broken.",
        "Pass bytes in order.",
        "Reticulate splines of one mesh.",
    ],
)
def test_a_docstring_that_begins_with_a_verb_is_noticed(line):
    assert not begins_with_a_noun(line)


@pytest.mark.parametrize(
    "line",
    [
        "One answer, whole.",
        "Bytes of the budget that are held.",
        "What a run reported.",
        "``asyncfetch`` in forks.",
        "Reading: what each object takes.",
    ],
)
def test_a_noun_phrase_is_let_through(line):
    assert begins_with_a_noun(line)


#: Turns of phrase that stop a reader, and the usual words.
USUAL_WORDS = {
    r"(?<![Tt]here )\b(is|are|was|were) (no|none)\b(?! (of|longer|more than|less than|fewer than))": "is not a …",
    r"\banew\b": "again",
    r"\b(can ?not|could not|can|could) be had\b": "is unavailable",
    r"\b(go|goes|gone|going|went) on with\b": "continue",
    r"\bforecasts?\b": "estimate",
    r"\blevels? of expression\b": "expression level",
    r"\bhangs? on\b": "depends on",
    r"\bcounts? capitals\b": "is case-sensitive",
    r"\bas if nothing had\b": "unchanged",
    r"\btold of in\b": "is described in",
    r"\ba (?=(image|object|item|array|id|error|index|empty|address|answer|event)\b)": "an",
    r"\b(s|seconds|images|requests|bytes|pixels|starts|times) an? (image|second|minute|hour|request|pixel)\b": "per",
    r"\b1 (images|planes|sections|rows|requests|bytes|data sets)\b": "1 and the singular",
    r"\buse it inside\b": "use `async with …`",
    r"\bbring it again\b": "restore it",
}


def strings_of(path: Path) -> list[tuple[int, str]]:
    """Return the strings of a module, those of an f-string as one with {} for its values, and its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values
            )
            found.append((node.lineno, text))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            found.append((node.lineno, node.value))
    return found


def unusual_words(text: str) -> list[str]:
    """Return what of a text is not said in the usual words, each with what is."""
    prose = " ".join(text.split())
    found = ((re.search(pattern, prose), usual) for pattern, usual in USUAL_WORDS.items())
    return [f"{match[0]!r}: write {usual!r}" for match, usual in found if match]


@pytest.mark.parametrize("folder", ["asyncfetch", "benchmarks"])
def test_messages_help_and_docstrings_use_the_usual_words(folder):
    found = [
        f"{path.relative_to(REPOSITORY)}:{line}: {word}"
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
        for line, text in strings_of(path)
        if " " in text
        for word in unusual_words(text)
    ]
    assert found == []


def test_pages_use_the_usual_words():
    docs = REPOSITORY / "docs"
    pages = [page for page in sorted(docs.rglob("*.md")) if docs / "decisions" not in page.parents]
    pages += [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")]
    assert len(pages) > 15
    found = [
        f"{page.relative_to(REPOSITORY)}:{k}: {word}"
        for page in pages
        for k, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1)
        for word in unusual_words(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "'x' is no selection; write dataset:ID",
        "the fields are none",
        "fetch it anew with: asyncfetch mirror",
        "structure centres could not be had",
        "the run is gone on with",
        "the forecast is 3 GB",
        "stored as levels of expression",
        "0.4 s an image",
        "wrote 1 planes",
        "the pool is not open: use it inside async with Pool()",
    ],
)
def test_an_unusual_turn_of_phrase_is_noticed(text):
    assert unusual_words(text)


@pytest.mark.parametrize(
    "text",
    [
        "there is no section image 5 at http://127.0.0.1; check the id",
        "'x' is not a valid selection",
        "it is no longer there",
        "it is None where there is no place",
        "0.4 s per image",
    ],
)
def test_the_usual_words_are_let_through(text):
    assert not unusual_words(text)
