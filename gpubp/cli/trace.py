"""Show one forward and backward pass of one row: each equation with its numbers."""

from __future__ import annotations

import argparse
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable

from . import values
from .completion import files
from .outputs import check_output
from .parser import complete
from .status import UsageError
from .table_options import ENDINGS, add_backend, add_quiet, check_not_input

__all__ = ["add_arguments", "run"]

PAGES = (".html", ".htm")
MOST_DIGITS = 17

EXAMPLES = """\
without MODEL, a worked example is traced: three inputs, four hidden neurons,
two outputs, and weights with which every activation and δ is a fraction

DATA of a .safetensors file has a column for each input, in their order, then
the targets: a column for each output, or one of labels from 0; of a .skops
file it has the columns of its training

examples:
  gpubp trace
  gpubp trace --x 0,1,-1 --y 0,1 --learning-rate 0.5
  gpubp trace --html example.html
  gpubp trace network.safetensors --x 5.1,3.5,1.4,0.2 --y 0
  gpubp trace model.skops flowers.csv --row 7 --html row7.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a trace."""
    # argparse takes "-1,2" for an option; the value of --x may begin with a minus.
    parser._negative_number_matcher = re.compile(r"-\.?\d[-+\d.,eE]*$")
    model = parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="a .safetensors file that Network.save has written, or a .skops file of `gpubp train`;"
        " default: a worked example",
    )
    complete(model, files(".safetensors", ".skops"))
    data = parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="CSV, TSV, Parquet, .npy or .npz file with the row and its target; - for standard input",
    )
    complete(data, files(*ENDINGS))
    add = parser.add_argument
    add(
        "--row",
        type=values.whole_number("--row", 0),
        metavar="N",
        help="the row of DATA, counted from 0; default: 0",
    )
    add("--x", type=numbers("--x"), metavar="X,...", help="the inputs, instead of DATA")
    add(
        "--y",
        type=numbers("--y"),
        metavar="Y,...",
        help="the target for --x: a number for each output, or a label from 0",
    )
    add(
        "--learning-rate",
        type=values.number("--learning-rate", 0),
        metavar="RATE",
        help="show a step of gradient descent, too",
    )
    add(
        "--digits",
        type=values.whole_number("--digits", 0, MOST_DIGITS),
        default=4,
        metavar="D",
        help="decimal places of the text; default: 4",
    )
    page = add(
        "--html",
        type=values.file("--html"),
        metavar="FILE",
        help="write a page in which each number can be followed, instead of text",
    )
    complete(page, files(*PAGES))
    plain = add(
        "--json",
        type=values.file("--json"),
        metavar="FILE",
        help="write all numbers as JSON, instead of text",
    )
    complete(plain, files(".json"))
    add_backend(parser)
    add_quiet(parser)
    parser.epilog = EXAMPLES


def run(options: argparse.Namespace) -> int:
    """Check the options and what will be written, then trace; return the exit status."""
    _check_fit(options)
    inputs = {"data": options.data, "model": options.model}
    if options.html is not None:
        check_output("--html", options.html, PAGES)
        check_not_input("--html", options.html, **inputs)
    if options.json is not None:
        check_output("--json", options.json, (".json",))
        check_not_input("--json", options.json, **inputs)
    from .trace_row import trace  # noqa: PLC0415 - completion has no time for it

    return trace(options)


def _check_fit(options: argparse.Namespace) -> None:
    """Raise a UsageError if options do not fit together."""
    typed = options.x is not None or options.y is not None
    if options.data is not None and typed:
        given = "--x" if options.x is not None else "--y"
        raise UsageError(f"{given} was given with DATA, expected one of the two")
    if options.row is not None and options.data is None:
        raise UsageError("--row was given without DATA, whose row it chooses")
    if options.model is None and options.backend == "cupy":
        raise UsageError("--backend is cupy, expected a MODEL for it: the example is for NumPy")
    if options.model is None or options.data is not None:
        return
    if not is_network(options.model) and typed:
        raise UsageError(
            f"--x and --y are for a .safetensors file, and MODEL is {options.model}, expected DATA"
        )
    if options.x is None or options.y is None:
        missing = "--y" if options.x is not None else "--x" if options.y is not None else "DATA"
        other = "" if typed or not is_network(options.model) else ", or --x and --y"
        raise UsageError(f"{missing} is missing, expected a row for {options.model}{other}")


def is_network(model: str) -> bool:
    """Whether the file of a model is that of a network alone, by its suffix."""
    return model.lower().endswith(".safetensors")


def numbers(option: str) -> Callable[[str], list[float]]:
    """Make the type of an option that is a list of numbers, such as 1,2,-1."""

    def convert(text: str) -> list[float]:
        try:
            given = [float(part) for part in text.split(",")]
        except ValueError:
            given = [math.nan]
        if not all(map(math.isfinite, given)):
            raise ArgumentTypeError(
                f"{option} is {text}, expected numbers with commas between them, such as 1,2,-1"
            )
        return given

    return convert
