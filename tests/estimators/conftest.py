"""Estimators run on NumPy unless a test names a backend."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def on_the_cpu(no_backend_from_the_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make "auto" choose NumPy; the tests on devices name their backend."""
    monkeypatch.setenv("GPUBP_BACKEND", "numpy")


@pytest.fixture(scope="module", autouse=True)
def one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread: those of several test processes slow each other down many times."""
    with threadpool_limits(1, user_api="blas"):
        yield
