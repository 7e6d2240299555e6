"""What of this machine matters to a mirror: versions, cores, memory, the disk, limits, the network, the clock."""

from __future__ import annotations

import locale
import os
import platform
import ssl
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from asyncfetch.doctor.cgroup import read_limits
from asyncfetch.doctor.disk import examine_disk
from asyncfetch.doctor.facts import Fact, megabytes
from asyncfetch.engine.proxies import Proxies
from asyncfetch.engine.trust import read_trust
from asyncfetch.errors import SettingsError
from asyncfetch.libraries import library_versions
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from asyncfetch.settings import Settings

__all__ = ["examine_machine"]

# Some 70 connections, the files of the zarr store that are written at once, and the interpreter's own.
_ENOUGH_FILES = 512


def examine_machine(directory: Path, settings: Settings, environment: Mapping[str, str]) -> list[Fact]:
    """Return the facts about this machine.

    It writes 32 MB to a temporary file in ``directory``, or as much as it can in two seconds, and removes it.

    Parameters
    ----------
    directory : path
        The folder that a store is to be written to.
    settings : Settings
        What a run would use: the memory budget is compared with the memory, and its proxy is shown.
    environment : mapping of str to str
        Such as ``os.environ``.
    """
    return [
        *_versions(),
        Fact(
            "system", f"{platform.system()} {platform.release()}, {platform.machine()}", platform.platform()
        ),
        *_resources(settings),
        *examine_disk(directory),
        _open_files(),
        _proxies(settings, environment),
        _trust(environment),
        _time_zone(),
        _text(),
    ]


def _versions() -> list[Fact]:
    libraries = library_versions()
    missing = [name for name, number in libraries.items() if number is None]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    advice = f"not installed: {', '.join(missing)}; run pip install --force-reinstall asyncfetch"
    return [
        Fact("asyncfetch", __version__, __version__),
        Fact("Python", f"{python}, {sys.executable}", platform.python_version()),
        Fact(
            "libraries",
            ", ".join(f"{name} {number}" for name, number in libraries.items()),
            libraries,
            advice if missing else None,
        ),
        Fact("TLS library", ssl.OPENSSL_VERSION, ssl.OPENSSL_VERSION),
    ]


def _resources(settings: Settings) -> list[Fact]:
    limits = read_limits()
    n_cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else n_cores or 1
    allowed = usable if limits.cores is None else min(float(usable), limits.cores)
    shown = f"{allowed:g} of {n_cores}" if allowed != n_cores else f"{n_cores}"
    quota = "" if limits.cores is None else f" (the control group allows {limits.cores:g})"
    advice = None
    if settings.workers is None and limits.cores is not None and limits.cores < usable / 2:
        n_workers = max(round(limits.cores), 1)
        advice = f"a run would start {usable} threads on {shown} cores; use --workers {n_workers}"
    cores = {"machine": n_cores, "usable": usable, "control_group": limits.cores}
    return [Fact("cores", shown + quota, cores, advice), _memory(settings, limits.memory_bytes)]


def _memory(settings: Settings, limit_bytes: int | None) -> Fact:
    total, available = _system_memory()
    value = {"total": total, "available": available, "control_group": limit_bytes}
    usable = min((size for size in (available, limit_bytes) if size is not None), default=None)
    parts = [f"{megabytes(total)}" if total else "unknown"]
    if available is not None:
        parts.append(f"{megabytes(available)} available")
    if limit_bytes is not None:
        parts.append(f"the control group allows {megabytes(limit_bytes)}")
    advice = None
    # The budget holds decoded pixels; the interpreter, its libraries and the bodies on their way take the rest.
    if usable is not None and usable < settings.memory_bytes + 3 * 10**8:
        advice = (
            f"the budget of {megabytes(settings.memory_bytes)} does not fit beside the program; "
            f"use --memory {max((usable - 3 * 10**8) // 2 // 2**20, 16)}MiB"
        )
    return Fact("memory", ", ".join(parts), value, advice)


def _system_memory() -> tuple[int | None, int | None]:
    """Return total and available memory in bytes, as Linux tells them, or else as POSIX does."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:  # noqa: PTH123 - a file of the kernel
            sizes = {
                name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines)
            }
        return sizes.get("MemTotal"), sizes.get("MemAvailable")
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (AttributeError, ValueError, OSError):
        return None, None


def _open_files() -> Fact:
    try:
        import resource
    except ImportError:
        return Fact("open files", "no limit is known on this system", None)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    words = [("no limit" if limit == resource.RLIM_INFINITY else str(limit)) for limit in (soft, hard)]
    is_low = soft != resource.RLIM_INFINITY and soft < _ENOUGH_FILES
    advice = f"raise it with: ulimit -n {_ENOUGH_FILES * 2}" if is_low else None
    shown = words[0] if words[0] == words[1] else f"{words[0]}, can be raised to {words[1]}"
    return Fact("open files", shown, {"soft": soft, "hard": hard}, advice)


def _proxies(settings: Settings, environment: Mapping[str, str]) -> Fact:
    """Show the proxies that a run would use, as its transport reads them."""
    try:
        found = Proxies(settings.proxy, environment).named
    except SettingsError as error:
        return Fact("proxies", "cannot be used", None, error.message)
    return Fact("proxies", ", ".join(f"{name}={value}" for name, value in found.items()) or "none", found)


def _trust(environment: Mapping[str, str]) -> Fact:
    """Show the certificates that a run would verify with, as its transport loads them."""
    try:
        trust = read_trust(environment)
    except SettingsError as error:
        return Fact("certificates", "cannot be used", None, error.message)
    value = {
        "files": trust.files,
        "folders": trust.folders,
        "variables": trust.used,
        "unused_variables": trust.unused,
        "n_loaded": trust.n_loaded,
    }
    advice = None
    if trust.is_empty:
        advice = "there are no certificates; install the system's (ca-certificates) or set SSL_CERT_FILE"
    shown = ", ".join((*trust.files, *trust.folders)) or ("none" if trust.is_empty else "those of the system")
    if trust.used:
        shown += f" (named by {', '.join(trust.used)})"
    if trust.unused:
        named = ", ".join(f"{name}={path}" for name, path in trust.unused.items())
        shown += f"; not used: {named}"
    return Fact("certificates", shown, value, advice)


def _time_zone() -> Fact:
    now = datetime.now().astimezone()
    return Fact("time", f"{now.isoformat(timespec='seconds')} ({now.tzname()})", now.isoformat())


def _text() -> Fact:
    value = {
        "locale": ".".join(part for part in locale.getlocale() if part) or "C",
        "preferred": locale.getpreferredencoding(do_setlocale=False),
        "files": sys.getfilesystemencoding(),
        "stdout": getattr(sys.stdout, "encoding", None),
    }
    others = sorted(
        {str(value[name]) for name in ("preferred", "files", "stdout") if value[name]}
        - {name for name in map(str, value.values()) if name.lower().replace("-", "") == "utf8"}
    )
    advice = f"{', '.join(others)} cannot hold all names; set PYTHONUTF8=1" if others else None
    shown = f"locale {value['locale']}, text {value['preferred']}, file names {value['files']}"
    return Fact("encoding", f"{shown}, stdout {value['stdout']}", value, advice)
