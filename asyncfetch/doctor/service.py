"""Whether a service is as it is assumed to be: all questions, then all checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from asyncfetch.doctor.answers import Answers, UnaskedError
from asyncfetch.doctor.asking import MAX_REQUESTS, Asker, Seen
from asyncfetch.doctor.facts import Fact
from asyncfetch.doctor.picture_checks import PICTURE_CHECKS
from asyncfetch.doctor.questions import QUESTIONS, Question
from asyncfetch.doctor.row_checks import ROW_CHECKS
from asyncfetch.doctor.transfer_checks import TRANSFER_CHECKS
from asyncfetch.text import lasting

if TYPE_CHECKING:
    from asyncfetch.doctor.judging import Finding
    from asyncfetch.settings import Settings

__all__ = ["CHECKS", "Examination", "examine_service"]

#: All checks, in the order of the assumptions.
CHECKS = (*TRANSFER_CHECKS, *ROW_CHECKS, *PICTURE_CHECKS)
# Where nothing answers, asking on tells nothing and takes a timeout each.
_MAX_UNANSWERED = 3
# What a service is to refuse.
_REFUSED = frozenset({"refused", "unknown_image"})
# Retry-After as a date, certificates and caches go wrong at some minutes.
_SKEW_S = 60.0


@dataclass(frozen=True)
class Examination:
    """What was found of a service.

    Attributes
    ----------
    base_url : str
        Where it was asked.
    findings : tuple of Finding
        One for each assumption.
    n_requests : int
        How many requests were sent.
    is_answered : bool
        Whether it answers as the API at all, with rows and with images.
    clock : Fact or None
        How far this machine's clock is from the server's; None where no answer tells the time.
    """

    base_url: str
    findings: tuple[Finding, ...]
    n_requests: int
    is_answered: bool
    clock: Fact | None = None

    @property
    def has_differences(self) -> bool:
        """Whether something differs that the product leans on."""
        return any(finding.verdict == "differs" and finding.leans for finding in self.findings)


async def examine_service(settings: Settings, max_requests: int = MAX_REQUESTS) -> Examination:
    """Ask a service which assumptions hold.

    Parameters
    ----------
    settings : Settings
        The address, the rate and the timeouts.
    max_requests : int
        The most requests that are sent, redirects and second attempts included.
    """
    seen: dict[str, Seen] = {}
    n_unanswered = 0
    skews: list[float] = []
    async with Asker(settings, max_requests) as asker:
        for question in QUESTIONS:
            found = await asker.ask(question.path)
            if found.error is None and not _is_as_expected(question, found):
                # Bytes that are wrong often heal when they are asked for again (HTTP-9), and so do queries (RMA-8).
                found = await asker.ask_again(found, question.path)
            seen[question.name] = found
            skews += _skew_s(found)
            n_unanswered = 0 if found.exchanges else n_unanswered + 1
            if n_unanswered >= _MAX_UNANSWERED:
                break
    answers = Answers(settings.base_url, seen)
    return Examination(
        settings.base_url,
        tuple(check.find(answers) for check in CHECKS),
        asker.n_requests,
        all(_is_any_answered(kind, seen) for kind in ("rows", "image")),
        _clock(skews),
    )


def _is_any_answered(kind: str, seen: dict[str, Seen]) -> bool:
    return any(
        found.error is None and _is_as_expected(question, found)
        for question in QUESTIONS
        if question.kind == kind
        and question.name not in _REFUSED
        and (found := seen.get(question.name)) is not None
    )


def _is_as_expected(question: Question, seen: Seen) -> bool:
    answers = Answers("", {question.name: seen})
    try:
        if question.name in _REFUSED:
            return True
        if question.kind in {"rows", "sync"}:
            answers.envelope(question.name)
        elif question.kind == "image":
            answers.pixels(question.name)
    except UnaskedError:
        return False
    return True


def _skew_s(seen: Seen) -> list[float]:
    """Return how far this clock is ahead of the server's, where the last answer tells the time."""
    date = None if seen.last is None else seen.last.header("Date")
    try:
        told = parsedate_to_datetime(date or "")
    except (ValueError, TypeError, IndexError):
        return []
    return [(datetime.now(UTC) - told.replace(tzinfo=told.tzinfo or UTC)).total_seconds()]


def _clock(skews: list[float]) -> Fact | None:
    if not skews:
        return None
    # The answer that took least time on its way tells most; Date is cut to whole seconds.
    skew = min(skews, key=abs)
    if abs(skew) < 2:
        return Fact("clock", "agrees with the server's", round(skew, 1))
    words = f"{lasting(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server's"
    advice = "set the clock of this machine, for example with: timedatectl set-ntp true"
    return Fact("clock", words, round(skew, 1), advice if abs(skew) > _SKEW_S else None)
