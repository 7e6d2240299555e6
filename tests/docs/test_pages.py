"""The pages tell the truth: their snippets run, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
from functools import partial
from pathlib import Path

import anyio
import pytest
import typer.testing

import asyncfetch
from asyncfetch import mirroring
from asyncfetch.cli import app, register_commands

register_commands()

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

SNIPPET = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
#: What stands for the reader's own doing: the tests are the server, and the project is installed already.
DONE_BY_US = ("asyncfetch serve", "asyncfetch demo", "pip install")
REPLICA_OF_THE_PAGES = "http://127.0.0.1:8765"


def snippets(page):
    return SNIPPET.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def reader(tmp_path, monkeypatch, replica_process):
    """Do what a page says, in an empty folder, against a replica instead of the real service."""
    monkeypatch.chdir(tmp_path)
    address = replica_process.base_url
    monkeypatch.setenv("ASYNCFETCH_BASE_URL", address)
    monkeypatch.setenv("ASYNCFETCH_REQUESTS_PER_S", "1000")
    patient = {"base_url": address, "settings": asyncfetch.Settings(requests_per_s=1000.0)}
    monkeypatch.setattr(asyncfetch, "Client", partial(asyncfetch.Client, **patient))
    monkeypatch.setattr(asyncfetch, "mirror", partial(asyncfetch.mirror, **patient))
    monkeypatch.setattr(mirroring, "resume", partial(mirroring.resume, **patient))
    runner = typer.testing.CliRunner()

    def run_python(source):
        names = {"__name__": "snippet"}
        exec(compile(source, "snippet", "exec"), names)
        if "main" in names and "anyio.run" not in source:
            anyio.run(names["main"])

    def run_shell(source):
        for line in source.replace("\\\n", " ").splitlines():
            if not line.strip() or line.startswith("#") or line.startswith(DONE_BY_US):
                continue
            if line.startswith("echo "):
                subprocess.run(["sh", "-c", line], check=True)
                continue
            program, *arguments = shlex.split(line.replace(REPLICA_OF_THE_PAGES, address), comments=True)
            assert program == "asyncfetch", line
            result = runner.invoke(app, arguments)
            assert result.exit_code == 0, f"{line}\n{result.stderr}"

    return {"python": run_python, "sh": run_shell}


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.stem)
def test_the_snippets_of_a_page_run_one_after_the_other(page, reader):
    for language, source in snippets(page):
        reader[language](source)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_within_the_project_lead_to_files(page):
    targets = [link.partition("#")[0] for link in LINK.findall(page.read_text(encoding="utf-8"))]
    inner = [target for target in targets if target and "://" not in target]
    assert [target for target in inner if not (page.parent / target).exists()] == []


def test_there_are_snippets_and_links_to_look_at():
    assert {"README.md", "docs/tutorial/first-mirror.md"} <= {
        name for name, page in zip(NAMES, PAGES, strict=True) if snippets(page)
    }
    assert LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
