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
    # tests start hundreds of commands, each of which would compile every module again
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
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
    """Check the package, and programs that use it with the mistakes that have to be found."""
    install(session, "types")
    session.run("mypy")
    session.run("pyright")
    session.run("mypy", "tests/typing")
    session.run("pyright", "--project", "tests/typing")


#: Tests run in as many processes as there are cores, a file in one of them, because its tests share what it prepares.
ON_ALL_CORES = ("-n", "logical", "--maxprocesses", "8")
WITHOUT_PAGES = (
    "-m",
    "not slow",
    "--ignore=tests/docs",
    "--ignore=tests/ecosystem",
    *ON_ALL_CORES,
    "--dist",
    "loadfile",
)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on all cores; ``nox -s tests -- -n0 -x`` runs them one after another."""
    install(session, "tests")
    session.run("pytest", *WITHOUT_PAGES, *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Run the long tests: kills at random moments, peak memory, huge images."""
    install(session, "tests")
    session.run("pytest", "-m", "slow", "--timeout=1800", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into ``site/``, where a warning is an error, run every snippet and check every link."""
    install(session, "docs")
    # what was generated from names that are gone would be warned of
    for folder in ("site", "docs/reference/api"):
        shutil.rmtree(folder, ignore_errors=True)
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--jobs", "auto", "-q", "docs", "site")
    built = str(Path("site").resolve())
    session.run("pytest", "tests/docs", *ON_ALL_CORES, *session.posargs, env={"BUILT_SITE": built})


@nox.session
def demo(session: nox.Session) -> None:
    install(session)
    session.run("asyncfetch", "demo", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks beside atldld and AllenSDK where Python 3.11 is at hand; arguments choose one command."""
    session.install("-c", "constraints.txt", "-e", ".[plot]")
    for line in install_peers(session):
        session.warn(f"left out: {line}")
    if session.posargs:
        session.run("python", "-m", "benchmarks", *session.posargs)
        return
    session.run("asyncfetch", "bench")
    session.run("python", "-m", "benchmarks", "engine", success_codes=[0, 1])
    session.run("python", "-m", "benchmarks", "rate", "--seconds", "20", success_codes=[0, 1])
    cache = str(Path(session.cache_dir) / "replica")
    session.run("python", "-m", "benchmarks", "whole", "--kinds", "all", "--cache", cache, "--plot")


@nox.session(venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    wanted = nox.project.dependency_groups(PYPROJECT, "tests")
    session.install("--resolution", "lowest-direct", "-e", ".", *wanted)
    session.run("pytest", *WITHOUT_PAGES, *session.posargs)


#: The clients that judge the replica, and the newest Python that each is known to run on.
PEERS = {"allensdk": "3.11", "atldld": "3.11"}


@nox.session
def peers(session: nox.Session) -> None:
    """Let AllenSDK and atldld, unmodified, talk to the replica, each from an environment of its own."""
    install(session, "peers")
    if missing := install_peers(session):
        session.skip("; ".join(missing))
    session.run("pytest", "tests/peers", *session.posargs)


@nox.session
def ecosystem(session: nox.Session) -> None:
    """Open a store with what the field opens stores with: in Python, in JavaScript and in a browser."""
    wanted = nox.project.dependency_groups(PYPROJECT, "ecosystem")
    session.install("-c", "tests/ecosystem/constraints.txt", "-e", ".", *wanted)
    install_commands(session, {"node": "nodejs", "npm": "npm", "chromium": "chromium"})
    folder = Path(session.cache_dir).resolve() / "ecosystem"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy("tests/ecosystem/package.json", folder)
    session.run(
        "npm",
        "install",
        "--no-package-lock",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        external=True,
    )
    environment = {"ECOSYSTEM_ALL": "1", "ECOSYSTEM_NODE": str(folder)}
    # plugins of pytest that come with readers do not import where warnings are errors
    plugins = ("--disable-plugin-autoload", "-p", "pytest_timeout")
    session.run("pytest", *plugins, "tests/ecosystem", *session.posargs, env=environment)


def install_commands(session: nox.Session, packages: dict[str, str]) -> None:
    """Install the Debian packages of commands that are missing, where this may be done."""
    missing = {package for command, package in packages.items() if shutil.which(command) is None}
    if not missing:
        return
    if shutil.which("apt-get") is None:
        session.error(f"install {', '.join(sorted(missing))} first")
    session.run("apt-get", "update", "-qq", external=True)
    session.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *sorted(missing), external=True)


def install_peers(session: nox.Session) -> list[str]:
    """Install each peer that has its Python, name its interpreter in PEER_<NAME>, and return which lack theirs.

    The environments outlast the session and are shared by those that need them.
    """
    missing = []
    for name, version in PEERS.items():
        python = find_python(version)
        if python is None:
            missing.append(f"{name} needs Python {version}, which neither the path nor uv has")
            continue
        folder = Path(session.cache_dir).resolve() / "peers" / name
        own = folder / ("Scripts" if (folder / "Scripts").exists() else "bin") / "python"
        if not own.exists():
            session.run(python, "-m", "venv", "--clear", str(folder), external=True)
        requirements = f"tests/peers/requirements-{name}.txt"
        session.run(str(own), "-m", "pip", "install", "--quiet", "-r", requirements, external=True)
        session.env[f"PEER_{name.upper()}"] = str(own)
    return missing


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
