"""Which names the replica answers to.

A page in a browser can have its own name point to this machine and then read what is served here (DNS rebinding). The
browser still sends the page's name as Host, by which such requests are told apart. Addresses in numbers, and names that
nobody else can point elsewhere, are always answered.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Hosts", "is_loopback"]

# The replica stands in for the service, also where a proxy leads a client of it here (ADDR-2).
_SERVICE = "brain-map.org"
# Nobody can register names below these (RFC 6761).
_RESERVED = (".localhost", ".test")


class Hosts:
    """The names that requests may be for.

    Parameters
    ----------
    names : iterable of str
        Names beyond those without a dot, those below brain-map.org, .localhost and .test, this machine's own and
        addresses in numbers.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {
            "localhost",
            socket.gethostname().lower(),
            *(name.lower().rstrip(".") for name in names),
        }

    def allows(self, host: str | None) -> bool:
        """Tell whether a request with this Host header is answered; one without is."""
        if not host:
            return True
        name = _name_of(host)
        return (
            (bool(name) and "." not in name)
            or name in self._names
            or name == _SERVICE
            or name.endswith((*_RESERVED, f".{_SERVICE}"))
            or _is_address(name)
        )

    def add(self, name: str) -> None:
        """Allow one more."""
        self._names.add(name.lower().rstrip("."))


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address to listen on."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
