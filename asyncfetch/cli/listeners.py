"""What else listens to a run: a log of JSON lines, and metrics for Prometheus."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from asyncfetch.cli.console import tell
from asyncfetch.errors import SettingsError
from asyncfetch.events import RequestFinished
from asyncfetch.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from asyncfetch.events import Event, Listener
    from asyncfetch.metrics import Histogram

__all__ = ["open_listeners"]

_EVERY_S = 5.0


@contextmanager
def open_listeners(log_path: str | None, metrics: str | None) -> Iterator[Listener]:
    """Give a listener that feeds a log and metrics, where they are wanted.

    Parameters
    ----------
    log_path : str, optional
        A file to which each event is added as one line of JSON.
    metrics : str, optional
        A text file for Prometheus' node exporter, written every five seconds and at the end; or ``:PORT``, where
        Prometheus can ask on this machine.

    Raises
    ------
    SettingsError
        A file cannot be written, the port is taken, or prometheus-client is not installed.
    """
    with ExitStack() as stack:
        listeners: list[Listener] = []
        if log_path is not None:
            listeners.append(stack.enter_context(_open_log(log_path)))
        if metrics is not None:
            listeners.append(stack.enter_context(_open_metrics(metrics)))

        def listen(event: Event) -> None:
            for listener in listeners:
                listener(event)

        yield listen


@contextmanager
def _open_log(path: str) -> Iterator[Listener]:
    try:
        # not buffered, so that a run that is killed leaves whole lines, and a full disk is met once and not again when
        # the file is closed
        file = Path(path).open("ab", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise SettingsError(
            f"the log {path} cannot be written: {error.strerror}", setting="log_json"
        ) from error
    try:
        yield _Log(file, path)
    finally:
        # some file systems say only now that they are full; the lines are what they are
        with suppress(OSError):
            file.close()


class _Log:
    """A log of one JSON object per event, with the time; where the disk is full it ends with a message."""

    def __init__(self, file: FileIO, path: str) -> None:
        self._file: FileIO | None = file
        self._path = path

    def __call__(self, event: Event) -> None:
        if self._file is None:
            return
        line = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **msgspec.to_builtins(event)}
        if isinstance(event, RequestFinished):
            # the old name, for one version
            line["waited_place_s"] = event.waited_window_s
        left = msgspec.json.encode(line) + b"\n"
        try:
            while left:
                # the last bytes of a disk take a part of a line
                left = left[self._file.write(left) :]
        except OSError as error:
            tell(f"the log {self._path} ends here: {error.strerror}")
            self._file = None


@contextmanager
def _open_metrics(target: str) -> Iterator[Listener]:
    try:
        import prometheus_client
    except ImportError:
        raise SettingsError(
            "metrics require prometheus-client; install it with: pip install 'asyncfetch[metrics]'",
            setting="metrics",
        ) from None
    metrics = Metrics()
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Collector(metrics))
    host, _, port = target.rpartition(":")
    if port.isdecimal() and host in {"", "localhost", "127.0.0.1"}:
        try:
            server, thread = prometheus_client.start_http_server(int(port), "127.0.0.1", registry)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "the largest port is 65535"
            raise SettingsError(
                f"metrics cannot be served on port {port}: {why}", setting="metrics"
            ) from error
        tell(f"metrics at http://127.0.0.1:{server.server_port}/metrics")
        try:
            yield metrics
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
        return

    def write() -> None:
        try:
            prometheus_client.write_to_textfile(target, registry)
        except OSError as error:
            raise SettingsError(
                f"the metrics {target} cannot be written: {error.strerror}", setting="metrics"
            ) from error

    write()
    written_s = time.monotonic()
    is_told = False

    def listen(event: Event) -> None:
        nonlocal written_s
        metrics(event)
        if time.monotonic() - written_s >= _EVERY_S:
            written_s = time.monotonic()
            write_or_tell()

    def write_or_tell() -> None:
        # a run is worth more than its metrics; they are tried again, in case the disk has room later
        nonlocal is_told
        try:
            write()
            is_told = False
        except SettingsError as error:
            if not is_told:
                tell(error.message)
            is_told = True

    try:
        yield listen
    finally:
        write_or_tell()


class _Collector:
    """Metrics of a run in the terms of Prometheus."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        metrics = self._metrics
        for name, text, label, counts in (
            ("requests", "Requests sent.", "kind", metrics.n_requests),
            ("retries", "Requests sent again, by the error before.", "error", metrics.n_retries),
            ("failures", "Requests given up, by error.", "error", metrics.n_failures),
            ("waiting_seconds", "Time waited, by cause.", "cause", metrics.waiting_s),
        ):
            family = CounterMetricFamily(f"asyncfetch_{name}", text, labels=[label])
            for value, count in counts.items():
                family.add_metric([value], count)
            yield family
        for name, text, count in (
            ("received_bytes", "Bytes of bodies that came whole.", metrics.received_bytes),
            ("hedged_requests", "Second requests for late images.", metrics.n_hedged),
            ("pauses", "Pauses that the host asked for.", metrics.n_pauses),
            ("outages", "Outages of the host.", metrics.n_outages),
        ):
            yield CounterMetricFamily(f"asyncfetch_{name}", text, value=count)
        yield GaugeMetricFamily("asyncfetch_window", "Images asked for at once.", value=metrics.window)
        yield _family(
            "asyncfetch_request_seconds", "From a request to the end of its reply.", metrics.request_s
        )
        yield _family("asyncfetch_body_bytes", "Sizes of bodies.", metrics.body_bytes)


def _family(name: str, text: str, histogram: Histogram) -> Any:
    from prometheus_client.core import HistogramMetricFamily

    n, buckets = 0, []
    counts = histogram.counts or [0] * (len(histogram.bounds) + 1)
    for bound, count in zip((*map(repr, histogram.bounds), "+Inf"), counts, strict=True):
        n += count
        buckets.append((bound, n))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)
