"""Where the packages that we are compared with are installed; the nox session ``bench`` sees to it."""

from __future__ import annotations

import os
import subprocess

__all__ = ["PEERS", "peer_python"]

#: Package to the module whose import shows that it is there.
PEERS = {"atldld": "atldld.sync", "allensdk": "allensdk.api.queries.image_download_api"}


def peer_python(name: str) -> tuple[str | None, str]:
    """Return the interpreter that has a package, or None and why there is none.

    Parameters
    ----------
    name : str
        The package; ``PEER_<NAME>`` names the interpreter.
    """
    variable = f"PEER_{name.upper()}"
    python = os.environ.get(variable)
    if not python:
        return None, f"{variable} names no Python that has {name}; `uvx nox -s bench` makes one"
    command = [python, "-c", f"import {PEERS[name]}"]
    try:
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return None, f"{variable} = {python} does not start: {error.strerror}"
    if tried.returncode:
        last = tried.stderr.strip().splitlines()[-1:] or ["no word"]
        return None, f"{variable} = {python} cannot import {name}: {last[0]}"
    return python, ""
