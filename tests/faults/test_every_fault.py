"""Each fault alone: a run ends, what is healthy is whole, and what is not is named with its cause."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from asyncfetch.events import OutageBegan, RequestFailed

HEALTHY, HEALING, ILL = 900000007, 900000004, 900000006
IMAGES = [HEALING + 1000 * n for n in range(1, 5)]
PASSES, STAYS = IMAGES[1], IMAGES[2]
# A silence is noticed soon; the other faults bear a busy machine.
SHORT = {"connect_timeout_s": 0.2, "stall_timeout_s": 0.3, "min_speed_bytes_per_s": 5000.0}


@dataclass(frozen=True)
class Row:
    """One fault, and what it makes of an image and of a query whose every reply has it.

    `is_final` tells that the request is not sent again: nothing says that it would help. `matching` picks the queries
    of a data set.
    """

    kind: str
    image: tuple[str, str] | None = None
    query: tuple[str, str] | None = None
    retry_after: str | None = None
    is_final: bool = False
    matching: str = "{}"
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}{'' if self.retry_after is None else f' after {self.retry_after}'}"

    def rule(self, **fields: Any) -> dict[str, Any]:
        return {"kind": self.kind, "retry_after": self.retry_after} | fields


def status(number, retry_after=None):
    cause = ("StatusError", f"HTTP {number}")
    return Row(f"status:{number}", cause, cause, retry_after)


ROWS = [
    status(429, "0"),
    status(429, "date:0"),
    status(429),
    *map(status, (500, 502, 503, 504)),
    Row("reset-before-headers", ("ConnectError", "no connection to"), ("ConnectError", "no connection to")),
    Row("reset", ("TruncatedError", "connection broke"), ("TruncatedError", "connection broke")),
    Row("stall", ("StallError", "no byte for 0.3 s"), ("StallError", "no byte for 0.3 s"), settings=SHORT),
    Row("drip", ("StallError", "less than 5000"), ("StallError", "less than 5000"), settings=SHORT),
    Row("never", ("StallError", "after 0 bytes"), ("StallError", "after 0 bytes"), settings=SHORT),
    Row(
        "truncate", ("CorruptImageError", "does not decode"), ("ReplyError", "other than a reply of the API")
    ),
    Row("html", ("NotAnImageError", "Site unavailable"), ("ReplyError", "a page of HTML")),
    Row("xml", ("NotAnImageError", "<?xml"), ("ReplyError", "<?xml")),
    Row("not-jpeg", ("NotAnImageError", "not a JPEG"), ("ReplyError", "other than a reply of the API")),
    Row("not-json", ("NotAnImageError", "these are words"), ("ReplyError", "these are words")),
    Row("cut-jpeg", ("CorruptImageError", "does not decode")),
    Row("wrong-size", ("ImageSizeError", "as its metadata promise")),
    Row("huge-header", ("ImageSizeError", "60000 x 60000")),
    Row("transient", ("NotAnImageError", "success"), ("TransientServiceError", "service request failed")),
    Row("permanent", None, ("QueryError", "was told to refuse it"), is_final=True),
    Row(
        "shifted-rows",
        None,
        ("ReplyError", "moved from page to page"),
        matching="[data_set_id$eq{}]",
        settings={"page_rows": 2},
    ),
    Row("redirect-loop", ("RedirectError", "in a loop"), ("RedirectError", "in a loop"), is_final=True),
    Row("redirect-away", ("RedirectError", "elsewhere"), ("RedirectError", "elsewhere"), is_final=True),
    Row("endless", ("BodyTooLargeError", "larger than"), ("BodyTooLargeError", "larger than"), is_final=True),
    Row(
        "gzip-bomb", ("BodyTooLargeError", "larger than"), ("BodyTooLargeError", "larger than"), is_final=True
    ),
    Row("status:404", ("NotFoundError", "404"), ("NotFoundError", "404"), is_final=True),
]


def assert_named(outcome, expected):
    assert outcome.causes.keys() == expected.keys()
    for item, (error, words) in expected.items():
        assert outcome.causes[item][0] == error
        assert words in outcome.causes[item][1]


def n_sent(outcome, text):
    """Return how often each request that contains a text was sent."""
    return {n for path, n in outcome.sent.items() if str(text) in path}


@pytest.mark.parametrize("row", [row for row in ROWS if row.image], ids=str)
def test_images_that_fail_harm_no_other(
    run, undisturbed, healthy_part, stays_within_the_quota, tmp_path, row
):
    selection = f"dataset:{HEALING}"
    faults = [row.rule(ids=[PASSES], times=1), row.rule(ids=[STAYS])]
    outcome = run(selection, tmp_path, faults, **row.settings)
    ill = [PASSES, STAYS] if row.is_final else [STAYS]
    assert_named(outcome, {f"image:{image_id}": row.image for image_id in ill})
    n_retries = stays_within_the_quota(outcome)
    if row.is_final:
        assert n_retries == 0
    else:
        # what is sent in an outage is not an attempt of its own
        given_up = {each.attempt for each in outcome.events if isinstance(each, RequestFailed)}
        assert given_up == {3}
        n_outages = sum(isinstance(each, OutageBegan) for each in outcome.events)
        assert n_sent(outcome, f"/{STAYS}?") <= {3, 3 + n_outages}
        # where the kept connection died, the image is asked for again without its redirect; a probe may ask once more
        assert min(n_sent(outcome, f"/{PASSES}?")) >= (1 if row.kind == "reset-before-headers" else 2)
    assert outcome.report.n_committed == len(IMAGES) - len(ill)
    planes = [plane_of(image_id) for image_id in ill]
    peace = undisturbed(selection)
    expected = healthy_part(peace, images=ill, planes=planes)
    assert healthy_part(outcome.objects) == expected
    # What is named is all that is missing, and comes when the server is well again.
    again = run(None, tmp_path)
    asked = {record.image_id for record in again.requests if record.kind == "image"}
    missing = set() if row.kind == "status:404" else set(ill)
    assert (again.report.failures, asked) == ([], missing)
    if missing:
        assert again.objects == peace


def plane_of(image_id):
    # section numbers descend along p
    z = len(IMAGES) - 1 - IMAGES.index(image_id)
    return f"data_sets/{HEALING}/image/registered/scale0/image/c.0.{z}."


@pytest.mark.parametrize("row", [row for row in ROWS if row.query], ids=str)
def test_queries_that_fail_harm_no_other_data_set(
    run, undisturbed, healthy_part, stays_within_the_quota, tmp_path, row
):
    selection = [f"dataset:{number}" for number in (HEALTHY, HEALING, ILL)]
    faults = [row.rule(on="query", matching=row.matching.format(ILL))]
    if row.matching != "{}":
        # what is asked for of several at once fails, too, so that each is asked for alone
        faults += [row.rule(on="query", matching=row.matching.partition("$")[0] + "$in")]
    if not row.is_final:
        faults += [row.rule(on="query", matching=row.matching.format(HEALING), times=1)]
    outcome = run(selection, tmp_path, faults, **row.settings)
    assert_named(outcome, {f"dataset:{ILL}": row.query})
    n_retries = stays_within_the_quota(outcome)
    assert bool(n_retries) != row.is_final
    peace = undisturbed(*selection)
    assert healthy_part(outcome.objects) == healthy_part(peace, data_sets=[ILL])
    again = run(None, tmp_path)
    assert again.report.failures == []
    if row.kind != "status:404":
        assert again.objects == peace


def test_pages_with_rows_twice_are_as_good_as_others(run, undisturbed, tmp_path):
    selection = f"dataset:{HEALING}"
    outcome = run(selection, tmp_path, [{"kind": "duplicate-rows", "on": "query"}], page_rows=3)
    assert outcome.report.failures == []
    assert outcome.objects == undisturbed(selection)


def test_no_rows_where_some_are_announced_do_not_mean_that_there_is_nothing(run, undisturbed, tmp_path):
    # The only row of a data set is shifted off its page.
    selection, matching = f"dataset:{HEALING}", f"[id$in{HEALING}]"
    rule = {"kind": "shifted-rows", "on": "query", "matching": matching}
    outcome = run(selection, tmp_path / "stays", [rule])
    assert_named(outcome, {selection: ("ReplyError", "announces 1 row and sends none")})
    outcome = run(selection, tmp_path / "passes", [rule | {"times": 2}])
    assert outcome.report.failures == []
    assert outcome.objects == undisturbed(selection)


def test_what_no_image_depends_on_is_a_note(run, undisturbed, tmp_path):
    selection = f"dataset:{HEALING}"
    rule = {"kind": "html", "on": "query", "matching": "model::StructureCenter"}
    outcome = run(selection, tmp_path, [rule])
    assert outcome.report.failures == []
    (note,) = outcome.report.notes
    assert note.startswith("structure centres are unavailable")
    assert "HTML" in note
    # The next run brings what the first one lacked.
    assert run(selection, tmp_path).objects == undisturbed(selection)


@pytest.mark.parametrize("retry_after", ["1", "date:2"])
def test_what_the_server_asks_to_wait_is_waited(run, undisturbed, tmp_path, retry_after):
    selection = f"dataset:{HEALING}"
    rule = {"kind": "status:429", "retry_after": retry_after, "ids": [PASSES], "times": 1}
    outcome = run(selection, tmp_path, [rule])
    assert outcome.objects == undisturbed(selection)
    first, second = (each for each in outcome.requests if each.kind == "image" and each.image_id == PASSES)
    # A date has no fractions of a second.
    assert second.started_s - first.ended_s > 0.99


def test_an_outage_does_not_multiply_the_traffic(run, stays_within_the_quota, tmp_path):
    selection = [f"dataset:{HEALING}", f"dataset:{ILL}"]
    rule = {"kind": "status:500"}
    outcome = run(selection, tmp_path, [rule], attempts=1000, retry_base_s=1e-6, layers=("source",))
    assert {error for error, _ in outcome.causes.values()} == {"StatusError"}
    assert outcome.report.n_committed == 0
    n_retries = stays_within_the_quota(outcome)
    assert n_retries >= 100
    assert any("too many requests have failed" in words for _, words in outcome.causes.values())
