"""What both tables of `gpubp bench` do with results: measured or read, written, printed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..benchmarks.estimators.results import EstimatorResults
from ..benchmarks.results import Results
from ..benchmarks.table import Table, markdown, show

__all__ = ["measured", "print_report", "refuse", "tell"]

AnyResults = TypeVar("AnyResults", Results, EstimatorResults)


def measured(
    options: argparse.Namespace,
    kind: type[AnyResults],
    measure: Callable[[Callable[[AnyResults], None]], AnyResults],
) -> AnyResults:
    """Read the results that --show names, or measure and write them; --repeat adds them to a run.

    Parameters
    ----------
    options : argparse.Namespace
        The options of the command.
    kind : type
        The class of the results.
    measure : callable
        A function that measures. It gets a function that keeps the results so far.
    """
    if options.show is not None:
        return kind.load(options.show)
    # Results are saved after each point: an interrupted run loses none of them.
    keep = options.repeat is None and options.json
    results = measure(lambda so_far: so_far.save(options.json) if keep else None)
    tell("")
    if options.repeat is not None:
        newer, results = results, kind.load(options.repeat)
        results.repeat(newer)
    results.save(options.json)
    return results


def print_report(options: argparse.Namespace, report: Sequence[Table]) -> None:
    """Print the tables, and where new results are."""
    if options.markdown:
        print("\n".join(map(markdown, report)), end="")
        return
    show(report)
    if options.show is None:
        print(f"results   {options.json.resolve()}")


def refuse(options: argparse.Namespace, names: Sequence[str], kind: str) -> None:
    """Raise ValueError if an option was given that the kind of measurement does not have."""
    for name in names:
        if getattr(options, name):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} was given with {kind}, which does not have it")


def tell(line: str) -> None:
    """Show the progress: on a terminal in one line that changes, elsewhere in a new line each time."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
    elif line:
        print(line, file=sys.stderr, flush=True)
