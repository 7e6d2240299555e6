"""How a check is made: an assumption, and a judgement of the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from asyncfetch.doctor.answers import Answers, DiffersError, UnaskedError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Check", "Finding", "require"]

type Verdict = Literal["holds", "differs", "could not be asked"]


@dataclass(frozen=True)
class Finding:
    """What was found of one assumption.

    Attributes
    ----------
    assumption : str
        Its id in allen-api.md.
    verdict : {"holds", "differs", "could not be asked"}
        What the answers say.
    words : str
        What was seen, how it differs, or why it could not be asked.
    leans : bool
        Whether something of the product goes wrong where it differs; else the code takes either.
    """

    assumption: str
    verdict: Verdict
    words: str
    leans: bool


@dataclass(frozen=True)
class Check:
    """One assumption and how it is judged.

    Attributes
    ----------
    assumption : str
        Its id in allen-api.md.
    judge : callable
        `Answers` to words about what was seen; it raises `DiffersError` or `UnaskedError` with words for the rest.
    leans : bool
        Whether something goes wrong where it differs.
    """

    assumption: str
    judge: Callable[[Answers], str] = field(repr=False)
    leans: bool = True

    def find(self, answers: Answers) -> Finding:
        """Return what the answers say."""
        try:
            words = self.judge(answers)
        except UnaskedError as error:
            return Finding(self.assumption, "could not be asked", str(error), self.leans)
        except DiffersError as error:
            return Finding(self.assumption, "differs", str(error), self.leans)
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, StopIteration) as error:
            words = f"an answer has another shape ({type(error).__name__}: {error})"
            return Finding(self.assumption, "differs", words, self.leans)
        return Finding(self.assumption, "holds", words, self.leans)


def require(holds: bool, words: str) -> None:
    """Raise what says that an answer is not as it is assumed to be.

    Raises
    ------
    DiffersError
        It does not hold.
    """
    if not holds:
        raise DiffersError(words)
