"""Addresses of servers: checked, and parted from the user and the password that they may carry. Pure.

An address is written into stores, runs, reports and logs; a password must not be. So the two are parted where an
address enters, and only :func:`credentials_of` gives the password back to whoever sends requests.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

__all__ = ["Address", "Credentials", "credentials_of", "parse_address", "without_credentials"]

_USER_INFO = re.compile(r"(?<=//)[^/?#\s]*@")


class Credentials(NamedTuple):
    """A user and a password, which `repr` does not show."""

    user: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(…)"


class Address(str):
    """An address without its credentials, which go along as an attribute that no encoder sees.

    Attributes
    ----------
    credentials : Credentials
    """

    __slots__ = ("credentials",)

    credentials: Credentials

    def __reduce__(self) -> tuple[object, ...]:
        return _make, (str(self), self.credentials)


def _make(text: str, credentials: Credentials) -> Address:
    address = Address(text)
    address.credentials = credentials
    return address


def credentials_of(address: str) -> Credentials | None:
    """Return the user and the password that an address was given with, or None."""
    return address.credentials if isinstance(address, Address) else None


def without_credentials(text: str) -> str:
    """Return a text without the user and the password of any address in it.

    Examples
    --------
    >>> without_credentials("no connection to http://anna:secret@proxy.example:3128/")
    'no connection to http://proxy.example:3128/'
    """
    return _USER_INFO.sub("", text)


def parse_address(text: str) -> str:
    """Return an http or https address as it is sent, an `Address` where it has credentials.

    Names in other scripts become ASCII (IDNA), and what a path cannot hold is percent-encoded.

    Raises
    ------
    ValueError
        It is not such an address; the message ends the sentence "base_url …" and shows no password.

    Examples
    --------
    >>> parse_address("https://anna:s%40cret@api.brain-map.org")
    'https://api.brain-map.org'
    """
    if isinstance(text, Address):
        return text
    text = text.strip()
    # whatever stands before an @ may be a password, also where the rest is not an address
    shown = repr(text.rpartition("@")[2])
    if not text.lower().startswith(("http://", "https://")):
        raise ValueError(f"must start with http:// or https://, not {shown}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        name = host if host.isascii() else host.encode("idna").decode()
    except (ValueError, UnicodeError):
        raise ValueError(f"is not a valid address: {shown}") from None
    if not name or not name.isprintable() or " " in name or "%" in name:
        raise ValueError(f"is not a valid address: {shown}")
    if "?" in text or "#" in text:
        raise ValueError("must end with the path; leave out what follows ? or #")
    where = f"[{name}]" if ":" in name else name
    where += "" if port is None else f":{port}"
    plain = urlunsplit((parts.scheme, where, quote(parts.path, safe="/%:@!$&'()*+,;=~"), "", ""))
    if parts.username is None:
        return plain
    return _make(plain, Credentials(unquote(parts.username), unquote(parts.password or "")))
