"""The run of `gpubp bench`: its settings from the options, and what is done with its results."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from ..benchmarks.compare import compare
from ..benchmarks.estimate import stages
from ..benchmarks.pictures import draw
from ..benchmarks.report import comparison_tables, tables
from ..benchmarks.results import Results
from ..benchmarks.settings import Settings, default_architectures, gpu, quick, small
from ..benchmarks.suite import run_suite
from ..benchmarks.widths import draw_widths, width_settings
from .bench import FOLDER
from .bench_estimators import run_bench_estimators
from .bench_first_call import run_bench_first_call
from .bench_results import measured, print_report, refuse
from .outputs import check_output_folder
from .status import UsageError

__all__ = ["run_bench"]

T = TypeVar("T")


def run_bench(options: argparse.Namespace) -> int:
    """Measure, then print, write and draw the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed at a point, else 0.
    """
    if options.json is None:
        kinds = ("estimators", "first_call", "widths")
        kind = next((kind for kind in kinds if getattr(options, kind)), "results")
        options.json = FOLDER / f"{kind.replace('_', '-')}.json"
    if options.first_call:
        return run_bench_first_call(options)
    if options.estimators:
        return run_bench_estimators(options)
    if options.data is not None:
        raise UsageError("--data was given without --estimators, whose data sets it chooses")
    if options.widths:
        refuse(
            options,
            ("quick", "gpu", "small", "architectures", "batch_sizes", "optimizer"),
            "--widths",
        )
    settings = _settings(options)
    old = None if options.compare is None else Results.load(options.compare)
    if options.show is None and not options.markdown:
        check_output_folder("--pictures", options.pictures)
    results = measured(
        options,
        Results,
        lambda others: stages(settings, others),
        lambda tell, keep: run_suite(settings, tell, keep),
    )
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
    """Make the settings from the options, whose values the parser has checked.

    Raises
    ------
    UsageError
        If options do not fit together.
    """
    settings = Settings(default_architectures())
    if options.quick or options.gpu or options.small:
        settings = gpu() if options.gpu else small() if options.small else quick()
    elif options.widths:
        settings = width_settings()
    if options.architectures is not None:
        settings = replace(settings, architectures=_once(options.architectures))
    if options.optimizer is not None:
        settings = replace(settings, optimizers=_once(options.optimizer))
    if options.contenders is not None:
        settings = replace(settings, contenders=_once(options.contenders))
    else:
        left_out = dict(settings.left_out)
        names = tuple(name for name in settings.contenders if name not in left_out)
        settings = replace(settings, contenders=names)
    if options.batch_sizes is not None:
        sizes = _once(options.batch_sizes)
        in_order = options.gpu or options.budget is not None
        settings = replace(settings, batch_sizes=sizes if in_order else tuple(sorted(sizes)))
    if options.budget is not None:
        settings = replace(settings, budget=options.budget)
    if options.rounds is not None:
        least = min(options.rounds, settings.least_rounds)
        settings = replace(settings, rounds=options.rounds, least_rounds=least)
    if options.busy and options.repeat is not None:
        raise UsageError("--busy was given with --repeat, whose run would mix both kinds of points")
    if options.busy:  # every turn is disturbed
        settings = replace(settings, busy=options.busy, retakes=0)
    return replace(settings, memory=options.memory)


def _once(given: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(given))
