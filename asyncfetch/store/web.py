"""The objects of a store on a web server: read by their names, because a server does not say what it has.

What is known by name needs no list: the root, a data set, its summary, its images. Names are listed from the copy of
all metadata that `zarr.consolidate_metadata` puts into the root of a store that is complete.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.errors import StoreAccessError
from asyncfetch.layout.bounds import MAX_OBJECT_BYTES
from asyncfetch.store.object_storage import ObjectStorageBackend

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["WebBackend", "names_in"]


class WebBackend(ObjectStorageBackend):
    """The objects below one address of a web server, to be read; see `asyncfetch.store.backend.Backend`."""

    def names_below(self, path: str) -> list[str]:
        """Return the names of groups and arrays directly below a path, as the copy of all metadata has them.

        Raises
        ------
        StoreAccessError
            The root has no such copy.
        """
        nodes = self._nodes
        if nodes is None:
            raise StoreAccessError(
                f"{self.name} cannot be listed, because a web server does not say what it has; read what is known by "
                "name, as with asyncfetch.open(…).data_set(ID), or give the store an index where it lies: "
                "python -c \"import zarr; zarr.consolidate_metadata('OUT')\"",
                location=self.name,
            )
        return names_in(nodes, path)

    @functools.cached_property
    def _nodes(self) -> Mapping[str, Any] | None:
        try:
            root = msgspec.json.decode(self.get("zarr.json", MAX_OBJECT_BYTES) or b"{}")
            nodes = root["consolidated_metadata"]["metadata"]
        except (ValueError, LookupError, TypeError):
            return None
        return nodes if isinstance(nodes, dict) else None


def names_in(nodes: Mapping[str, Any], path: str) -> list[str]:
    """Return the names directly below a path of nodes by their paths, sorted.

    Examples
    --------
    >>> names_in({"a": {}, "a/b": {}, "a/b/c": {}, "ab": {}}, "a")
    ['b']
    """
    start = f"{path}/" if path else ""
    return sorted({node[len(start) :].partition("/")[0] for node in nodes if node.startswith(start)})
