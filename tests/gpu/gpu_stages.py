"""The stages of a trial: what each runs, and its time limit."""

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
        The time limit of all commands together, before `--seconds` scales it.
    commands : mapping of str to sequence of str
        The words of each command, by the command's name. "{python}" stands for this interpreter,
        "{scratch}" for a folder that is deleted afterwards, "{results}" for a JSON file whose contents go
        to bench.jsonl, and "{budget}" for the command's seconds.
    records : str
        The file that the commands' records go to.
    by_default : bool
        Whether the stage runs if no stages are picked.
    """

    seconds: float
    commands: Mapping[str, Sequence[str]]
    records: str = "records.jsonl"
    environment: Mapping[str, str] = field(default_factory=dict)
    by_default: bool = True


TEST_SECONDS = 60
WORKERS = min(12, os.cpu_count() or 1)


def suite(*places: str) -> tuple[str, ...]:
    """Return the words that run the tests in these folders and files; without any, all tests."""
    return (
        "{python}", "-m", "pytest", *(str(TESTS / place) for place in places or (".",)), "-q",
        "-p", "gpu_plugin", "-p", "no:cacheprovider", "-p", "no:zarr", "-o", "addopts=", "-W", "default",
        "--tb=short", "--continue-on-collection-errors", "--no-header", "--no-summary",
    )  # fmt: skip


SUITE = suite()
SANITIZER = ("compute-sanitizer", "--error-exitcode", "9", "--print-limit", "30", "--tool")
VERBS = ("{python}", str(PARTS / "gpu_verbs.py"))
BENCH = (
    "{python}", "-m", "gpubp", "bench", "--gpu", "--budget", "{budget}", "--json", "{results}",
    "--pictures", "{scratch}/pictures", "--contenders", "gpubp-cupy",
)  # fmt: skip
LAUNCHED = "gpubp-cupy-launched gpubp-numpy torch-cuda torch-cuda-graph"
COMPILED = "torch-cuda-compile jax-cuda --architectures narrow classifier --batch-sizes 512 2048"
"""Contenders that take longer to compile than all others take to be measured."""
BREAKDOWN = (
    "{python}", str(ROOT / "benchmarks/tools/breakdown.py"), "--backend", "cupy", "--rounds", "5",
    "--json", "{results}",
)  # fmt: skip
POINTS = (
    "narrow:32 narrow:512 narrow-6x64:512 narrow:2048 classifier:512 classifier:2048"
    " regression:2048 wide:8192"
)
PLAN = ("{python}", str(ROOT / "benchmarks/tools/plan.py"), "--measure", "--json", "{results}")
PLANNED = "narrow-6x64:512 narrow:512 classifier:512 classifier:2048 wide:8192:bfloat16"
"""The steps that docs/benchmarks/gpu.md predicts."""
FUSED_TESTS = ("backends", "training", "network", "kernels/test_cublaslt.py")
SWEEP = ("{python}", str(ROOT / "benchmarks/tools/gpu_sweep.py"))

STAGES: dict[str, Stage] = {
    "facts": Stage(20, {"facts": ("{python}", str(PARTS / "gpu_facts.py"))}),
    "smoke": Stage(30, {"smoke": ("{python}", str(PARTS / "gpu_smoke.py"))}),
    "suite": Stage(130, {"suite": SUITE}, "suite.jsonl", {"GPUBP_CUDA_GRAPHS": "0"}),
    "graphs": Stage(80, {"graphs": SUITE}, "graphs.jsonl", {"GPUBP_CUDA_GRAPHS": "1"}),
    "fused": Stage(
        60,
        {"plan": (*PLAN, *PLANNED.split()), "fused": suite(*FUSED_TESTS)},
        "fused.jsonl",
        {"GPUBP_CUDA_FUSED": "1"},
    ),
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
    "forms": Stage(30, {"forms": (*SWEEP, "FORM", "--seconds", "{budget}", "--json", "{results}")}),
    "sweep": Stage(
        90, {"sweep": (*SWEEP, "--seconds", "{budget}", "--json", "{results}")}, by_default=False
    ),
}
STARTING = 30
"""Seconds that a benchmark takes to start, before its budget begins."""
PROBE = Stage(20, {"probe": ("{python}", str(PARTS / "gpu_facts.py"), "--probe")})


def suite_options() -> list[str]:
    """Return pytest's options for workers and for each test's time limit, if the plugins are installed."""
    options = []
    parallel = find_spec("xdist") is not None
    if parallel:
        options += ["-n", str(WORKERS), "--max-worker-restart", "200", "--maxschedchunk", "4"]
    if find_spec("pytest_timeout") is not None:
        # The thread method ends the process even while it waits for a kernel that never ends.
        method = "thread" if parallel else "signal"
        options += ["--timeout", str(TEST_SECONDS), "--timeout-method", method]
    return options
