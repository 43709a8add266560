"""Train on scikit-learn's handwritten digits with the backend that "auto" chooses."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import values
from .completion import files, words
from .outputs import check_output
from .parser import complete

__all__ = ["PICTURES", "add_arguments", "run"]

PICTURES = (
    ".eps", ".jpeg", ".jpg", ".pdf", ".pgf", ".png", ".ps", ".svg", ".svgz", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""The suffixes of pictures that matplotlib writes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the demo."""
    backend = parser.add_argument(
        "--backend",
        type=values.backend,
        default="auto",
        help="auto, numpy, cupy or cupy:1 (the second device); default: auto",
    )
    complete(backend, words(values.BACKENDS))
    parser.add_argument(
        "--epochs",
        type=values.whole_number("--epochs", 1),
        default=40,
        metavar="N",
        help="passes over the data; default: 40",
    )
    parser.add_argument(
        "--seed",
        type=values.whole_number("--seed", 0),
        default=1,
        metavar="N",
        help="seed of all random numbers; default: 1",
    )
    output = parser.add_argument(
        "--output",
        type=values.file("--output"),
        default=Path("gpubp-demo.png"),
        metavar="FILE",
        help="picture of the loss curve; default: gpubp-demo.png",
    )
    complete(output, files(*PICTURES))


def run(options: argparse.Namespace) -> int:
    """Train, print the progress, and test; return the exit status."""
    check_output("--output", options.output, PICTURES)
    from .demo_training import train  # noqa: PLC0415 - completion has no time for it

    return train(options)
