"""What object storage says when it fails, as errors of ours that say what to do. Pure: texts in, errors out."""

from __future__ import annotations

import re

from asyncfetch.address import without_credentials
from asyncfetch.errors import StoreAccessError, StoreError, StoreSpaceError
from asyncfetch.text import shown

__all__ = ["failure_of", "is_missing_bucket", "is_transient", "is_whole_reply"]

#: What ends the sentence of obstore's errors; below it stand the fields of the error, for programmers.
_FIELDS = "\n\nDebug source"
_STATUS = re.compile(r"status code: (\d{3})( [A-Za-z ]+)?")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<]+)</Message>")
#: Why a connection failed, as the operating system puts it.
_CAUSE = re.compile(r'(?:message|error): "([^"]+)"')
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist")
_NO_SPACE = re.compile(r"QuotaExceeded|StorageFull|status code: 507")
_ELSEWHERE = re.compile(
    r"PermanentRedirect|AuthorizationHeaderMalformed|status code: 30[17]|Received redirect"
)
#: Where machines of a provider ask for credentials: obstore does when there are none.
_ASKED_MACHINE = re.compile(
    r"/latest/(?:api/token|meta-data)|169\.254\.|computeMetadata|metadata\.google|/metadata/identity"
    r"|MissingAccount|Account must be specified"
)
_MAX_WORDS = 300

#: What gives access, by the kind of address.
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true to read a public bucket",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "http": "only what everybody may read can be opened by such an address",
}
_ENDPOINT = {
    "s3": "check the network, and AWS_ENDPOINT_URL if the storage is not Amazon's",
    "gs": "check the network",
    "az": "check the network, and AZURE_STORAGE_ENDPOINT if the storage is not Microsoft's",
    "http": "check the network and the address",
}


def failure_of(name: str, scheme: str, error: BaseException) -> StoreError:
    """Return the error of ours for one of obstore's.

    Parameters
    ----------
    name : str
        What messages call the place.
    scheme : str
        Its kind of address: ``s3``, ``gs``, ``az`` or ``http``.
    error : BaseException
        What obstore raised.
    """
    text, kind = str(error), type(error).__name__
    reason = _reason(text)
    status = int(found[1]) if (found := _STATUS.search(text)) else None
    if _NO_BUCKET.search(text):
        return StoreAccessError(
            f"{name} cannot be used: there is no such bucket; check the name, or create the bucket",
            location=name,
        )
    if "builder error" in text and "http://" in text:
        return StoreAccessError(
            f"{name} cannot be used: its endpoint is http://, without encryption; to allow that, set "
            "AWS_ALLOW_HTTP=true",
            location=name,
        )
    if _ASKED_MACHINE.search(text):
        return StoreAccessError(
            f"{name} cannot be used: there are no credentials; {_CREDENTIALS[scheme]}", location=name
        )
    if kind in {"PermissionDeniedError", "UnauthenticatedError", "PermissionError"} or status in {401, 403}:
        return StoreAccessError(
            f"{name} cannot be used: access is denied ({reason}); {_CREDENTIALS[scheme]}", location=name
        )
    if _NO_SPACE.search(text):
        return StoreSpaceError(
            f"no space left for {name} ({reason}); free some space and resume; what is committed stays",
            location=name,
        )
    if _ELSEWHERE.search(text):
        return StoreAccessError(
            f"{name} cannot be used: the bucket is in another region ({reason}); set AWS_REGION to it",
            location=name,
        )
    if status in {429, 500, 502, 503, 504}:
        return StoreAccessError(
            f"{name} has not kept up for minutes ({reason}); resume later, or with fewer --workers",
            location=name,
        )
    if is_transient(error):
        return StoreAccessError(
            f"{name} cannot be reached ({_cause(text) or reason}); {_ENDPOINT[scheme]}", location=name
        )
    return StoreError(f"{name} failed: {reason}", location=name)


def is_missing_bucket(error: BaseException) -> bool:
    """Tell whether what was not found is the whole bucket."""
    return _NO_BUCKET.search(str(error)) is not None


def is_transient(error: BaseException) -> bool:
    """Tell whether a connection failed, so that the same request may succeed."""
    text = str(error).partition(_FIELDS)[0]
    return "HTTP error" in text and "builder error" not in str(error)


def is_whole_reply(error: BaseException) -> bool:
    """Tell whether a server sent a whole object though a part was asked for, or has no such part."""
    text = str(error)
    return "non-partial" in text or "status code: 416" in text or type(error).__name__ == "NotSupportedError"


def _reason(text: str) -> str:
    """Return what a server answered, in its own words, or the first line of what was raised."""
    status, code, message = _STATUS.search(text), _CODE.search(text), _MESSAGE.search(text)
    words = [each for each in (code and code[1], message and message[1]) if each]
    if words:
        return shown(": ".join(words), _MAX_WORDS)
    if status is not None:
        return shown(f"{status[1]}{(status[2] or '').rstrip()}", _MAX_WORDS)
    first = (
        without_credentials(text.partition(_FIELDS)[0].splitlines()[0]) if text.strip() else "no reason given"
    )
    return shown(first, _MAX_WORDS)


def _cause(text: str) -> str | None:
    if "TimedOut" in text or "kind: Timeout" in text:
        return "it does not answer"
    found = _CAUSE.search(text.partition(_FIELDS)[2])
    return None if found is None else shown(found[1], _MAX_WORDS)
