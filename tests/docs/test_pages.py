"""The pages tell the truth: their snippets run when they are pasted as they stand, and their links lead somewhere."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

SNIPPET = re.compile(r"^```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
#: How a command gets its environment; here it has one already.
INSTALLED_ALREADY = "pip install uv && uv run "
#: What these tests are part of.
NOT_AGAIN = {"pip install uv && uvx nox -s tests"}


def snippets(page):
    return SNIPPET.findall(page.read_text(encoding="utf-8"))


def script_of(page, folder):
    """Write the snippets of a page one after another into a script, as somebody pastes them into one shell."""
    lines = []
    for number, (language, source) in enumerate(snippets(page)):
        if language == "sh":
            lines += [line for line in source.splitlines() if line not in NOT_AGAIN]
        else:
            (folder / f"snippet{number}.py").write_text(source, encoding="utf-8")
            lines.append(f'"{sys.executable}" "{ROOT}/tests/docs/as_reader.py" snippet{number}.py')
    return "\n".join(lines).replace(INSTALLED_ALREADY, "") + "\n"


@pytest.fixture
def reader(tmp_path, replica_process):
    """Return what pastes a script into a shell, in an empty folder, with a replica as the tutorial starts it."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the snippets are for a POSIX shell, and bash is not there")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("ASYNCFETCH_")}
    environment = ours | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ASYNCFETCH_BASE_URL": replica_process.base_url,
        "ASYNCFETCH_REQUESTS_PER_S": "1000",
    }

    def run(script):
        # a file, because what a page leaves in the background holds a pipe open
        with (tmp_path / "told.txt").open("w+", encoding="utf-8") as told:
            process = subprocess.Popen(
                [bash, "-euxo", "pipefail", "-c", script],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
                # a session of its own, so that nothing of a page outlives it
                start_new_session=True,
            )
            try:
                process.wait(280)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            told.seek(0)
            assert process.returncode == 0, told.read()

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.stem)
def test_the_snippets_of_a_page_run_as_they_stand(page, reader, tmp_path):
    reader(script_of(page, tmp_path))


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.stem)
def test_what_a_snippet_defines_it_calls(page):
    for language, source in snippets(page):
        if language == "python" and "def main" in source:
            assert "\nanyio.run(main)\n" in source


@pytest.mark.parametrize("page", [page for page in PAGES if snippets(page)], ids=lambda page: page.stem)
def test_commands_can_be_pasted_into_any_shell_beside_any_server(page):
    for language, source in snippets(page):
        if language == "sh":
            # zsh takes a # that is typed for a word
            assert not re.search(r"(?:^|\s)#", re.sub(r'"[^"]*"', "", source), re.MULTILINE)
            assert not re.search(r"--port (?!0\b)|127\.0\.0\.1|localhost", source)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_and_images_within_the_project_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    targets = [link.partition("#")[0] for link in (*LINK.findall(text), *IMAGE.findall(text))]
    inner = [target for target in targets if target and "://" not in target]
    assert [target for target in inner if not (page.parent / target).exists()] == []


def test_there_are_snippets_and_links_to_look_at():
    assert {"README.md", "docs/tutorial/first-mirror.md"} <= {
        name for name, page in zip(NAMES, PAGES, strict=True) if snippets(page)
    }
    assert LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
