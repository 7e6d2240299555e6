"""``asyncfetch serve``: the replica of the API on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.console import tell
from asyncfetch.cli.exits import ExitCode
from asyncfetch.cli.opening import tell_damage
from asyncfetch.cli.running import LastResort, stop_signals
from asyncfetch.errors import SettingsError
from asyncfetch.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncfetch.replica import AtlasSource

__all__ = ["serve"]

# A server may run for weeks; the log file holds them all.
_MAX_RECORDS = 10_000
_RECORD_BYTES = 2**24
# How long the end may take.
_END_S = 1.0


def serve(
    store: Annotated[
        str | None,
        typer.Argument(
            metavar="STORE", help="A mirrored store to serve.", show_default="the built-in sample atlas"
        ),
    ] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="The address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A further host name that requests may use. May be repeated."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 picks a free one.")
    ] = 8765,
    latency_ms: Annotated[
        float, typer.Option(min=0.0, metavar="MS", help="Delay before each reply, in milliseconds.")
    ] = 0.0,
    bandwidth: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Maximum bytes per second of one connection, such as 500kB."),
    ] = None,
    total_bandwidth: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Maximum bytes per second of all connections together.")
    ] = None,
    rate_limit: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Maximum requests per second; others get status 429 with Retry-After."
        ),
    ] = None,
    faults: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A plan of faults, in TOML or JSON."),
    ] = None,
    differences: Annotated[
        list[str] | None,
        typer.Option(
            "--break",
            metavar="NAME",
            help="Differ from an assumption about the API, such as RMA-4=cap4; list shows all. May be repeated.",
        ),
    ] = None,
    generated: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Serve a made-up product of N data sets with tiny images as product 1, to try large runs.",
        ),
    ] = None,
    replay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer only from a recording made with --record."),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append a JSON object per request to this file.")
    ] = None,
    redirect_base: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="What image redirects start with, such as http://{host}, as those of the API do. By default they are "
            "relative, which works through tunnels and forwarded ports.",
        ),
    ] = "",
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep drawn images in this folder for the next time.")
    ] = None,
    cache_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Maximum size of drawn images kept in memory.")
    ] = "512MiB",
    drawing_memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Maximum memory for images that are being drawn.")
    ] = "1GiB",
    max_connections: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Open connections at most; others get status 503.", show_default="512"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Images drawn at once.")] = 2,
    gzip_level: Annotated[
        int,
        typer.Option(min=-1, max=9, metavar="N", help="Compression of image bodies; -1 sends them plain."),
    ] = 1,
) -> None:
    """Serve the API from a store, a recording or the sample atlas.

    Answers as the Allen Brain Atlas API does. Nothing is ever written to the store.
    """
    import anyio

    if differences and "list" in differences:
        _list_differences()
        return
    named = {"a STORE": store, "--replay": replay, "--generated": generated}
    given = [name for name, value in named.items() if value is not None]
    if len(given) > 1:
        raise SettingsError(
            f"{' and '.join(given[:2])} cannot be combined; give one of them", setting=given[1].lstrip("-")
        )
    if replay is not None:
        _warn_beyond_loopback(host)
        anyio.run(_replay, replay, host, port, allow_host or ())
        return
    from asyncfetch.replica import FaultScript, open_replica
    from asyncfetch.settings import parse_size

    atlas, what = _atlas(store, generated)
    options: dict[str, Any] = {
        "latency_s": latency_ms / 1000,
        "bytes_per_s": None if bandwidth is None else parse_size(bandwidth, setting="bandwidth"),
        "total_bytes_per_s": None
        if total_bandwidth is None
        else parse_size(total_bandwidth, setting="total-bandwidth"),
        "requests_per_s": rate_limit,
        "faults": None if faults is None else FaultScript.read(faults),
        "log_path": log,
        "differences": tuple(differences or ()),
        "cache_folder": cache,
        "cache_bytes": parse_size(cache_memory, setting="cache-memory"),
        "drawing_bytes": parse_size(drawing_memory, setting="drawing-memory"),
        "n_threads": threads,
        **({} if max_connections is None else {"max_connections": max_connections}),
        "gzip_level": gzip_level,
        "max_records": _MAX_RECORDS,
        "redirect_base": redirect_base,
        "record_bytes": _RECORD_BYTES,
        "allow_hosts": tuple(allow_host or ()),
    }

    _warn_beyond_loopback(host)

    async def body() -> None:
        with anyio.open_signal_receiver(*stop_signals()) as signals:
            async with open_replica(atlas, host=host, port=port, **options) as replica:
                tell(f"serving {what} at {replica.base_url}; stop with Ctrl-C")
                async for _signal in signals:
                    # images that are still drawn for clients that have gone hold up nothing
                    LastResort("stopped", ExitCode.DONE).comes_after(_END_S)
                    break

    anyio.run(body)


def _atlas(store: str | None, n_data_sets: int | None) -> tuple[AtlasSource, str]:
    """Return what to answer from, and what it is called."""
    from asyncfetch.replica import GeneratedAtlas, MirroredAtlas

    if n_data_sets is not None:
        made = GeneratedAtlas(n_data_sets)
        return (
            made,
            f"{counted(made.n_data_sets, 'generated data set')} with {counted(made.n_sections, 'section')}",
        )
    if store is not None:
        from asyncfetch import store as stores

        opened = stores.open(store)
        mirrored = MirroredAtlas(opened)
        # the command may run for weeks
        tell_damage(opened.damage, store)
        return mirrored, store
    from asyncfetch.sample import sample_atlas

    return sample_atlas(), "the sample atlas"


def _warn_beyond_loopback(host: str) -> None:
    from asyncfetch.replica.hosts import is_loopback

    if not is_loopback(host):
        tell(
            f"warning: {host} can be reached from other machines, which can read everything that is served; "
            "omit --host to serve this machine only"
        )


def _list_differences() -> None:
    from asyncfetch.replica import DIFFERENCES

    for difference in DIFFERENCES:
        typer.echo(f"{difference.name}\t{difference.what}")


async def _replay(path: Path, host: str, port: int, allow_hosts: Sequence[str]) -> None:
    import anyio

    from asyncfetch.replica.replay import Recording, open_replay

    with anyio.open_signal_receiver(*stop_signals()) as signals:
        recording = Recording(path)
        async with open_replay(recording, host=host, port=port, allow_hosts=allow_hosts) as base_url:
            tell(
                f"replaying {counted(recording.n_exchanges, 'answer')} of {path} at {base_url}; stop with Ctrl-C"
            )
            if recording.n_unreadable:
                n = recording.n_unreadable
                tell(f"{counted(n, 'line')} of {path} cannot be read and {'are' if n > 1 else 'is'} left out")
            async for _signal in signals:
                break
