"""Clusters by what people type: opened for each run, or kept open for several."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

from asyncfetch.cluster.ledger import Terms
from asyncfetch.cluster.places import check_where, parse_where
from asyncfetch.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    import anyio

    from asyncfetch.cluster.crew import DaskCrew
    from asyncfetch.cluster.dask import Link
    from asyncfetch.events import Listener
    from asyncfetch.mirroring.crew import Duty

__all__ = ["DaskCluster"]

_TERMS = Terms(requests_per_s=1.0, n_permits=1)


def _say_nothing(_words: str) -> None:
    """Tell nobody."""


class DaskCluster:
    """A Dask cluster that does whole data sets.

    It is connected to, and started where it is to be started, for each run that is given it; or for several, used as an
    async context manager. Every machine of it needs the same version of asyncfetch, and has to see the store: a
    directory under the same path, or object storage.

    Parameters
    ----------
    where : str
        ``local`` or ``local:4`` for processes on this machine, the address of a scheduler such as
        ``tcp://10.0.0.5:8786``, or the path of a YAML file that describes a cluster.
    tell : callable, optional
        Is told in a sentence what people may want to know, such as the address of the dashboard.
    lease_s : float
        For how long a worker goes on writing that cannot reach the scheduler.
    margin_s : float
        How much longer it takes until others take over what it was at.

    Raises
    ------
    SettingsError
        It names no cluster, or a library is missing; the message says what to install.

    Examples
    --------
    ::

        report = await asyncfetch.rebuild("out.zarr", um=10, cluster=DaskCluster("local:4"))
    """

    def __init__(
        self,
        where: str,
        *,
        tell: Callable[[str], None] = _say_nothing,
        lease_s: float = _TERMS.lease_s,
        margin_s: float = _TERMS.margin_s,
    ) -> None:
        check_where(where)
        if find_spec("distributed") is None:
            raise SettingsError(
                "a cluster needs Dask, which is not installed; install it with: pip install 'asyncfetch[cluster]'",
                setting="cluster",
            )
        self._where = where
        self._tell = tell
        self._lease_s = lease_s
        self._margin_s = margin_s
        self._stack = AsyncExitStack()
        self._link: Link | None = None

    def __repr__(self) -> str:
        return f"DaskCluster({self._where!r})"

    async def __aenter__(self) -> Self:
        self._link = await self._stack.enter_async_context(self._new_link())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._link = None
        await self._stack.aclose()

    @asynccontextmanager
    async def open_crew(self, duty: Duty, listen: Listener, drain: anyio.Event) -> AsyncGenerator[DaskCrew]:
        """Have a crew for one run; the listener is told all events, in this process.

        Raises
        ------
        SettingsError
            The store is one that only this process sees.
        ClusterError
            The cluster cannot be reached or started, or cannot do it.
        """
        from asyncfetch.cluster.crew import open_crew

        async with AsyncExitStack() as stack:
            link = self._link
            if link is None:
                link = await stack.enter_async_context(self._new_link())
            yield await stack.enter_async_context(
                open_crew(link, duty, listen, drain, self._lease_s, self._margin_s)
            )

    def _new_link(self) -> Link:
        # Dask takes a second to import
        from asyncfetch.cluster.dask import Link

        return Link(parse_where(self._where), self._tell)
