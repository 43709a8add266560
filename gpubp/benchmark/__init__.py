"""The benchmark suite: gpubp side by side with what one would use instead, on one machine, in one run."""

from __future__ import annotations

from .results import Point, Results
from .suite import Settings, run_suite

__all__ = ["Point", "Results", "Settings", "run_suite"]
