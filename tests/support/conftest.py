"""Emulated devices, as fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import environment
import pytest

from support.cupy_on_host import CudaOnHost


@pytest.fixture(params=["exact", "as a GPU"])
def cuda(request: pytest.FixtureRequest) -> Iterator[CudaOnHost]:
    assert environment.ON_HOST is not None
    with environment.ON_HOST.devices(exact=request.param == "exact"):
        yield environment.ON_HOST


@pytest.fixture
def exact() -> Iterator[CudaOnHost]:
    assert environment.ON_HOST is not None
    with environment.ON_HOST.devices(exact=True):
        yield environment.ON_HOST


@pytest.fixture
def pooled() -> Iterator[CudaOnHost]:
    assert environment.ON_HOST is not None
    with environment.ON_HOST.devices():
        yield environment.ON_HOST
