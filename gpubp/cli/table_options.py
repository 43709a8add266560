"""Options that the commands for files of data share, and the names that their values take.

Completion needs them at once, without the modules that they come from. A test compares the names with the
tables of gpubp.
"""

from __future__ import annotations

import argparse
import math
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

from . import values
from .completion import files, words
from .parser import complete

__all__ = [
    "MODEL_HELP",
    "add_backend",
    "add_data",
    "add_quiet",
    "check_not_input",
    "from_zero",
    "share",
    "widths",
]

FORMATS = ("csv", "tsv", "parquet", "npy", "npz")
ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".npy", ".npz", ".gz")
ACTIVATIONS = (
    "elu", "exponential", "gelu", "gelu_tanh", "hard_sigmoid", "hard_swish", "hard_tanh", "identity",
    "leaky_relu", "mish", "relu", "selu", "sigmoid", "silu", "sine", "softplus", "squareplus", "tanh",
)  # fmt: skip
OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "lion")
SCHEDULES = (
    "constant", "step", "exponential", "inverse_scaling", "cosine", "one_cycle", "on_plateau",
)  # fmt: skip
PRECISIONS = ("tf32", "bfloat16", "float16")
DTYPES = ("float32", "float64")
TASKS = ("auto", "classification", "regression")
MODEL_HELP = "the file of a model that `gpubp train` has written"


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the file of data, and its format."""
    data = parser.add_argument(
        "data",
        metavar="DATA",
        help="CSV, TSV, Parquet, .npy or .npz file; text and .npy also with gzip; - for standard input",
    )
    complete(data, files(*ENDINGS))
    format = parser.add_argument(
        "--format",
        type=values.name_of("--format", FORMATS),
        metavar="NAME",
        help=f"format of DATA: {', '.join(FORMATS)}; default: as its suffix says, csv for -",
    )
    complete(format, words(FORMATS))


def add_backend(parser: argparse.ArgumentParser) -> None:
    """Add the backend."""
    backend = parser.add_argument(
        "--backend",
        type=values.backend,
        default="auto",
        metavar="NAME",
        help="auto, numpy, cupy or cupy:1 (the second device); default: auto",
    )
    complete(backend, words(values.BACKENDS))


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Add what keeps standard error empty."""
    parser.add_argument(
        "--quiet", action="store_true", help="print no notes and no progress to standard error"
    )


def check_not_input(option: str, path: Path, **others: str | Path | None) -> None:
    """Check that a file that will be written is none of the files that are read or written, too.

    Parameters
    ----------
    option : str
        The option as it is typed.
    path : path-like
        Its file.
    **others : path-like or None
        The other files, by what they are: data, model.
    """
    for what, other in others.items():
        if other is None or str(other) == "-":
            continue
        if path.resolve() == Path(other).resolve():
            the = "" if what == "data" else "the "
            raise ValueError(f"{option} is {path}, the file of {the}{what}, expected another file")


def widths(option: str) -> Callable[[str], tuple[int, ...]]:
    """Make the type of an option that is a list of widths, such as 256,256, or "none"."""

    def convert(text: str) -> tuple[int, ...]:
        if text == "none":
            return ()
        parts = text.split(",")
        if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
            raise ArgumentTypeError(
                f"{option} is {text}, expected whole numbers at least 1, such as 256,256, or none"
            )
        return tuple(map(int, parts))

    return convert


def share(option: str) -> Callable[[str], float]:
    """Make the type of an option that is a number from 0 to below 1."""
    return _from_zero(option, 1, "a number at least 0 and below 1")


def from_zero(option: str) -> Callable[[str], float]:
    """Make the type of an option that is a number of at least 0."""
    return _from_zero(option, math.inf, "a number at least 0")


def _from_zero(option: str, below: float, expected: str) -> Callable[[str], float]:
    def convert(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < below:
            raise ArgumentTypeError(f"{option} is {text}, expected {expected}")
        return value

    return convert
