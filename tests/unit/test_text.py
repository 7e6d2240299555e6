"""Text that comes from outside is read whoever saved it, and shown so that it cannot move a cursor."""

from __future__ import annotations

import codecs

import pytest

from asyncfetch.text import UnreadableTextError, counted, decode_text, lasting, listed, shown, sized


@pytest.mark.parametrize(
    "data",
    [
        "µ\nß".encode(),
        codecs.BOM_UTF8 + "µ\r\nß".encode(),
        codecs.BOM_UTF16_LE + "µ\rß".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "µ\r\nß".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "µ\nß".encode("utf-32-le"),
        codecs.BOM_UTF32_BE + "µ\nß".encode("utf-32-be"),
    ],
)
def test_a_text_is_the_same_whatever_its_mark_and_its_ends_of_lines(data):
    assert decode_text(data) == "µ\nß"


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a\nb\r\n\xe9", 3, "byte 0xe9 is not valid UTF-8"),
        (b"\xff\xfea\0\n\0x", 2, "byte 0x78 is not valid UTF-16"),
        ("a\rb".encode("utf-16-le"), 1, "NUL"),
    ],
)
def test_what_is_not_text_is_named_by_its_line(data, line, words):
    with pytest.raises(UnreadableTextError, match=words) as caught:
        decode_text(data)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")


@pytest.mark.parametrize(
    "character",
    [
        *("\x1b", "\x07", "\x9b", "\x7f", "\n", "\r", "\t", "\u202e", "\u2066", "\u200e", "\u061c"),
        *("\u200b", "\u2028", "\u2029", "\ufeff", "\ud800", "\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_escaped(character):
    text = shown(f"a{character}b")
    assert text.isprintable()
    assert text == f"a{character.encode('unicode_escape', 'surrogatepass').decode()}b"
    assert shown(text) == text


def test_printable_words_stay_as_they_are():
    assert shown("Pvalb, 25 µm × 3, Größe 脳") == "Pvalb, 25 µm × 3, Größe 脳"


def test_long_words_are_cut_to_their_width():
    assert shown("x" * 10, 10) == "x" * 10
    assert shown("x" * 11, 10) == "x" * 9 + "…"
    assert shown("\x1b" * 11, 10) == "\\x1b\\x1b\\…"


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "0 sections"), (1, "1 section"), (2, "2 sections"), (21, "21 sections")],
)
def test_a_number_has_its_noun_in_the_form_that_it_takes(n, words):
    assert counted(n, "section") == words


def test_what_follows_a_number_may_have_a_plural_of_its_own():
    assert [counted(n, "box is", "boxes are") for n in (0, 1, 2)] == [
        "0 boxes are",
        "1 box is",
        "2 boxes are",
    ]


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (20_300, "20 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (1_250_000, "1.2 MB"),
        (999_990_000, "1.0 GB"),
        (2.5e12, "2500.0 GB"),
    ],
)
def test_a_size_is_told_in_the_unit_that_fits_it(n_bytes, words):
    assert sized(n_bytes) == words


@pytest.mark.parametrize(("n", "last"), [(0, None), (20, "line 19"), (21, "1 more"), (25, "5 more")])
def test_a_list_shows_twenty_items_and_how_many_more_there_are(n, last):
    lines = listed(list(range(n)), "line {}".format, "{} more".format)
    assert lines[:20] == [f"line {k}" for k in range(min(n, 20))]
    assert (lines[-1] if lines else None) == last
    assert len(lines) == min(n, 21)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.0, "less than 0.1 s"), (0.42, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s")),
        *((59.6, "1 min"), (119.6, "2 min"), (200.0, "3 min 20 s"), (599.7, "10 min"), (2640.0, "44 min")),
        *((3599.0, "1 h"), (11_500.0, "3 h 12 min"), (172_000.0, "47 h 47 min"), (172_790.0, "2 days")),
        (1_000_000.0, "11 days 14 h"),
    ],
)
def test_a_duration_is_told_in_the_units_that_people_plan_with(seconds, words):
    assert lasting(seconds) == words
