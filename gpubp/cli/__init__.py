"""The command line: `gpubp demo`, `gpubp info`, `gpubp bench`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from . import bench, demo, info
from .status import INTERRUPTED

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Parameters
    ----------
    arguments : sequence of str or None
        The words after `gpubp`; None stands for those of the process.

    Returns
    -------
    int
        The exit status: 0; 1 after an error, which is printed in one sentence; 2 for wrong arguments; 130
        after Ctrl-C. SIGTERM ends a command with 143.
    """
    parser = argparse.ArgumentParser(
        prog="gpubp", description="A backpropagation engine with explicit kernels."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in (demo, info, bench):
        name = command.__name__.rpartition(".")[2]
        summary = (command.__doc__ or "").splitlines()[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        command.add_arguments(subparser)
        subparser.set_defaults(run=command.run)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except KeyboardInterrupt:
        print(f"gpubp {options.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, RuntimeError, ImportError, OSError) as error:
        print(f"gpubp {options.command}: {error}", file=sys.stderr)
        return 1
