"""A small task, and the invented results of a run."""

from __future__ import annotations

import pytest

from gpubp.benchmarks.results import Entrant, Memory, Point, Results
from gpubp.benchmarks.tasks import Architecture

SMALL = Architecture("small", (6, 5, 4), "softmax")


def needs_scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="a contender, scikit-learn, is not installed")


def made_up(factor: float = 1.0) -> Results:
    """Make results of two points, easy to check by hand, with gpubp's times multiplied by `factor`."""
    fast = Point("narrow", "sgd", 32, "step", 32)
    fast.rounds = {
        "gpubp-numpy": [factor * t for t in (1e-3, 2e-3, 4e-3)],
        "torch": [4e-3, 6e-3, 8e-3],
        "floor-threads": [2e-3, 2e-3, 2e-3],
        "floor-1-thread": [1e-3, 1e-3, 9e-3],
    }
    fast.errors = {"jax": "differs from the float64 reference: cost by 1.0e-01 (tolerance 1e-05)"}
    slow = Point("narrow", "sgd", 2048, "predict", 2048)
    slow.rounds = {"gpubp-numpy": [factor * 2.0] * 3, "torch": [1.0, 1.0, 1.0]}
    return Results(
        machine={"processor": "made up", "cores": 2, "system": "none", "python": "3"},
        versions={"numpy": "2"},
        commit="",
        date="2000-01-01",
        settings={},
        entrants=[
            Entrant("gpubp-numpy", "cpu", "here"),
            Entrant("torch", "cpu", "here"),
            Entrant("jax", "cpu", "here"),
            Entrant("gpubp-cupy", "gpu", absent="no NVIDIA GPU here"),
            Entrant("floor-threads", "cpu", "here"),
            Entrant("floor-1-thread", "cpu", "here"),
        ],
        points=[fast, slow],
        memory=[Memory("narrow", "sgd", 32, "torch", 3 * 2**20, 200 * 2**20)],
    )
