"""The option --estimators of `gpubp bench`: the estimators beside scikit-learn's."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

from ..benchmarks.estimators.report import estimator_tables
from ..benchmarks.estimators.results import EstimatorResults
from ..benchmarks.estimators.suite import EstimatorSettings, run_estimators
from ..benchmarks.estimators.tasks import DATA
from ..benchmarks.report import markdown, show
from ..errors import unknown_name

__all__ = ["run_bench_estimators"]

OTHERS = ("gpu", "budget", "architectures", "batch_sizes", "contenders", "optimizer", "memory",
          "compare")  # fmt: skip
"""The options of `gpubp bench` that the estimators' table does not have."""


def run_bench_estimators(options: argparse.Namespace, tell: Callable[[str], None]) -> int:
    """Measure, then print and write the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed at a task, else 0.
    """
    for name in OTHERS:
        if getattr(options, name):
            option = name.replace("_", "-")
            raise ValueError(f"--{option} was given with --estimators, which does not have it")
    if options.show is not None:
        results = EstimatorResults.load(options.show)
    else:
        # Results are saved after each task: an interrupted run loses none of them.
        keep = options.repeat is None and options.json
        results = run_estimators(
            _settings(options), tell, lambda r: r.save(options.json) if keep else None
        )
        tell("")
        if options.repeat is not None:
            run = EstimatorResults.load(options.repeat)
            run.repeat(results)
            results = run
        results.save(options.json)
    report = estimator_tables(results)
    if options.markdown:
        print("\n".join(map(markdown, report)), end="")
    else:
        show(report)
        if options.show is None:
            print(f"results   {options.json.resolve()}")
    return 1 if any(point.errors for point in results.points) else 0


def _settings(options: argparse.Namespace) -> EstimatorSettings:
    settings = EstimatorSettings.quick() if options.quick else EstimatorSettings.whole()
    if options.data is not None:
        for name in options.data:
            if name not in DATA:
                raise unknown_name("data set", name, DATA)
        settings = replace(
            settings,
            tasks=[task for task in settings.tasks if task.data in options.data],
            scored=tuple(name for name in settings.scored if name in options.data),
        )
    if options.rounds is not None:
        least = min(options.rounds, settings.least_rounds)
        settings = replace(settings, rounds=options.rounds, least_rounds=least)
    return settings
