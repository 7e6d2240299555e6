"""``asyncfetch doctor``: its exit codes and what it prints."""

from __future__ import annotations

import json

import pytest
import typer.testing

from asyncfetch.cli import app, register_commands
from asyncfetch.replica import DIFFERENCES


@pytest.fixture(scope="module")
def doctor(tmp_path_factory):
    register_commands()
    place = str(tmp_path_factory.mktemp("place"))

    def run(*arguments):
        return typer.testing.CliRunner().invoke(app, ["doctor", "--out", place, *arguments])

    return run


def test_without_a_service_nothing_is_asked_and_the_machine_is_shown(doctor):
    result = doctor("--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["service"] is None
    assert {"cores", "memory", "disk speed", "free inodes", "certificates"} <= set(found["machine"])


def test_a_service_as_assumed_ends_in_0_and_the_clock_is_compared(doctor, replica_process, tmp_path):
    file = str(tmp_path / "doctor.jsonl")
    base_url = replica_process.base_url
    result = doctor("--service", "--base-url", base_url, "--rate", "1000", "--json", "--record", file)
    assert result.exit_code == 0, result.stdout
    found = json.loads(result.stdout)
    assert found["machine"]["clock"]["advice"] is None
    assert found["service"]["n_requests"] <= 60
    verdicts = {each["assumption"]: each["verdict"] for each in found["service"]["assumptions"]}
    assert verdicts["RMA-4"] == verdicts["IMG-2"] == verdicts["SYNC-1"] == "holds"
    recorded = [json.loads(line) for line in (tmp_path / "doctor.jsonl").read_text().splitlines()]
    assert len(recorded) == found["service"]["n_requests"] + 1


def test_what_the_product_leans_on_and_differs_ends_in_6_with_a_mark(doctor, start_replica):
    base_url = start_replica(differences=["REC-5=11400", "RMA-4=cap4"]).base_url
    result = doctor("--service", "--base-url", base_url, "--rate", "1000")
    assert result.exit_code == 6, result.stdout
    lines = result.stdout.splitlines()
    assert any(line.startswith("! REC-5") and "differs" in line for line in lines)
    assert any(line.startswith("  RMA-4") and "differs" in line for line in lines)


def test_a_service_that_does_not_answer_ends_in_5(doctor):
    result = doctor("--service", "--base-url", "http://127.0.0.1:9", "--rate", "1000")
    assert result.exit_code == 5, result.stdout
    assert "does not answer as the API does" in result.stdout


def test_serve_lists_the_ways_to_break_an_assumption():
    register_commands()
    result = typer.testing.CliRunner().invoke(app, ["serve", "--break", "list"])
    assert result.exit_code == 0
    names = [line.split("\t")[0] for line in result.stdout.splitlines()]
    assert names == [difference.name for difference in DIFFERENCES]
