"""Connections to object storage: how many, for how long, and what the environment says of them. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAX_REQUESTS", "connection_options"]

#: Requests to one place that are open at a time: as many as a connection of some 100 MB/s needs at 100 ms each.
MAX_REQUESTS = 16

#: A request may take as long as a shard of 12 MB takes at 100 kB/s.
_REQUEST_TIMEOUT = timedelta(seconds=120)
_CONNECT_TIMEOUT = timedelta(seconds=10)
_PREFIXES = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
_TEXTS = ("timeout", "connect_timeout", "pool_idle_timeout", "proxy_url", "proxy_excludes", "user_agent")
_FLAGS = ("allow_http", "allow_invalid_certificates", "http1_only", "http2_only")
#: What object_store takes for true.
_TRUE = {"1", "true", "on", "yes", "y"}


def connection_options(kind: str, environment: Mapping[str, str]) -> dict[str, str | bool | timedelta]:
    """Return the options of connections: time-outs of ours, and what the environment says.

    Obstore reads these variables itself, but none of them where any option is given.

    Parameters
    ----------
    kind : str
        ``s3``, ``gs``, ``az`` or ``http``.
    environment : mapping of str to str
        Variables such as ``AWS_ALLOW_HTTP``.

    Examples
    --------
    >>> connection_options("s3", {"AWS_ALLOW_HTTP": "true", "AWS_TIMEOUT": "9s"})["allow_http"]
    True
    """
    options: dict[str, str | bool | timedelta] = {
        "timeout": _REQUEST_TIMEOUT,
        "connect_timeout": _CONNECT_TIMEOUT,
    }
    if kind == "http":
        return options | {"allow_http": True}
    for name in (*_TEXTS, *_FLAGS):
        value = environment.get(f"{_PREFIXES[kind]}_{name.upper()}")
        if value is not None:
            options[name] = value if name in _TEXTS else value.strip().lower() in _TRUE
    return options
