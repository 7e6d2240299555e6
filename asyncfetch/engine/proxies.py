"""Which proxy stands between us and a host: the environment's words, read as curl and requests read them. Pure.

``http_proxy``, ``https_proxy`` and ``all_proxy`` name it, in small letters or capitals; ``no_proxy`` lists the hosts
that are asked directly. ``HTTP_PROXY`` is not read where ``REQUEST_METHOD`` is set, because a request to a CGI program
can set it.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.address import Credentials, credentials_of, parse_address
from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from yarl import URL

__all__ = ["Proxies", "Proxy"]


class Proxy(NamedTuple):
    """A proxy, by whom it was named, and who we are to it."""

    url: str
    named_by: str
    credentials: Credentials | None


class Proxies:
    """The proxy of each address.

    Parameters
    ----------
    setting : str
        ``environment``, ``none``, or the address of the proxy for every host.
    environment : mapping of str to str
        Such as ``os.environ``.

    Raises
    ------
    SettingsError
        The setting names a proxy that cannot be used.
    """

    def __init__(self, setting: str, environment: Mapping[str, str]) -> None:
        self._fixed: Proxy | None = None
        self._named: dict[str, tuple[str, str]] = {}
        self._direct: tuple[str, ...] = ()
        if setting == "environment":
            self._read(environment)
        elif setting != "none":
            self._fixed = _parse(setting, "proxy")
        self._known: dict[tuple[str, str | None, int | None], Proxy | None] = {}

    def __bool__(self) -> bool:
        return self._fixed is not None or bool(self._named)

    @property
    def named(self) -> dict[str, str]:
        """What names the proxies, and the hosts that are asked directly, in the words of a person; no credentials.

        Raises
        ------
        SettingsError
            One of them cannot be used.
        """
        proxies = (
            [self._fixed] if self._fixed else [_parse(value, name) for name, value in self._named.values()]
        )
        found = {proxy.named_by: proxy.url for proxy in proxies}
        return found | ({"no_proxy": ",".join(self._direct)} if found and self._direct else {})

    def of(self, url: URL) -> Proxy | None:
        """Return the proxy of an address, or None where it is asked directly.

        Raises
        ------
        SettingsError
            The environment names a proxy that cannot be used.
        """
        if not self:
            return None
        key = (url.scheme, url.raw_host, url.port)
        if key not in self._known:
            self._known[key] = self._find(url)
        return self._known[key]

    def _read(self, environment: Mapping[str, str]) -> None:
        def value_of(name: str) -> tuple[str, str] | None:
            is_cgi = name == "http_proxy" and "REQUEST_METHOD" in environment
            names = (name,) if is_cgi else (name, name.upper())
            # an empty value in small letters takes one in capitals away
            found = next((each for each in names if each in environment), None)
            value = environment[found].strip() if found is not None else ""
            return (found, value) if found is not None and value else None

        for scheme in ("http", "https"):
            named = value_of(f"{scheme}_proxy") or value_of("all_proxy")
            if named is not None:
                self._named[scheme] = named
        direct = value_of("no_proxy")
        if direct is not None:
            self._direct = tuple(direct[1].replace(",", " ").lower().split())

    def _find(self, url: URL) -> Proxy | None:
        if self._fixed is not None:
            return self._fixed
        named = self._named.get(url.scheme)
        if named is None or any(_matches(entry, url) for entry in self._direct):
            return None
        return _parse(named[1], named[0])


def _parse(value: str, named_by: str) -> Proxy:
    try:
        address = parse_address((value if "://" in value else f"http://{value}").rstrip("/"))
    except ValueError:
        scheme = value.partition("://")[0] if "://" in value else ""
        what = f"a {scheme} proxy, which is not supported" if scheme else "not the address of a proxy"
        raise SettingsError(
            f"{named_by} names {what}; name one such as http://proxy.example:3128, "
            "or do without: ASYNCFETCH_PROXY=none",
            setting="proxy",
        ) from None
    return Proxy(str(address), named_by, credentials_of(address))


def _matches(entry: str, url: URL) -> bool:
    """Tell whether an entry of no_proxy means the host of an address."""
    host = (url.raw_host or "").lower().removesuffix(".")
    if entry == "*":
        return True
    name, _, port = entry.rpartition(":")
    if name and port.isdecimal() and (":" not in name or name.endswith("]")):
        if url.port != int(port):
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        number = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        network = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
    return number.version == network.version and number in network
