"""Compare a model's predictions with a file of data whose target is known."""

from __future__ import annotations

import argparse

from . import values
from .completion import columns, files
from .demo import PICTURES
from .outputs import check_output
from .parser import complete
from .table_options import MODEL_HELP, add_backend, add_data, add_quiet, check_not_input

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of evaluation."""
    complete(parser.add_argument("model", metavar="MODEL", help=MODEL_HELP), files(".skops"))
    add_data(parser)
    target = parser.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column with the truth, if it has another name than in training",
    )
    complete(target, columns)
    plot = parser.add_argument(
        "--plot",
        type=values.file("--plot"),
        metavar="FILE",
        help="draw the confusion matrix, or the residuals",
    )
    complete(plot, files(*PICTURES))
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    add_backend(parser)
    add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Check what will be written, then evaluate; return the exit status."""
    if options.plot is not None:
        check_output("--plot", options.plot, PICTURES)
        check_not_input("--plot", options.plot, data=options.data, model=options.model)
    from .table_prediction import evaluate  # noqa: PLC0415 - completion has no time for it

    return evaluate(options)
