"""Who holds a store: what a run says of its process, and what can be told of that process from elsewhere."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path

import msgspec

__all__ = ["SILENT_AFTER_S", "Holder"]

#: A holder of which nothing else can be told is said to be silent after this time. It shows itself every twenty
#: seconds, and a network file system may show that a minute later.
SILENT_AFTER_S = 180.0


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """The run that writes to a store, and the process that it is.

    Attributes
    ----------
    command : str
        What it was asked for, such as ``mirror product:1``.
    host, pid : str, int
        Where its process is.
    since : str
        When it began, ISO 8601 in UTC.
    started : int or None
        When its process started, in ticks since the machine did: a later process of the same number is another one.
    boot, namespace : str
        Which start of which machine, and which namespace of process numbers, where the system tells.
    token : str
        Unique to the run.
    seen : str or None
        When it last showed itself, where the store keeps no times of files.
    """

    command: str
    host: str
    pid: int
    since: str
    started: int | None = None
    boot: str = ""
    namespace: str = ""
    token: str = ""
    seen: str | None = None

    @classmethod
    def of_this_process(cls, command: str) -> Holder:
        """Return what a run of this process says of itself."""
        return cls(
            command=command,
            host=socket.gethostname(),
            pid=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            started=_started(os.getpid()),
            boot=_boot(),
            namespace=_namespace(),
            token=uuid.uuid4().hex,
        )

    def __str__(self) -> str:
        since = self.since.replace("T", " ").removesuffix("+00:00")
        return f"{self.command}, process {self.pid} on {self.host} since {since} UTC"

    @property
    def shares_our_kernel(self) -> bool:
        """Whether it runs on this machine since its last start, so that the locks of the system tell of it."""
        return self.boot == _boot() and (bool(self.boot) or self.host == socket.gethostname())

    def is_alive(self, silent_s: float | None = None) -> bool | None:
        """Tell whether the process lives, None where that cannot be told from here.

        Parameters
        ----------
        silent_s : float, optional
            For how long it has not shown itself.
        """
        if self.shares_our_kernel and self.namespace == _namespace():
            return _is_running(self.pid, self.started)
        was_started_again = self.host == socket.gethostname() and self.boot != _boot()
        if was_started_again and silent_s is not None and silent_s > SILENT_AFTER_S:
            return False
        return None


def _is_running(pid: int, started: int | None) -> bool | None:
    if pid < 1 or sys.platform == "win32":
        # there os.kill ends a process instead of looking at it
        return None
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        pass  # it is another user's
    now = _started(pid)
    return now is None or started is None or now == started


def _started(pid: int) -> int | None:
    """Return when a process started, None where the system does not tell; -1 for one that has ended."""
    try:
        # the name before the last parenthesis may hold anything
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        state, *rest = fields.split()
        return -1 if state in {"Z", "X"} else int(rest[18])
    except (OSError, ValueError, IndexError):
        return None


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


# Before there are threads: msgspec ends the process where two of them meet a type for the first time.
_MET = msgspec.json.Decoder(Holder)
