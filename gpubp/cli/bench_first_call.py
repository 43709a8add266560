"""The option --first-call of `gpubp bench`: what a new process waits for."""

from __future__ import annotations

import argparse

from ..benchmarks.estimate import first_call_stages
from ..benchmarks.first_call import NEW_CONTENDERS, ROUNDS, TRAINING, run_first_calls
from ..benchmarks.report import tables
from ..benchmarks.results import Results
from .bench_results import measured, print_report, refuse
from .status import UsageError

__all__ = ["run_bench_first_call"]

OTHERS = ("quick", "gpu", "small", "budget", "architectures", "batch_sizes", "optimizer", "data",
          "estimators", "widths", "memory", "compare", "repeat", "busy")  # fmt: skip
"""The options of `gpubp bench` that first calls do not have."""


def run_bench_first_call(options: argparse.Namespace) -> int:
    """Measure, then print and write the results.

    Returns
    -------
    int
        The exit status: 1 if a contender failed, else 0.
    """
    refuse(options, OTHERS, "--first-call")
    contenders = tuple(dict.fromkeys(options.contenders or NEW_CONTENDERS))
    for name in contenders:
        if name not in TRAINING:
            raise UsageError(f"--contenders is {name}, which has no training steps to measure")
    rounds = ROUNDS if options.rounds is None else options.rounds
    results = measured(
        options,
        Results,
        lambda others: first_call_stages(contenders, rounds, others),
        lambda tell, keep: run_first_calls(contenders, rounds, tell, keep),
    )
    print_report(options, tables(results))
    return 1 if any(call.failed for call in results.first_calls) else 0
