"""The kernels' text compiled for the CPU: every entry compiles, and steps agree with the NumPy twins."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from gpubp import SGD, Activation, Adam, Network, Trainer
from gpubp.backends import Backend
from gpubp.backends.numpy import NumpyBackend, blas
from gpubp.kernels import (
    ACTIVATIONS,
    COSTS,
    UPDATES,
    OutputHead,
    ParameterArrays,
    StepVariables,
    UpdateOptions,
    UpdateRule,
)
from gpubp.kernels.bias_activate import bias_activate_cpu
from gpubp.kernels.cpu import build
from gpubp.kernels.matmul import matmul_cpu
from gpubp.kernels.multiply_by_derivative import multiply_by_derivative_cpu
from gpubp.kernels.output_delta import output_delta_cpu
from gpubp.kernels.row_costs import row_costs_cpu
from gpubp.kernels.update import update_cpu
from gpubp.registry import get_activation

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "softmax"])
def test_every_activation_compiles(name: str, dtype: str) -> None:
    z = np.zeros((2, 3), dtype)
    assert bias_activate_cpu(ACTIVATIONS[name], z, None, z) is not None
    assert multiply_by_derivative_cpu(ACTIVATIONS[name], z, z) is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", COSTS)
def test_every_cost_compiles(name: str, dtype: str) -> None:
    a, scale = np.zeros((2, 3), dtype), np.zeros(2, dtype)
    for output in ("tanh", "softmax", COSTS[name].canonical or "relu"):
        head = OutputHead(ACTIVATIONS[output], COSTS[name])
        if not head.is_fused:
            assert output_delta_cpu(head, a, a, scale, a, a) is not None
            assert row_costs_cpu(head, a, a, a, scale) is not None


@pytest.mark.parametrize(
    "options", [UpdateOptions(), UpdateOptions(l1=0.1, clip_norm=1.0)], ids=["plain", "all"]
)
@pytest.mark.parametrize("name", UPDATES)
def test_every_update_compiles(name: str, options: UpdateOptions) -> None:
    update, theta = UPDATES[name], np.zeros(4)
    rule = UpdateRule(update, dict.fromkeys(update.hyperparameters, 0.5), options)
    arrays = ParameterArrays(theta, theta, tuple(np.zeros(4) for _ in update.state), 2)
    step = StepVariables(np.zeros((1, 4)), np.zeros(2, np.int64), np.zeros(1))
    assert update_cpu(rule, arrays, step) is not None


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposed", ["a", "b", ""])
@pytest.mark.parametrize("rows", [1, 5, 33, 64, 100, 200])
def test_a_product_in_steps_is_the_product(
    rows: int, transposed: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matmul is cut into steps that OpenBLAS calls small, as on processors with kernels for them."""
    monkeypatch.setattr(blas, "_has_small_kernels", lambda: True)
    rng = np.random.default_rng(rows)
    n_out, n_in = 70, 333
    a, w, delta = (
        rng.normal(size=s).astype(dtype) for s in ((rows, n_in), (n_out, n_in), (rows, n_out))
    )
    x, y = {"a": (delta, a), "b": (a, w), "": (delta, w)}[transposed]
    exact = (x.T if transposed == "a" else x).astype(float) @ (y.T if transposed == "b" else y)
    out = rng.normal(size=exact.shape).astype(dtype)
    expected = 0.5 * exact - 2.0 * out
    matmul = blas.Matmul(
        x,
        y,
        out,
        transpose_a=transposed == "a",
        transpose_b=transposed == "b",
        alpha=0.5,
        beta=-2.0,
    )
    assert (matmul.steps != matmul.shape) == (rows > 33 or (transposed == "b" and rows > 5))
    call = matmul_cpu(matmul)
    assert call is not None
    call()
    np.testing.assert_allclose(out, expected, atol=400 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("beta", [0.0, -2.0])
@pytest.mark.parametrize("examples", [1, 3, 4, 70])
def test_products_of_a_layer_with_one_output_are_right_and_touch_nothing_else(
    examples: int, beta: float, dtype: str
) -> None:
    rng = np.random.default_rng(examples)
    wide = rng.normal(size=(examples, 40)).astype(dtype)
    a, w, delta = wide[:, 2:35], rng.normal(size=(1, 33)).astype(dtype), wide[:, 36:37]
    for transposed, x, y in (("b", a, w), ("", delta, w), ("a", delta, a)):
        exact = (x.T if transposed == "a" else x).astype(float) @ (y.T if transposed == "b" else y)
        # Without beta, what was in `out` does not count.
        around = np.full((len(exact), exact.shape[1] + 2), 1.0 if beta else np.nan, dtype)
        out = around[:, 1:-1]
        expected = around.copy()
        expected[:, 1:-1] = 0.5 * exact + (beta if beta else 0.0)
        flags = {"transpose_a": transposed == "a", "transpose_b": transposed == "b"}
        call = matmul_cpu(blas.Matmul(x, y, out, alpha=0.5, beta=beta, **flags))
        assert call is not None
        call()
        np.testing.assert_allclose(around, expected, atol=100 * np.finfo(dtype).eps)


@pytest.mark.parametrize("examples", [1, 7, 32, 64, 65, 128, 1000])
@pytest.mark.parametrize(
    ("n_in", "n_out"), [(784, 256), (256, 10), (64, 64), (1024, 1024), (3, 5000)]
)
def test_steps_are_small_or_the_whole(
    examples: int, n_in: int, n_out: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "_has_small_kernels", lambda: True)
    for shape, transposes in (
        ((examples, n_out, n_in), (False, True)),
        ((n_out, n_in, examples), (True, False)),
        ((examples, n_in, n_out), (False, False)),
    ):
        rows, columns, inner = steps = blas.steps(*shape, *transposes, 4)
        assert all(1 <= step <= size for step, size in zip(steps, shape, strict=True))
        if steps != shape:
            assert rows * columns * inner <= blas.SMALL_WORK
            assert not transposes[1] or rows * columns <= blas.SMALL_TRANSPOSED
    monkeypatch.setattr(blas, "_has_small_kernels", lambda: False)
    assert blas.steps(*shape, *transposes, 4) == shape


def test_many_examples_are_cut_only_if_the_weights_stay_in_the_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blas, "_has_small_kernels", lambda: True)
    wide = 200, 256, 256
    assert blas.steps(*wide, False, True, 4)[0] < 200
    assert blas.steps(*wide, False, True, 8) == wide


def trained(backend: Backend, dtype: str, optimizer: Any, threads: int = 2) -> Any:
    """Train on batches large enough for shared matmuls and for shards; return the parameters."""
    rng = np.random.default_rng(0)
    with threadpool_limits(threads):
        net = Network((64, 256, 300, 10), output="softmax", dtype=dtype, backend=backend, seed=0)
        trainer = Trainer(net, optimizer, seed=0)
        for rows in (1, 64, 700):
            x, y = rng.normal(size=(rows, 64)).astype(dtype), rng.integers(0, 10, rows)
            for _ in range(3):
                trainer.step(x, y)
    return net.parameters


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9, l2=1e-3), Adam()], ids=["sgd", "adam"])
def test_steps_on_threads_are_those_of_the_numpy_twins(optimizer: Any) -> None:
    twins = trained(NumpyBackend(compile=False), "float64", optimizer)
    for threads in (1, 2, 3):
        theirs = trained(NumpyBackend(), "float64", optimizer, threads)
        np.testing.assert_allclose(theirs, twins, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(
            trained(NumpyBackend(), "float64", optimizer, threads), theirs
        )


def test_two_trainers_in_two_threads_do_not_disturb_each_other() -> None:
    expected = trained(NumpyBackend(), "float32", SGD(momentum=0.9))
    results: list[Any] = []

    def run() -> None:
        for _ in range(3):
            results.append(trained(NumpyBackend(), "float32", SGD(momentum=0.9)))

    with threadpool_limits(2):
        together = [threading.Thread(target=run) for _ in range(2)]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
    assert len(results) == 6
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-6)


def test_functions_without_text_run_beside_compiled_kernels() -> None:
    custom = Activation.from_functions(
        "custom", lambda xp, z: xp.tanh(z), lambda xp, a: 1 - a * a, reads="a"
    )
    results = []
    for hidden in (custom, "tanh"):
        net = Network((8, 300, 4), hidden=hidden, output="softmax", dtype="float64", seed=0,
                      backend="numpy", initializer="glorot_uniform")  # fmt: skip
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(3000, 8)), rng.integers(0, 4, 3000)
        Trainer(net, "adam", batch_size=1500, seed=0).fit(x, y, epochs=2)
        results.append(net.parameters)
    np.testing.assert_allclose(*results, rtol=1e-9, atol=1e-12)


def run_python(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def test_compilation_can_be_turned_off() -> None:
    code = "import gpubp; print(gpubp.get_backend('numpy').device)"
    assert "kernels by NumPy" in run_python(code, GPUBP_COMPILE="0", GPUBP_BUILT_AHEAD="0")
    assert "kernels by NumPy" not in run_python(code)


@pytest.mark.slow
def test_libraries_are_compiled_once(tmp_path: Path) -> None:
    code = "import gpubp; gpubp.Network((3, 4, 2), hidden='mish').predict([1.0, 2.0, 3.0])"
    run_python(code, XDG_CACHE_HOME=str(tmp_path), GPUBP_BUILT_AHEAD="0")
    built = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")}
    assert built
    run_python(code, XDG_CACHE_HOME=str(tmp_path), GPUBP_BUILT_AHEAD="0")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.so")} == built


@needs_fork
def test_a_forked_child_has_threads_of_its_own() -> None:
    code = """
import os, warnings
import numpy as np
import gpubp
from threadpoolctl import threadpool_limits
warnings.simplefilter("ignore", DeprecationWarning)
x, y = np.ones((600, 64), "f"), np.zeros(600, int)
with threadpool_limits(2):
    trainer = gpubp.Trainer(gpubp.Network((64, 256, 10), output="softmax", backend="numpy"), "sgd")
    trainer.step(x, y)
    child = os.fork()
    if not child:
        trainer.step(x, y)
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code) == "7\n"


def test_text_that_does_not_compile_is_told_and_its_twin_runs() -> None:
    custom = Activation.from_functions(
        "custom",
        lambda xp, z: xp.tanh(z),
        lambda xp, z: 1 - xp.tanh(z) ** 2,
        cuda="return tanhh(z);",
        cuda_derivative="return T(1);",
    )
    net = Network((2, 3, 1), hidden=custom, seed=0)
    with pytest.warns(RuntimeWarning, match="a kernel does not compile, its NumPy twin .*tanhh"):
        fp = net.forward(np.ones((2, 2)))
    np.testing.assert_allclose(fp.a[1], np.tanh(fp.z[0]), rtol=1e-6)


def test_a_derivatives_text_is_compiled_only_beside_that_of_its_function() -> None:
    own = Activation.from_functions(
        "own",
        lambda xp, z: xp.tanh(z),
        lambda xp, a: 1 - a * a,
        reads="a",
        cuda_derivative="return T(1) - a * __fmul_rn(a, 1.0f);",  # a word of CUDA's alone
    )
    net = Network((2, 3, 1), hidden=own, output=own, backend="numpy")
    net.backprop([[1, 2]], [[0.5]])  # a warning would say that the text does not compile


def test_other_parameters_need_no_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    z = np.linspace(-2, 2, 8).reshape(2, 4)
    a = np.empty_like(z)
    for slope in (0.5, 0.25):
        call = bias_activate_cpu(get_activation("leaky_relu", slope=slope), z.copy(), None, a)
        assert call is not None
        call()
        np.testing.assert_array_equal(a, np.where(z > 0, z, slope * z))
        monkeypatch.setattr(build, "compile_library", None)  # no text is compiled from now on
