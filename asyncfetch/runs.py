"""Runs that did not come to their end: what a store remembers of them, and what is believed of that.

A store may come from elsewhere. What decides the content is taken from it, through the same checks as what a user
types; how fast to ask, and an address that is not the default, are not: the address is shown, and asked where the user
names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import SelectionError, SettingsError
from asyncfetch.selecting import Filters, parse_selection
from asyncfetch.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asyncfetch.selecting import Selection
    from asyncfetch.store import Store

__all__ = ["KEPT_SETTINGS", "UnfinishedRun", "numbered_runs", "unfinished_runs"]

#: Settings that decide what is written; the others may change from one run to the next.
KEPT_SETTINGS = (
    "um",
    "downsample",
    "layers",
    "views",
    "codec",
    "interpolation",
    "parallel",
    "numeric_expression",
    "fill",
    "space",
    "pack",
    "fetch",
    "roi",
    "roi_um",
    "roi_space",
    "pad_um",
)
_MAX_SHOWN = 200


class UnfinishedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that did not come to its end, or has not yet.

    Attributes
    ----------
    number : int
        By which it is dismissed; it stays the same while other runs come and go.
    selection : tuple of str
        What it was asked for; empty where that cannot be read.
    settings : dict
        The settings that decide what is written, as they are stored.
    base_url : str or None
        The address that it asked.
    begun : str or None
        When it began, ISO 8601 in UTC.
    is_alive : bool or None
        Whether it is at work; None where that cannot be told from here.
    narrowed : dict
        What its selection is narrowed by, as it is stored.
    """

    number: int
    selection: tuple[str, ...]
    settings: dict[str, Any]
    base_url: str | None
    begun: str | None
    is_alive: bool | None = False
    narrowed: dict[str, Any] = {}

    @property
    def address(self) -> str | None:
        """The address that it asked where that is not the default, fit to be shown; else None."""
        if self.base_url is None or _is_default(self.base_url):
            return None
        is_plain = self.base_url.isascii() and self.base_url.isprintable() and " " not in self.base_url
        return (
            self.base_url
            if is_plain and len(self.base_url) <= _MAX_SHOWN
            else ascii(self.base_url[:_MAX_SHOWN])
        )

    @property
    def choices(self) -> dict[str, Any]:
        """The settings of it that are not the defaults."""
        defaults = msgspec.json.decode(msgspec.json.encode(Settings()))
        return {name: value for name, value in self.settings.items() if value != defaults[name]}

    @property
    def selections(self) -> tuple[Selection, ...]:
        """What it was asked for.

        Raises
        ------
        SelectionError
            That cannot be read.
        """
        if not self.selection:
            raise SelectionError("what the run was asked for cannot be read")
        return parse_selection(self.selection)

    @property
    def filters(self) -> Filters:
        """What its selection is narrowed by.

        Raises
        ------
        SelectionError
            That cannot be read.
        """
        try:
            # what is not known would narrow less, and fetch what was not asked for
            return msgspec.convert(self.narrowed, Filters, strict=True)
        except msgspec.ValidationError as error:
            raise SelectionError(f"what the run is narrowed by cannot be read: {error}") from error

    def settings_with(self, speed: Settings, base_url: str | None) -> Settings:
        """Return the settings to continue with.

        Parameters
        ----------
        speed : Settings
            Those of the user, of which all count that the run does not keep.
        base_url : str, optional
            The address that the user has named.

        Raises
        ------
        SettingsError
            What is stored is not allowed, or the address is one that nobody but the store names.
        """
        if base_url is None and self.address is not None:
            raise SettingsError(
                f"the run asked {self.address}, which is asked again only where you name it with --base-url",
                setting="base_url",
            )
        address = {"base_url": base_url or Settings().base_url}
        return Settings.from_layers(address, self.settings, msgspec.structs.asdict(speed))


def unfinished_runs(store: Store) -> list[UnfinishedRun]:
    """Return the runs of a store that did not come to their end, the newest at the end."""
    holder, is_alive = store.read_writer()
    token = "" if holder is None else holder.token
    return [
        msgspec.structs.replace(run, is_alive=is_alive if token and raw.get("token") == token else False)
        for raw, run in numbered_runs(store.read_runs())
    ]


def numbered_runs(raws: Iterable[dict[str, Any]]) -> list[tuple[dict[str, Any], UnfinishedRun]]:
    """Read records; those without a number of their own get one that is free."""
    found: list[tuple[dict[str, Any], UnfinishedRun]] = []
    taken: set[int] = set()
    for raw in raws:
        number = raw.get("number")
        if not isinstance(number, int) or isinstance(number, bool) or number < 1 or number in taken:
            number = max(taken, default=0) + 1
        taken.add(number)
        found.append((raw, _read(raw, number)))
    return found


def _read(raw: dict[str, Any], number: int) -> UnfinishedRun:
    selection, settings, begun = raw.get("selection"), raw.get("settings"), raw.get("begun")
    is_text = isinstance(selection, list) and all(isinstance(each, str) for each in selection)
    narrowed = raw.get("filters", {})
    stored = settings if isinstance(settings, dict) else {}
    base_url = stored.get("base_url")
    return UnfinishedRun(
        number=number,
        selection=tuple(selection) if is_text and selection else (),
        settings={name: stored[name] for name in KEPT_SETTINGS if name in stored},
        base_url=base_url if isinstance(base_url, str) else None,
        begun=begun if isinstance(begun, str) else None,
        narrowed=narrowed if isinstance(narrowed, dict) else {"filters": narrowed},
    )


def _is_default(base_url: str) -> bool:
    """Tell whether an address is the default one, which older versions asked by http."""
    return _without_scheme(base_url) == _without_scheme(Settings().base_url)


def _without_scheme(base_url: str) -> str:
    return base_url.removeprefix("http://").removeprefix("https://").rstrip("/")
