"""A listing gives all rows of a server, however the server pages and whatever it announces."""

from __future__ import annotations

import itertools

import pytest

from asyncfetch.allen import Page, Query
from asyncfetch.client.pages import Known, Listing
from asyncfetch.errors import ReplyError

GENES = Query("Gene").order("genes.id")


def genes(*numbers):
    return [{"id": number} for number in numbers]


class Server:
    """Rows by rule: capped, shifted, deaf to start_row; and what is announced of them."""

    def __init__(self, rows, *, cap=10**9, total="honest", shift=0, is_deaf=False, wraps=False, changes=()):
        self.rows, self.cap, self.total, self.shift = list(rows), cap, total, shift
        self.is_deaf, self.wraps = is_deaf, wraps
        self.changes = list(changes)
        self.asked = []

    def answer(self, query):
        options = query.options
        self.asked.append((options.start_row, options.num_rows))
        start = 0 if self.is_deaf else max(0, options.start_row + self.shift * (options.start_row > 0))
        rows = self.rows * 3 if self.wraps else self.rows
        page = rows[start : start + min(options.num_rows, self.cap)]
        total = {"honest": len(self.rows), "page": len(page)}.get(self.total, self.total)
        if self.changes:
            self.changes.pop(0)(self)
        return Page(page, options.start_row, len(page), total)


def listed(server, query=GENES, page_rows=6, **choices):
    listing = Listing(query, page_rows, **choices)
    found = []
    for _ in range(100):
        if listing.is_over:
            return found, listing.difference
        found += listing.take(server.answer(listing.query))
    raise AssertionError("the listing does not end")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 6, 7, 11, 12, 13, 24])
@pytest.mark.parametrize("cap", [1, 2, 4, 6, 50])
@pytest.mark.parametrize("total", ["honest", "page", None, -1, 0])
def test_the_whole_listing_comes_whatever_pages_are_capped_at_and_announce(n, cap, total):
    rows = genes(*range(n))
    assert listed(Server(rows, cap=cap, total=total))[0] == rows


@pytest.mark.parametrize("total", [1, 7, 23, 1000])
def test_a_difference_between_what_came_and_what_was_announced_is_told(total):
    found, difference = listed(Server(genes(*range(10)), total=total))
    assert len(found) == 10
    assert difference == (total, 10)


@pytest.mark.parametrize("total", ["honest", None, 0, -1])
def test_an_honest_announcement_and_none_are_not_told_of(total):
    assert listed(Server(genes(*range(10)), cap=4, total=total))[1] is None


def test_a_total_that_counts_joined_rows_is_explained_by_what_rows_include():
    query = GENES.include("products", "probes(strands)")
    rows = [
        {
            "id": 1,
            "products": [{"id": 1}, {"id": 2}],
            "probes": [{"id": 3, "strands": [{"id": 4}, {"id": 5}]}],
        },
        {"id": 2, "products": [], "probes": None},
    ]
    assert listed(Server(rows, total=5), query) == (rows, None)
    assert listed(Server(rows, total=6), query) == (rows, (6, 2))


def test_a_page_starts_where_the_rows_that_came_ended():
    server = Server(genes(*range(10)), cap=4)
    listed(server, page_rows=2000)
    # each begins with the last row of the one before
    assert server.asked == [(0, 2000), (3, 2001), (6, 2001), (9, 2001)]


def test_ids_that_have_all_come_are_not_asked_for_again():
    server = Server(genes(3, 5))
    assert len(listed(server, Query("Gene").where(id=[3, 5]).order("genes.id"))[0]) == 2
    assert len(server.asked) == 1
    server = Server(genes(3, 5), cap=1)
    assert len(listed(server, Query("Gene").where(id=[3, 5]).order("genes.id"))[0]) == 2
    assert len(server.asked) == 2


@pytest.mark.parametrize("cap", [2, 50])
def test_a_number_of_rows_of_its_own_bounds_a_listing_of_short_pages(cap):
    server = Server(genes(*range(20)), cap=cap)
    assert listed(server, GENES.page(3, 7), page_rows=5) == (genes(*range(3, 10)), None)
    assert all(start + n <= 10 for start, n in server.asked)


def test_more_rows_than_asked_for_are_taken_as_they_come():
    class Generous(Server):
        def answer(self, query):
            return super().answer(query.page(query.options.start_row, 10**6))

    assert listed(Generous(genes(*range(20))))[0] == genes(*range(20))
    assert listed(Generous(genes(*range(20))), GENES.page(0, 4))[0] == genes(*range(4))


def test_rows_that_joins_repeat_come_once_and_end_no_listing():
    rows = genes(1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4)
    found, difference = listed(Server(rows, cap=4))
    assert found == genes(1, 2, 3, 4)
    assert difference is None


@pytest.mark.parametrize("total", ["honest", None, 100])
@pytest.mark.parametrize("cap", [1, 3, 6, 50])
def test_a_server_that_gives_the_same_page_for_ever_fails_by_name(total, cap):
    server = Server(genes(*range(20)), cap=cap, is_deaf=True, total=total)
    with pytest.raises(ReplyError, match=r"rows? of Gene whatever page is asked for"):
        listed(server)
    # one row again and again may be a join's, for a while
    assert len(server.asked) <= (3 if cap > 1 else 22)


def test_a_server_that_gives_the_same_page_for_ever_is_believed_once_all_that_it_announces_came():
    server = Server(genes(*range(5)), is_deaf=True)
    assert listed(server) == (genes(*range(5)), None)


@pytest.mark.parametrize("n", [1, 5, 6, 12])
@pytest.mark.parametrize("total", ["honest", None])
def test_a_server_that_begins_again_behind_its_last_row_gives_each_row_once(n, total):
    server = Server(genes(*range(n)), wraps=True, total=total)
    assert listed(server, page_rows=6)[0] == genes(*range(n))


@pytest.mark.parametrize("shift", [1, 2])
def test_pages_that_leave_rows_out_between_them_fail_by_name(shift):
    with pytest.raises(ReplyError, match="moved from page to page"):
        listed(Server(genes(*range(20)), shift=shift))


def test_a_service_that_counts_joined_rows_as_its_starts_gives_all_of_them():
    class Joined(Server):
        """LIMIT and OFFSET count joined rows; what is delivered is distinct."""

        def answer(self, query):
            page = super().answer(query)
            distinct = [row for k, row in enumerate(page.rows) if row not in page.rows[:k]]
            return Page(distinct, page.start_row, len(distinct), page.total_rows)

    rows = genes(1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13)
    assert listed(Joined(rows)) == (genes(*range(1, 14)), None)


def test_an_empty_page_in_the_middle_is_asked_for_again():
    class Hiccup(Server):
        def answer(self, query):
            page = super().answer(query)
            return Page([], total_rows=page.total_rows) if len(self.asked) in self.holes else page

    server = Hiccup(genes(*range(20)))
    server.holes = {2, 4}
    assert listed(server)[0] == genes(*range(20))
    server = Hiccup(genes(*range(20)))
    server.holes = set(range(2, 100))
    with pytest.raises(ReplyError, match="moved from page to page"):
        listed(server)


@pytest.mark.parametrize("cap", [4, 50])
def test_rows_that_go_away_in_between_cost_no_other_row(cap):
    server = Server(
        genes(*range(20)), cap=cap, changes=[lambda each: each.rows.pop(0), lambda each: each.rows.pop(5)]
    )
    found, _ = listed(server)
    assert {row["id"] for row in found} >= {row["id"] for row in server.rows}
    assert len(found) == len({row["id"] for row in found})


def test_a_listing_that_has_shrunk_below_its_next_page_begins_again():
    server = Server(genes(*range(12)), changes=[lambda each: each.rows.__delitem__(slice(0, 8))])
    assert {row["id"] for row in listed(server)[0]} >= {8, 9, 10, 11}


@pytest.mark.parametrize("cap", [4, 50])
def test_tabular_rows_come_whole_and_those_alike_all_count(cap):
    rows = [{"acronym": name} for name in "aabbbcccddeefghh"]
    assert listed(Server(rows, cap=cap, total=None), Query("Gene").tabular("acronym"))[0] == rows


def test_tabular_rows_that_moved_are_not_given_twice():
    rows = [{"acronym": name} for name in "abcdefghijklmn"]
    server = Server(rows, changes=[lambda each: each.rows.pop(0)])
    with pytest.raises(ReplyError, match="order them by a column"):
        listed(server, Query("Gene").tabular("acronym"))


def test_a_row_that_is_not_a_record_is_named_by_its_place():
    rows = [{"id": 1}, None, {"id": 2}, ["id", 3], {"id": 4}]
    with pytest.raises(ReplyError, match="row 1 of Gene is None"):
        listed(Server(rows))
    odd = []
    assert listed(Server(rows, cap=2), odd_rows=odd)[0] == genes(1, 2, 4)
    assert odd == [(1, None), (3, ["id", 3])]


def test_an_id_that_cannot_be_one_loses_no_row():
    rows = [{"id": []}, {"id": {}}, {"id": None}, {"name": "a"}, {"id": 1}]
    assert listed(Server(rows))[0] == rows


def test_a_listing_without_end_ends():
    class Endless(Server):
        def answer(self, query):
            start, n = query.options.start_row, query.options.num_rows
            return Page(genes(*range(start, start + n)), start, n, None)

    with pytest.raises(ReplyError, match="more than 60 rows"):
        listed(Endless([]), max_rows=60)


def test_a_service_without_a_model_is_asked_once():
    counter = itertools.count()

    class Service(Server):
        def answer(self, query):
            next(counter)
            return Page([{"image_sync": {}}] * 3, 0, 0, 0)

    assert len(listed(Service([]), Query(""))[0]) == 3
    assert next(counter) == 1


def joined(n, times):
    """Return n rows of which a join repeats row k as often as `times` says."""
    return [row for k, row in enumerate(genes(*range(n))) for _ in range(times(k))]


JOINS = {
    "all": lambda r: lambda _: r,
    "the first": lambda r: lambda k: r if k == 0 else 1,
    "some": lambda r: lambda k: 1 + (k * 7) % r,
}


class JoiningServer(Server):
    """A server that counts joined rows, or each row once: where a page starts, or also how much it holds."""

    def __init__(self, rows, counts, **how):
        super().__init__(rows, **how)
        self.counts = counts

    def answer(self, query):
        page = super().answer(query)
        n, start = min(query.options.num_rows, self.cap), query.options.start_row
        if self.counts == "each once":
            rows = [row for row in self.rows if start <= row["id"] < start + n]
        elif self.counts == "starts once":
            rows = [row for row in self.rows if row["id"] >= start][:n]
        else:
            rows = page.rows
        total = len(rows) if self.total == "page" else page.total_rows
        return Page(rows, start, len(rows), total)


@pytest.mark.parametrize("times", JOINS)
@pytest.mark.parametrize("counts", ["joined", "starts once", "each once"])
@pytest.mark.parametrize("total", ["honest", "page", None])
def test_rows_that_joins_repeat_over_pages_hide_no_others(times, counts, total):
    for n, r, cap, page_rows in itertools.product((1, 3, 8), (2, 3, 5), (1, 2, 3, 4, 50), (1, 2, 5, 2000)):
        server = JoiningServer(joined(n, JOINS[times](r)), counts, cap=cap, total=total)
        assert listed(server, page_rows=page_rows)[0] == genes(*range(n)), (n, r, cap, page_rows)


def contradicted(server, query=GENES, page_rows=6):
    listing = Listing(query, page_rows)
    found = []
    while not listing.is_over:
        found += listing.take(server.answer(listing.query))
    return found, list(listing.contradicted)


@pytest.mark.parametrize("place", range(1, 13))
def test_a_row_that_contradicts_the_one_with_its_id_is_told_and_the_first_counts(place):
    rows = [{"id": number, "acronym": "Pvalb"} for number in range(12)]
    other = rows[place - 1] | {"acronym": "Calb1"}
    found, ids = contradicted(Server([*rows[:place], other, other, *rows[place:]]))
    assert (found, ids) == (rows, [place - 1])


def test_rows_that_contradict_each_other_within_a_page_need_no_order():
    rows = [{"id": number, "acronym": "Pvalb"} for number in (5, 2, 9)]
    found, ids = contradicted(Server([*rows, rows[0] | {"acronym": None}]))
    assert (found, ids) == (rows, [5])


def test_a_row_that_changes_while_it_is_the_seam_of_two_pages_is_told():
    def change(server):
        server.rows[5] = {"id": 5, "acronym": "new"}

    found, ids = contradicted(Server(genes(*range(12)), changes=[change]))
    assert (found, ids) == (genes(*range(12)), [5])


@pytest.mark.parametrize("cap", [1, 2, 6])
def test_rows_that_a_join_repeats_do_not_contradict_each_other(cap):
    rows = [each for each in genes(*range(8)) for _ in range(3)]
    assert contradicted(Server(rows, cap=cap)) == (genes(*range(8)), [])


def known_of(*servers):
    known = Known()
    for server in servers:
        listed(server, known=known)
    return known


def test_a_listing_ends_without_an_empty_page_where_longer_pages_and_true_totals_are_known():
    known = known_of(Server(genes(*range(10))))
    server = Server(genes(*range(5)))
    assert listed(server, known=known)[0] == genes(*range(5))
    assert server.asked == [(0, 6)]


@pytest.mark.parametrize("total", ["page", None, 4])
def test_no_announcement_of_a_capped_page_ends_a_listing(total):
    known = known_of(Server(genes(*range(10)), cap=4))
    server = Server(genes(*range(9)), cap=4, total=total)
    assert listed(server, known=known)[0] == genes(*range(9))


def test_a_total_that_may_be_that_of_the_page_ends_no_listing():
    known = known_of(Server(genes(*range(10)), total="page"))
    server = Server(genes(*range(5)), total="page")
    assert listed(server, known=known)[0] == genes(*range(5))
    assert len(server.asked) == 2
