"""The project's chores, each in an environment of its own: ``uvx nox -s tests``."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

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


#: The clients that judge the replica, and the newest Python that each is known to run on.
PEERS = {"allensdk": "3.11", "atldld": "3.11"}


@nox.session
def peers(session: nox.Session) -> None:
    """Let AllenSDK and atldld, unmodified, talk to the replica, each from an environment of its own."""
    pythons = {name: find_python(version) for name, version in PEERS.items()}
    for name, python in pythons.items():
        if python is None:
            session.skip(f"{name} needs Python {PEERS[name]}, which neither the path nor uv has")
    install(session, "peers")
    for name, python in pythons.items():
        folder = Path(session.create_tmp()).resolve() / name
        own = folder / ("Scripts" if (folder / "Scripts").exists() else "bin") / "python"
        if not own.exists():
            session.run(str(python), "-m", "venv", "--clear", str(folder), external=True)
        requirements = f"tests/peers/requirements-{name}.txt"
        session.run(str(own), "-m", "pip", "install", "--quiet", "-r", requirements, external=True)
        session.env[f"PEER_{name.upper()}"] = str(own)
    session.run("pytest", "tests/peers", *session.posargs)


def find_python(version: str) -> str | None:
    """Return an interpreter of this version that starts, or None."""
    found = [shutil.which(f"python{version}")]
    if uv := shutil.which("uv"):
        command = [uv, "python", "find", version]
        told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - uv itself
        found.append(told.stdout.strip())
    for python in filter(None, found):
        # A shim of pyenv stands in the path for versions that are not switched on, and fails.
        tried = subprocess.run([python, "-c", ""], capture_output=True, check=False)  # noqa: S603 - just found
        if tried.returncode == 0:
            return python
    return None
