"""The error tree: drawn as it is, pickled as it was."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from asyncfetch import errors

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, errors.AsyncFetchError)
]


def drawn_tree() -> dict[str, str]:
    """Read parent of child from the drawing in the module's docstring."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if match:
            depth = len(match[1]) // 4
            path = [*path[:depth], match[2]]
            if depth:
                parents[match[2]] = path[-2]
    return parents


def test_every_class_is_drawn_below_its_base():
    bases = {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES if cls is not errors.AsyncFetchError}
    assert drawn_tree() == bases


def test_every_class_is_exported():
    assert {cls.__name__ for cls in CLASSES} == set(errors.__all__) - {"short_url"}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_pickles_with_its_facts(cls):
    facts = {
        name: parameter.default
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    error = cls("what failed, where, and what to do", **facts | {"url": "http://127.0.0.1/x"})
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert copy.message == error.message
    assert copy.facts == error.facts
    assert copy.is_transient == error.is_transient


@pytest.mark.parametrize(
    ("status", "is_transient"),
    [(429, True), (500, True), (503, True), (408, True), (400, False), (403, False)],
)
def test_a_status_is_transient_if_the_server_may_change_its_mind(status, is_transient):
    assert errors.StatusError("no", status=status).is_transient is is_transient


@pytest.mark.parametrize("cls", [errors.SelectionError, errors.SettingsError, errors.AlignmentError])
def test_what_the_caller_has_to_mend_is_a_value_error(cls):
    assert issubclass(cls, ValueError)


def test_a_message_has_room_for_the_host_and_the_path_of_a_url():
    url = "http://api.brain-map.org/api/v2/data/query.json?criteria=model::Product,rma::include,a://b"
    assert errors.short_url(url) == "api.brain-map.org/api/v2/data/query.json"


def test_a_message_is_one_short_line_whatever_words_are_in_it():
    error = errors.ServiceError("it said \x1b[2J\r\n\u202e" + "x" * 10**6, service_message="\x1b[2J")
    assert error.message.isprintable()
    assert len(error.message) == 2000
    assert error.facts["service_message"] == "\x1b[2J"
