"""Recordings keep every answer and no secret."""

from __future__ import annotations

import errno
import json
import os

import pytest

from asyncfetch.engine import Exchange, observing
from asyncfetch.engine.exchanges import current_observer
from asyncfetch.engine.recording import parse_exchange, recording, without_secrets
from asyncfetch.errors import SettingsError

JSON = Exchange("http://host/a?b=c%20d", 200, (("Content-Type", "application/json"),), '{"µ":1}'.encode())
JPEG = Exchange("http://host/i", 200, (("X", "1"), ("X", "2")), b"\xff\xd8\xff\xd9")


def tell(exchange):
    current_observer()(exchange)


def lines(path):
    return path.read_bytes().splitlines(keepends=True)


def exchanges(path):
    return [found for line in lines(path) if (found := parse_exchange(line)) is not None]


def test_what_is_recorded_is_read_back_the_same(tmp_path):
    path = tmp_path / "r.jsonl"
    with recording(path):
        tell(JSON)
        tell(JPEG)
    assert exchanges(path) == [JSON, JPEG]
    assert json.loads(lines(path)[0])["format"] == "asyncfetch-recording"


def test_each_answer_is_in_the_file_when_it_was_told_and_not_only_at_the_end(tmp_path):
    path = tmp_path / "r.jsonl"
    with recording(path):
        tell(JSON)
        assert exchanges(path) == [JSON]


def test_a_recording_that_was_cut_off_goes_on_without_the_line_that_was_cut(tmp_path):
    path = tmp_path / "r.jsonl"
    with recording(path):
        tell(JSON)
        tell(JPEG)
    path.write_bytes(path.read_bytes()[:-20])
    with recording(path):
        tell(JPEG)
    assert exchanges(path) == [JSON, JPEG]


def test_a_file_that_is_something_else_is_not_written_to(tmp_path):
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(SettingsError, match="exists and is not a recording"), recording(path):
        pass
    assert path.read_text() == "years of work"


def test_a_place_that_cannot_be_written_is_named_before_anything_is_asked(tmp_path):
    with pytest.raises(SettingsError, match="cannot be written"), recording(tmp_path / "no" / "r.jsonl"):
        pass


def test_an_error_of_the_block_is_not_taken_for_one_of_the_recording(tmp_path):
    with pytest.raises(OSError, match="mine"), recording(tmp_path / "r.jsonl"):
        raise OSError(errno.EIO, "mine")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is Linux's")  # noqa: PTH110
def test_a_full_disk_ends_the_recording_with_one_word_and_not_the_run():
    told = []
    with recording("/dev/full", told.append):
        tell(JSON)
        tell(JPEG)
    assert len(told) == 1
    assert "No space left" in told[0]


SECRET = Exchange(
    "https://anna:geheim@host/a?access_token=geheim&x=1",
    302,
    (
        ("Set-Cookie", "session=geheim"),
        ("Authorization", "Basic geheim"),
        ("Proxy-Authenticate", "Basic geheim"),
        ("X-Auth-Token", "geheim"),
        ("Location", "https://anna:geheim@host/b?X-Amz-Signature=geheim&left=1"),
        ("Content-Type", "text/html"),
    ),
    b'<a href="https://anna:geheim@host/b?X-Amz-Signature=geheim&left=1">here</a>',
)


def test_no_secret_is_kept(tmp_path):
    with recording(tmp_path / "r.jsonl"):
        tell(SECRET)
    assert b"geheim" not in (tmp_path / "r.jsonl").read_bytes()


def test_what_is_no_secret_stays_and_a_redirect_still_fits_its_target():
    clean = without_secrets(SECRET)
    assert clean.url == "https://host/a?access_token=***&x=1"
    assert clean.header("location") == "https://host/b?X-Amz-Signature=***&left=1"
    assert clean.header("content-type") == "text/html"
    assert without_secrets(JPEG) == JPEG


def test_all_who_watch_see_an_exchange_and_nobody_afterwards():
    inner, outer = [], []
    with observing(outer.append):
        with observing(inner.append):
            tell(JSON)
        tell(JPEG)
    assert inner == [JSON]
    assert outer == [JSON, JPEG]
    assert current_observer() is None


@pytest.mark.parametrize(
    "line", [b"{}\n", b"[1]\n", b'{"url":"u","status":"x","headers":[],"text":""}\n', b"7\n"]
)
def test_a_line_of_another_shape_is_an_error(line):
    with pytest.raises(ValueError, match="not an exchange"):
        parse_exchange(line)


def test_a_recording_of_another_version_is_an_error():
    with pytest.raises(ValueError, match="version 2"):
        parse_exchange(b'{"format":"asyncfetch-recording","version":2}\n')
