"""The window against servers that are functions: a size in, bytes per second out, fed in small pieces."""

from __future__ import annotations

import random

import pytest

from asyncfetch.engine import FixedWindow, Window

PIECE_S = 0.02
MB = 1e6


class Feed:
    """A window that is fed what a server sends, piece by piece, and what was decided, with its time."""

    def __init__(self, window, goodput, *, is_full=True):
        self.window, self.goodput, self.now = window, goodput, 1000.0
        self.changes, self.sizes = [], [window.size]
        window.filled(is_full, self.now)

    def run(self, seconds):
        for _ in range(round(seconds / PIECE_S)):
            self.now += PIECE_S
            self.note(self.window.received(round(self.goodput(self.window.size) * PIECE_S), self.now))
        return self

    def run_to(self, reason):
        for _ in range(3000):
            if self.reasons[-1:] == [reason]:
                return self
            self.run(PIECE_S)
        raise AssertionError(f"no {reason} within a minute: {self.changes}")

    def refuse(self, *, sent_s_ago=0.0):
        return self.note(self.window.refused(self.now - sent_s_ago, self.now))

    def interrupt(self):
        self.window.interrupted(self.now)
        self.sizes.append(self.window.size)

    def go_out(self):
        self.window.outage(self.now)
        self.sizes.append(self.window.size)

    def note(self, change):
        if change is not None:
            self.changes.append(change)
        self.sizes.append(self.window.size)
        return change

    @property
    def reasons(self):
        return [change.reason for change in self.changes]


def limited(most_useful, each=MB):
    """Every connection brings the same, up to a number of them; more bring nothing more."""
    return lambda size: each * min(size, most_useful)


def settled(most_useful=16, most=64):
    """A window that has found what a server bears."""
    feed = Feed(Window(most), limited(most_useful)).run(60)
    while feed.reasons[-1] == "probe" or len(feed.window._bins) < 10:
        feed.run(PIECE_S)
    feed.changes.clear()
    feed.sizes = [feed.window.size]
    return feed


def test_it_starts_small_and_doubles_while_each_doubling_brings_a_quarter_more():
    feed = Feed(Window(64), limited(64)).run(20)
    assert feed.sizes[0] == 4
    assert [(change.before, change.after) for change in feed.changes if change.reason == "kept"] == [
        (4, 8),
        (8, 16),
        (16, 32),
        (32, 64),
    ]


def test_a_doubling_that_brings_less_than_a_quarter_is_the_last():
    feed = Feed(Window(64), lambda size: MB * (size if size < 8 else 4.8)).run(1.5)
    assert [(change.reason, change.after) for change in feed.changes[:2]] == [("probe", 8), ("kept", 8)]
    feed.goodput = limited(64)
    feed.run(3)
    assert feed.changes[2].after == 9


@pytest.mark.parametrize(("gain", "reason"), [(1.07, "kept"), (1.03, "stepped back")])
def test_a_step_up_stays_only_for_five_percent_more(gain, reason):
    feed = settled()
    size = feed.window.size
    feed.window._direction = 1
    feed.goodput = lambda now: 16 * MB * (gain if now > size else 1.0)
    feed.run_to(reason)
    probe, verdict = feed.changes[:2]
    assert (probe.reason, probe.before, probe.after > size) == ("probe", size, True)
    assert verdict.reason == reason
    assert verdict.after == (probe.after if reason == "kept" else size)


def test_as_many_as_it_takes_and_no_more():
    feed = settled(most_useful=10)
    assert 9 <= feed.window.size <= 11
    feed.run(300)
    # now and then a step is tried
    assert {change.reason for change in feed.changes} <= {"probe", "kept", "stepped back"}
    assert max(feed.sizes) <= 13
    assert min(feed.sizes) >= 8


def test_steps_down_are_kept_while_goodput_does_not_fall():
    feed = settled(most_useful=32)
    assert feed.window.size > 28
    feed.goodput = lambda size: 32 * MB * min(1.0, size / 12)
    feed.run(300)
    assert 11 <= feed.window.size <= 14
    assert any(change.reason == "kept" and change.after < change.before for change in feed.changes)


def test_a_window_that_came_down_to_one_climbs_again_when_more_brings_more():
    feed = settled(most_useful=4)
    feed.goodput = lambda _size: MB
    feed.run(300)
    assert feed.window.size == 1
    feed.goodput = limited(8)
    feed.run(300)
    assert feed.window.size >= 7


def test_a_window_at_its_most_finds_out_that_fewer_do():
    feed = settled(most_useful=64, most=32)
    assert feed.window.size == 32
    feed.goodput = lambda size: 32 * MB * min(1.0, size / 8)
    feed.run(300)
    assert feed.window.size <= 10


def test_a_refusal_takes_thirty_percent():
    feed = settled(most_useful=20)
    before = feed.window.size
    change = feed.refuse()
    assert (change.reason, change.before, change.after) == ("refused", before, int(0.7 * before))
    assert feed.window.size == change.after


def test_refusals_of_what_was_sent_before_the_last_cut_do_not_count():
    feed = settled()
    change = feed.refuse()
    feed.run(0.2)
    assert feed.refuse(sent_s_ago=0.3) is None
    assert feed.window.size == change.after
    assert feed.refuse(sent_s_ago=0.1) is not None


def test_one_is_the_least_after_any_number_of_refusals():
    feed = settled()
    for _ in range(40):
        feed.run(0.2)
        feed.refuse()
    assert feed.window.size == 1


def test_what_was_refused_is_not_tried_again_until_the_ceiling_ends():
    feed = settled(most_useful=32)
    refused_at = feed.window.size
    feed.goodput = limited(64)
    feed.refuse()
    feed.run(118)
    assert max(feed.sizes[1:]) == refused_at - 1
    feed.run(60)
    assert feed.window.size > refused_at


def test_a_second_refusal_lasts_twice_as_long():
    feed = settled(most_useful=32)
    feed.goodput = limited(64)
    feed.refuse()
    feed.run(100)
    refused_at = feed.window.size
    feed.refuse()
    feed.sizes.clear()
    feed.run(235)
    assert max(feed.sizes) == refused_at - 1
    feed.run(150)
    assert feed.window.size > refused_at


def test_no_growth_follows_a_refusal_while_it_doubles():
    feed = Feed(Window(64), limited(64)).run(1.6)
    assert feed.window.size >= 8
    feed.refuse()
    after = feed.window.size
    feed.run(2)
    # one step at a time from now on
    assert feed.window.size - after <= 2


def test_a_collapse_without_errors_halves_until_it_recovers():
    feed = settled(most_useful=32)
    before = feed.window.size
    feed.goodput = lambda size: 2 * MB if size > 10 else size * MB
    feed.run_to("cut").run(20)
    cuts = [(change.before, change.after) for change in feed.changes if change.reason == "cut"]
    assert cuts == [(before, before // 2), (before // 2, before // 4)]
    assert "refused" not in feed.reasons
    assert 7 <= feed.window.size <= 10


def test_a_collapse_is_told_from_a_short_lull():
    feed = settled(most_useful=32)
    for _ in range(20):
        feed.goodput = lambda _size: 0.0
        feed.run(0.6)
        feed.goodput = limited(32)
        feed.run(5)
    assert "cut" not in feed.reasons


def test_it_climbs_again_after_a_collapse_but_stays_below_where_that_was():
    feed = settled(most_useful=16)
    collapses_at = feed.window.size
    feed.goodput = lambda size: 2 * MB if size >= collapses_at else size * MB
    feed.run_to("cut")
    assert feed.changes[-1].before == collapses_at
    feed.sizes.clear()
    feed.run(100)
    assert max(feed.sizes) == collapses_at - 1


def test_a_cut_that_hurts_is_taken_back():
    feed = settled(most_useful=16)
    size, reference = feed.window.size, feed.goodput(feed.window.size)
    # the link became three times slower for each connection: fewer only bring less
    feed.goodput = lambda now: reference * 0.3 * min(1.0, now / size)
    feed.run(6)
    assert feed.reasons[-2:] == ["cut", "cut taken back"]
    assert feed.window.size == size
    # that is what is usual from now on
    feed.changes.clear()
    feed.run(60)
    assert "cut" not in feed.reasons


def test_a_server_that_sends_little_to_one_connection_is_not_cut_below_it():
    feed = Feed(Window(64, first=1), limited(1)).run(30)
    feed.goodput = lambda _size: 1000.0
    feed.run(120)
    assert feed.window.size >= 1
    assert min(feed.sizes) == 1


def test_bins_in_which_the_window_was_not_full_say_nothing():
    feed = Feed(Window(64), limited(64), is_full=False).run(120)
    assert feed.changes == []
    assert feed.window.size == 4


def test_a_run_that_is_full_only_now_and_then_says_nothing():
    window = Window(64)
    feed = Feed(window, limited(64))
    for k in range(3000):
        # full for 60 % of the time
        window.filled(k % 5 < 3, feed.now)
        feed.run(PIECE_S)
    assert feed.changes == []


def test_it_goes_on_where_it_was_when_it_is_full_again():
    feed = Feed(Window(64), limited(64), is_full=False).run(30)
    feed.window.filled(True, feed.now)
    feed.run(20)
    assert feed.window.size == 64


def test_an_interruption_takes_an_unproved_step_back():
    feed = Feed(Window(64), limited(64))
    feed.run_to("probe")
    assert feed.window.size == 8
    feed.interrupt()
    assert feed.window.size == 4


def test_an_interruption_does_not_undo_a_step_down():
    feed = settled()
    feed.window._direction = -1
    feed.run_to("probe")
    assert feed.changes[-1].after < feed.changes[-1].before
    during = feed.window.size
    feed.interrupt()
    assert feed.window.size == during


def test_what_refusals_took_before_an_outage_is_given_back():
    feed = settled(most_useful=32)
    before = feed.window.size
    for _ in range(4):
        feed.run(0.5)
        feed.refuse()
    assert feed.window.size < before // 2
    feed.go_out()
    assert feed.window.size == before
    # and the ceiling with it
    feed.goodput = limited(64)
    feed.run(60)
    assert feed.window.size > before


def test_refusals_long_before_an_outage_stay_where_they_are():
    feed = settled(most_useful=32)
    feed.refuse()
    feed.goodput = lambda _size: 10 * MB
    feed.run(70)
    before = feed.window.size
    feed.go_out()
    assert feed.window.size <= before


def test_every_outage_gives_back_its_own_refusals():
    feed = settled(most_useful=32)
    before = feed.window.size
    for _ in range(3):
        feed.refuse()
        feed.run(0.2)
        feed.refuse()
        feed.go_out()
        assert feed.window.size == before
        feed.interrupt()
        feed.run(2)
        assert feed.window.size >= before
        before = feed.window.size


def test_outages_leave_the_next_ceiling_as_long_as_the_first():
    feed = settled(most_useful=32)
    for _ in range(4):
        for _ in range(4):
            feed.run(0.2)
            feed.refuse()
        feed.go_out()
        feed.run(70)
    feed.goodput = limited(64)
    refused_at = feed.window.size
    feed.refuse()
    feed.run(170)
    assert feed.window.size > refused_at


class Connections:
    """A link of constant throughput that is shared, each fetching bodies of 20 kB to 2 MB one after another."""

    def __init__(self, link, most_each, latency_s, seed):
        self.link, self.most_each, self.latency_s = link, most_each, latency_s
        self.drawn = random.Random(seed)
        self.left, self.waits = [], []

    def __call__(self, size):
        while len(self.left) < size:
            self.left.append(20_000 * 100 ** self.drawn.random())
            self.waits.append(self.latency_s)
        flowing = [k for k in range(size) if self.waits[k] <= 0]
        each = min(self.most_each, self.link / max(1, len(flowing))) * PIECE_S
        came = 0.0
        for k in range(size):
            if self.waits[k] > 0:
                self.waits[k] -= PIECE_S
                continue
            came += min(each, self.left[k])
            self.left[k] -= each
            if self.left[k] <= 0:
                self.left[k] = 20_000 * 100 ** self.drawn.random()
                self.waits[k] = self.latency_s
        return came / PIECE_S


@pytest.mark.parametrize("seed", range(3))
def test_bodies_a_hundredfold_apart_at_constant_throughput_move_it_little(seed):
    feed = Feed(Window(64), Connections(10 * MB, 1.25 * MB, 0.1, seed)).run(100)
    feed.sizes.clear()
    feed.run(300)
    # eight connections fill the link, ten with their pauses
    assert min(feed.sizes) >= 5
    assert max(feed.sizes) <= 24


def test_a_fixed_window_learns_nothing():
    window = FixedWindow(8)
    window.filled(True, 0.0)
    window.first_byte(0.1)
    for k in range(1000):
        assert window.received(10**6, 0.01 * k) is None
    assert window.refused(9.0, 10.0) is None
    window.interrupted(10.0)
    window.outage(10.0)
    assert window.size == 8
    assert repr(window) == "FixedWindow(8)"


def test_the_first_size_is_never_more_than_the_most():
    assert Window(2).size == 2
    assert repr(Window(3)) == "Window(3)"
