"""The project's chores, each in an environment of its own: ``uvx nox -s tests``."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["lint", "types", "tests", "docs"]

PYPROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install the project and the named dependency groups at the pinned versions."""
    wanted = nox.project.dependency_groups(PYPROJECT, *groups) if groups else ()
    session.install("-c", "constraints.txt", "-e", ".", *wanted)


@nox.session
def lint(session: nox.Session) -> None:
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("codespell")


@nox.session
def types(session: nox.Session) -> None:
    install(session, "types")
    session.run("mypy")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    install(session, "tests")
    session.run("pytest", "-m", "not slow", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run the long tests: kills at random moments, peak memory, huge images."""
    install(session, "tests")
    session.run("pytest", "-m", "slow", "--timeout=1800", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every snippet of the documentation and check its links."""
    install(session, "tests")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    install(session)
    session.run("asyncfetch", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    install(session, "tests")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    wanted = nox.project.dependency_groups(PYPROJECT, "tests")
    session.install("--resolution", "lowest-direct", "-e", ".", *wanted)
    session.run("pytest", "-m", "not slow", *session.posargs)
