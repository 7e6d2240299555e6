"""The command line: arguments in, data on stdout, progress and messages on stderr, an exit code out.

A command is loaded when it is asked for, and imports what it needs when it runs, so that ``asyncfetch --help`` answers
at once.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asyncfetch.cli.configuration import spread_settings
from asyncfetch.cli.console import echo, guard_streams, tell
from asyncfetch.cli.exits import ExitCode, exit_code_of_error
from asyncfetch.cli.failures import report_errors, understood
from asyncfetch.cli.narrowing import spread_filters
from asyncfetch.cli.parsing import App
from asyncfetch.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["app", "main", "register_commands"]

#: Set by the completion of a shell, which runs the command to ask what Tab offers.
_COMPLETING = "_ASYNCFETCH_COMPLETE"


#: The commands under each heading of ``--help``: the module of each, and the first line of its help.
_PANELS = {
    "Find and fetch": {
        "search": ("search", "List data sets, images, genes, products, structures or atlases."),
        "catalogue": ("catalogue", "Fetch what choosing needs, once, or show what is there."),
        "plan": ("plan", "Estimate the requests, bytes and time of a mirror."),
        "mirror": ("mirror", "Mirror data sets, products, atlases or images into a store."),
        "resume": ("mirror", "Continue the unfinished runs of a store."),
        "image": ("pictures", "Download one image, or a region of it, as a JPEG."),
        "outlines": ("pictures", "Draw where the sections of a data set lie."),
    },
    "Work with a store": {
        "status": ("inspection", "Show how far the runs of a store are."),
        "runs": ("runs", "List the unfinished runs of a store, or dismiss them."),
        "info": ("inspection", "Describe a store and its data sets."),
        "verify": ("verify", "Compare a store with its commits, and repair it."),
        "rebuild": ("rebuild", "Make layers again from the stored JPEGs, offline."),
        "upgrade": ("upgrade", "Turn a store of an earlier layout version into today's."),
        "pack": ("pack", "Turn finished data sets into one zip each."),
        "unpack": ("pack", "Turn packed data sets into folders again."),
        "volume": ("volume", "Fill the space between registered planes, as a volume."),
        "export": ("export", "Write what a store holds as files for other programs."),
        "preview": ("pictures", "Draw all planes of a data set, or cuts of its volume."),
    },
    "Convert positions": {
        "sync": ("sync", "Find positions on images and in the reference space."),
        "audit": ("audit", "Compare computed positions with those of the API."),
    },
    "Try, serve and measure": {
        "demo": ("demo", "Mirror from a local replica, and compare with the truth."),
        "serve": ("serve", "Serve the API from a store, a recording or the sample atlas."),
        "bench": ("bench", "Measure each stage and a small run on this machine."),
        "doctor": ("doctor", "Check this machine, and the API with --service."),
    },
}


def _prepared(command: Callable[..., Any]) -> Callable[..., Any]:
    return report_errors(spread_filters(spread_settings(command)))


app = App(
    _prepared,
    name="asyncfetch",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@functools.cache
def register_commands() -> None:
    """Put the commands on the app above, in the order of ``asyncfetch --help``."""
    for panel, commands in _PANELS.items():
        for name, (module, one_liner) in commands.items():
            app.command_in(f"asyncfetch.cli.commands.{module}", name, one_liner, panel=panel)


def main() -> None:
    """Run the command line."""
    with guard_streams() as streams:
        code = _run()
    if streams.lost is not None:
        tell(f"error: the output is incomplete: stdout cannot be written: {streams.lost}")
        code = code or ExitCode.ERROR
    if code == ExitCode.INTERRUPTED:
        _leave_threads_behind()
    raise SystemExit(code)


def _run() -> int:
    if _COMPLETING in os.environ:
        # Typer wraps the help of what it offers at this width, and a shell takes each line for an offer
        os.environ["COLUMNS"] = "1000"
    try:
        register_commands()
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else ExitCode.DONE
    except KeyboardInterrupt:
        # before or after a command, which answers interrupts itself
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the wall, for what is outside a command
        failure = understood(error)
        tell(f"error: {failure.message}")
        return exit_code_of_error(failure)
    return ExitCode.DONE


def _leave_threads_behind() -> None:
    """End an interrupted process whose threads are still at work, for which the interpreter would wait."""
    main_thread = threading.main_thread()
    if any(thread is not main_thread and not thread.daemon for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(ExitCode.INTERRUPTED)


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"asyncfetch {__version__}")
        raise typer.Exit


@app.callback()
def asyncfetch(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Mirror section images of the Allen Brain Atlas into registered OME-Zarr stores.

    Exit codes: 0 all done, 1 error, 2 usage, 3 some items failed (they are listed), 4 nothing matched,
    5 service unavailable, 6 verification failed, 130 interrupted and resumable.
    """
