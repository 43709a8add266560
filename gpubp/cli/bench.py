"""Measure training and prediction of gpubp and of other installed libraries."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ..benchmarks.compare import compare
from ..benchmarks.contenders import CONTENDERS
from ..benchmarks.estimators.tasks import DATA
from ..benchmarks.pictures import draw
from ..benchmarks.report import comparison_tables, tables
from ..benchmarks.results import Results
from ..benchmarks.settings import Settings, default_architectures, gpu, quick, small
from ..benchmarks.suite import run_suite
from ..benchmarks.tasks import ARCHITECTURES, BATCH_SIZES, DISTINCT_ROWS, OPTIMIZERS
from ..benchmarks.widths import draw_widths, width_settings
from ..errors import unknown_name
from .bench_estimators import run_bench_estimators
from .bench_first_call import run_bench_first_call
from .bench_results import measured, print_report, refuse, tell

__all__ = ["add_arguments", "run"]

FOLDER = Path("gpubp-bench")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the benchmark."""
    add = parser.add_argument
    add("--quick", action="store_true", help="measure a small part, in less than a minute")
    add(
        "--small",
        action="store_true",
        help="measure Adam's steps of six small networks, in two minutes",
    )
    add("--gpu", action="store_true", help="measure Adam's steps on a GPU, in two minutes")
    add(
        "--budget",
        type=float,
        metavar="SECONDS",
        help="time limit; if it is short, the last batch sizes are measured without peers, or left out",
    )
    add("--architectures", nargs="+", metavar="NAME", help=f"some of {', '.join(ARCHITECTURES)}")
    add("--batch-sizes", nargs="+", type=int, metavar="N", help=f"default: {BATCH_SIZES}")
    add("--contenders", nargs="+", metavar="NAME", help=f"some of {', '.join(CONTENDERS)}")
    add("--optimizer", nargs="+", metavar="NAME", help=f"some of {', '.join(OPTIMIZERS)}")
    add(
        "--estimators",
        action="store_true",
        help="measure fit, predict and a search beside scikit-learn's MLPs; --quick takes two minutes",
    )
    add(
        "--first-call",
        action="store_true",
        help="measure what a new process waits for, in two minutes",
    )
    add(
        "--widths",
        action="store_true",
        help="measure and draw a step over the width, in three minutes",
    )
    add(
        "--busy",
        type=int,
        default=0,
        metavar="N",
        help="measure beside N processes that use a core each",
    )
    add("--data", nargs="+", metavar="NAME", help=f"with --estimators: some of {', '.join(DATA)}")
    add("--rounds", type=int, metavar="N", help="the most rounds of measurement at each point")
    add("--memory", action="store_true", help="measure peak memory too, in fresh processes")
    add("--compare", type=Path, metavar="OLD.json", help="show what changed since that run")
    add("--repeat", type=Path, metavar="RUN.json", help="replace points of that run by new ones")
    add("--show", type=Path, metavar="RUN.json", help="show that run, without measuring")
    add("--markdown", action="store_true", help="print the tables in Markdown")
    add("--json", type=Path, metavar="PATH", help="results file")
    add("--pictures", type=Path, metavar="FOLDER", default=FOLDER, help="folder for pictures")


def run(options: argparse.Namespace) -> int:
    """Measure, then print, write and draw the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed at a point, else 0.
    """
    if options.rounds is not None and options.rounds < 1:
        raise ValueError(f"--rounds is {options.rounds}, expected 1 or more")
    if options.json is None:
        kinds = ("estimators", "first_call", "widths")
        kind = next((kind for kind in kinds if getattr(options, kind)), "results")
        options.json = FOLDER / f"{kind.replace('_', '-')}.json"
    if options.first_call:
        return run_bench_first_call(options)
    if options.estimators:
        return run_bench_estimators(options)
    if options.data is not None:
        raise ValueError("--data was given without --estimators, whose data sets it chooses")
    if options.widths:
        refuse(
            options,
            ("quick", "gpu", "small", "architectures", "batch_sizes", "optimizer"),
            "--widths",
        )
    settings = _settings(options)
    old = None if options.compare is None else Results.load(options.compare)
    results = measured(options, Results, lambda keep: run_suite(settings, tell, keep))
    report = tables(results)
    if old is not None:
        report += comparison_tables(compare(results, old), str(options.compare))
    print_report(options, report)
    if not options.markdown and results.settings.get("batch_sizes", True):  # lines need batch sizes
        try:
            for path in [*draw(results, options.pictures), *draw_widths(results, options.pictures)]:
                print(f"picture   {path.resolve()}")
        except ImportError as error:
            print(f"pictures  absent: {error}")
    return 1 if any(point.errors for point in results.points) else 0


def _settings(options: argparse.Namespace) -> Settings:
    """Make the settings from the options.

    Raises
    ------
    ValueError
        If a name is unknown or a number is out of range.
    """
    settings = Settings(default_architectures())
    if options.quick or options.gpu or options.small:
        settings = gpu() if options.gpu else small() if options.small else quick()
    elif options.widths:
        settings = width_settings()
    if options.architectures is not None:
        names = _known("architecture", options.architectures, ARCHITECTURES)
        settings = replace(settings, architectures=names)
    if options.optimizer is not None:
        names = _known("optimizer", options.optimizer, OPTIMIZERS)
        settings = replace(settings, optimizers=names)
    if options.contenders is not None:
        names = _known("contender", options.contenders, CONTENDERS)
        settings = replace(settings, contenders=names)
    else:
        left_out = dict(settings.left_out)
        names = tuple(name for name in settings.contenders if name not in left_out)
        settings = replace(settings, contenders=names)
    for size in options.batch_sizes or ():
        if size < 1 or (size > DISTINCT_ROWS and size % DISTINCT_ROWS):
            raise ValueError(
                f"batch size {size}: expected from 1 to {DISTINCT_ROWS}, or a multiple of that"
            )
    if options.batch_sizes is not None:
        sizes = tuple(dict.fromkeys(options.batch_sizes))
        in_order = options.gpu or options.budget is not None
        settings = replace(settings, batch_sizes=sizes if in_order else tuple(sorted(sizes)))
    if options.budget is not None:
        if not options.budget > 0:
            raise ValueError(f"--budget is {options.budget}, expected seconds above 0")
        settings = replace(settings, budget=options.budget)
    if options.rounds is not None:
        least = min(options.rounds, settings.least_rounds)
        settings = replace(settings, rounds=options.rounds, least_rounds=least)
    if options.busy < 0:
        raise ValueError(f"--busy is {options.busy}, expected 0 or more processes")
    if options.busy and options.repeat is not None:
        raise ValueError("--busy was given with --repeat, whose run would mix both kinds of points")
    if options.busy:  # every turn is disturbed
        settings = replace(settings, busy=options.busy, retakes=0)
    return replace(settings, memory=options.memory)


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    for name in names:
        if name not in known:
            raise unknown_name(what, name, known)
    return tuple(dict.fromkeys(names))
