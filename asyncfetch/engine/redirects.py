"""Where a redirect may lead: pure, addresses in, an address or a refusal out.

The API answers an image by a redirect to an absolute address on the same host (HTTP-1) whose scheme is unknown
(HTTP-2). Between us and it may stand what ends TLS or moves ports, so that the address which the server believes to
have is not the one that we use. The rules:

- The same host is one service, whatever the scheme and the port; names below brain-map.org are one (ADDR-2); others
  belong to it when the setting ``trusted_hosts`` names them.
- Once asked by https, a service is never asked by http: an http address is asked for by https, on the same host on the
  port of https that we use.
- Who asks a public address is not led to a loopback, private or link-local one.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from yarl import URL

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Refusal", "Service", "host_of", "is_private", "shown_address"]

# The registrable domain of the service.
_DOMAIN = "brain-map.org"
_HTTPS_PORT = 443


class Refusal(Exception):  # noqa: N818 - it is an answer and not an error of ours
    """Why a redirect is not followed, and what to do."""


def shown_address(url: URL) -> str:
    """Return the scheme, the host, the port and the path of an address, which is what a message has room for."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def host_of(url: URL) -> str:
    """Return the name of a host in one form: lower case, ASCII, without the dot of the root."""
    return (url.raw_host or "").lower().removesuffix(".")


def is_private(host: str) -> bool:
    """Tell whether a name or a numeric address is one of this machine or network by its form.

    A name can still lead to such an address; that is known once it is connected to.
    """
    try:
        number = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))
    mapped = getattr(number, "ipv4_mapped", None) or number
    return not mapped.is_global


def _encrypted(here: URL, target: URL) -> URL:
    """Return the https form of an http address to which an https address redirected."""
    # our port where the host is ours, else that of https
    port = None if host_of(target) != host_of(here) or here.port == _HTTPS_PORT else here.port
    secure = target.with_port(None).with_scheme("https").with_port(port)
    if secure != here:
        return secure
    raise Refusal(
        f"{shown_address(target)}, which would give up encryption; if you trust the network, "
        f"use --base-url {target.origin()}"
    )


class Service:
    """The hosts that are one service with the one that was asked.

    Parameters
    ----------
    trusted_hosts : iterable of str
        Names of more hosts; ``*.example.org`` and ``.example.org`` mean all names below example.org.
    """

    def __init__(self, trusted_hosts: Iterable[str] = ()) -> None:
        self._names: set[str] = set()
        self._domains: set[str] = set()
        for entry in trusted_hosts:
            name = entry.lower().removesuffix(".").removeprefix("*")
            (self._domains if name.startswith(".") else self._names).add(name)

    def follow(self, home: URL, here: URL, location: str, home_peer: str | None) -> URL:
        """Return the address that is asked for next.

        Parameters
        ----------
        home, here : URL
            What was asked for first, and the address that redirected.
        location : str
            Where to, as the server says it.
        home_peer : str or None
            The numeric address of the host that was asked first, where it is known.

        Raises
        ------
        Refusal
            It is not followed; the words say why and what to do.
        """
        try:
            if "\\" in location:
                # libraries differ in what host such an address names
                raise ValueError
            target = here.join(URL(location)).with_fragment(None)
            host = host_of(target)
        except (ValueError, UnicodeError):
            raise Refusal(f"{location[:200]!r}, which is not a URL; ask again later") from None
        if target.scheme not in {"http", "https"} or not host:
            raise Refusal(f"{location[:200]!r}, which is not an http or https address; ask again later")
        if target.raw_user is not None or target.raw_password is not None:
            target = target.with_user(None)
        if host != host_of(home):
            self._check_other(home, target, home_peer)
        if here.scheme == "https" and target.scheme == "http":
            return _encrypted(here, target)
        return target

    def _check_other(self, home: URL, target: URL, home_peer: str | None) -> None:
        host = host_of(target)
        if not self._is_one(host_of(home), host):
            raise Refusal(
                f"{shown_address(target)}, on another host, which is not followed; if the API has moved there, use "
                f"--base-url {target.origin()}; if that host belongs to it, set ASYNCFETCH_TRUSTED_HOSTS={host}"
            )
        if is_private(host) and not is_private(home_peer or host_of(home)):
            raise Refusal(
                f"{shown_address(target)}, on this machine or network, where a public address must not lead"
            )

    def _is_one(self, home: str, host: str) -> bool:
        if host == home or host in self._names or any(host.endswith(domain) for domain in self._domains):
            return True
        return all(name == _DOMAIN or name.endswith(f".{_DOMAIN}") for name in (home, host))
