"""The backends that the suite runs on, as fixtures.

`backend` runs a test on every backend of this machine: NumPy with compiled kernels, where there is a
compiler; NumPy with the NumPy twins alone ("numpy-twins"); and CuPy, on GPUs where there are any, else on
emulated devices ("cupy-on-host"). GPUBP_TEST_BACKENDS=cupy (or cupy-on-host) selects the tests that take a
backend, and runs them on that backend alone.

GPUBP_TEST_EXACT=1 examines every launch on an emulated device. Each array then has memory of its own,
followed by a page that nobody may touch. Each kernel runs twice, the second time with its threads in
falling order. Each operation of its text is one IEEE operation. Without this setting, arrays come from
CuPy's pool, and a multiplication and an addition are fused, as on a GPU.

GPUBP_CUDA_FORM=elementwise runs the CUDA tests with the elementwise form of the kernels that have one.

GPUBP_TEST_GUEST=aarch64 (or another of support/guest/targets.py) runs the compiled kernels in a guest: in
another process, for another processor or system. NumPy is then the only backend, also for tests of CUDA.

GPUBP_COMPILE=wait, which is the default here, lets every call wait for the kernels of its custom text.

GPUBP_TEST_LONG=1 draws many more random examples, and repeats the trials of faults more often.

A test that needs a package which is not installed is skipped, and the reason names the package.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from environment import (
    BACKENDS,
    CUDA_BACKENDS,
    EXACT,
    GPUS,
    GUEST,
    NO_GPU_BECAUSE,
    ON_HOST,
    ONLY,
    forget_cupy,
)
from sparse_matrices import MadeOnDevice
from support.compiling import host_compiler
from support.guest.stand_ins import GUESTS, Guests

from gpubp import backends
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend

os.environ.setdefault(
    "GPUBP_COMPILE", "wait"
)  # a test's result must not depend on the compiler's speed

# A shell lets its background jobs ignore Ctrl-C, and the processes that these start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Put the guest in the place of compiled kernels, for the whole session."""
    if GUEST:
        guests, patch = Guests(GUEST), pytest.MonkeyPatch()
        if guests.target.missing:
            raise pytest.UsageError(guests.target.missing)
        guests.install(patch)
        config.stash[GUESTS] = guests
        config.add_cleanup(guests.end)
        config.add_cleanup(patch.undo)


def pytest_report_header() -> str:
    without = "" if GPUS else f"; without cupy: {NO_GPU_BECAUSE}"
    return f"gpubp backends: {', '.join(BACKENDS)}{without}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests without the chosen backend."""
    if ONLY:
        without = [item for item in items if not _has_a_backend(item)]
        items[:] = [item for item in items if _has_a_backend(item)]
        config.hook.pytest_deselected(items=without)


def _has_a_backend(item: pytest.Item) -> bool:
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return ONLY in (parameters.get("backend"), parameters.get("cuda_backend"))


@pytest.fixture(autouse=True)
def no_backend_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPUBP_BACKEND", raising=False)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """Yield each backend; `get_backend(backend.name)` and unpickling then return the same object."""
    yield from _backend(request.param, monkeypatch)


@pytest.fixture(params=CUDA_BACKENDS)
def cuda_backend(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Backend]:
    """Yield each backend that runs the kernels' CUDA text."""
    yield from _backend(request.param, monkeypatch)


@pytest.fixture
def cupyx_sparse(cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in in the place of cupyx.scipy.sparse, which needs libraries that come with a GPU."""
    stand_in = ModuleType("cupyx.scipy.sparse")
    stand_in.csr_matrix = MadeOnDevice  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)


def _backend(name: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    if name == "numpy-twins":
        twins = NumpyBackend(compile=False)
        monkeypatch.setattr("gpubp.backends.numpy.backend.the_backend", lambda: twins)
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
        monkeypatch.setattr("gpubp.backends.cupy.cublaslt.load_library", lambda: ON_HOST.cublaslt)
        forget_cupy()
        yield backends.get_backend("cupy")
    forget_cupy()
