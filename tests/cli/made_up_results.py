"""A file of results that nobody measured."""

from __future__ import annotations

from pathlib import Path

from gpubp.benchmarks.results import Entrant, Point, Results

__all__ = ["made_up", "made_up_file"]


def made_up() -> Results:
    """Make results of one point: gpubp and PyTorch, two rounds."""
    machine = {"processor": "a processor", "cores": 2, "memory_bytes": 2**30, "system": "Linux"}
    results = Results(
        machine | {"python": "3.11.7", "environment": {}},
        {"gpubp": "0.1.0"},
        "",
        "2026-01-01T00:00:00",
        {},
    )
    results.entrants = [Entrant("gpubp-numpy", "cpu", "here"), Entrant("torch", "cpu", "here")]
    rounds = {"gpubp-numpy": [1e-3, 2e-3], "torch": [2e-3, 4e-3]}
    results.points = [Point("narrow", "sgd", 32, "step", 32, rounds)]
    return results


def made_up_file(path: Path) -> Path:
    """Write the results to a file, and return it."""
    made_up().save(path)
    return path
