"""Backprop: an example worked out by hand, the returned arrays, sample weights, labels, accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from random_networks import host, network, relative_error, run_step
from scipy import special

import gpubp
from gpubp.backends import Backend
from gpubp.kernels.typing import Array

# The worked example: three inputs, four hidden neurons, two outputs, sigmoid, C = ½ ‖y - a‖².
#
# Let L = log 3. Then σ(0) = 1/2, σ(L) = 3/4 and σ(-L) = 1/4, so σ′ = a (1 - a) is 1/4, 3/16 and 3/16.
# Every number below is a fraction that was worked out by hand.

L = math.log(3)


def worked_example(backend: Backend) -> gpubp.Network:
    net = gpubp.Network(
        (3, 4, 2),
        hidden="sigmoid",
        output="sigmoid",
        cost="quadratic",
        dtype="float64",
        backend=backend,
    )
    w2, b2 = [[1, 0, 1], [L, 0, 0], [0, -L, -L], [1, -1, 0]], [0, 0, 0, 1]
    w3, b3 = [[1, -1, 1, 0], [-2, 1, -1, 1]], [L, 0]
    values = np.concatenate([np.ravel(part) for part in (w2, w3, b2, b3)]).astype(np.float64)
    net.parameters[...] = backend.asarray(values)
    return net


def test_the_notes_network_gives_the_numbers_computed_by_hand(backend: Backend) -> None:
    bp = worked_example(backend).backprop([[1, 2, -1]], [[1, 0]])
    near = {"rtol": 1e-14, "atol": 1e-15}

    np.testing.assert_allclose(bp.z[0], [[0, L, -L, 0]], **near)
    np.testing.assert_allclose(bp.a[1], [[1 / 2, 3 / 4, 1 / 4, 1 / 2]], **near)
    np.testing.assert_allclose(bp.z[1], [[L, 0]], **near)
    np.testing.assert_allclose(bp.a[2], [[3 / 4, 1 / 2]], **near)
    assert bp.cost == pytest.approx(5 / 32, rel=1e-14)

    # δ³ = (a - y) σ′: -1/4 · 3/16 and 1/2 · 1/4.
    np.testing.assert_allclose(bp.deltas[1], [[-3 / 64, 1 / 8]], **near)
    # w³ᵀ δ³ = (-19, 11, -11, 8) / 64, times σ′.
    np.testing.assert_allclose(bp.deltas[0], [[-19 / 256, 33 / 1024, -33 / 1024, 1 / 32]], **near)

    w2, w3 = (backend.to_numpy(gradient) for gradient in bp.weight_gradients)
    b2, b3 = (backend.to_numpy(gradient) for gradient in bp.bias_gradients)
    np.testing.assert_allclose(
        w3, [[-3 / 128, -9 / 256, -3 / 256, -3 / 128], [1 / 16, 3 / 32, 1 / 32, 1 / 16]], **near
    )
    np.testing.assert_allclose(
        w2,
        [
            [-19 / 256, -19 / 128, 19 / 256],
            [33 / 1024, 33 / 512, -33 / 1024],
            [-33 / 1024, -33 / 512, 33 / 1024],
            [1 / 32, 1 / 16, -1 / 32],
        ],
        **near,
    )
    np.testing.assert_allclose(b3, [-3 / 64, 1 / 8], **near)
    np.testing.assert_allclose(b2, [-19 / 256, 33 / 1024, -33 / 1024, 1 / 32], **near)
    k = 33 * L / 1024
    np.testing.assert_allclose(
        bp.input_gradient, [[k - 11 / 256, k - 1 / 32, k - 19 / 256]], **near
    )


def test_a_batch_averages_its_examples(backend: Backend) -> None:
    net = worked_example(backend)
    x, y = np.array([[1.0, 2, -1], [0.5, -1, 3]]), np.array([[1.0, 0], [0.25, 1]])
    first, second = net.backprop(x[:1], y[:1]), net.backprop(x[1:], y[1:])
    batch = net.backprop(x, y)
    assert batch.cost == pytest.approx((first.cost + second.cost) / 2, rel=1e-14)
    mean = (host(net, first.gradient) + host(net, second.gradient)) / 2
    np.testing.assert_allclose(host(net, batch.gradient), mean, rtol=1e-13)
    for k in range(2):
        rows = np.concatenate([first.deltas[k], second.deltas[k]]) / 2
        np.testing.assert_allclose(batch.deltas[k], rows, rtol=1e-13)


# The returned arrays


def test_forward_gives_each_z_and_a(backend: Backend) -> None:
    net = network((3, 5, 4, 2), hidden=["relu", "gelu"], output="softmax", backend=backend)
    x = np.random.default_rng(1).normal(size=(7, 3))
    fp = net.forward(x)
    assert [z.shape for z in fp.z] == [(7, 5), (7, 4), (7, 2)]
    assert [a.shape for a in fp.a] == [(7, 3), (7, 5), (7, 4), (7, 2)]
    np.testing.assert_array_equal(fp.a[0], x)
    sigmas: list[Callable[[Array], Array]] = [
        lambda z: np.maximum(z, 0),
        lambda z: z * special.ndtr(z),
        lambda z: special.softmax(z, axis=1),
    ]
    for k, (layer, sigma) in enumerate(zip(net.layers, sigmas, strict=True)):
        z = fp.a[k] @ host(net, layer.weights).T + host(net, layer.biases)
        np.testing.assert_allclose(fp.z[k], z, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(fp.a[k + 1], sigma(fp.z[k]), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(fp.a[-1], net.predict(x), rtol=1e-14)


def test_gradients_are_views_of_the_flat_one(backend: Backend) -> None:
    net = network((3, 5, 2), biases=[True, False], backend=backend)
    bp = net.backprop(np.ones((4, 3)), np.ones((4, 2)))
    assert [d.shape for d in bp.deltas] == [(4, 5), (4, 2)]
    assert bp.input_gradient.shape == (4, 3)
    assert [w.shape for w in bp.weight_gradients] == [(5, 3), (2, 5)]
    assert bp.bias_gradients[1] is None
    w1, w2, b1 = *bp.weight_gradients, bp.bias_gradients[0]
    flat = np.concatenate([host(net, part).ravel() for part in (w1, w2, b1)])
    np.testing.assert_array_equal(host(net, bp.gradient), flat)
    bp.gradient[...] = 7.0
    for part in (w1, w2, b1):
        assert (host(net, part) == 7).all()


def test_results_belong_to_the_caller(backend: Backend) -> None:
    net = network((3, 4, 2), backend=backend)
    x, y = np.random.default_rng(2).normal(size=(2, 6, 3))
    first = net.backprop(x, y[:, :2])
    kept = [host(net, first.gradient).copy(), first.deltas[0].copy(), first.a[1].copy()]
    predicted = net.predict(x)
    as_predicted = predicted.copy()
    net.backprop(2 * x, y[:, :2])
    net.predict(3 * x)
    for before, after in zip(kept, (first.gradient, first.deltas[0], first.a[1]), strict=True):
        np.testing.assert_array_equal(before, host(net, after))
    np.testing.assert_array_equal(predicted, as_predicted)


def test_one_example_is_a_batch_of_one(backend: Backend) -> None:
    net = network((3, 4, 2), backend=backend)
    x, y = np.array([0.5, -1, 2]), np.array([1.0, 0])
    one, batch = net.backprop(x, y), net.backprop(x[None], y[None])
    # The address of so small an array may decide whether a compiled loop runs its vector or scalar part.
    np.testing.assert_allclose(host(net, one.gradient), host(net, batch.gradient), rtol=1e-13)
    assert one.cost == pytest.approx(batch.cost, rel=1e-14)
    assert one.cost == pytest.approx(net.cost(x, y), rel=1e-14)
    assert one.deltas[0].shape == (1, 4)
    classifier = network((3, 4, 5), output="softmax", backend=backend)
    assert classifier.cost(x, 2) == pytest.approx(classifier.cost(x[None], [2]), rel=1e-14)


def test_cost_is_the_cost_of_backprop(backend: Backend) -> None:
    net = network((3, 4, 5), output="softmax", backend=backend)
    rng = np.random.default_rng(3)
    x, labels, weights = rng.normal(size=(9, 3)), rng.integers(5, size=9), rng.uniform(size=9)
    for w in (None, weights):
        assert net.cost(x, labels, w) == pytest.approx(net.backprop(x, labels, w).cost, rel=1e-14)


# Sample weights, smoothing, precision


def test_sample_weights_are_repeated_rows(backend: Backend) -> None:
    net = network((3, 5, 4), output="softmax", backend=backend)
    rng = np.random.default_rng(13)
    x, labels, times = rng.normal(size=(5, 3)), rng.integers(4, size=5), np.array([2, 0, 1, 3, 1])
    weighted = net.backprop(x, labels, times)
    repeated = net.backprop(np.repeat(x, times, axis=0), np.repeat(labels, times))
    assert weighted.cost == pytest.approx(repeated.cost, rel=1e-13)
    np.testing.assert_allclose(
        host(net, weighted.gradient), host(net, repeated.gradient), rtol=1e-12, atol=1e-16
    )
    scaled = net.backprop(x, labels, 1e6 * times)
    np.testing.assert_allclose(
        host(net, scaled.gradient), host(net, weighted.gradient), rtol=1e-12, atol=1e-16
    )
    assert (weighted.deltas[0][1] == 0).all()


def test_labels_are_one_hot_rows(backend: Backend) -> None:
    net = network((3, 5, 4), output="softmax", backend=backend)
    rng = np.random.default_rng(14)
    x, labels = rng.normal(size=(5, 3)), rng.integers(4, size=5)
    for dtype in (np.int64, np.uint8, np.int32):
        by_label = net.backprop(x, labels.astype(dtype))
        by_row = net.backprop(x, np.eye(4)[labels])
        assert by_label.cost == by_row.cost
        np.testing.assert_array_equal(host(net, by_label.gradient), host(net, by_row.gradient))


def test_label_smoothing_softens_the_targets(backend: Backend) -> None:
    smooth = gpubp.get_cost("cross_entropy", label_smoothing=0.2)
    softened = network((3, 5, 4), output="softmax", cost=smooth, backend=backend)
    plain = network((3, 5, 4), output="softmax", backend=backend)
    rng = np.random.default_rng(15)
    x, labels = rng.normal(size=(6, 3)), rng.integers(4, size=6)
    rows = 0.8 * np.eye(4)[labels] + 0.05
    expected = plain.backprop(x, rows)
    for y in (labels, np.eye(4)[labels]):
        actual = softened.backprop(x, y)
        assert actual.cost == pytest.approx(expected.cost, rel=1e-14)
        np.testing.assert_allclose(
            host(plain, actual.gradient), host(plain, expected.gradient), rtol=1e-11, atol=1e-16
        )


def test_a_million_rows_of_float32_keep_their_digits() -> None:
    rng = np.random.default_rng(16)
    x = rng.uniform(0.5, 1.5, (1_000_000, 4)).astype(np.float32)
    y = np.ones((len(x), 2), np.float32)
    narrow = network((4, 3, 2), hidden="sigmoid", dtype="float32")
    wide = network((4, 3, 2), hidden="sigmoid")
    wide.parameters[...] = narrow.parameters
    expected, actual = wide.backprop(x, y), narrow.backprop(x, y)
    assert actual.cost == pytest.approx(expected.cost, rel=1e-6)
    assert narrow.cost(x, y) == pytest.approx(expected.cost, rel=1e-6)
    for part in ("weight_gradients", "bias_gradients"):
        for g, d in zip(getattr(actual, part), getattr(expected, part), strict=True):
            assert relative_error(g, d) < 1e-5
    _, gradient = run_step(narrow, x, y)
    assert relative_error(gradient, expected.gradient) < 1e-5


def test_many_rows_of_float32_keep_their_digits_on_every_backend(backend: Backend) -> None:
    rng = np.random.default_rng(17)
    x = rng.uniform(0.5, 1.5, (20_000, 4)).astype(np.float32)
    y = np.ones((len(x), 2), np.float32)
    narrow = network((4, 3, 2), hidden="sigmoid", dtype="float32", backend=backend)
    wide = network((4, 3, 2), hidden="sigmoid")
    wide.parameters[...] = host(narrow, narrow.parameters)
    expected, actual = wide.backprop(x, y), narrow.backprop(x, y)
    assert actual.cost == pytest.approx(expected.cost, rel=1e-6)
    assert relative_error(host(narrow, actual.gradient), expected.gradient) < 1e-5
