"""Dask: the scheduler where the ledger stands, the workers where jobs are done, and the connection to both.

The one file that imports it. What comes from Dask is turned into values and errors of ours here.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import os
import signal
import threading
from concurrent.futures import CancelledError
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import anyio
import distributed
from anyio.from_thread import start_blocking_portal
from dask import config
from distributed import SchedulerPlugin, WorkerPlugin
from distributed.comm.core import CommClosedError
from distributed.deploy.cluster import Cluster

from asyncfetch.cluster.ledger import Ledger
from asyncfetch.cluster.messages import decode_question, encode
from asyncfetch.cluster.places import Local, Remote, read_configuration
from asyncfetch.cluster.station import check_version, open_station
from asyncfetch.engine.clock import now
from asyncfetch.errors import ClusterError, SettingsError
from asyncfetch.text import shown
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.from_thread import BlockingPortal
    from distributed import Scheduler, Worker

    from asyncfetch.cluster.ledger import Terms
    from asyncfetch.cluster.places import Configuration, Where
    from asyncfetch.cluster.station import Station
    from asyncfetch.mirroring.crew import Duty, Job

__all__ = ["Link", "SchedulerLostError"]

#: What Dask raises where somebody cannot be reached, or answers no such question.
_UNREACHABLE = (CommClosedError, OSError, TimeoutError, asyncio.TimeoutError, ValueError, AttributeError)
#: How often the ledger looks who has not been heard of.
_LOOK_EVERY_S = 0.25
_CONNECT_S = 10.0
#: Packages of the classes that a file may name, and what installs them.
_INSTALLS = {"dask_jobqueue": "dask-jobqueue", "dask_kubernetes": "dask-kubernetes"}
_MAX_WORDS = 300


class SchedulerLostError(Exception):
    """A scheduler that is gone, with all that it knew: the job was perhaps done, and is to be done again."""


def _name_of(run: str) -> str:
    return f"asyncfetch-{run}"


def _operation_of(run: str) -> str:
    return f"asyncfetch_{run}"


class LedgerPlugin(SchedulerPlugin):
    """The ledger of a run, at the scheduler.

    Parameters
    ----------
    run : str
        The run.
    client : str
        Dask's name of whoever asked for the run; without it the run is over.
    terms : Terms
        What all are held to.
    version : str
        Of asyncfetch, there.
    quiet_s : float
        For how long nothing is given out, because an earlier ledger has promised it to others.
    """

    def __init__(self, run: str, client: str, terms: Terms, version: str, quiet_s: float) -> None:
        self.name = _name_of(run)
        self._operation = _operation_of(run)
        self._client = client
        self._terms = terms
        self._version = version
        self._quiet_s = quiet_s

    async def start(self, scheduler: Scheduler) -> None:
        """Begin to answer."""
        check_version(self._version)
        self._scheduler = scheduler
        self._ledger = Ledger(self._terms, now() + self._quiet_s if self._quiet_s else float("-inf"))
        scheduler.handlers[self._operation] = self._answer
        self._look()

    async def close(self) -> None:
        """Answer no more."""
        self._scheduler.loop.remove_timeout(self._next_look)
        self._scheduler.handlers.pop(self._operation, None)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """End the run when whoever asked for it is gone."""
        if client == self._client:
            self._ledger.is_over = True

    async def _answer(self, message: bytes) -> bytes:
        return encode(self._ledger.answer(decode_question(message), now()))

    def _look(self) -> None:
        """Look who has not been heard of, now and from now on."""
        self._next_look = self._scheduler.loop.call_later(_LOOK_EVERY_S, self._look)
        for address in self._ledger.lose_silent(now()):
            # a worker that stalls would keep its tasks for minutes, by Dask's own measure
            if address in self._scheduler.workers:
                remove = partial(self._scheduler.remove_worker, address, stimulus_id=f"{self.name}-silent")
                self._scheduler.loop.add_callback(remove)


class StationPlugin(WorkerPlugin):
    """The station of a run, at each worker: on an event loop of its own, so that none waits for the other.

    Parameters
    ----------
    run : str
        The run.
    duty, terms : Duty, Terms
        What is done, and what all are held to.
    version : str
        Of asyncfetch, where the run was begun.
    """

    def __init__(self, run: str, duty: Duty, terms: Terms, version: str) -> None:
        self.name = _name_of(run)
        self._operation = _operation_of(run)
        self._duty = duty
        self._terms = terms
        self._version = version

    def setup(self, worker: Worker) -> None:
        """Begin to keep a lease."""
        check_version(self._version)
        if threading.current_thread() is threading.main_thread() and os.environ.get(_OURS):
            # Ctrl-C reaches every process of a terminal, and it is the one in front that decides
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        loop: asyncio.AbstractEventLoop = worker.loop.asyncio_loop  # type: ignore[attr-defined]  # tornado's on asyncio

        async def ask(message: bytes) -> bytes:
            return await getattr(worker.scheduler, self._operation)(message=message)  # type: ignore[no-any-return]

        async def send(message: bytes) -> bytes:
            try:
                answered = asyncio.run_coroutine_threadsafe(ask(message), loop)
                return await asyncio.wrap_future(answered)
            except (*_UNREACHABLE, RuntimeError) as error:
                raise ClusterError(f"the scheduler cannot be reached: {_words(error)}") from error

        with ExitStack() as stack:
            self._portal: BlockingPortal = stack.enter_context(start_blocking_portal())
            opened = open_station(
                self._duty,
                self._terms,
                send,
                worker.address,
                worker.state.nthreads,
                worker.state.nthreads,
            )
            self._station: Station = stack.enter_context(self._portal.wrap_async_context_manager(opened))
            self._stack = stack.pop_all()

    async def teardown(self, worker: Worker) -> None:
        """Stop all work."""
        # on a thread, because the last words go over the loop that this runs on
        await anyio.to_thread.run_sync(self._stack.close)

    def do(self, job: Job[Any]) -> Any:
        """Do a job, on a thread of the worker's."""
        return self._portal.call(self._station.do, job)


#: Set for processes that were started here.
_OURS = "ASYNCFETCH_LOCAL_WORKER"


def _do(run: str, job: Job[Any]) -> Any:
    """Do a job in a worker: the task that Dask's dashboard shows."""
    try:
        station: Any = distributed.get_worker().plugins[_name_of(run)]
        return station.do(job)
    except RuntimeError as error:
        raise ClusterError(f"the worker was closed: {_words(error)}") from error


class Link:
    """The connection to a cluster, which it makes where there is none; an async context manager.

    Parameters
    ----------
    where : Local, Remote or Path
        The cluster.
    tell : callable
        Is told in a sentence what people may want to know, such as the address of the dashboard.
    """

    def __init__(self, where: Where, tell: Callable[[str], None]) -> None:
        self._where = where
        self._tell = tell
        self._cluster: Any = None
        self._client: Any = None

    def __repr__(self) -> str:
        return f"Link({self._where!r})"

    async def __aenter__(self) -> Self:
        self._calm = _calmed()
        try:
            match self._where:
                case Remote(address):
                    self._address: Any = address
                case Local(n_workers):
                    self._address = self._cluster = await _local_cluster(n_workers)
                case path:
                    configuration = read_configuration(path)
                    self._address = self._cluster = await _configured(configuration)
            await self.connect(_CONNECT_S)
        except BaseException:
            await self.__aexit__()
            raise
        if link := self._dashboard():
            self._tell(f"the dashboard of the cluster: {link}")
        return self

    async def __aexit__(self, *_error: object) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(_CONNECT_S):
            await self._disconnect()
            if self._cluster is not None:
                with suppress(*_UNREACHABLE):
                    await self._cluster.close()
        logging.getLogger("distributed").setLevel(self._calm)

    async def connect(self, within_s: float) -> None:
        """Connect to the scheduler, also again.

        Raises
        ------
        ClusterError
            It does not answer.
        """
        await self._disconnect()
        try:
            self._client = await distributed.Client(  # type: ignore[no-untyped-call]
                self._address, asynchronous=True, timeout=within_s, set_as_default=False
            )
        except _UNREACHABLE as error:
            where = self._address if isinstance(self._address, str) else "of the cluster"
            raise ClusterError(
                f"the scheduler {where} does not answer ({_words(error)}); start one with `dask scheduler`, or check "
                "the address"
            ) from error

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*_UNREACHABLE):
                await client.close(timeout=1)

    async def begin(self, run: str, duty: Duty, terms: Terms, quiet_s: float) -> None:
        """Put the ledger of a run at the scheduler, and a station at each worker, those to come included.

        Raises
        ------
        ClusterError
            They cannot be put there, for example because asyncfetch is missing there.
        """
        ledger = LedgerPlugin(run, self._client.id, terms, __version__, quiet_s)
        station = StationPlugin(run, duty, terms, __version__)
        try:
            await self._client.register_plugin(ledger)
            await self._client.register_plugin(station)
        except ClusterError:
            raise
        except Exception as error:  # whatever their Python raised, where it could not be loaded
            raise ClusterError(
                f"the cluster cannot do this run: {_words(error)}; install asyncfetch {__version__} where the "
                "scheduler and the workers run, with: pip install 'asyncfetch[cluster]'"
            ) from error

    async def end(self, run: str) -> None:
        """Take ledger and stations away, as far as the scheduler can be reached."""
        name = _name_of(run)
        if self._client is not None:
            with suppress(*_UNREACHABLE, KeyError, RuntimeError):
                await self._client.unregister_worker_plugin(name)
                await self._client.unregister_scheduler_plugin(name)

    async def ask(self, run: str, message: bytes) -> bytes:
        """Ask the ledger.

        Raises
        ------
        ClusterError
            It cannot be reached.
        """
        try:
            answer: bytes = await getattr(self._client.scheduler, _operation_of(run))(message=message)
        except _UNREACHABLE as error:
            raise ClusterError(f"the scheduler cannot be reached: {_words(error)}") from error
        return answer

    async def do(self, run: str, job: Job[Any], number: int) -> Any:
        """Have a job done by a worker.

        Raises
        ------
        SchedulerLostError
            The scheduler is gone.
        ClusterError
            The workers that were to do it died one after another.
        AsyncFetchError
            What the job raised.
        """
        key = f"{job.verb}-dataset-{job.data_set_id}-{run[:8]}{number}"
        client = self._client
        try:
            future = client.submit(_do, run, job, key=key, pure=False)
            try:
                return await future.result()
            finally:
                future.release()
        except (CancelledError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and not isinstance(error, CancelledError):
                raise
            raise SchedulerLostError from error
        except distributed.KilledWorker as error:
            raise ClusterError(
                f"data set {job.data_set_id}: {_words(error)}; look into the logs of the workers, which perhaps ran "
                "out of memory: --memory lowers what each takes",
                data_set_id=job.data_set_id,
            ) from error
        except CommClosedError as error:
            raise SchedulerLostError from error

    @property
    def n_threads(self) -> int:
        """Threads of all workers, as far as they have joined."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"] if self._client is not None else {}
        return sum(each["nthreads"] for each in workers.values())

    def _dashboard(self) -> str | None:
        if importlib.util.find_spec("bokeh") is None:
            return None
        link: str | None = self._client.dashboard_link
        return link


async def _local_cluster(n_workers: int | None) -> Any:
    # Python 3.12 cannot tell how many of the machine's processors the process may use
    count: Callable[[], int | None] = getattr(os, "process_cpu_count", os.cpu_count)
    n_cores = count() or 1
    n_workers = n_workers or n_cores
    return await distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=n_workers,
        # while one data set begins or ends, another is at work
        threads_per_worker=max(2, n_cores // n_workers),
        processes=True,
        asynchronous=True,
        # memory is kept by our own budget
        memory_limit=None,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        env={_OURS: "1"},
        # a heartbeat that meets the end of the cluster would print a traceback
        silence_logs=logging.CRITICAL,
    )


async def _configured(configuration: Configuration) -> Any:
    module_name, _, name = configuration.kind.rpartition(".")
    package = module_name.partition(".")[0]
    try:
        kind = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        install = _INSTALLS.get(package, package)
        raise SettingsError(
            f"cluster needs {package}, which is not installed; install it with: pip install {install}",
            setting="cluster",
        ) from None
    except AttributeError:
        raise SettingsError(
            f"cluster = {configuration.kind} is not valid: {module_name} has no {name}", setting="cluster"
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, Cluster)):
        raise SettingsError(
            f"cluster = {configuration.kind} is not valid: it is not a cluster of Dask", setting="cluster"
        )
    config.set(configuration.settings)
    try:
        make: Any = kind
        cluster = await make(asynchronous=True, **configuration.arguments)
        workers = configuration.workers
        if isinstance(workers, dict):
            cluster.adapt(**workers)
        elif workers is not None:
            scaled = cluster.scale(workers)
            if scaled is not None:
                await scaled
    except Exception as error:  # whatever the class raises: it is theirs
        raise ClusterError(f"{configuration.kind} cannot be started: {_words(error)}") from error
    return cluster


def _calmed() -> int:
    """Let Dask say errors only: what is worth telling is told by us. Returns its level before."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    return level


def _words(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__, _MAX_WORDS)
