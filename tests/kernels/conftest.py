"""Several blocks in little data, and both dtypes."""

from __future__ import annotations

import pytest
from twins import BLOCK, DTYPES

from gpubp.kernels import blocks


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks in little data; what a block is must not show in any result."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)
