"""Whose certificates are trusted, and what it means when one is not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from asyncfetch.errors import ConnectError, SettingsError, TLSError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from asyncfetch.errors import TransportError

__all__ = ["Trust", "make_context", "read_trust", "tls_error", "tls_words"]

# OpenSSL's own, which leave the system's folder beside them, go before those of requests and curl, of which the first
# takes the place of everything.
_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# Where systems keep theirs. A Python that was built elsewhere looks where the system it was built on keeps them.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Gentoo
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine, BSD, macOS
)
_NOT_TLS = {
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
    "RECORD_LAYER_FAILURE",
}


class Trust(NamedTuple):
    """What certificates are verified with.

    Attributes
    ----------
    context : ssl.SSLContext
        Holds the certificates of the files; those of a folder are read when they are needed.
    files, folders : tuple of str
        Where the certificates are; empty for those that a system keeps elsewhere, such as Windows.
    used, unused : dict of str to str
        The variables of the environment that name certificates: those that count, and those that others go before.
    """

    context: ssl.SSLContext
    files: tuple[str, ...]
    folders: tuple[str, ...]
    used: dict[str, str]
    unused: dict[str, str]

    @property
    def n_loaded(self) -> int:
        """How many authorities the files hold."""
        return self.context.cert_store_stats()["x509_ca"]

    @property
    def is_empty(self) -> bool:
        """Whether no certificate can be verified."""
        return not (self.n_loaded or _hold_something(self.folders))


def make_context(environment: Mapping[str, str]) -> ssl.SSLContext:
    """Return what verifies certificates as curl and requests do; see :func:`read_trust`."""
    return read_trust(environment).context


def read_trust(environment: Mapping[str, str]) -> Trust:
    """Load the certificates that curl and requests would trust.

    Raises
    ------
    SettingsError
        A variable of the environment names what is not there or holds no certificates.
    """
    named = {name: environment[name] for name in _VARIABLES if environment.get(name)}
    used = {name: path for name, path in named.items() if name.startswith("SSL_")} or dict(
        [*named.items()][:1]
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths: list[str] = []
    for name, path in used.items():
        for each in path.split(os.pathsep) if name == "SSL_CERT_DIR" else [path]:
            _load(context, name, each)
            paths.append(each)
    if not used or any(name.startswith("SSL_") for name in used):
        context.load_default_certs()
        defaults = ssl.get_default_verify_paths()
        paths += [path for path in (defaults.cafile, defaults.capath) if path and path not in paths]
    if not (used or context.get_ca_certs() or _hold_something(paths)):
        found = next((path for path in _SYSTEM_FILES if Path(path).is_file()), None)
        if found is not None:
            context.load_verify_locations(cafile=found)
            paths.append(found)
    folders = tuple(path for path in paths if Path(path).is_dir())
    files = tuple(path for path in paths if path not in folders)
    return Trust(context, files, folders, used, {name: named[name] for name in named if name not in used})


def _load(context: ssl.SSLContext, name: str, path: str) -> None:
    file = Path(path)
    try:
        if file.is_dir():
            context.load_verify_locations(capath=path)
        elif file.is_file():
            context.load_verify_locations(cafile=path)
        else:
            raise SettingsError(f"{name} names {path}, which does not exist; name a file of certificates")
    except OSError as error:
        what = (
            "holds no certificates"
            if isinstance(error, ssl.SSLError)
            else f"cannot be read ({error.strerror})"
        )
        raise SettingsError(f"{name} names {path}, which {what}; name a file of certificates") from error


def _hold_something(paths: Iterable[str]) -> bool:
    # certificates in a folder are read when they are needed, and are not counted before
    return any(any(folder.iterdir()) for folder in map(Path, paths) if folder.is_dir())


def tls_words(error: ssl.SSLError) -> str:
    """Return OpenSSL's own words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return (error.reason or str(error)).replace("_", " ").lower()


def tls_error(error: ssl.SSLError, host: str, url: str) -> TransportError:
    """Return what an error of TLS means for a request.

    Parameters
    ----------
    error : ssl.SSLError
        What the handshake ended in.
    host : str
        Host and port.
    url : str
        What was asked for.
    """
    words = tls_words(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        if "mismatch" in words.lower():
            todo = "check the host name in --base-url"
        elif "expired" in words or "not yet valid" in words:
            todo = "check the clock of this machine, or tell the owner of the server"
        else:
            todo = "if you trust who signed it, name the file of that authority: SSL_CERT_FILE=authority.pem"
        return TLSError(f"the certificate of {host} could not be verified: {words}; {todo}", url=url)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return ConnectError(
            f"no connection to {host} (it ended while encryption was set up: {words}); ask again later",
            url=url,
        )
    if error.reason in _NOT_TLS:
        todo = f"this port does not speak TLS; use --base-url http://{host}, or another port"
    else:
        todo = (
            "client and server do not agree on TLS; check --base-url and what stands between, such as a proxy"
        )
    return TLSError(f"no encrypted connection to {host}: {words}; {todo}", url=url)
