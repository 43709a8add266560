"""Fixtures of the kernels' tests: short blocks, and both dtypes."""

from __future__ import annotations

import pytest
from twins import BLOCK, DTYPES

from gpubp.kernels import blocks


@pytest.fixture
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the twins' blocks, so that little data fill several; no result may depend on it."""
    monkeypatch.setattr(blocks, "BLOCK", BLOCK)


@pytest.fixture(params=DTYPES)
def dtype(request: pytest.FixtureRequest) -> str:
    return str(request.param)
