"""Steps that reuse their buffers: the number of matmuls, blocks, shards, dropout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_networks import host, network, run_step

import gpubp
from gpubp.backends import Backend
from gpubp.backends.cupy.cublas import Cublas

# Nothing is computed twice.


@pytest.fixture
def matmuls(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the matmuls, on CUDA cuBLAS's and our own. The list holds one number, the count so far."""
    count = [0]

    def watch(place: Any, name: str) -> None:
        matmul = getattr(place, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            return matmul(*arguments, **options)

        monkeypatch.setattr(place, name, counting)

    if backend.name == "cupy":
        watch(Cublas, "bind")
        for place in (gpubp.kernels.matmul, gpubp.kernels.output_layer):
            watch(place, "product")
    else:
        watch(backend, "matmul")
    return count


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_network_costs_one_matmul_a_layer_forward_and_two_backward(
    backend: Backend, matmuls: list[int], depth: int
) -> None:
    net = network((3,) * (depth + 1), backend=backend)
    x = np.ones((4, 3))
    net.forward(x)
    assert matmuls[0] == depth
    net.backprop(x, x)  # computes the input gradient too
    assert matmuls[0] == depth + 3 * depth
    run_step(net, x, x)
    assert matmuls[0] == depth + 3 * depth + depth + (2 * depth - 1)


@pytest.mark.parametrize(
    ("factors", "count"),
    [
        ((1, 1, 1, 1), 4 + 4 + 3),
        ((0, 1, 1, 1), 4 + 3 + 2),
        ((0, 0, 0.5, 1), 4 + 2 + 1),
        ((0, 0, 0, 1), 4 + 1),
        ((1, 0, 0, 1), 4 + 2 + 3),  # δ goes through layers that are frozen, to those below
        ((0, 1, 0, 0), 4 + 1 + 2),
    ],
)
def test_frozen_layers_need_no_gradient_and_no_delta_below_the_lowest_trained_layer(
    backend: Backend, matmuls: list[int], factors: tuple[float, ...], count: int
) -> None:
    net = network((3,) * 5, backend=backend)
    x = np.ones((4, 3))
    gpubp.Trainer(net, batch_size=4, layer_rates=factors).step(x, x)
    assert matmuls[0] == count


# Training steps reuse their buffers


@pytest.mark.parametrize("limit", [None, 1, 7, 100])
def test_blocks_of_rows_give_the_gradient_of_the_whole_batch(
    backend: Backend, limit: int | None
) -> None:
    net = network((3, 6, 5, 4), hidden=["relu", "gelu"], output="softmax", backend=backend)
    rng = np.random.default_rng(9)
    x, labels = rng.normal(size=(20, 3)), rng.integers(4, size=20)
    bp = net.backprop(x, labels)
    cost, gradient = run_step(net, x, labels, limit=limit)
    assert cost == pytest.approx(bp.cost, rel=1e-13)
    np.testing.assert_allclose(gradient, host(net, bp.gradient), rtol=1e-11, atol=1e-15)
    _, added = run_step(net, x, labels, limit=limit, gradient=bp.gradient)
    np.testing.assert_allclose(added, 2 * host(net, bp.gradient), rtol=1e-11, atol=1e-15)


def test_shards_of_threads_give_the_gradient_of_the_whole_batch() -> None:
    net = network((40, 60, 30, 4), output="softmax")
    rng = np.random.default_rng(10)
    x, labels = rng.normal(size=(3000, 40)), rng.integers(4, size=3000)
    bp = net.backprop(x, labels)
    cost, gradient = run_step(net, x, labels)
    assert cost == pytest.approx(bp.cost, rel=1e-12)
    np.testing.assert_allclose(gradient, bp.gradient, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("hidden", ["tanh", "gelu"])
def test_dropouts_gradient_is_that_of_the_cost_with_the_same_mask(
    backend: Backend, hidden: str
) -> None:
    net = network((3, 8, 6, 2), hidden=hidden, dropout=[0.3, 0.5], backend=backend)
    x, y = np.random.default_rng(11).normal(size=(2, 5, 3))
    y = y[:, :2]
    _, gradient = run_step(net, x, y, dropout_seed=5)
    assert not np.allclose(gradient, run_step(net, x, y)[1])
    h = 1e-5
    for k in np.random.default_rng(12).choice(net.layout.size, 12, replace=False):
        kept, costs = float(net.parameters[k]), []
        for step in (h, -h):
            net.parameters[k] = kept + step
            costs.append(run_step(net, x, y, dropout_seed=5)[0])
        net.parameters[k] = kept
        assert gradient[k] == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-6, abs=1e-9)
