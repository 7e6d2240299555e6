"""All faults in one run: every healthy item is whole, and every other is named with its own cause."""

from __future__ import annotations

import random
import re
from collections import Counter

import pytest

UNREACHED = 900000007
N_SECTIONS = {900000005: 10, 900000004: 4, 900000001: 5, 900000002: 5, 900000003: 6, 900000006: 3}
IMAGES = [number + 1000 * k for number, n in N_SECTIONS.items() for k in range(1, n + 1)]
SELECTION = [f"dataset:{number}" for number in (*N_SECTIONS, UNREACHED)]
SHORT = {"connect_timeout_s": 0.2, "stall_timeout_s": 0.5, "min_speed_bytes_per_s": 5000.0}
# What is said of an image whose every reply has the fault.
STAYS = {
    "status:429": ("StatusError", "HTTP 429"),
    "status:500": ("StatusError", "HTTP 500"),
    "status:503": ("StatusError", "HTTP 503"),
    "status:404": ("NotFoundError", "404"),
    "reset-before-headers": ("ConnectError", "no connection to"),
    "reset": ("TruncatedError", "connection broke"),
    "stall": ("StallError", "no byte for"),
    "drip": ("StallError", "less than"),
    "never": ("StallError", "after 0 bytes"),
    "truncate": ("CorruptImageError", "does not decode"),
    "cut-jpeg": ("CorruptImageError", "does not decode"),
    "html": ("NotAnImageError", "Site unavailable"),
    "xml": ("NotAnImageError", "<?xml"),
    "not-jpeg": ("NotAnImageError", "not a JPEG"),
    "wrong-size": ("ImageSizeError", "as its metadata promise"),
    "huge-header": ("ImageSizeError", "60000 x 60000"),
    "redirect-loop": ("RedirectError", "in a loop"),
    "redirect-away": ("RedirectError", "elsewhere"),
    "endless": ("BodyTooLargeError", "larger than"),
    "gzip-bomb": ("BodyTooLargeError", "larger than"),
}
PASSES = (
    *("status:429", "status:502", "status:504", "reset-before-headers", "reset", "stall", "truncate"),
    *("html", "xml", "cut-jpeg", "wrong-size", "huge-header", "not-json"),
)
PASSES_ON_QUERIES = ("transient", "html", "not-json", "reset", "status:503", "truncate", "duplicate-rows")


def plan(ill):
    """Return rules by which some images never come, all others come late, and one data set is not even known."""
    late = [image_id for image_id in IMAGES if image_id not in ill]
    return [
        *({"kind": kind, "ids": [image_id]} for image_id, kind in ill.items()),
        *({"kind": PASSES[k % len(PASSES)], "ids": [each], "times": 1} for k, each in enumerate(late)),
        {"kind": "status:500", "probability": 0.3, "times": 1},
        {"kind": "transient", "on": "query", "matching": str(UNREACHED)},
        *(
            {"kind": kind, "on": "query", "matching": f"eq{number}]", "times": 1}
            for kind, number in zip(PASSES_ON_QUERIES, N_SECTIONS, strict=False)
        ),
        {"kind": "xml", "on": "query", "probability": 0.3, "times": 1},
    ]


def plane_of(name):
    """Return the data set and the number of the plane that an object is part of, if it is."""
    found = re.search(r"data_sets/(\d+)/image/registered/scale0/image/c\.0\.(\d+)\.", name)
    return found and found.groups()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_all_faults_together_harm_only_those_they_never_leave(
    run, undisturbed, stays_within_the_quota, tmp_path, seed
):
    peace = undisturbed(*SELECTION)
    ill = dict(zip(random.Random(seed).sample(IMAGES, len(STAYS)), STAYS, strict=True))
    outcome = run(SELECTION, tmp_path, plan(ill), seed=seed, attempts=4, **SHORT)
    expected = {f"image:{image_id}": STAYS[kind] for image_id, kind in ill.items()}
    expected[f"dataset:{UNREACHED}"] = ("TransientServiceError", "service request failed")
    assert {item: error for item, (error, _) in outcome.causes.items()} == {
        item: error for item, (error, _) in expected.items()
    }
    assert all(words in outcome.causes[item][1] for item, (_, words) in expected.items())
    assert outcome.report.n_committed == len(IMAGES) - len(ill)
    assert stays_within_the_quota(outcome) > 0
    assert_healthy(outcome.objects, peace, ill)
    again = run(None, tmp_path)
    asked = {record.image_id for record in again.requests if record.kind == "image"}
    assert {*ill} <= asked
    assert asked.isdisjoint(set(IMAGES) - {*ill})
    assert again.report.failures == []
    assert again.objects == peace


def assert_healthy(found, peace, ill):
    """Assert that what is there is as in peace, and that nothing but what is ill is missing."""
    # the root names the run that did not end, and a summary the sections that are there
    there = {
        name: data for name, data in found.items() if not re.fullmatch(r"(data_sets/\d+/)?zarr\.json", name)
    }
    assert there == {name: peace[name] for name in there}
    missing = [name for name in peace.keys() - found.keys() if f"/{UNREACHED}/" not in name]
    planes = {plane_of(name) for name in missing} - {None}
    assert all(
        plane_of(name) or any(re.search(rf"/{image_id}[/.]", name) for image_id in ill) for name in missing
    )
    n_ill = Counter(str(image_id % 1000 + 900000000) for image_id in ill)
    assert all(n <= n_ill[number] for number, n in Counter(number for number, _ in planes).items())
