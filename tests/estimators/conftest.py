"""Estimators on NumPy, where a test names no backend."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def on_the_cpu(no_backend_from_the_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes "auto" is compared with NumPy arrays; the tests on devices name them."""
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")
