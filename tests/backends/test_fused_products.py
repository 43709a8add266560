"""Training with products that cuBLASLt ends with the next operation: as without, and as on NumPy."""

from __future__ import annotations

from typing import Any

import environment
import numpy as np
import pytest
from replays import graphs_of, replays_of

import gpubp
from gpubp.backends import Backend
from gpubp.backends.cupy import open_cupy
from gpubp.kernels.typing import Array

X = np.random.default_rng(2).normal(size=(80, 16)).astype(np.float32)
LABELS = np.random.default_rng(3).integers(0, 3, 80)

TOLERANCE = {None: 2e-5, "tf32": 2e-3, "bfloat16": 2e-3, "float16": 4e-4}
"""Of parameters of size 0.3, which the steps change by 0.1 to 0.3. Sums in another order round some narrow
numbers to their other neighbour."""
FROM_ROUNDED_BIASES = {"bfloat16": 4e-2, "float16": 6e-3}
"""With narrow biases, whose rounding Adam's first steps make as large as any other gradient's."""
FROM_NUMPY = TOLERANCE | {"tf32": 1e-2}
"""The emulated devices truncate to tf32, where NumPy's backend rounds."""


@pytest.fixture(autouse=True)
def wide_biases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the emulated cuBLASLt take float32 biases everywhere: then nothing more is rounded."""
    if environment.ON_HOST is None:
        for bounds in (TOLERANCE, FROM_NUMPY):
            for precision, bound in FROM_ROUNDED_BIASES.items():
                monkeypatch.setitem(bounds, precision, bound)
    else:
        monkeypatch.setattr(environment.ON_HOST.cublaslt.supports, "wide_biases", True)


@pytest.mark.parametrize("precision", FROM_ROUNDED_BIASES)
def test_rounded_biases_change_little(
    cuda_backend: Backend, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU's cuBLASLt decides which biases it takes")
    fused = train(open_cupy(fused=True), "relu", precision)
    monkeypatch.setattr(environment.ON_HOST.cublaslt.supports, "wide_biases", False)
    rounded = train(open_cupy(fused=True), "relu", precision)
    there, here = parameters(rounded), parameters(fused)
    assert (there != here).any()
    np.testing.assert_allclose(there, here, atol=FROM_ROUNDED_BIASES[precision], rtol=0)


def train(backend: str | Backend, activation: str, precision: str | None, **options: Any) -> Any:
    network = gpubp.Network(
        (16, 24, 32, 3), hidden=activation, output="softmax", backend=backend, seed=0,
        precision=precision, dropout=options.pop("dropout", 0.0),
    )  # fmt: skip
    trainer = gpubp.Trainer(
        network, gpubp.SGD(learning_rate=0.2), seed=0, **{"batch_size": 16} | options
    )
    trainer.fit(X, LABELS, epochs=4)
    return trainer


def parameters(trainer: Any) -> Array:
    values: Array = trainer.network.backend.to_numpy(trainer.network.parameters)
    return values


@pytest.fixture(autouse=True)
def only_large_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", 0)


@pytest.mark.parametrize("graphs", [True, False], ids=["graphs", "launches"])
@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("activation", ["relu", "gelu_tanh", "tanh"])
def test_fused_products_train_alike(
    cuda_backend: Backend, activation: str, precision: str | None, graphs: bool
) -> None:
    fused, plain = (
        train(open_cupy(graphs=graphs, fused=switch), activation, precision)
        for switch in (True, False)
    )
    assert replays_of(fused) == 1 and graphs_of(fused) == graphs
    there, start = parameters(fused), parameters(train_nothing(activation, precision))
    assert np.abs(there - start).max() > 0.1
    np.testing.assert_allclose(there, parameters(plain), atol=TOLERANCE[precision], rtol=0)
    here = parameters(train("numpy", activation, precision))
    np.testing.assert_allclose(there, here, atol=FROM_NUMPY[precision], rtol=0)


def train_nothing(activation: str, precision: str | None) -> Any:
    network = gpubp.Network(
        (16, 24, 32, 3), hidden=activation, output="softmax", backend="numpy", seed=0,
        precision=precision,
    )  # fmt: skip
    return gpubp.Trainer(network, gpubp.SGD(learning_rate=0.2), batch_size=16, seed=0)


@pytest.mark.parametrize(
    "options", [{"dropout": 0.3}, {"accumulate": 2}, {"batch_size": 13}], ids=str
)
def test_dropout_parts_of_batches_and_odd_batches(
    cuda_backend: Backend, options: dict[str, Any]
) -> None:
    fused, plain = (
        train(open_cupy(fused=switch), "relu", "bfloat16", **options) for switch in (True, False)
    )
    np.testing.assert_allclose(
        parameters(fused), parameters(plain), atol=TOLERANCE["bfloat16"], rtol=0
    )
