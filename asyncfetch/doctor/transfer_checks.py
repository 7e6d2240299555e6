"""The assumptions about addresses and HTTP, judged by what went over the wire."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from asyncfetch.doctor.answers import UnaskedError
from asyncfetch.doctor.judging import Check, require
from asyncfetch.doctor.questions import QUESTIONS
from asyncfetch.text import counted

if TYPE_CHECKING:
    from asyncfetch.doctor.answers import Answers
    from asyncfetch.engine import Exchange

__all__ = ["TRANSFER_CHECKS"]

_REDIRECTS = range(300, 400)
_IMAGES = [
    question.name for question in QUESTIONS if question.kind == "image" and question.name != "unknown_image"
]
_KEPT_S = 10


def _downloads(answers: Answers) -> list[Exchange]:
    """Return the first answers to the requests for images."""
    found = [
        answers.seen[name].exchanges[0]
        for name in _IMAGES
        if name in answers.seen and answers.seen[name].exchanges
    ]
    if not found:
        raise UnaskedError("no request for an image was answered")
    return found


def _locations(answers: Answers) -> list[tuple[str, str]]:
    """Return where redirects were asked for, and what they name."""
    found = [
        (each.url, each.header("Location") or "")
        for each in answers.all_exchanges()
        if each.status in _REDIRECTS
    ]
    if not found:
        raise UnaskedError("no request was redirected")
    return found


def _addr_1(answers: Answers) -> str:
    exchange = answers.seen["data_set"].last if "data_set" in answers.seen else None
    if exchange is None:
        seen = answers.seen.get("data_set")
        raise UnaskedError(seen.error.message if seen is not None and seen.error else "nothing answers")
    is_page = exchange.body[:200].lstrip().lower().startswith((b"<html", b"<!doctype"))
    require(not is_page, f"a page of HTML answers at {answers.base_url}")
    require(exchange.status == 200, f"queries are answered by HTTP {exchange.status} at {answers.base_url}")
    return f"the API answers at {answers.base_url}"


def _addr_2(answers: Answers) -> str:
    hosts = set()
    for url, location in _locations(answers):
        here, there = urlsplit(url).hostname, urlsplit(urljoin(url, location)).hostname
        is_one = here == there or all(str(each).endswith("brain-map.org") for each in (here, there))
        require(is_one, f"{here} redirects to {there}")
        hosts.add(there)
    return f"redirects stay with {', '.join(sorted(map(str, hosts)))}"


def _addr_3(_answers: Answers) -> str:
    raise UnaskedError("only the address of base_url is asked; give another name with --base-url")


def _http_1(answers: Answers) -> str:
    statuses = {each.status for each in _downloads(answers) if each.status in {*_REDIRECTS, 200}}
    if not statuses:
        raise UnaskedError("no request for an image succeeded")
    require(statuses == {302}, f"images are answered by {', '.join(map(str, sorted(statuses)))}, not by 302")
    for _, location in _locations(answers):
        require("://" in location, f"redirects name {location.partition('?')[0]} without a host")
    return "images are answered by 302 to an absolute address"


def _http_2(answers: Answers) -> str:
    schemes: set[str] = set()
    for url, location in _locations(answers):
        asked, named = urlsplit(url), urlsplit(urljoin(url, location))
        schemes.add(asked.scheme)
        require(
            asked.scheme == named.scheme,
            f"asked by {asked.scheme}, redirects name {named.scheme}://{named.netloc}",
        )
    return f"redirects name the scheme that was used, {' and '.join(sorted(schemes))}"


def _http_3(answers: Answers) -> str:
    exchange = answers.exchange("image")
    length, encoding = exchange.header("Content-Length"), exchange.header("Content-Encoding")
    require(length is None, f"a body is announced with Content-Length: {length}")
    require(encoding == "gzip", f"bodies have the Content-Encoding {encoding}")
    return "bodies are compressed and have no length"


def _http_4(answers: Answers) -> str:
    exchange = answers.exchange("image")
    connection = (exchange.header("Connection") or "").lower()
    require(connection != "close", "each answer closes its connection")
    kept = re.search(r"timeout=(\d+)", exchange.header("Keep-Alive") or "")
    if kept is None:
        raise UnaskedError("no answer says how long an idle connection is kept")
    require(int(kept[1]) >= _KEPT_S, f"idle connections are kept for {kept[1]} s")
    return f"idle connections are kept for {kept[1]} s"


def _http_5(answers: Answers) -> str:
    seen = answers.seen.get("unknown_image")
    if seen is None or seen.last is None:
        raise UnaskedError("the request for an unknown image was not answered")
    require(seen.last.status == 404, f"an unknown image is answered by HTTP {seen.last.status}")
    return "an unknown image is answered by 404"


def _http_6(answers: Answers) -> str:
    found = {
        (each.status, value) for each in answers.all_exchanges() if (value := each.header("Retry-After"))
    }
    if not found:
        raise UnaskedError("no answer carried Retry-After")
    return "seen: " + ", ".join(f"{status} with Retry-After: {value}" for status, value in sorted(found))


def _http_7(answers: Answers) -> str:
    n = sum(each.status == 429 for each in answers.all_exchanges())
    require(
        not n,
        f"{counted(n, 'request was', 'requests were')} refused with 429 at the rate of this examination; lower --rate",
    )
    if not any(answers.all_exchanges()):
        raise UnaskedError("no request was answered")
    return "no request was refused for the rate"


def _http_8(answers: Answers) -> str:
    exchanges = list(answers.all_exchanges())
    pages = [
        each
        for each in exchanges
        if each.status == 200 and each.body[:60].lstrip().lower().startswith(b"<html")
    ]
    failed = sorted({each.status for each in exchanges if each.status >= 500})
    if not exchanges:
        raise UnaskedError("no request was answered")
    if not pages and not failed:
        raise UnaskedError("no outage was seen")
    return f"seen: {counted(len(pages), 'page')} of HTML under 200; statuses {failed or 'below 500'}"


def _http_9(answers: Answers) -> str:
    again = [name for name in _IMAGES if name in answers.seen and answers.seen[name].n_attempts > 1]
    if not again:
        is_answered = any(answers.seen[name].exchanges for name in _IMAGES if name in answers.seen)
        raise UnaskedError(
            "every image came at once" if is_answered else "no request for an image was answered"
        )
    healed = [name for name in again if answers.seen[name].error is None]
    return f"seen: {counted(len(again), 'image')} asked for again, {len(healed)} of them came"


#: One for each assumption, in their order.
TRANSFER_CHECKS: tuple[Check, ...] = (
    Check("ADDR-1", _addr_1),
    Check("ADDR-2", _addr_2),
    Check("ADDR-3", _addr_3, leans=False),
    Check("HTTP-1", _http_1, leans=False),
    Check("HTTP-2", _http_2, leans=False),
    Check("HTTP-3", _http_3, leans=False),
    Check("HTTP-4", _http_4, leans=False),
    Check("HTTP-5", _http_5, leans=False),
    Check("HTTP-6", _http_6, leans=False),
    Check("HTTP-7", _http_7, leans=False),
    Check("HTTP-8", _http_8, leans=False),
    Check("HTTP-9", _http_9, leans=False),
)
