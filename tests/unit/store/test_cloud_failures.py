"""What object storage says is told in one line, with what to do next; the texts are those of obstore 0.12."""

from __future__ import annotations

import pytest

from asyncfetch.errors import StoreAccessError, StoreError, StoreSpaceError
from asyncfetch.store.cloud_failures import failure_of, is_transient

NAME = "s3://brains/a.zarr"


def generic(words, debug=""):
    return Exception(f"Generic S3 error: {words}\n\nDebug source:\nGeneric {{\n{debug}\n}}")


def reply(status, code="", message=""):
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>" if code else ""
    return generic(
        f"Error performing PUT http://h/a in 1ms - Server returned non-2xx status code: {status}: {body}"
    )


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (reply("404 Not Found", "NoSuchBucket", "gone"), StoreAccessError, "no such bucket; check the name"),
        (
            reply("403 Forbidden", "AccessDenied", "Access Denied"),
            StoreAccessError,
            r"access is denied \(AccessDenied: Access Denied\); set AWS_ACCESS_KEY_ID",
        ),
        (reply("507 Insufficient Storage"), StoreSpaceError, "no space left.*free some space and resume"),
        (reply("400 Bad Request", "XMinioStorageFull", "full"), StoreSpaceError, "no space left"),
        (
            reply("503 Service Unavailable", "SlowDown", "Reduce your request rate."),
            StoreAccessError,
            r"not kept up for minutes \(SlowDown: Reduce your request rate\.\); resume later",
        ),
        (
            reply("301 Moved Permanently", "PermanentRedirect", "elsewhere"),
            StoreAccessError,
            "in another region.*set AWS_REGION",
        ),
        (
            generic(
                "Error performing GET http://h/a - HTTP error: error sending request",
                'message: "No route to host"',
            ),
            StoreAccessError,
            r"cannot be reached \(No route to host\); check the network, and AWS_ENDPOINT_URL",
        ),
        (
            generic("Error performing GET http://h/a - HTTP error: error sending request", "kind: Timeout"),
            StoreAccessError,
            "it does not answer",
        ),
        (
            generic("Error performing GET http://h/a - HTTP error: builder error"),
            StoreAccessError,
            "set AWS_ALLOW_HTTP=true",
        ),
        (reply("400 Bad Request", "Odd", "what"), StoreError, "s3://brains/a.zarr failed: Odd: what"),
        (generic("something else"), StoreError, "failed: Generic S3 error: something else"),
    ],
)
def test_each_failure_has_its_error_and_its_advice(error, kind, words):
    with pytest.raises(kind, match=words) as caught:
        raise failure_of(NAME, "s3", error)
    assert type(caught.value) is kind
    assert caught.value.location == NAME
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "http"])
def test_each_kind_of_storage_has_advice(scheme):
    assert failure_of(NAME, scheme, reply("403 Forbidden")).message != ""
    assert "check the network" in failure_of(NAME, scheme, generic("HTTP error: x")).message


def test_what_a_server_answers_is_not_asked_again():
    assert not is_transient(reply("403 Forbidden", "AccessDenied", "HTTP"))
    assert is_transient(generic("HTTP error: connection closed before message completed"))
