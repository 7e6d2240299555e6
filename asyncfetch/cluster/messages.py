"""What machines and the ledger of a run say to each other: one question, one answer, as bytes."""

from __future__ import annotations

import msgspec

from asyncfetch.cluster.bulletin import News

__all__ = ["Answer", "Question", "decode_answer", "decode_question", "encode"]


class Question(msgspec.Struct, kw_only=True):
    """What a machine says and wants to know; sent when it needs something, and twice a second anyway.

    Attributes
    ----------
    owner : str
        The machine: one process, from when it joins the run until it leaves or is lost.
    serial : int
        Counts its questions; one that arrives after a later one is too late to be answered.
    address : str
        What Dask calls it.
    n_starts, lateness_s : int, float
        How many requests it could start, and how late it may be with each.
    n_wanted, n_held : int
        Images at once that it could use, and how many it may have or are still on their way.
    claims, released : list of str
        Data sets that it wants to own, and those that it is done with.
    news : News or None
        What it has found out about the server.
    events, first_event : list, int
        What has happened there, each encoded, and the number of the first of these events.
    hears, n_heard : bool, int
        Whether it wants to be told the events of all others, because it writes the report; and how many batches of them
        have come so far, so that none is lost with an answer.
    drains : bool
        Whether it wants everybody to come to an end.
    leaves : bool
        Whether it has stopped and is never heard of again under this name.
    """

    owner: str
    serial: int = 0
    address: str = ""
    n_starts: int = 0
    lateness_s: float = 0.0
    n_wanted: int = 0
    n_held: int = 0
    claims: list[str] = msgspec.field(default_factory=list)
    released: list[str] = msgspec.field(default_factory=list)
    news: News | None = None
    events: list[msgspec.Raw] = msgspec.field(default_factory=list)
    first_event: int = 0
    hears: bool = False
    n_heard: int = 0
    drains: bool = False
    leaves: bool = False


class Answer(msgspec.Struct, kw_only=True):
    """What the ledger answers.

    Attributes
    ----------
    is_lost : bool
        Whether the machine was silent for too long, so that others may have what it owned.
    is_over : bool
        Whether the run has ended, or whoever had asked for it is gone.
    drains : bool
        Whether nothing more is to be begun.
    starts : tuple of (float, list of float, float) or None
        A `Stretch`.
    n_permits : int
        Images at once, from now on.
    owned : list of str
        Of the claims, those that the machine owns now.
    news : News
        How the server is.
    events : list of (str, int, list)
        Who told what: the owner, the number of the first event, and the events.
    """

    is_lost: bool = False
    is_over: bool = False
    drains: bool = False
    starts: tuple[float, tuple[float, ...], float] | None = None
    n_permits: int = 0
    owned: list[str] = msgspec.field(default_factory=list)
    news: News = News()
    events: list[tuple[str, int, list[msgspec.Raw]]] = msgspec.field(default_factory=list)


_ENCODER = msgspec.msgpack.Encoder()
_QUESTION = msgspec.msgpack.Decoder(Question)
_ANSWER = msgspec.msgpack.Decoder(Answer)


def encode(message: Question | Answer) -> bytes:
    """Return a message as bytes."""
    return _ENCODER.encode(message)


def decode_question(data: bytes) -> Question:
    """Return what a machine said."""
    return _QUESTION.decode(data)


def decode_answer(data: bytes) -> Answer:
    """Return what the ledger answered."""
    return _ANSWER.decode(data)
