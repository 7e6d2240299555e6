"""The public names: the same with and without await, called in one way, with options that a type checker knows."""

from __future__ import annotations

import inspect
import subprocess
import sys
import typing

import anyio
import pytest

import asyncfetch
from asyncfetch import blocking
from asyncfetch.allen import SYNC_SERVICES, ImageOptions, ImageRequest, SynchronizationServices
from asyncfetch.atlas import Atlas
from asyncfetch.client.blocking_sync import BlockingSyncServices
from asyncfetch.client.sync import SyncServices
from asyncfetch.errors import SettingsError
from asyncfetch.options import (
    MirrorOptions,
    RebuildOptions,
    RequestOptions,
    WritingOptions,
    refuse_other_content,
)
from asyncfetch.settings import Settings

CALLS = ("estimate", "export", "mirror", "pack", "rebuild", "resume", "unpack", "upgrade", "verify", "volume")
#: What a call is about; everything else goes by keyword.
ABOUT = {"selection", "location", "data_set_id"}


def parameters_of(call):
    return inspect.signature(call).parameters.values()


def options_of(module, name):
    (options,) = (each for each in parameters_of(getattr(module, name)) if each.name == "options")
    return options.annotation


def test_the_options_of_a_mirror_are_the_settings_by_name_and_type():
    given = typing.get_type_hints(MirrorOptions, include_extras=True)
    assert given == typing.get_type_hints(Settings, include_extras=True)
    assert MirrorOptions.__required_keys__ == frozenset()


@pytest.mark.parametrize("some", [WritingOptions, RequestOptions, RebuildOptions])
def test_options_of_other_calls_are_some_of_the_settings(some):
    all_of_them = typing.get_type_hints(Settings, include_extras=True)
    given = typing.get_type_hints(some, include_extras=True)
    assert given.items() <= all_of_them.items()
    assert some.__required_keys__ == frozenset()


def test_the_options_of_an_image_are_the_fields_of_its_request_by_name_and_type():
    fields = typing.get_type_hints(ImageRequest, include_extras=True)
    assert typing.get_type_hints(ImageOptions, include_extras=True) | {"image_id": int} == fields
    assert ImageOptions.__required_keys__ == frozenset()


@pytest.mark.parametrize("module", [asyncfetch, blocking])
def test_the_public_names_are_sorted_and_there(module):
    names = list(module.__all__)
    assert names == sorted(names)
    assert all(getattr(module, name) is not None for name in names)
    assert set(names) <= set(dir(module))


def test_the_names_without_await_are_those_with_it():
    assert set(blocking.__all__) == set(asyncfetch.__all__) - {"__version__", "blocking"}
    same = set(blocking.__all__) - set(CALLS) - {"Client"}
    assert [name for name in same if getattr(blocking, name) is not getattr(asyncfetch, name)] == []


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_the_same_with_and_without_await(name):
    with_await, without = (inspect.signature(getattr(each, name)) for each in (asyncfetch, blocking))
    assert with_await == without
    assert inspect.iscoroutinefunction(getattr(asyncfetch, name))


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_what_it_is_about_first_and_everything_else_by_keyword(name):
    parameters = list(parameters_of(getattr(asyncfetch, name)))
    first = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert first
    assert set(first) <= ABOUT
    by_name = {each.name: each for each in parameters}
    assert by_name["settings"].default is None
    assert by_name["settings"].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("mirror", "MirrorOptions"),
        ("estimate", "MirrorOptions"),
        ("rebuild", "RebuildOptions"),
        ("pack", "MachineOptions"),
        ("resume", "RequestOptions"),
        ("unpack", "MachineOptions"),
        ("upgrade", "WritingOptions"),
        ("verify", "RequestOptions"),
    ],
)
def test_the_options_of_a_call_are_typed(name, options):
    assert options_of(asyncfetch, name) == f"Unpack[{options}]"


@pytest.mark.parametrize("name", CALLS)
def test_a_call_documents_each_parameter(name):
    text = inspect.getdoc(getattr(asyncfetch, name))
    section = text.partition("Parameters\n")[2].partition("Returns\n")[0]
    named = {
        word
        for line in section.splitlines()
        if not line.startswith(" ")
        for word in line.partition(" : ")[0].replace("*", "").split(", ")
    }
    missing = {each.name for each in parameters_of(getattr(asyncfetch, name))} - named
    assert missing == set()
    assert "Returns\n" in text
    assert "Raises\n" in text


@pytest.mark.parametrize(
    "name", ["mirror", "estimate", "pack", "rebuild", "resume", "unpack", "upgrade", "verify"]
)
@pytest.mark.parametrize("module", [asyncfetch, blocking])
def test_a_misspelt_option_is_refused(module, name, tmp_path):
    first = ("dataset:1",) if name == "estimate" else ("dataset:1", tmp_path)[name != "mirror" :]

    def call():
        return getattr(module, name)(*first, page_row=3)

    with pytest.raises(SettingsError, match="page_rows"):
        anyio.run(call) if module is asyncfetch else call()


@pytest.mark.parametrize(
    ("name", "option"), [("resume", "um"), ("verify", "codec"), ("rebuild", "views"), ("upgrade", "codec")]
)
def test_an_option_that_a_call_would_ignore_though_it_changes_the_store_is_refused(name, option, tmp_path):
    value = getattr(Settings(), option)
    with pytest.raises(SettingsError, match=f"^{name} has no option {option}; ") as refused:
        getattr(blocking, name)(tmp_path, **{option: value})
    assert refused.value.setting == option


def test_options_of_how_fast_to_ask_and_those_not_given_are_no_mistake_where_nothing_is_asked_for():
    refuse_other_content({"jobs": 4, "views": None, "um": 10}, RebuildOptions, "rebuild", "it stays")
    with pytest.raises(SettingsError, match="rebuild has no option views"):
        refuse_other_content({"VIEWS": ("image",)}, RebuildOptions, "rebuild", "it stays")


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"aiohttp", "anyio", "cv2", "msgspec", "numpy", "typer", "zarr"}
    code = f"import sys, asyncfetch; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(AttributeError, match="'asyncfetch' has no attribute 'mirrors'"):
        asyncfetch.mirrors  # noqa: B018 - reading it is what is tried


METHODS = [name for name in vars(blocking.Client) if not name.startswith("_") and name != "sync"]


def names_of(function):
    return [(each.name, each.kind, each.default) for each in parameters_of(function)]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_of_the_blocking_client_takes_what_that_of_the_client_takes(name):
    assert names_of(getattr(blocking.Client, name)) == names_of(getattr(asyncfetch.Client, name))


def test_there_are_methods_to_compare():
    assert {"image", "rows", "data_sets", "section_images", "atlas_images"} <= set(METHODS)


@pytest.mark.parametrize("answers", [Atlas, SyncServices, BlockingSyncServices])
@pytest.mark.parametrize("service", SYNC_SERVICES)
def test_whoever_answers_a_service_takes_the_same_parameters(answers, service):
    assert names_of(getattr(answers, service)) == names_of(getattr(SynchronizationServices, service))
