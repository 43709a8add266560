"""The stages of a trial: what they run, and within which time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

PARTS = Path(__file__).resolve().parent
TESTS = PARTS.parent
ROOT = TESTS.parent


@dataclass(frozen=True)
class Stage:
    """Commands that run one after another.

    Attributes
    ----------
    seconds : float
        The deadline of all together, before `--seconds` scales it.
    commands : mapping of str to sequence of str
        By name. "{python}" is this interpreter, "{scratch}" a folder that is deleted, "{results}" a file of
        JSON whose contents go to bench.jsonl, and "{budget}" the seconds it has.
    records : str
        The file that the commands' records go to.
    by_default : bool
        Whether it runs where no stages are picked.
    """

    seconds: float
    commands: Mapping[str, Sequence[str]]
    records: str = "records.jsonl"
    environment: Mapping[str, str] = field(default_factory=dict)
    by_default: bool = True


TEST_SECONDS = 60
WORKERS = min(12, os.cpu_count() or 1)
SUITE = (
    "{python}", "-m", "pytest", str(TESTS), "-q", "-p", "gpu_plugin", "-p", "no:cacheprovider",
    "-o", "addopts=", "-W", "default", "--tb=short", "--continue-on-collection-errors",
    "--no-header", "--no-summary",
)  # fmt: skip
SANITIZER = ("compute-sanitizer", "--error-exitcode", "9", "--print-limit", "30", "--tool")
VERBS = ("{python}", str(PARTS / "gpu_verbs.py"))
BENCH = (
    "{python}", "-m", "gpubp", "bench", "--gpu", "--budget", "{budget}", "--json", "{results}",
    "--pictures", "{scratch}/pictures", "--contenders", "gpubp-cupy",
)  # fmt: skip
LAUNCHED = "gpubp-cupy-launched gpubp-numpy torch-cuda torch-cuda-graph"
COMPILED = "torch-cuda-compile jax-cuda --architectures narrow classifier --batch-sizes 512 2048"
"""They take longer to compile than all the others to be measured."""
BREAKDOWN = (
    "{python}", str(ROOT / "benchmarks/tools/breakdown.py"), "--backend", "cupy", "--rounds", "5",
    "--json", "{results}",
)  # fmt: skip
POINTS = (
    "narrow:32 narrow:512 narrow-6x64:512 narrow:2048 classifier:512 classifier:2048"
    " regression:2048 wide:8192"
)
SWEEP = ("{python}", str(ROOT / "benchmarks/tools/gpu_sweep.py"))

STAGES: dict[str, Stage] = {
    "facts": Stage(20, {"facts": ("{python}", str(PARTS / "gpu_facts.py"))}),
    "smoke": Stage(30, {"smoke": ("{python}", str(PARTS / "gpu_smoke.py"))}),
    "suite": Stage(130, {"suite": SUITE}, "suite.jsonl", {"GPUBP_CUDA_GRAPHS": "0"}),
    "graphs": Stage(80, {"graphs": SUITE}, "graphs.jsonl", {"GPUBP_CUDA_GRAPHS": "1"}),
    "sanitizer": Stage(
        80,
        {
            "compile": (*VERBS, "--no-pool"),
            "memcheck": (*SANITIZER, "memcheck", *VERBS, "--no-pool"),
            "racecheck": (*SANITIZER, "racecheck", *VERBS, "--no-pool", "--sharing"),
        },
    ),
    "bench": Stage(110, {"bench": (*BENCH, *LAUNCHED.split())}),
    "breakdown": Stage(
        60,
        {
            "kernels": (*BREAKDOWN, *POINTS.split()),
            "bfloat16": (*BREAKDOWN, "wide:8192", "--precision", "bfloat16"),
        },
    ),
    "compilers": Stage(70, {"compilers": (*BENCH, *COMPILED.split())}),
    "sweep": Stage(
        90, {"sweep": (*SWEEP, "--seconds", "{budget}", "--json", "{results}")}, by_default=False
    ),
}
STARTING = 30
"""Seconds that benchmarks take before they begin to count theirs."""
PROBE = Stage(20, {"probe": ("{python}", str(PARTS / "gpu_facts.py"), "--probe")})


def suite_options() -> list[str]:
    """Workers and a deadline for each test, where pytest has what they need."""
    options = []
    parallel = find_spec("xdist") is not None
    if parallel:
        options += ["-n", str(WORKERS), "--max-worker-restart", "200", "--maxschedchunk", "4"]
    if find_spec("pytest_timeout") is not None:
        # A thread ends the process even where it waits for a kernel without an end.
        method = "thread" if parallel else "signal"
        options += ["--timeout", str(TEST_SECONDS), "--timeout-method", method]
    return options
