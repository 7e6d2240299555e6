"""How the replica behaves: its pace, its faults, its cache and its log."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from asyncfetch.deprecation import once_named
from asyncfetch.errors import SettingsError
from asyncfetch.replica.connections import MAX_CONNECTIONS
from asyncfetch.replica.images import Rounding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from asyncfetch.replica.faults import FaultSource

__all__ = ["ServerOptions", "read_options"]


@once_named(most_records="max_records")
@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """How the replica behaves.

    Parameters
    ----------
    latency_s : float
        Seconds before the first byte of every reply.
    bytes_per_s : float or None
        Most bytes per second of one reply's body, which is the pace of one connection; None for no limit.
    total_bytes_per_s : float or None
        Most bytes per second of all bodies together.
    requests_per_s : float or None
        Most requests in any one second; those beyond are refused with 429 and Retry-After.
    faults : mapping, callable, FaultScript, path or None
        What goes wrong; see :class:`asyncfetch.replica.FaultPlan`.
    cache_folder : path, optional
        Where drawn JPEGs are kept for the next run.
    cache_bytes : int
        Most bytes of drawn JPEGs kept in memory.
    gzip_level : int
        How image bodies are packed for clients that accept gzip; -1 sends them plain.
    n_threads : int
        Images drawn at once.
    drawing_bytes : int
        What drawing images may take in memory; one that takes more is drawn when no other is.
    max_connections : int
        Connections that are open at once; those beyond are refused with 503.
    allow_hosts : sequence of str
        Names that requests may be for, beside those without a dot, this machine's own, those below brain-map.org,
        .localhost and .test, and addresses in numbers.
    log_path : path, optional
        Where a line of JSON is added for each request that ended.
    rounding : str
        How the sides of halved images are rounded (IMG-2): ``down``, ``nearest``, ``up``, or ``steps``, which is to
        the nearest from tier to tier.
    has_last_tier : bool
        Give the last tier where a deeper one is asked for (IMG-3), instead of halving further.
    ignored_parameters : tuple of str
        Parameters of downloads that are passed over as unknown ones are (IMG-7), such as ``downsample``.
    redirect_base : str
        What the redirect of an image puts before the path: ``{host}`` stands for the Host header of the request,
        ``{name}`` for that without the port. As recorded it is ``http://{host}`` (HTTP-1); an empty one makes
        redirects relative.
    max_records : int or None
        How many of the latest requests are remembered, up to twice as many for a while; None remembers all.
    record_bytes : int
        What their records may take; beyond it the older half is forgotten.
    differences : tuple of str
        In what it differs from what is assumed of the service, by name: `asyncfetch.replica.DIFFERENCES`.

    Raises
    ------
    SettingsError
        A number is out of range.
    """

    latency_s: float = 0.0
    bytes_per_s: float | None = None
    total_bytes_per_s: float | None = None
    requests_per_s: float | None = None
    faults: FaultSource = None
    cache_folder: str | Path | None = None
    cache_bytes: int = 2**29
    gzip_level: int = 1
    n_threads: int = 2
    drawing_bytes: int = 2**30
    max_connections: int = MAX_CONNECTIONS
    allow_hosts: Sequence[str] = ()
    log_path: str | Path | None = None
    rounding: Rounding = "down"
    has_last_tier: bool = False
    ignored_parameters: tuple[str, ...] = ()
    max_records: int | None = None
    redirect_base: str = "http://{host}"
    record_bytes: int = 2**27
    differences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.latency_s < 0:
            raise SettingsError(f"latency_s cannot be {self.latency_s}", setting="latency_s")
        for name in ("bytes_per_s", "total_bytes_per_s", "requests_per_s", "max_records"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} must be positive, not {value}", setting=name)
        if self.rounding not in get_args(Rounding):
            raise SettingsError(
                f"rounding is one of {', '.join(get_args(Rounding))}, not {self.rounding!r}",
                setting="rounding",
            )
        try:
            self.redirect_base.format(host="", name="")
        except (LookupError, ValueError, AttributeError):
            raise SettingsError(
                f"redirect_base = {self.redirect_base!r}: only {{host}} and {{name}} are replaced",
                setting="redirect_base",
            ) from None
        for name in ("drawing_bytes", "max_connections", "record_bytes"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be 1 or more, not {getattr(self, name)}", setting=name)
        if not -1 <= self.gzip_level <= 9:
            raise SettingsError(f"gzip_level is -1 to 9, not {self.gzip_level}", setting="gzip_level")
        if self.n_threads < 1:
            raise SettingsError(f"n_threads must be 1 or more, not {self.n_threads}", setting="n_threads")


def read_options(options: Mapping[str, Any]) -> ServerOptions:
    """Return options by their names.

    Raises
    ------
    SettingsError
        A name is unknown, or a value out of range.
    """
    try:
        return ServerOptions(**options)
    except TypeError as error:
        known = ", ".join(field.name for field in fields(ServerOptions))
        raise SettingsError(f"{error}; known options: {known}") from error
