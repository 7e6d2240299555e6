"""The keyword options of the calls, typed: single settings, each with the name and the type that `Settings` gives it.

A type checker reads ``**options: Unpack[MirrorOptions]`` and knows every option of `asyncfetch.mirror`; when the
program runs, `Settings` checks the values, and takes text for them, too. Which settings a call takes depends on what it
decides: how fast to ask, what is made of an image, or all of it. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from asyncfetch.errors import SettingsError
from asyncfetch.names import spelled_as
from asyncfetch.settings import (
    AtOnce,
    Codec,
    Count,
    Fetch,
    Grey,
    Halvings,
    Interpolation,
    Layer,
    MemoryBytes,
    Ngff,
    NotNegative,
    PitchUm,
    Positive,
    Range,
    Settings,
    Structure,
    Sync,
    View,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "MachineOptions",
    "MirrorOptions",
    "RebuildOptions",
    "RecipeOptions",
    "RequestOptions",
    "WritingOptions",
    "refuse_other_content",
    "settings_of",
]


class MachineOptions(TypedDict, total=False):
    """What a call may use of this machine."""

    memory_bytes: MemoryBytes
    workers: AtOnce | None


class WritingOptions(MachineOptions, total=False):
    """What a call that writes may use of this machine, and how a store is written."""

    sync: Sync


class RequestOptions(WritingOptions, total=False):
    """Where the API answers, and how fast it is asked."""

    base_url: str
    trusted_hosts: tuple[str, ...]
    proxy: str
    jobs: AtOnce | Literal["auto"]
    max_jobs: AtOnce
    requests_per_s: Positive
    bytes_per_s: Positive | None
    attempts: Count
    retry_base_s: Positive
    outage_patience_s: Positive
    hedge: bool
    connect_timeout_s: Positive
    stall_timeout_s: Positive
    min_speed_bytes_per_s: NotNegative
    page_rows: Count


class RecipeOptions(TypedDict, total=False):
    """How layers are made of an image."""

    um: PitchUm | Literal["full"]
    codec: Codec
    interpolation: Interpolation
    parallel: bool
    numeric_expression: bool
    fill: Grey
    space: Literal[9, 10] | None


class RebuildOptions(RecipeOptions, WritingOptions, total=False):
    """The options of `asyncfetch.rebuild`."""


class MirrorOptions(RecipeOptions, RequestOptions, total=False):
    """The options of `asyncfetch.mirror` and `asyncfetch.estimate`: all settings."""

    downsample: Halvings | None
    pack: bool | None
    layers: tuple[Layer, ...]
    views: tuple[View, ...]
    ngff: Ngff | None
    fetch: Fetch
    roi: tuple[int, int, int, int] | Structure | None
    roi_um: tuple[Range, Range, Range] | None
    roi_space: Literal[9, 10]
    pad_um: Positive | None


def settings_of(settings: Settings | None, options: Mapping[str, Any]) -> Settings:
    """Return settings with single ones changed; None is the defaults, and as an option "not given".

    Raises
    ------
    SettingsError
        There is no such option, or its value is not allowed.
    """
    return Settings.from_layers(options, msgspec.structs.asdict(settings or Settings()))


def refuse_other_content(options: Mapping[str, Any], taken: type, call: str, instead: str) -> None:
    """Refuse options that would change what is stored, where a call does not take them.

    Options that only say how fast to work are harmless where nothing is asked for.

    Raises
    ------
    SettingsError
        There is one; the message says what decides it instead.
    """
    content = MirrorOptions.__annotations__.keys() - RequestOptions.__annotations__.keys()
    for given, value in options.items():
        name = spelled_as(given, MirrorOptions.__annotations__)
        if value is not None and name in content and name not in taken.__annotations__:
            raise SettingsError(f"{call} has no option {name}; {instead}", setting=name)
