"""The routes of a training step on CUDA give NumPy's results, in random networks and in odd moments."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import environment
import numpy as np
import pytest
from oracles import long_trials, st
from routes import OPTIMIZERS, TWINS, Route, Training, limits, open_route, train, trainings

from gpubp.backends import Backend
from gpubp.kernels import PRECISIONS


def rounded_bound(training: Training, unit: float, way: float, size: float) -> float:
    """Bound the distance of two trainings that round with this unit roundoff.

    docs/explanation/numbers.md bounds a gradient's relative error for L layers: 2 L u if all is smooth,
    else L √u, because some rows fall on the other side of a kink. Each of the two trainings so leaves the
    exact way, and the errors of the first steps have twice their size at the end. The last summand is the
    rounding of the parameters to float32 in each step.
    """
    depth = len(training.sizes) - 1
    of_gradient = 2 * depth * unit if training.is_smooth else depth * np.sqrt(unit)
    return float(2 * 2 * of_gradient * way + 50 * 2.0**-24 * size)


def assert_every_route_agrees(training: Training, cublas: bool) -> None:
    """Compare every route with NumPy in float64, and graphs with lists of launches bit for bit."""
    expected = train(training, TWINS)
    scale = np.abs(expected.parameters).max()
    for fused in (False, True):
        with limits(training, cublas):
            lists, graphs = (
                train(training, open_route(Route(graphs, cublas, fused)))
                for graphs in (False, True)
            )
        for found in (lists, graphs):
            np.testing.assert_allclose(
                found.parameters, expected.parameters, rtol=1e-9, atol=1e-9 * scale
            )
            np.testing.assert_allclose(found.costs, expected.costs, rtol=1e-9)
            assert found.validation == pytest.approx(expected.validation, rel=1e-9)
            assert found.accuracy == pytest.approx(expected.accuracy)
            np.testing.assert_allclose(found.outputs, expected.outputs, rtol=1e-9, atol=1e-9)
        if not (cublas and environment.GPUS):  # in a graph cuBLAS has another workspace
            np.testing.assert_array_equal(lists.parameters, graphs.parameters)


@long_trials(trainings(), 4, 60)
def test_every_route_of_gpubps_products_trains_as_numpy(
    cuda_backend: Backend, training: Training
) -> None:
    assert_every_route_agrees(training, cublas=False)


@long_trials(trainings(), 3, 40)
def test_every_route_of_cublas_trains_as_numpy(cuda_backend: Backend, training: Training) -> None:
    assert_every_route_agrees(training, cublas=True)


@st.composite
def rounded_trainings(draw: Any) -> tuple[Training, Route, str | None]:
    """Draw a training in float32, a route and a precision."""
    training = draw(trainings())
    precision = draw(st.sampled_from([None, *PRECISIONS]))
    # Lion follows the signs of gradients; elsewhere, too, the sign of noise must not matter.
    some = OPTIMIZERS[:3] if precision else OPTIMIZERS[:-1]
    optimizer = draw(st.sampled_from(some))
    route = Route(*(draw(st.booleans()) for _ in range(3)))
    return replace(training, optimizer=optimizer, dtype="float32"), route, precision


@long_trials(rounded_trainings(), 8, 150)
def test_every_route_rounds_as_numpy(
    cuda_backend: Backend, drawn: tuple[Training, Route, str | None]
) -> None:
    training, route, precision = drawn
    dtype = "float32" if precision else "float64"
    expected = train(training, TWINS, dtype, precision=precision)
    with limits(training, route.cublas):
        found = train(training, open_route(route), precision=precision)
    unit = PRECISIONS[precision].unit_roundoff if precision else 2.0**-24
    if precision == "tf32":
        unit *= 2  # tensor cores may truncate
    size = float(np.linalg.norm(expected.parameters))
    bound = rounded_bound(training, unit, expected.way, size)
    assert np.linalg.norm(found.parameters - expected.parameters) < bound


SMALL = Training(
    (10, 17, 8, 5), ["tanh", "relu"], settings={"batch_size": 16}, options={"dropout": 0.2}
)
WIDE = Training((33, 64, 65, 4), ["relu", "gelu_tanh"], settings={"batch_size": 64}, rows=150)
SAME = {
    "small": SMALL,
    "wide in float32": replace(WIDE, dtype="float32"),
    "weights and dense targets": replace(SMALL, head=("tanh", "huber"), weighted=True),
    "one layer": replace(SMALL, sizes=(64, 10), hidden=[], options={}, rows=150),
    # Two products of a launch then cut their inner dimension, and count arrivals.
    "one batch": replace(SMALL, settings={"batch_size": 150}, rows=150),
    # More products than a launch has.
    "deep": replace(SMALL, sizes=(8, *[9] * 19, 5), hidden=["tanh"] * 19, options={}),
    "many steps": replace(SMALL, settings={"batch_size": 2}, rows=61),
    "updated by layer": replace(SMALL, wide=True, settings={"batch_size": 2}),
}


@pytest.mark.parametrize("name", ["one batch", "deep"])
def test_many_parts_and_many_products_train_as_numpy(cuda_backend: Backend, name: str) -> None:
    assert_every_route_agrees(SAME[name], cublas=False)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", SAME)
def test_the_same_seeds_give_the_same_bits_in_graphs_and_lists(
    cuda_backend: Backend, name: str, fused: bool
) -> None:
    with limits(SAME[name], cublas=False):
        results = [
            train(SAME[name], open_route(Route(graphs, False, fused)))
            for graphs in (True, True, False)
        ]
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].parameters, other.parameters)
        np.testing.assert_array_equal(results[0].costs, other.costs)
