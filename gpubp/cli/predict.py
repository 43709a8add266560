"""Predict from a file of data with a model that `gpubp train` has written."""

from __future__ import annotations

import argparse

from . import values
from .completion import files
from .outputs import check_output
from .parser import complete
from .table_options import MODEL_HELP, add_backend, add_data, add_quiet, check_not_input

__all__ = ["add_arguments", "run"]

WRITTEN = (".csv", ".parquet", ".npy")
"""The suffixes of files of predictions."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of prediction."""
    complete(parser.add_argument("model", metavar="MODEL", help=MODEL_HELP), files(".skops"))
    add_data(parser)
    out = parser.add_argument(
        "--out",
        type=values.file("--out"),
        metavar="FILE",
        help="write predictions to a .csv, .parquet or .npy file; default: CSV to standard output",
    )
    complete(out, files(*WRITTEN))
    parser.add_argument(
        "--probabilities",
        action="store_true",
        help="add a column for each class with its probability",
    )
    add_backend(parser)
    add_quiet(parser)


def run(options: argparse.Namespace) -> int:
    """Check what will be written, then predict; return the exit status."""
    if options.out is not None:
        check_output("--out", options.out, WRITTEN)
        check_not_input("--out", options.out, data=options.data, model=options.model)
    from .table_prediction import predict  # noqa: PLC0415 - completion has no time for it

    return predict(options)
