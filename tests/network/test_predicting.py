"""Predictions: sizes, threads, devices, and inputs of any kind."""

from __future__ import annotations

import pickle
import re
import threading
import weakref
from itertools import product
from typing import Any

import numpy as np
import pytest
from random_networks import host
from samples import same_parameters

import gpubp
from gpubp import Network
from gpubp.backends import Backend
from gpubp.kernels.typing import Array

# Predicting


@pytest.fixture
def net(backend: Backend) -> Network:
    return Network((3, 8, 4), output="softmax", backend=backend, seed=4)


def test_predict_gives_rows_for_rows_and_one_output_for_one_example(net: Network) -> None:
    x = np.random.default_rng(5).normal(size=(6, 3))
    outputs = net.predict(x)
    assert outputs.shape == (6, 4)
    assert outputs.dtype == np.float32
    one = net.predict(x[2])
    assert one.shape == (4,)
    np.testing.assert_allclose(one, outputs[2], rtol=1e-6)
    np.testing.assert_allclose(net.predict(list(x[2])), one, rtol=1e-6)


def test_predict_is_right_for_any_succession_of_sizes_and_sees_new_parameters(net: Network) -> None:
    x = np.random.default_rng(6).normal(size=(30, 3))
    for scale in (1.0, -2.0):
        net.parameters[...] *= scale
        expected = net.forward(x).a[-1]
        for rows in [*range(1, 21), 30, 1, 20]:
            np.testing.assert_allclose(net.predict(x[:rows]), expected[:rows], rtol=1e-5)


@pytest.mark.slow
def test_predict_on_many_rows_works_in_blocks(backend: Backend) -> None:
    net = Network((3, 40, 4), output="softmax", backend=backend, seed=4, dtype="float64")
    x = np.random.default_rng(7).normal(size=(10_001, 3))
    np.testing.assert_allclose(net.predict(x), net.forward(x).a[-1], rtol=1e-12)


def test_predict_keeps_no_hold_of_x(net: Network) -> None:
    x = np.ones((5, 3), np.float32)
    alive = weakref.ref(x)
    net.predict(x)
    del x
    assert alive() is None


LAYOUTS = {
    "rows": lambda x: np.array(x, np.float32),
    "columns": lambda x: np.asfortranarray(x, np.float32),
    "strided": lambda x: np.repeat(np.array(x, np.float32), 2, axis=1)[:, ::2],
    "half": lambda x: np.array(x, np.float16),
    "bool": lambda x: np.array(x) > 0,
    "swapped bytes": lambda x: np.array(x, ">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_filled_anew_is_read_anew_and_not_kept(backend: Backend, layout: str) -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(2, 6, 3))
    net, other = (Network((3, 8, 4), backend=backend, seed=4) for _ in range(2))
    trainer, other_trainer = (gpubp.Trainer(n, "sgd", batch_size=6) for n in (net, other))
    x = LAYOUTS[layout](first)
    for values in (first, second):
        x[...] = LAYOUTS[layout](values)
        dense = np.ascontiguousarray(x, np.float32)
        np.testing.assert_array_equal(net.predict(x), net.predict(dense))
        trainer.step(x, np.zeros((6, 4)))
        other_trainer.step(dense, np.zeros((6, 4)))
    assert same_parameters(net, other)
    alive = weakref.ref(x)
    del x, dense
    assert alive() is None


@pytest.mark.parametrize("rows", [1, 20, 300])
@pytest.mark.parametrize(
    ("dtype", "bad"),
    [
        *product((np.float16, np.float32, np.float64, np.longdouble), (np.nan, np.inf, -np.inf)),
        *product((np.float64, np.longdouble), (1e300,)),
    ],
)
def test_a_wrong_number_in_x_is_told_wherever_it_is(
    backend: Backend, rows: int, dtype: type, bad: float
) -> None:
    """Also if tanh makes an ordinary number of it; the prediction after it is right."""
    net = Network((3, 8, 4), hidden="tanh", backend=backend, seed=4)
    good = np.random.default_rng(5).normal(size=(rows, 3)).astype(dtype)
    expected = net.predict(good)
    for place in {(0, 0), (rows // 2, 1), (rows - 1, 2)}:
        x = good.copy()
        x[place] = bad
        with pytest.raises(
            ValueError, match=re.escape(f"x holds {bad:g} at [{place[0]}, {place[1]}]")
        ):
            net.predict(x)
        np.testing.assert_array_equal(net.predict(good), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_just_too_large_are_told_and_warn_of_nothing(backend: Backend, dtype: str) -> None:
    """They may round to the largest number of the network's dtype."""
    wider = np.float64 if dtype == "float32" else np.longdouble
    largest = np.finfo(dtype).max
    if np.finfo(wider).nmant == np.finfo(dtype).nmant:
        pytest.skip("long double has no more digits than double here")
    net = Network((3, 4), dtype=dtype, backend=backend, seed=4)
    for factor in (1 + wider(2.0) ** -30, wider(2)):
        for rows in (1, 40):
            x = np.ones((rows, 3), wider)
            x[-1, 1] = largest * factor
            with (
                np.errstate(all="raise"),
                pytest.raises(ValueError, match=r"too large for|holds inf"),
            ):
                net.predict(x)
    x = np.full((1, 3), largest / 4, wider)
    assert net.predict(x).shape == (1, 4)


def test_a_copy_of_a_network_that_has_predicted_checks_numbers_too(net: Network) -> None:
    net.predict([[1.0, 2.0, 3.0]])
    copy = pickle.loads(pickle.dumps(net))
    assert "_predictor" not in vars(copy)  # what it has decided depends on the backend
    with pytest.raises(ValueError, match=re.escape("x holds nan at [0, 1]")):
        copy.predict([[1.0, np.nan, 3.0]])


def test_a_users_function_sees_only_numbers_that_have_been_checked(backend: Backend) -> None:
    def function(xp: Any, z: Array) -> Array:
        assert bool(xp.isfinite(z).all())
        return xp.tanh(z)

    own = gpubp.Activation.from_functions("own", function, lambda xp, z: 1 - xp.tanh(z) ** 2)
    net = Network((3, 5, 2), hidden=own, backend=backend, seed=0)
    with pytest.raises(ValueError, match=re.escape("x holds nan at [1, 0]")):
        net.predict([[1, 2, 3], [np.nan, 2, 3]])


def test_numbers_that_were_wrong_while_they_were_read_and_are_right_again_raise_nothing() -> None:
    net = Network((3, 4), backend="numpy", seed=4)
    net.predict([[1.0, 2.0, 3.0]])
    (captured,) = net._predictor.captured.values()
    if captured.found is None:
        pytest.skip("no compiled kernels")
    captured.found.fill(1)
    assert np.isfinite(net.predict([[1.0, 2.0, 3.0]])).all()
    assert not captured.found.any()


def test_threads_may_predict_with_one_network_at_the_same_time(backend: Backend) -> None:
    net = Network((3, 8, 4), backend=backend, seed=4)
    xs = np.random.default_rng(9).normal(size=(2, 50, 3))
    expected = [net.predict(x) for x in xs]
    wrong: list[int] = []

    def predict(which: int) -> None:
        for _ in range(100):
            if not np.array_equal(net.predict(xs[which]), expected[which]):
                wrong.append(which)

    threads = [threading.Thread(target=predict, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_rows_are_predicted_in_parts_and_leave_little_behind(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Network((3, 8, 4), backend=backend, seed=4)
    x = np.random.default_rng(10).normal(size=(50, 3))
    whole = net.predict(x)
    monkeypatch.setattr("gpubp.network.predictor.ROWS_AT_ONCE", 7)
    net = Network((3, 8, 4), backend=backend, seed=4)
    np.testing.assert_allclose(net.predict(x), whole, rtol=1e-5, atol=1e-7)
    assert sorted(net._predictor.captured) == [(1, False), (7, False)]


def test_what_is_assigned_to_parameters_reaches_every_use_of_them(net: Network) -> None:
    x, layer = np.ones((2, 3)), net.layers[0]
    net.predict(x)  # captures the prediction
    net.parameters = np.zeros(net.layout.size)
    np.testing.assert_array_equal(net.predict(x), np.full((2, 4), 0.25))
    layer.weights = np.ones((8, 3))
    layer.biases = np.full(8, -2.0)
    layer.weights *= 2
    expected = net.forward(x)
    np.testing.assert_array_equal(expected.z[0], np.full((2, 8), 4))
    np.testing.assert_array_equal(host(net, net.parameters)[:24], np.full(24, 2))
    np.testing.assert_array_equal(net.predict(x), expected.a[-1])


def test_what_cannot_be_assigned_is_told(backend: Backend) -> None:
    net = Network((3, 4), biases=False, backend=backend)
    layer = net.layers[0]
    with pytest.raises(
        ValueError, match=r"parameters is given shape \(3,\), expected shape \(12,\)"
    ):
        net.parameters = np.zeros(3)
    with pytest.raises(
        ValueError, match=r"weights is given shape \(3, 4\), expected shape \(4, 3\)"
    ):
        layer.weights = np.zeros((3, 4))
    with pytest.raises(ValueError, match=r"biases is array.*, expected None, for this"):
        layer.biases = np.zeros(4)
    with pytest.raises(AttributeError, match="a layer's dropout cannot be changed; make a new Net"):
        layer.dropout = 0.5


def test_results_show_what_they_are_in_a_line(net: Network) -> None:
    x = np.ones((2, 3))
    assert repr(net.forward(x)) == "Forward(2 layers, 2 rows)"
    assert re.fullmatch(r"Backprop\(2 layers, 2 rows, cost=[\d.]+\)", repr(net.backprop(x, [0, 1])))
    assert net.forward(x) != net.forward(x)


class OnlyDlpack:
    """An array whose only interface is DLPack."""

    def __init__(self, array: Array) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_inputs_of_any_kind_layout_and_type_are_the_same_numbers(net: Network) -> None:
    x = np.random.default_rng(8).integers(-3, 4, (6, 3))
    expected = net.predict(x.astype(np.float32))
    frozen = x.astype(float)
    frozen.flags.writeable = False
    for same in (
        x,
        x.tolist(),
        x.astype(np.int8),
        x.astype(np.float16),
        x.astype(np.float64),
        x.astype(">f4"),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=1)[:, ::2],
        frozen,
        OnlyDlpack(x.astype(float)),
    ):
        np.testing.assert_array_equal(net.predict(same), expected)


# Devices


def test_results_come_back_where_x_came_from(net: Network, cuda_backend: Backend) -> None:
    x, y = np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32), [0, 1, 2, 3, 0, 1]
    for there in (gpubp.get_backend("numpy"), cuda_backend):
        on_there = there.asarray(x)
        bp, fp = net.backprop(on_there, y), net.forward(on_there)
        arrays = [net.predict(on_there), net.predict(on_there[0]), *fp.z, *fp.a]
        arrays += [*bp.deltas, *bp.z, *bp.a, bp.input_gradient]
        assert all(there.owns(array) for array in arrays)
        assert all(net.backend.owns(g) for g in (bp.gradient, *bp.weight_gradients))
        np.testing.assert_array_equal(there.to_numpy(fp.a[0]), x)
        np.testing.assert_array_equal(there.to_numpy(bp.deltas[0]), net.backprop(x, y).deltas[0])
    assert net.backend.owns(net.parameters)


def test_x_y_and_weights_may_live_on_different_devices(net: Network, cuda_backend: Backend) -> None:
    x, labels, weights = np.ones((4, 3), np.float32), np.arange(4), np.array([1.0, 2, 3, 4])
    expected = net.cost(x, labels, weights)
    device = cuda_backend.asarray
    assert net.cost(device(x), labels, weights) == expected
    assert net.cost(x, device(labels), device(weights)) == expected
    assert net.cost(x, device(np.eye(4)[labels]), weights) == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_gradients_are_checked_wherever_the_network_lives(net: Network) -> None:
    assert gpubp.check_gradients(net, [[1, 2, 3], [3, -1, 2]], [1, 0]).relative_error < 1e-7
