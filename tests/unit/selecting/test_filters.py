"""Filters: read as people type them, the same for queries and for records, and of sections by their numbers."""

from __future__ import annotations

import msgspec
import pytest

from asyncfetch.allen import Query, SectionImage
from asyncfetch.allen.rma import parse_criteria, text
from asyncfetch.errors import SelectionError
from asyncfetch.selecting import Filters
from asyncfetch.selecting.criteria import restricted

RECORD = {
    "id": 1,
    "plane_of_section_id": 2,
    "delegate": True,
    "failed": False,
    "specimen": {"donor": {"strain": "C57BL/6J", "sex": "M", "age": {"name": "P56"}}},
    "treatments": [{"name": "ISH"}, None],
    "probes": [{"orientation_id": 2}],
}
MEETING = {
    "plane": "Sagittal",
    "age": "p56",
    "treatment": "ish",
    "sense": "antisense",
    "strain": "c57bl/6j",
    "sex": "male",
}
CONTRADICTING = {
    "plane": "coronal",
    "age": "E18.5",
    "treatment": "NISSL",
    "sense": "sense",
    "strain": "FVB",
    "sex": "F",
}


def sections(*numbers):
    return [
        SectionImage(id=100 + k, data_set_id=1, width=1, height=1, section_number=number)
        for k, number in enumerate(numbers)
    ]


@pytest.mark.parametrize("trait", MEETING)
def test_a_record_is_held_against_each_trait(trait):
    assert Filters.of(**{trait: MEETING[trait]}).refusal(RECORD) is None
    assert Filters.of(**{trait: [CONTRADICTING[trait], MEETING[trait]]}).refusal(RECORD) is None
    refusal = Filters.of(**{trait: CONTRADICTING[trait]}).refusal(RECORD)
    assert f"its {trait} is " in refusal
    assert f"--{trait} {CONTRADICTING[trait]}" in refusal
    assert f"its {trait} is not known" in Filters.of(**{trait: CONTRADICTING[trait]}).refusal({"id": 1})


def test_delegates_and_failed_sets_are_told_apart():
    assert Filters.of(delegate=True).refusal(RECORD) is None
    assert Filters.of(delegate=False).refusal(RECORD) == "it is a delegate"
    failed = RECORD | {"failed": True}
    assert Filters().refusal(failed) == "it has failed"
    assert Filters().refusal(failed, is_named=True) is None
    assert Filters.of(failed="without").refusal(failed, is_named=True) == "it has failed"
    assert Filters.of(failed="only").refusal(RECORD) == "it has not failed (--failed)"
    assert Filters.of(failed="with").refusal(failed) is None


def test_the_conditions_of_a_query_follow_one_path_for_each_association():
    query = restricted(Query("SectionDataSet"), Filters.of(**MEETING, delegate=True), failed="without")
    assert text(query) == (
        "model::SectionDataSet,rma::criteria,[failed$eq'false'][delegate$eq'true'],"
        "plane_of_section[name$eq'sagittal'],"
        "specimen(donor[strain$eq'c57bl/6j'][sex$eq'M'](age[name$eq'P56'])),"
        "treatments[name$eq'ISH'],probes[orientation_id$eq2]"
    )
    assert parse_criteria(text(query)) == query
    several = restricted(Query("SectionDataSet"), Filters.of(age="P56,P14"))
    assert "age[name$in'P56','P14']" in text(several)
    assert restricted(Query("SectionDataSet"), Filters()) == Query("SectionDataSet")


def test_sections_are_chosen_by_their_numbers():
    numbered = sections(40, 8, 24, None, 16, 32)
    ids = {each.section_number: each.id for each in numbered}
    assert Filters().sections_of(numbered) is None
    assert Filters.of(section_range="16:32").sections_of(numbered) == {ids[16], ids[24], ids[32]}
    assert Filters.of(section_range=":16").sections_of(numbered) == {ids[8], ids[16]}
    assert Filters.of(section_range="33:").sections_of(numbered) == {ids[40]}
    assert Filters.of(every=2).sections_of(numbered) == {ids[8], ids[24], ids[40]}
    assert Filters.of(every=2, section_range="9:39").sections_of(numbered) == {ids[24]}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"plan": "coronal"}, "there is no filter plan; did you mean plane?"),
        ({"sense": "both"}, "--sense both must be sense or antisense"),
        ({"age": "P56,"}, "--age has an empty value"),
        ({"strain": "a'b"}, "contains a quote"),
        ({"every": "0"}, "--every 0 must be a whole number of 1 or greater"),
        ({"limit": "-1"}, "--limit -1 must be"),
        ({"section_range": "5"}, "must be FIRST:LAST"),
        ({"section_range": "9:5"}, "must be FIRST:LAST"),
        ({"section_range": "a:b"}, "must be FIRST:LAST"),
        ({"split": "specimen"}, "--split specimen must be specimen:TRAIN"),
        ({"split": "specimn:80/10/10"}, "did you mean specimen"),
        ({"split": "specimen:0/0"}, "no share greater than 0"),
        ({"seed": "1"}, "--seed belongs to --split"),
        ({"split": "specimen:80/20", "seed": "x"}, "--seed x must be a whole number"),
        ({"failed": "yes"}, "failed is without, with or only"),
    ],
)
def test_a_wrong_filter_is_named_with_what_it_takes(given, words):
    with pytest.raises(SelectionError, match=words.replace("?", r"\?")):
        Filters.of(**given)


def test_filters_print_as_they_are_typed_and_survive_json():
    filters = Filters.of(
        **MEETING,
        delegate=False,
        failed="with",
        section_range="3:",
        every=4,
        limit=2,
        split="specimen:8/1/1",
        seed=7,
    )
    assert str(filters) == (
        "--plane sagittal --age P56 --treatment ISH --sense antisense --strain c57bl/6j --sex M --no-delegate "
        "--with-failed --section-range 3:1000000000 --every 4 --limit 2 --split specimen:8/1/1 --seed 7"
    )
    assert msgspec.json.decode(msgspec.json.encode(filters), type=Filters) == filters
    assert msgspec.to_builtins(Filters()) == {}
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"colour": ["red"]}', type=Filters)


def test_a_split_keeps_a_specimen_together_and_moves_nobody_later():
    split = Filters.of(split="specimen:80/10/10", seed=3).split
    parts = {specimen: split.part_of(1000 + specimen, specimen) for specimen in range(4000)}
    assert {split.part_of(9, specimen) for specimen in (5,)} == {parts[5]}
    shares = {name: list(parts.values()).count(name) / len(parts) for name in ("train", "validation", "test")}
    assert shares["train"] == pytest.approx(0.8, abs=0.03)
    assert shares["validation"] == pytest.approx(0.1, abs=0.02)
    other = Filters.of(split="specimen:80/10/10", seed=4).split
    assert any(other.part_of(1000 + each, each) != part for each, part in parts.items())
    two = Filters.of(split="dataset:50/50").split
    assert {two.part_of(each, 1) for each in range(50)} == {"train", "test"}
    assert {two.part_of(each, None) for each in range(50)} == {"train", "test"}
