"""``python -m benchmarks COMMAND``: run a part of the harness, print a table, keep the figures as JSON."""

from __future__ import annotations

import argparse
import importlib
import sys

#: Command to the module that offers ``add_options(parser)`` and ``main(options) -> exit code``, and what it is for.
COMMANDS = {
    "whole": ("benchmarks.whole_runs", "whole runs beside the floor, a plain script, atldld and AllenSDK"),
    "engine": ("benchmarks.engine_overhead", "the engine beside a bare aiohttp loop"),
    "rate": ("benchmarks.rate", "whether a rate is kept, and used, in real time"),
    "scale": ("benchmarks.scale", "products of 10^6 sections: planning, counting and asking again"),
    "cluster": ("benchmarks.cluster", "many workers under one limit, and what each further one brings"),
    "simulate": ("benchmarks.simulation.command", "the engine against simulated hosts, in virtual time"),
    "plot": ("benchmarks.plots", "draw the figures of whole runs as PNG"),
}


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose, description=purpose)
        # only the one that is asked for, for each has its own needs
        if name in sys.argv[1:2]:
            importlib.import_module(module).add_options(command)
    options = parser.parse_args()
    return int(importlib.import_module(COMMANDS[options.command][0]).main(options))


if __name__ == "__main__":
    sys.exit(main())
