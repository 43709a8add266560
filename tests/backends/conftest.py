"""CuPy backends that replay their steps, as fixtures."""

from __future__ import annotations

import pytest
from environment import FORM

from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, open_cupy


@pytest.fixture
def graphs(cuda_backend: Backend) -> CupyBackend:
    """Open a CuPy backend that captures steps in CUDA graphs."""
    return open_cupy(graphs=True, form=FORM)


@pytest.fixture(params=["graphs", "launches"])
def replaying(cuda_backend: Backend, request: pytest.FixtureRequest) -> CupyBackend:
    """Open a CuPy backend that replays CUDA graphs, and one that replays lists of launches."""
    return open_cupy(graphs=request.param == "graphs", form=FORM)
