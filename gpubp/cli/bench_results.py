"""What both tables of `gpubp bench` do with results: measured or read, written, printed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TypeVar

from ..benchmarks.estimate import cores_of_others
from ..benchmarks.estimators.results import EstimatorResults
from ..benchmarks.results import Results
from ..benchmarks.table import Table, markdown, show
from .bench_progress import Progress, tell
from .outputs import check_output
from .status import UsageError

__all__ = ["measured", "print_report", "refuse"]

AnyResults = TypeVar("AnyResults", Results, EstimatorResults)


Keep = Callable[[AnyResults], None]


def measured(
    options: argparse.Namespace,
    kind: type[AnyResults],
    stages: Callable[[float], Sequence[float]],
    measure: Callable[[Callable[[str], None], Keep[AnyResults]], AnyResults],
) -> AnyResults:
    """Read the results that --show names, or measure and write them; --repeat adds them to a run.

    The results so far are written again and again, so that an interrupted run loses little.

    Parameters
    ----------
    options : argparse.Namespace
        The options of the command. Its attribute `kept` is set to what is said after Ctrl-C.
    kind : type
        The class of the results.
    stages : callable
        A function that estimates the seconds of the run's stages from the cores that others use.
    measure : callable
        A function that measures. It gets a function that tells the progress, and one that keeps the results
        so far.
    """
    if options.show is not None:
        return kind.load(options.show)
    check_output("--json", options.json, makes_folder=True)
    earlier = None if options.repeat is None else kind.load(options.repeat)
    options.kept = "interrupted before the first results; nothing was written"

    def keep(so_far: AnyResults) -> None:
        whole = so_far
        if earlier is not None:
            whole = deepcopy(earlier)
            whole.repeat(so_far)
        whole.save(options.json)
        options.kept = f"interrupted; {so_far.counted()} so far are in {options.json}"

    progress = Progress(stages(cores_of_others()), tell)
    progress.begin()
    results = measure(progress, keep)
    tell("")
    keep(results)
    options.kept = f"interrupted; all results are in {options.json}"
    return results if earlier is None else kind.load(options.json)


def print_report(options: argparse.Namespace, report: Sequence[Table]) -> None:
    """Print the tables, and where new results are."""
    if options.markdown:
        print("\n".join(map(markdown, report)), end="")
        return
    show(report)
    if options.show is None:
        print(f"results   {options.json.resolve()}")


def refuse(options: argparse.Namespace, names: Sequence[str], kind: str) -> None:
    """Raise UsageError if an option was given that the kind of measurement does not have."""
    for name in names:
        if getattr(options, name):
            option = name.replace("_", "-")
            raise UsageError(f"--{option} was given with {kind}, which does not have it")
