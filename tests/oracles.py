"""Packages that tests may miss: hypothesis and safetensors."""

from __future__ import annotations

from typing import Any

import pytest
from environment import LONG

__all__ = ["given", "load_file", "long_trials", "save_file", "st"]

try:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st
except ImportError:

    class st:
        """A stand-in for `hypothesis.strategies`; no test draws from it."""

        @staticmethod
        def composite(strategy: Any) -> Any:
            return lambda: strategy

    def given(strategy: Any) -> Any:
        return pytest.mark.skip(reason="the oracle, hypothesis, is not installed")

    def long_trials(strategy: Any, short: int, long: int) -> Any:
        return given(strategy)
else:
    # A backend keeps nothing between examples, so all examples of a test may share its fixture.
    _SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
    settings.register_profile("ci", max_examples=12, derandomize=True, database=None, **_SHARED)
    settings.register_profile("long", max_examples=1000, **_SHARED)
    settings.load_profile("long" if LONG else "ci")

    def long_trials(strategy: Any, short: int, long: int) -> Any:
        """Give a test so many examples, each of seconds: a failing one is not made smaller."""
        count, phases = long if LONG else short, (Phase.explicit, Phase.generate)
        return lambda test: settings(max_examples=count, phases=phases)(given(strategy)(test))


try:
    from safetensors.numpy import load_file, save_file
except ImportError:

    def load_file(path: Any) -> Any:
        pytest.skip("the oracle, safetensors, is not installed")

    def save_file(tensors: Any, path: Any, metadata: Any = None) -> None:
        pytest.skip("the oracle, safetensors, is not installed")
