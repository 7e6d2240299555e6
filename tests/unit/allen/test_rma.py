from __future__ import annotations

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest

from asyncfetch.allen import (
    Filter,
    Options,
    Pipe,
    Query,
    Service,
    Step,
    data_set_query,
    parse_criteria,
    query_url,
    section_image_query,
    section_images_query,
    text,
)
from asyncfetch.errors import QueryError, SelectionError

# What existing clients send (RMA-9).
CLIENT_CRITERIA = [
    (
        "model::Equalization,rma::criteria,section_data_set(section_images[id$in126862575,297225768]),"
        "rma::options[only$eq'blue_lower,blue_upper,red_lower,red_upper,green_lower,green_upper']"
        "[num_rows$eq'all'][count$eqfalse]"
    ),
    (
        "model::SectionDataSet,rma::criteria,[failed$in'false'],products[id$in10,22],"
        "rma::options[num_rows$eq'all'][count$eqfalse]"
    ),
    "model::SectionImage,rma::criteria,[data_set_id$eq70813257],rma::options[num_rows$eq'all'][count$eqfalse]",
    (
        "model::Atlas,rma::criteria,[id$eq1],rma::options[only$eqimage_type],pipe::list[type_name$is'image_type'],"
        "model::AtlasImage,rma::criteria,[annotated$eqtrue],atlas_data_set(atlases[id$eq1]),"
        "alternate_images[image_type$eq$type_name],rma::options[num_rows$eq'all'][order$eqsub_images.section_number]"
    ),
    "model::SectionDataSet,rma::criteria,[id$eq123],rma::include,equalization,sub_images[section_number$eq456]",
    (
        "model::SectionDataSet,rma::criteria,products[id$in1],rma::include,genes,"
        "rma::options[num_rows$eq2000][start_row$eq0][order$eq'id'][count$eqfalse]"
    ),
    "model::SectionImage,rma::criteria,[id$eq71592261],rma::include,alignment2d",
    (
        "model::SectionImage,rma::criteria,section_data_set[id$eq479],rma::include,alignment2d,"
        "rma::options[num_rows$eq2000]"
    ),
    (
        "model::SectionImage,rma::criteria,[data_set_id$eq479],rma::include,alignment2d,"
        "rma::options[start_row$eq0][num_rows$eq25000]"
    ),
    "model::SectionDataSet,rma::criteria,[id$eq479],rma::include,alignment3d",
    (
        "model::SectionDataSet,rma::criteria,[failed$eq'false'],products[abbreviation$eq'Mouse'],"
        "plane_of_section[name$eq'sagittal'],genes[acronym$eq'Adora2a']"
    ),
    (
        "model::SectionImage,rma::criteria,[id$eq71592261],rma::include,"
        "associates(data_set(treatments[name$eq'NISSL']))"
    ),
    "model::Atlas,rma::criteria,[id$eq2],rma::include,atlas_data_sets(atlas_images(treatments))",
    (
        "model::Structure,rma::criteria,[graph_id$in1],"
        "rma::options[num_rows$eq'all'][order$eqstructures.graph_order][count$eqfalse]"
    ),
    (
        "model::SubImage,rma::criteria,[id$eq68173101],rma::include,data_set,"
        "rma::options[only$eq'data_sets.id,data_sets.reference_space_id,sub_images.id']"
    ),
    "model::ReferenceToReferenceTransform,rma::criteria,[from_reference_space_id$eq10],[to_reference_space_id$eq9]",
]


@pytest.mark.parametrize("criteria", CLIENT_CRITERIA)
def test_what_existing_clients_send_reads_and_prints_to_an_equal_query(criteria):
    query = parse_criteria(criteria)
    assert parse_criteria(text(query)) == query
    assert text(parse_criteria(text(query))) == text(query)


def test_a_query_with_a_pipe_keeps_its_stages_in_order():
    query = parse_criteria(CLIENT_CRITERIA[3])
    first = Query("Atlas").where(id=1).only("image_type")
    assert query.before == (first, Pipe("type_name", "image_type"))
    assert query == Query("AtlasImage").where(annotated=True).association(
        "atlas_data_set(atlases[id$eq1])", "alternate_images[image_type$eq$type_name]"
    ).all_rows().order("sub_images.section_number").after(first, Pipe("type_name", "image_type"))
    assert "[image_type$eq$type_name]" in text(query)


def test_the_builder_prints_the_words_of_the_service():
    query = Query("SectionImage").where(data_set_id=70813257).include("alignment2d").order("sub_images.id")
    assert text(query) == (
        "model::SectionImage,rma::criteria,[data_set_id$eq70813257],rma::include,alignment2d,"
        "rma::options[order$eq'sub_images.id']"
    )


def test_a_query_is_never_changed_by_its_builder():
    query = Query("Product")
    query.where(id=1).include("data_sets").order("id").all_rows()
    assert query == Query("Product")
    assert hash(query) == hash(Query("Product"))


@pytest.mark.parametrize(
    ("query", "criteria"),
    [
        (Query("Gene").where(id=[1, 2]), "[id$in1,2]"),
        (Query("Gene").where(id=1, acronym="Pvalb"), "[id$eq1][acronym$eq'Pvalb']"),
        (Query("Gene").where(id=range(2, 4)), "[id$in2,3]"),
        (Query("Gene").where(tags=None), "[tags$eqnull]"),
        (Query("Gene").where(failed=False), "[failed$eq'false']"),
        (Query("Gene").where(weight=1.5), "[weight$eq1.5]"),
        (Query("Gene").filter("id", "in", [1, 2], 3), "[id$in1,2,3]"),
        (Query("Gene").filter("name", "li", "*kinase*"), "[name$li'*kinase*']"),
        (Query("Gene").filter("tags", "ne", "null"), "[tags$nenull]"),
        (Query("Gene").filter("tags"), "[tags]"),
        (
            Query("Gene").association(Step("products", (Filter("id", "eq", ("1",)),))),
            "products[id$eq1]",
        ),
    ],
)
def test_conditions_print_as_the_service_writes_them(query, criteria):
    assert text(query) == f"model::Gene,rma::criteria,{criteria}"


def test_options_print_as_the_service_writes_them():
    query = Query("Gene").only("id", "name").order("name$desc", "id").page(10, 5).count(False)
    assert text(query) == (
        "model::Gene,rma::options[only$eq'id,name'][num_rows$eq5][start_row$eq10][order$eq'name$desc,id']"
        "[count$eqfalse]"
    )
    assert text(Query("Gene").excepting("id").tabular("genes.id", "genes.name as gene")) == (
        "model::Gene,rma::options[except$eq'id'][tabular$eq'genes.id,genes.name as gene']"
    )
    assert text(Query("Gene").all_rows()) == "model::Gene,rma::options[num_rows$eq'all']"


def test_associations_nest_and_carry_filters():
    (step,) = Query("A").include("specimen[id$gt1](donor(age),products[id$in1,2])").includes
    assert step == Step(
        "specimen",
        (Filter("id", "gt", ("1",)),),
        (Step("donor", (), (Step("age"),)), Step("products", (Filter("id", "in", ("1", "2")),))),
    )


def test_a_service_gives_rows_without_a_model():
    criteria = "service::mouse_connectivity_injection_structure[injection_structures$eq'Isocortex']"
    query = parse_criteria(criteria)
    parameter = Filter("injection_structures", "eq", ("Isocortex",))
    assert query == Query("").after(Service("mouse_connectivity_injection_structure", (parameter,)))
    assert text(query) == criteria


def test_a_query_put_before_another_brings_its_own_stages_along():
    first = Query("Gene").where(id=1)
    second = Query("Probe").after(first)
    third = Query("SectionDataSet").after(second, Pipe("x", "id"))
    assert third.before == (first, Query("Probe"), Pipe("x", "id"))
    assert parse_criteria(text(third)) == third


@pytest.mark.parametrize(
    "criteria",
    [
        "model::Gene, rma::criteria, [id$in 1, 2], rma::options[num_rows$eqall]",
        "model::Gene,\nrma::criteria,\n[id$in1,2],rma::options[num_rows$eq'all']",
        "model::Gene,rma::criteria,[ id $in'1', '2' ],rma::options[num_rows$eq5][num_rows$eq'all']",
    ],
)
def test_blanks_and_quotes_make_no_difference(criteria):
    assert parse_criteria(criteria) == Query("Gene").where(id=[1, 2]).all_rows()


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ("model::Gene,rma::criteria,[id$eq1", 'line 1, column 33: mismatched character <EOF>; expecting "]"'),
        ("model::Gene,\nrma::criteria,(", "line 2, column 14: mismatched character (; expecting an assoc"),
        ("model::Gene,rma::criteria,[id$xx1]", "column 30: mismatched character x; expecting an operator"),
        ("model::Gene,rma::criteria,[id$is'x']", "expecting an operator"),
        ("model::Gene,rma::criteria,[id$in]", "expecting a value"),
        ("model::Gene,rma::criteria,[id$in1,]", "expecting a value"),
        ("model::Gene,rma::criteria,[]", "expecting a field"),
        ("model::Gene]", "mismatched character ]; expecting"),
        ("model::,rma::criteria", "expecting a model"),
        ("genes", "expecting a stage"),
        ("", "mismatched character <EOF>; expecting a stage"),
        ("rma::criteria,[id$eq1]", "expecting model::"),
        ("model::Gene,rma::include", "expecting"),
        ("model::Gene,rma::include,a(b", 'expecting ")"'),
        ("model::Gene,rma::include," + "a(" * 5000, "nested associations"),
        ("model::Gene,pipe::list[x$eq'id']", "expecting an operator"),
        ("model::Gene,pipe::list[x$is'id','name']", "expecting [name$is'attribute']"),
        ("model::Gene,pipe::list[genes.x$is'id']", "cannot name a list"),
        ("model::Gene,rma::options[num_rows]", "no option [num_rows]"),
        ("model::Gene,rma::options[num_rows$gt5]", "no option [num_rows$gt5]"),
        ("model::Gene,rma::options[num_rows$eq-5]", "no option [num_rows$eq-5]"),
        ("model::Gene,rma::options[num_rows$eq" + "9" * 5000 + "]", "no option [num_rows"),
        ("model::Gene,rma::options[count$eqmaybe]", "no option [count"),
        ("model::Gene,rma::options[colour$eq1]", "no option [colour$eq1]"),
        ("model::Gene,rma::options[order$eqid$up]", "$asc, $desc"),
    ],
)
def test_what_is_no_query_is_named_with_its_place(criteria, message):
    with pytest.raises(QueryError, match=re.escape(message)):
        parse_criteria(criteria)


def test_an_unbalanced_quote_gives_the_recorded_words(recorded):
    words = json.loads((recorded / "rma_errors_recorded.json").read_text())[0]["body_fields"]["msg"]
    beginning = "model::SectionDataSet,rma::criteria,genes"
    criteria = f"{beginning}{' ' * (92 - len(beginning) - 20)}[acronym$eq'Ga'd1']"
    criteria += " " * (92 - len(criteria))
    with pytest.raises(QueryError) as caught:
        parse_criteria(criteria)
    assert caught.value.message == words


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Query("Gene").where(acronym="Ga'd1"), '"Ga\'d1" holds a quote'),
        (lambda: Filter("acronym", "eq", ("5'",)), '"5\'" holds a quote'),
        (lambda: Query("Gene").where(id=[]), "[id] takes an operator with at least one value"),
        (lambda: data_set_query([]), "[id] takes an operator"),
        (lambda: Query("Gene").where(**{"id$eq1][x": 1}), "cannot name a column"),
        (lambda: Query("Gene,rma::include"), "cannot name a model"),
        (lambda: Query("Gene").filter("id", "is", 1), "'is' is not an operator"),
        (lambda: Query("Gene").where(weight=float("nan")), "nan is not a number"),
        (lambda: Query("Gene").include("a(b"), "'a(b' is not an association"),
        (lambda: Query("Gene").include("a)b"), "'a)b' is not an association"),
        (lambda: Step("a,b"), "cannot name an association"),
        (lambda: Query("Gene").order("id]"), "a column to order by"),
        (lambda: Query("Gene").order("id$up"), "'id$up'"),
        (lambda: Query("Gene").only("id,name"), "'id,name' is not a column"),
        (lambda: Query("Gene").only("i'd"), "holds a quote"),
        (lambda: Query("Gene").page(-1, 5), "start_row = -1"),
        (lambda: Options(num_rows=-1), "num_rows = -1"),
        (lambda: Query("").where(id=1), "need a model"),
        (lambda: Service("a b"), "cannot name a service"),
    ],
)
def test_what_the_language_cannot_say_is_refused_before_it_is_sent(build, message):
    with pytest.raises(SelectionError, match=re.escape(message)):
        build()


@pytest.mark.parametrize("fmt", ["json", "xml", "csv"])
def test_the_address_carries_the_criteria_percent_encoded(fmt):
    query = Query("Gene").where(name="5' & 50% + µ".replace("'", "")).page(0, 50)
    url = query_url("http://api.brain-map.org/", query, fmt)
    parts = urlsplit(url)
    assert (parts.netloc, parts.path) == ("api.brain-map.org", f"/api/v2/data/query.{fmt}")
    assert parse_qs(parts.query, strict_parsing=True) == {"criteria": [text(query)]}
    assert re.fullmatch(r"[A-Za-z0-9_.~:,$*%=-]+", parts.query)


def test_the_known_queries_ask_for_what_records_need():
    assert text(data_set_query([1, 2])) == (
        "model::SectionDataSet,rma::criteria,[id$in1,2],rma::include,alignment3d,equalization,genes,"
        "plane_of_section,probes,products,specimen(donor(age)),treatments,"
        "rma::options[order$eq'data_sets.id']"
    )
    assert text(section_images_query(479)) == (
        "model::SectionImage,rma::criteria,[data_set_id$eq479],rma::include,alignment2d,"
        "rma::options[order$eq'sub_images.id']"
    )
    assert "[id$in7]" in text(section_image_query([7]))
