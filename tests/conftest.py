"""Backends to run the suite on, what runs without packages that are missing, and how hard hypothesis
tries.

`backend` runs a test on every backend of this machine: NumPy with compiled kernels, where there is a
compiler; NumPy with the NumPy twins alone ("numpy-twins"); and CuPy, on GPUs where there are any, else on
emulated devices ("cupy-on-host"). With GPUBP_TEST_BACKENDS=cupy (or cupy-on-host) it runs tests on that one
alone, and no test that has no backend.

GPUBP_TEST_EXACT=1 examines every launch on an emulated device: an array is a piece of memory of its own,
with a page behind it that nobody may touch; a kernel runs twice, the second time with its threads in
falling order; and one operation of its text is one IEEE operation. Otherwise arrays come from CuPy's
pool. A multiplication and an addition are then fused, as on a GPU.

Without hypothesis, the tests of examples it draws are skipped; so are other tests without what they need.
`pytest --hypothesis-profile=long`, or HYPOTHESIS_PROFILE=long, draws many more examples.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from support import cupy_on_host
from support.compiling import HostCompileError, host_compiler

from gpubp import backends
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend

try:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st
except ImportError:

    class st:
        """Strategies that nothing draws from."""

        @staticmethod
        def composite(strategy: Any) -> Any:
            return lambda: strategy

    def given(strategy: Any) -> Any:
        return pytest.mark.skip(reason="the oracle, hypothesis, is not installed")
else:
    # A backend keeps nothing between examples, so all examples of a test may share the fixture.
    _SHARED = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture]}
    settings.register_profile("ci", max_examples=12, derandomize=True, database=None, **_SHARED)
    settings.register_profile("long", max_examples=1000, **_SHARED)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# What the documents' examples import and this installation lacks.
EXAMPLES_MISS = [name for name in ("sklearn", "matplotlib") if find_spec(name) is None]

ONLY = os.environ.get("GPUBP_TEST_BACKENDS", "")
if ONLY not in ("", "cupy", "cupy-on-host"):
    raise ValueError(f"GPUBP_TEST_BACKENDS is {ONLY!r}, expected cupy or cupy-on-host")
EXACT = os.environ.get("GPUBP_TEST_EXACT", "") == "1"


GPUS, NO_GPU_BECAUSE = cupy_on_host.gpus()
CUDA_BACKENDS = [ONLY] if ONLY else ["cupy" if GPUS else "cupy-on-host"]
BACKENDS = CUDA_BACKENDS if ONLY else ["numpy", "numpy-twins", *CUDA_BACKENDS]
try:
    ON_HOST = None if GPUS or host_compiler() is None else cupy_on_host.install()
except (ImportError, HostCompileError) as error:
    ON_HOST, NO_GPU_BECAUSE = None, str(error)


def pytest_report_header() -> str:
    without = "" if GPUS else f"; without cupy: {NO_GPU_BECAUSE}"
    return f"gpubp backends: {', '.join(BACKENDS)}{without}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip the documents' examples without a package they import."""
    if ONLY:
        without = [item for item in items if not _has_a_backend(item)]
        items[:] = [item for item in items if _has_a_backend(item)]
        config.hook.pytest_deselected(items=without)
    reason = f"the documents' examples need what is not installed: {', '.join(EXAMPLES_MISS)}"
    for item in items:
        if EXAMPLES_MISS and item.path.name == "test_docs.py" and "block" in item.name:
            item.add_marker(pytest.mark.skip(reason=reason))


def _has_a_backend(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return ONLY in (parameters.get("backend"), parameters.get("cuda_backend"))


@pytest.fixture(autouse=True)
def no_backend_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Each backend in turn; `get_backend(backend.name)` and pickles find the same one."""
    yield from _backend(request.param, monkeypatch)


@pytest.fixture(params=CUDA_BACKENDS)
def cuda_backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """Each backend that runs the kernels' CUDA text."""
    yield from _backend(request.param, monkeypatch)


def _backend(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    if name == "numpy-twins":
        twins = NumpyBackend(compile=False)
        monkeypatch.setattr(backends, "_numpy", lambda: twins)
        yield twins
        return
    if name != "cupy-on-host":
        yield backends.get_backend(name)
        return
    if host_compiler() is None:
        pytest.skip("no C++ compiler to run CUDA text on the host: install g++ or set CXX")
    if ON_HOST is None:
        pytest.skip(f"CuPy cannot run on the host: {NO_GPU_BECAUSE or 'there is a GPU'}")
    with ON_HOST.devices(exact=EXACT):
        monkeypatch.setattr("gpubp.backends.cupy.cublas.load_library", lambda: ON_HOST.cublas)
        forget_cupy()
        yield backends.get_backend("cupy")
    forget_cupy()


def forget_cupy() -> None:
    """Let gpubp look for CuPy anew."""
    backends.device_count.cache_clear()
    backends._cupy.cache_clear()
