"""The commands, and the parser of their options."""

from __future__ import annotations

import os

from .. import __version__
from . import STATUSES, bench, completion, demo, evaluate, info, predict, trace, train
from .parser import Parser

__all__ = ["COMMANDS", "command_line"]

COMMANDS = (train, predict, evaluate, trace, demo, info, bench, completion)
"""The modules of the commands, in the order of the help. Each has `add_arguments` and `run`.

The first line of its docstring is its summary."""


def command_line() -> Parser:
    """Make the parser; within a shell's completion, print the completions and end the process."""
    parser = Parser(
        prog="gpubp",
        description="A backpropagation engine with explicit kernels.",
        epilog=STATUSES,
    )
    parser.add_argument(
        "--version", action="version", version=f"gpubp {__version__}", help="print the version"
    )
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", title="commands"
    )
    for module in COMMANDS:
        name = module.__name__.rpartition(".")[2]
        summary = (module.__doc__ or "").splitlines()[0]
        subparser = commands.add_parser(name, help=summary, description=summary)
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete  # noqa: PLC0415 - only completion needs it

        argcomplete.autocomplete(parser, always_complete_options="long")
    return parser
