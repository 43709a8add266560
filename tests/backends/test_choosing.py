"""Which backend is chosen, and the message where a backend cannot run."""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from environment import forget_cupy

import gpubp
from gpubp import BackendUnavailableError, Network, backends, get_backend
from gpubp.backends import Backend, cupy
from gpubp.backends.numpy import NumpyBackend
from gpubp.cli import main


class Runtime:
    """A stand-in for `cupy.cuda.runtime`: it finds `count` devices, or with None a broken driver."""

    class CUDARuntimeError(RuntimeError):
        pass

    def __init__(self, count: int | Exception | None) -> None:
        self.count = count

    def getDeviceCount(self) -> int:
        if self.count is None:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver: the driver is old\nmore")
        if isinstance(self.count, Exception):
            raise self.count
        return self.count


def cupy_with(count: int | Exception | None) -> dict[str, Any]:
    runtime = Runtime(count)
    cuda = type("cuda", (), {"runtime": runtime})
    return {"cupy": type("cupy", (), {"cuda": cuda})}


NOT_HERE: dict[str, tuple[dict[str, Any], str]] = {
    "no CuPy": (
        {"cupy": None},
        "CuPy does not import (import of cupy halted; None in sys.modules)",
    ),
    "no GPU": (cupy_with(0), "CuPy finds no GPU"),
    "old driver": (
        cupy_with(None),
        "CuPy finds no usable GPU (cudaErrorInsufficientDriver: the driver is old)",
    ),
    "odd driver": (
        cupy_with(OSError(5, "Input/output error")),
        "CuPy finds no usable GPU (OSError: [Errno 5] Input/output error)",
    ),
    "no words": (cupy_with(MemoryError()), "CuPy finds no usable GPU (MemoryError)"),
}


@pytest.fixture
def without_cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    def replace(modules: dict[str, Any]) -> None:
        for name in [name for name in sys.modules if name.split(".")[0] in ("cupy", "cupyx")]:
            monkeypatch.delitem(sys.modules, name)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)
        forget_cupy()

    yield replace
    forget_cupy()


@pytest.mark.parametrize("kind", NOT_HERE)
def test_a_backend_that_cannot_run_says_what_is_missing(
    kind: str, without_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules, reason = NOT_HERE[kind]
    without_cupy(modules)
    message = re.escape(f"backend 'cupy' cannot run here: {reason}; pip install 'gpubp[cuda12]'")
    with pytest.raises(BackendUnavailableError, match=message):
        Network((3, 2), backend="cupy")
    assert get_backend("auto").name == "numpy"
    assert backends.explain_auto()[1] == reason
    assert gpubp.available_backends() == ["numpy"]
    monkeypatch.setenv("GPUBP_BACKEND", "cupy")
    with pytest.raises(BackendUnavailableError, match=f"^GPUBP_BACKEND=cupy: {message}"):
        Network((3, 2))


IMPORTS = {
    "raise PermissionError(13, 'Permission denied', '/srv/.cupy')": (
        "PermissionError: [Errno 13] Permission denied: '/srv/.cupy'"
    ),
    "import numpy\nnumpy.no_such_name": (
        "AttributeError: module 'numpy' has no attribute 'no_such_name'"
    ),
    "raise ImportError('libcuda.so.1:\\ncannot open')": "libcuda.so.1:",
    "1 +": "SyntaxError: invalid syntax (__init__.py, line 1)",
}
"""A package that does not import, and how its error is told."""


@pytest.fixture
def broken_cupy(without_cupy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return a function that installs a CuPy of this text."""

    def install(text: str) -> None:
        (tmp_path / "cupy").mkdir()
        (tmp_path / "cupy/__init__.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        without_cupy({})

    return install


@pytest.mark.parametrize("text", IMPORTS)
def test_a_cupy_that_fails_to_import_means_numpy_and_the_reason_is_told(
    text: str, broken_cupy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    broken_cupy(text)
    reason = f"CuPy does not import ({IMPORTS[text]})"
    network = Network((1000, 100))
    assert network.backend.name == "numpy" and network.predict([range(1000)]).shape == (1, 100)
    assert backends.explain_auto(10**9)[1] == reason
    assert gpubp.available_backends() == ["numpy"]
    assert main(["info"]) == 0
    assert capsys.readouterr().out.count(reason) == 2
    with pytest.raises(BackendUnavailableError, match=re.escape(reason)):
        get_backend("cupy")


FIT = """
import gpubp
model = gpubp.MLPRegressor(hidden_layer_sizes=(4,), max_iter=1, random_state=0)
print(model.fit([[0.0], [1.0]], [0.0, 1.0]).predict([[0.5]]).shape)
"""


def test_estimators_fit_without_a_cupy_that_imports(tmp_path: Path) -> None:
    """In a new process: scikit-learn, too, looks for CuPy when it is imported."""
    pytest.importorskip("sklearn", reason="the estimators' base, scikit-learn, is not installed")
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy/__init__.py").write_text("raise PermissionError(13, 'Permission denied')")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        (sys.executable, "-W", "ignore", "-c", FIT),
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("(1,)\n", "")


def test_an_array_on_a_device_needs_a_cupy_that_imports(broken_cupy: Any) -> None:
    broken_cupy("raise PermissionError(13, 'Permission denied')")
    array = SimpleNamespace(__cuda_array_interface__={"shape": (1, 3)})
    message = (
        "an array is on a CUDA device, where only CuPy can read it: backend 'cupy' cannot run here:"
        " CuPy does not import (PermissionError: [Errno 13] Permission denied); pip"
    )
    with pytest.raises(BackendUnavailableError, match=re.escape(message)):
        Network((3, 2)).predict(array)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_import_of_cupy_can_be_interrupted(error: type[BaseException], broken_cupy: Any) -> None:
    broken_cupy(f"raise {error.__name__}")
    with pytest.raises(error):
        Network((1000, 100))


def test_a_device_that_does_not_start_says_so(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def open_cupy(device: int, graphs: bool, fused: bool, form: str) -> None:
        raise RuntimeError("cudaErrorDevicesUnavailable: busy")

    monkeypatch.setattr("gpubp.backends.cupy.devices.open_cupy", open_cupy)
    cupy.on_device_number.cache_clear()
    message = (
        "backend 'cupy' cannot run here: CuPy does not start (cudaErrorDevicesUnavailable: busy)"
    )
    with pytest.raises(BackendUnavailableError, match=re.escape(message)):
        get_backend("cupy")
    chosen, reason = backends.explain_auto()
    assert chosen.name == "numpy" and message in reason
    assert main(["info"]) == 0
    assert f"  cupy     not available: {message}" in capsys.readouterr().out
    cupy.on_device_number.cache_clear()


def test_a_cupy_without_cublas_says_so(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_library() -> None:
        raise ImportError("libcublas.so.13: cannot open\nnor anything else")

    monkeypatch.setattr("gpubp.backends.cupy.cublas.load_library", load_library)
    cupy.on_device_number.cache_clear()
    message = "'cupy' cannot run here: cuBLAS does not load (libcublas.so.13: cannot open); pip"
    with pytest.raises(BackendUnavailableError, match=re.escape(message)):
        get_backend("cupy")
    chosen, reason = backends.explain_auto()
    assert chosen.name == "numpy" and message in reason
    cupy.on_device_number.cache_clear()


def test_to_load_a_small_network_does_not_begin_with_the_gpu(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Network((3, 2), backend="numpy").save(tmp_path / "small.safetensors")

    def begin(device: int) -> None:
        raise AssertionError("the GPU was asked for")

    monkeypatch.setattr("gpubp.backends.cupy.devices.on_device_number", cache(begin))
    assert Network.load(tmp_path / "small.safetensors").backend.name == "numpy"


def test_a_small_network_does_not_import_cupy(broken_cupy: Any) -> None:
    broken_cupy("raise SystemExit('CuPy was imported')")
    assert Network((10, 10)).backend.name == "numpy"
    with pytest.raises(SystemExit, match="CuPy was imported"):
        Network((1000, 100))


def test_a_device_that_is_not_there(without_cupy: Any) -> None:
    without_cupy(cupy_with(2))
    assert gpubp.available_backends() == ["cupy", "cupy:1", "numpy"]
    with pytest.raises(
        BackendUnavailableError,
        match=r"backend 'cupy:2' cannot run here: CuPy finds 2 device\(s\), numbered from 0",
    ):
        get_backend("cupy:2")


def test_the_environment_chooses_what_auto_means(
    monkeypatch: pytest.MonkeyPatch, backend: Backend
) -> None:
    monkeypatch.setenv("GPUBP_BACKEND", backend.name)
    assert Network((3, 2)).backend is backend
    assert Network((3, 2), backend="numpy").backend.name == "numpy"
    assert backends.explain_auto()[1] == f"GPUBP_BACKEND={backend.name} asks for it"
    monkeypatch.setenv("GPUBP_BACKEND", "cuppy")
    with pytest.raises(
        ValueError, match=r"^GPUBP_BACKEND=cuppy: unknown backend 'cuppy'; did you mean 'cupy'\?$"
    ):
        Network((3, 2))


def test_the_environment_chooses_the_form_of_kernels(
    monkeypatch: pytest.MonkeyPatch, cuda_backend: Backend
) -> None:
    asked: list[str] = []
    monkeypatch.setattr("gpubp.backends.cupy.devices.CupyBackend", lambda *a: asked.append(a[-1]))
    for value in ("rows", "elementwise", ""):
        monkeypatch.setenv("GPUBP_CUDA_FORM", value)
        forget_cupy()
        cupy.on_device_number(0)
    monkeypatch.delenv("GPUBP_CUDA_FORM")
    forget_cupy()
    cupy.on_device_number(0)
    assert asked == ["rows", "elementwise", "rows", "rows"]


def test_a_form_that_does_not_exist_is_refused(
    monkeypatch: pytest.MonkeyPatch, cuda_backend: Backend
) -> None:
    with pytest.raises(ValueError, match=r"^form is 'row', expected 'rows' or 'elementwise'$"):
        cupy.open_cupy(form="row")
    monkeypatch.setenv("GPUBP_CUDA_FORM", "columns")
    forget_cupy()
    message = "^GPUBP_CUDA_FORM is 'columns', expected 'rows' or 'elementwise'$"
    for backend in ("cupy", "auto"):
        with pytest.raises(ValueError, match=message):
            Network((1000, 100), backend=backend)
    assert Network((3, 2), backend="numpy").backend.name == "numpy"


def test_an_unproven_gpu_backend_is_not_the_default(
    monkeypatch: pytest.MonkeyPatch, cuda_backend: Backend
) -> None:
    monkeypatch.setattr("gpubp.backends.cupy.PROVEN", False)
    chosen, reason = backends.explain_auto()
    assert chosen.name == "numpy"
    assert "has not been proven" in reason
    monkeypatch.setattr("gpubp.backends.cupy.PROVEN", True)
    chosen, reason = backends.explain_auto()
    assert chosen is cuda_backend
    assert reason == "CuPy finds a GPU; networks of fewer than 100000 parameters stay on the CPU"


def test_auto_keeps_small_networks_on_the_cpu(cuda_backend: Backend) -> None:
    chosen, reason = backends.explain_auto(99_999)
    assert chosen.name == "numpy" and "a network of 99999 parameters" in reason
    assert backends.explain_auto(100_000)[0] is cuda_backend
    assert Network((10, 10)).backend.name == "numpy"
    assert Network((1000, 100)).backend is cuda_backend
    assert Network((10, 10), backend="cupy").backend is cuda_backend


def test_copies_and_pickles_of_a_backend_are_the_backend(backend: Backend) -> None:
    assert copy.copy(backend) is backend
    assert copy.deepcopy({"backend": backend})["backend"] is backend
    assert pickle.loads(pickle.dumps(backend)) is backend
    unnamed = NumpyBackend(compile=False)
    assert copy.copy(unnamed) is unnamed and copy.deepcopy([unnamed])[0] is unnamed


def test_another_array_library_is_found_by_name_and_by_array(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Array:
        pass

    third = NumpyBackend(compile=False)
    family = SimpleNamespace(
        names=lambda: ["third", "third:1"],
        find=lambda name: third if name == "third" else None,
        owner=lambda array: third if isinstance(array, Array) else None,
    )
    others = gpubp.available_backends()
    monkeypatch.setitem(backends._FAMILIES, "third", family)
    assert Network((3, 2), backend="third").backend is third
    assert backends.backend_of(Array()) is third
    assert gpubp.available_backends() == ["third", "third:1", *others]
    with pytest.raises(ValueError, match=r"unknown backend 'thrid'; did you mean 'third'\?$"):
        get_backend("thrid")
