"""The option --estimators of `gpubp bench`: the estimators beside scikit-learn's."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..benchmarks.estimate import estimator_stages
from ..benchmarks.estimators.report import estimator_tables
from ..benchmarks.estimators.results import EstimatorResults
from ..benchmarks.estimators.suite import EstimatorSettings, run_estimators
from .bench_results import measured, print_report, refuse

__all__ = ["run_bench_estimators"]

OTHERS = ("gpu", "small", "widths", "budget", "architectures", "batch_sizes", "contenders",
          "optimizer", "memory", "compare", "busy")  # fmt: skip
"""The options of `gpubp bench` that the estimators' table does not have."""


def run_bench_estimators(options: argparse.Namespace) -> int:
    """Measure, then print and write the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed at a task, else 0.
    """
    refuse(options, OTHERS, "--estimators")
    settings = _settings(options)
    results = measured(
        options,
        EstimatorResults,
        lambda others: estimator_stages(settings, others),
        lambda tell, keep: run_estimators(settings, tell, keep),
    )
    print_report(options, estimator_tables(results))
    return 1 if any(point.errors for point in results.points) else 0


def _settings(options: argparse.Namespace) -> EstimatorSettings:
    settings = EstimatorSettings.quick() if options.quick else EstimatorSettings.whole()
    if options.data is not None:
        settings = replace(
            settings,
            tasks=[task for task in settings.tasks if task.data in options.data],
            scored=tuple(name for name in settings.scored if name in options.data),
        )
    if options.rounds is not None:
        least = min(options.rounds, settings.least_rounds)
        settings = replace(settings, rounds=options.rounds, least_rounds=least)
    return settings
