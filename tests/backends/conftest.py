"""CuPy backends whose steps are replayed."""

from __future__ import annotations

import pytest

from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, open_cupy


@pytest.fixture
def graphs(cuda_backend: Backend) -> CupyBackend:
    """The CuPy backend with graphs."""
    return open_cupy(graphs=True)


@pytest.fixture(params=["graphs", "launches"])
def replaying(cuda_backend: Backend, request: pytest.FixtureRequest) -> CupyBackend:
    """The CuPy backend with graphs, and without."""
    return open_cupy(graphs=request.param == "graphs")
