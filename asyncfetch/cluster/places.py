"""Where the machines of a run are, as it was typed: on this machine, at an address, or as a file describes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from asyncfetch.errors import SettingsError
from asyncfetch.text import shown

__all__ = ["Configuration", "Local", "Remote", "Where", "check_where", "parse_where", "read_configuration"]

_SCHEMES = ("tcp://", "tls://", "ws://", "wss://", "ucx://")
_FORMS = (
    "local, local:4 (4 processes on this machine), tcp://HOST:PORT (a scheduler that runs), or a YAML file that "
    "describes a cluster"
)
_MAX_LOCAL = 1024
_MAX_BYTES = 2**20
#: The sections of dask-jobqueue's own configuration, and the class of each.
JOBQUEUE_CLASSES = {
    "htcondor": "HTCondorCluster",
    "lsf": "LSFCluster",
    "moab": "MoabCluster",
    "oar": "OARCluster",
    "pbs": "PBSCluster",
    "sge": "SGECluster",
    "slurm": "SLURMCluster",
}


class Local(msgspec.Struct, frozen=True):
    """Processes on this machine; None is one for each core."""

    n_workers: int | None = None


class Remote(msgspec.Struct, frozen=True):
    """A scheduler that runs somewhere."""

    address: str


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """A cluster that is made for the run, and goes away with it.

    Attributes
    ----------
    kind : str
        The class that makes it, such as ``dask_jobqueue.SLURMCluster``.
    arguments : dict
        Its keyword arguments.
    workers : int or dict or None
        How many workers are asked for; or ``minimum`` and ``maximum``, between which the cluster adapts. None leaves
        it to the class.
    settings : dict
        Configuration of Dask itself, as in its own files.
    """

    kind: str
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    workers: int | dict[str, int] | None = None
    settings: dict[str, Any] = msgspec.field(default_factory=dict)


type Where = Local | Remote | Path


def parse_where(text: str) -> Where:
    """Return where the machines are.

    Raises
    ------
    SettingsError
        It names nothing of the kind.
    """
    if text == "local":
        return Local()
    if found := re.fullmatch(r"local:(\d{1,9})", text):
        n_workers = int(found[1])
        if not 1 <= n_workers <= _MAX_LOCAL:
            raise _wrong(text, f"processes are 1 to {_MAX_LOCAL}")
        return Local(n_workers)
    if text.startswith(_SCHEMES):
        if not re.fullmatch(r"[a-z]+://[^\s/]+(:\d+)?/?", text):
            raise _wrong(
                text, "it is not an address; a scheduler prints its own, such as tcp://10.0.0.5:8786"
            )
        return Remote(text)
    path = Path(text)
    if path.is_file():
        return path
    if path.suffix in {".yaml", ".yml"}:
        raise _wrong(text, "there is no such file")
    raise _wrong(text, f"choose one of: {_FORMS}")


def check_where(text: str) -> None:
    """Make sure that a text says where machines are; a file is read for that.

    Raises
    ------
    SettingsError
        It does not.
    """
    where = parse_where(text)
    if isinstance(where, Path):
        read_configuration(where)


def read_configuration(path: Path) -> Configuration:
    """Return the cluster that a file describes.

    Either the keys ``class``, ``arguments``, ``workers`` and ``config``, or dask-jobqueue's own configuration with one
    section below ``jobqueue``, and ``workers`` beside it.

    Raises
    ------
    SettingsError
        It is not such a file.
    """
    try:
        found = msgspec.yaml.decode(path.read_bytes()[:_MAX_BYTES], type=dict[str, Any])
    except ImportError:
        raise SettingsError(
            f"reading {path} needs PyYAML; install it with: pip install 'asyncfetch[cluster]'",
            setting="cluster",
        ) from None
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise _wrong(str(path), f"it is not a YAML file with keys and values ({error})") from None
    if "jobqueue" in found:
        return _of_jobqueue(path, found)
    known = {"class": "kind", "arguments": "arguments", "workers": "workers", "config": "settings"}
    unknown = sorted(found.keys() - known.keys())
    if unknown or "class" not in found:
        what = f"{unknown[0]} is not a key of it" if unknown else "the key class is missing"
        raise _wrong(
            str(path),
            f"{what}; the keys are class (such as dask_jobqueue.SLURMCluster), arguments, workers and config; or give "
            "the configuration of dask-jobqueue itself",
        )
    return _converted(path, {known[key]: value for key, value in found.items()})


def _of_jobqueue(path: Path, found: dict[str, Any]) -> Configuration:
    sections = found["jobqueue"]
    unknown = sorted(found.keys() - {"jobqueue", "workers", "distributed"})
    if not isinstance(sections, dict) or len(sections) != 1 or unknown:
        what = (
            f"{unknown[0]} does not belong in it" if unknown else "it has to have one section below jobqueue"
        )
        raise _wrong(str(path), f"{what}, such as slurm")
    (section,) = sections
    if section not in JOBQUEUE_CLASSES:
        raise _wrong(str(path), f"{section} is not one of {', '.join(JOBQUEUE_CLASSES)}")
    settings = {key: value for key, value in found.items() if key != "workers"}
    kind = f"dask_jobqueue.{JOBQUEUE_CLASSES[section]}"
    return _converted(path, {"kind": kind, "workers": found.get("workers"), "settings": settings})


def _converted(path: Path, content: dict[str, Any]) -> Configuration:
    try:
        configuration = msgspec.convert(content, Configuration)
    except msgspec.ValidationError as error:
        raise _wrong(str(path), str(error)) from None
    workers = configuration.workers
    numbers = workers.values() if isinstance(workers, dict) else () if workers is None else (workers,)
    if any(n < 0 for n in numbers) or (isinstance(workers, dict) and workers.keys() - {"minimum", "maximum"}):
        raise _wrong(str(path), "workers is a number, or minimum and maximum")
    if configuration.kind.count(".") < 1:
        raise _wrong(str(path), f"{configuration.kind} is not a class with its module")
    return configuration


def _wrong(text: str, why: str) -> SettingsError:
    return SettingsError(f"cluster = {shown(text, 200)} is not valid: {why}", setting="cluster")
