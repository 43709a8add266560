"""Estimators run on NumPy unless a test names a backend."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_the_cpu(no_backend_from_the_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make "auto" choose NumPy; the tests on devices name their backend."""
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")
