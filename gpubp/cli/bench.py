"""Measure training and prediction of gpubp and of other installed libraries."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import values
from .bench_names import ARCHITECTURES, BATCH_SIZES, CONTENDERS, DATA, DISTINCT_ROWS, OPTIMIZERS
from .bench_progress import tell
from .completion import files, folders, words
from .parser import complete

__all__ = ["FOLDER", "add_arguments", "run"]

FOLDER = Path("gpubp-bench")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark."""
    parser.usage = "%(prog)s [option ...]"
    _add_kinds(parser)
    _add_parts(parser)
    _add_lengths(parser)
    _add_results(parser)


def run(options: argparse.Namespace) -> int:
    """Measure, then print, write and draw the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed at a point, else 0.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C; its argument says which results are kept, and where.
    """
    options.kept = ""
    try:
        from .bench_suite import run_bench  # noqa: PLC0415 - completion has no time for it

        return run_bench(options)
    except KeyboardInterrupt:
        tell("")  # clears the progress
        raise KeyboardInterrupt(options.kept) from None


def _add_kinds(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "what is measured",
        "By default steps, predictions and epochs of all networks, in half an hour on two cores. The"
        " results so far are written again and again: Ctrl-C loses little.",
    )
    add = group.add_argument
    add("--quick", action="store_true", help="a small part, in less than a minute")
    add("--small", action="store_true", help="Adam's steps of six small networks, in two minutes")
    add("--gpu", action="store_true", help="Adam's steps on a GPU, in two minutes")
    add(
        "--widths",
        action="store_true",
        help="a step over the width of the layers, with a picture, in less than three minutes",
    )
    add("--first-call", action="store_true", help="what a new process waits for, in two minutes")
    add(
        "--estimators",
        action="store_true",
        help="fit, predict and a search beside scikit-learn's MLPs, in ten minutes; with --quick in one",
    )
    add("--memory", action="store_true", help="peak memory too, in fresh processes")


def _add_parts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("which part of it")
    _add_names(group, "--architectures", ARCHITECTURES)
    sizes = group.add_argument(
        "--batch-sizes",
        nargs="+",
        type=_batch_size,
        metavar="N",
        help=f"default: {', '.join(map(str, BATCH_SIZES))}",
    )
    complete(sizes, words([str(size) for size in BATCH_SIZES]))
    _add_names(group, "--optimizer", OPTIMIZERS)
    _add_names(group, "--contenders", CONTENDERS)
    _add_names(group, "--data", DATA, "with --estimators: ")


def _add_names(group: Any, option: str, known: tuple[str, ...], condition: str = "") -> None:
    action = group.add_argument(
        option,
        nargs="+",
        type=values.name_of(option, known),
        metavar="NAME",
        help=f"{condition}some of {', '.join(known)}",
    )
    complete(action, words(known))


def _batch_size(text: str) -> int:
    size = values.whole_number("--batch-sizes", 1)(text)
    if size > DISTINCT_ROWS and size % DISTINCT_ROWS:
        raise argparse.ArgumentTypeError(
            f"--batch-sizes is {size}, expected at most {DISTINCT_ROWS}, or a multiple of that"
        )
    return size


def _add_lengths(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how long, and how disturbed")
    group.add_argument(
        "--budget",
        type=values.number("--budget", 0),
        metavar="SECONDS",
        help="time limit; if it is short, the last batch sizes are measured without peers, or left out",
    )
    group.add_argument(
        "--rounds",
        type=values.whole_number("--rounds", 1),
        metavar="N",
        help="the most rounds of measurement at each point",
    )
    group.add_argument(
        "--busy",
        type=values.whole_number("--busy", 0),
        default=0,
        metavar="N",
        help="measure beside N processes that use a core each",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")

    def add(option: str, what: str, metavar: str, **keywords: Any) -> None:
        action = group.add_argument(option, type=Path, metavar=metavar, help=what, **keywords)
        complete(action, folders if metavar == "FOLDER" else files(".json"))

    add("--json", f"results file; default: one in {FOLDER}/, named after what is measured", "FILE")
    add("--pictures", f"folder for pictures; default: {FOLDER}/", "FOLDER", default=FOLDER)
    group.add_argument("--markdown", action="store_true", help="print the tables in Markdown")
    add("--show", "show that run, without measuring", "RUN.json")
    add("--compare", "show what changed since that run", "OLD.json")
    add("--repeat", "replace points of that run by new ones", "RUN.json")
