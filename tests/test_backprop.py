"""Backpropagation against hand-computed numbers, finite differences and the autograd package."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
from conftest import given, st
from scipy import special

import gpubp
from gpubp.backends import Backend, Rows
from gpubp.backends.cupy.cublas import Cublas
from gpubp.backprop import Dropping, backpropagate
from gpubp.kernels import ACTIVATIONS, COSTS, Activation, Cost
from gpubp.kernels.typing import Array
from gpubp.workspace import Workspace

ELEMENTWISE = [name for name, activation in ACTIVATIONS.items() if not activation.rowwise]
PAIRS = list(product(ACTIVATIONS, COSTS))


def network(sizes: tuple[int, ...], **options: Any) -> gpubp.Network:
    """A float64 network with biases that are not zero; mismatched outputs and costs are meant."""
    options = {"hidden": "tanh", "dtype": "float64", "backend": "numpy", "seed": 0} | options
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        net = gpubp.Network(sizes, **options)
    rng = np.random.default_rng(100)
    for layer in net.layers:
        if layer.biases is not None:
            drawn = rng.normal(0, 0.3, layer.n_out).astype(net.dtype)
            layer.biases[...] = net.backend.asarray(drawn)
    return net


def host(net: gpubp.Network, array: Array) -> Array:
    return net.backend.to_numpy(array)


def relative_error(actual: Array, expected: Array) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


# The notes' network: three inputs, four hidden neurons, two outputs, sigmoid, C = ½ ‖y - a‖².
#
# With log 3 = L, σ(0) = 1/2, σ(L) = 3/4, σ(-L) = 1/4, and σ′ = a (1 - a) is 1/4, 3/16, 3/16: every
# number below is a fraction, worked out by hand.

L = math.log(3)


def the_notes_network(backend: Backend) -> gpubp.Network:
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
    bp = the_notes_network(backend).backprop([[1, 2, -1]], [[1, 0]])
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
    net = the_notes_network(backend)
    x, y = np.array([[1.0, 2, -1], [0.5, -1, 3]]), np.array([[1.0, 0], [0.25, 1]])
    first, second = net.backprop(x[:1], y[:1]), net.backprop(x[1:], y[1:])
    batch = net.backprop(x, y)
    assert batch.cost == pytest.approx((first.cost + second.cost) / 2, rel=1e-14)
    mean = (host(net, first.gradient) + host(net, second.gradient)) / 2
    np.testing.assert_allclose(host(net, batch.gradient), mean, rtol=1e-13)
    for k in range(2):
        rows = np.concatenate([first.deltas[k], second.deltas[k]]) / 2
        np.testing.assert_allclose(batch.deltas[k], rows, rtol=1e-13)


# What comes back


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
    # Where arrays so small lie may decide whether a compiled loop takes its vector or its scalar part.
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


# Finite differences: data that keep outputs inside the cost's domain and away from kinks.

KINKS = {
    "relu": (0,),
    "leaky_relu": (0,),
    "elu": (0,),
    "selu": (0,),
    "hard_sigmoid": (-3, 3),
    "hard_tanh": (-1, 1),
    "hard_swish": (-3, 3),
}


def away_from_kinks(name: str, z: Array) -> bool:
    return all((np.abs(z - kink) > 0.05).all() for kink in KINKS.get(name, ()))


def targets_for(cost: Cost, shape: tuple[int, int]) -> Array:
    """Targets that lie, for costs with kinks, far from the outputs, which are near 1/2."""
    rng = np.random.default_rng(4)
    if cost.targets == "class":
        return rng.dirichlet(np.ones(shape[1]), shape[0])
    if cost.targets == "unit":
        return rng.uniform(size=shape)
    if cost.targets == "nonnegative":
        return rng.integers(4, size=shape)
    return rng.choice([-2.0, 0.1, 0.9, 3.0], size=shape)


def output_problem(
    output: str, cost: str, backend: Backend | str = "numpy"
) -> tuple[gpubp.Network, Array, Array]:
    """A network whose outputs lie near 1/2 (softmax: 1/3), x and y."""
    net = network((4, 5, 3), output=output, cost=cost, backend=backend)
    last = net.layers[-1]
    last.weights[...] = last.weights * 0.05
    if output != "softmax":
        z = np.linspace(-2.5, 2.5, 501)[None, :]
        a = z.copy()
        activation = ACTIVATIONS[output]
        activation.numpy(z, a, (z * 0, z * 0), **activation.parameters)
        last.biases[...] = float(z.flat[np.abs(a - 0.5).argmin()])
    x = np.random.default_rng(5).normal(size=(6, 4))
    assert away_from_kinks(output, net.forward(x).z[-1])
    return net, x, targets_for(COSTS[cost], (6, 3))


@pytest.mark.parametrize(("output", "cost"), PAIRS)
def test_every_output_and_cost_agree_with_finite_differences(output: str, cost: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cost .* is defined for outputs")
        check = gpubp.check_gradients(*output_problem(output, cost))
    assert check.checked == 4 * 5 + 5 * 3 + 5 + 3
    assert check.relative_error < 1e-7


# Of the kernels, the text of a pair is put together from those of its parts, and NVRTC compiles it for
# every pair, so that here each output and each cost need be run once.
CUDA_PAIRS = [*((output, "huber") for output in ACTIVATIONS), *(("gelu", cost) for cost in COSTS)]


@pytest.mark.parametrize(("output", "cost"), CUDA_PAIRS)
def test_the_cuda_backend_gives_numpys_gradient(
    cuda_backend: Backend, output: str, cost: str
) -> None:
    net, x, y = output_problem(output, cost)
    other = output_problem(output, cost, cuda_backend)[0]
    expected, actual = net.backprop(x, y), other.backprop(x, y)
    assert actual.cost == pytest.approx(expected.cost, rel=1e-13)
    assert relative_error(host(other, actual.gradient), expected.gradient) < 1e-13
    assert relative_error(actual.input_gradient, expected.input_gradient) < 1e-13


@pytest.mark.parametrize("hidden", ELEMENTWISE)
def test_every_hidden_activation_agrees_with_finite_differences(hidden: str) -> None:
    net = network((4, 5, 4, 3), hidden=hidden, cost="log_cosh")
    net.parameters[...] *= 0.5  # which keeps exponentials of exponentials smooth
    for seed in range(1000):
        x = np.random.default_rng(seed).normal(size=(4, 4))
        if all(away_from_kinks(hidden, z) for z in net.forward(x).z[:-1]):
            break
    else:
        pytest.fail("no x keeps z away from the kinks")
    check = gpubp.check_gradients(net, x, np.ones((4, 3)), sample_weight=[1, 2, 0, 3])
    assert check.relative_error < 1e-7


def test_input_gradient_and_deltas_agree_with_finite_differences(backend: Backend) -> None:
    net = network((3, 4, 2), output="softmax", backend=backend)
    x, y, w = np.random.default_rng(6).normal(size=(5, 3)), np.array([0, 1, 1, 0, 1]), np.arange(5)
    bp = net.backprop(x, y, w)
    h = 1e-5
    for row, column in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[row, column] = h
        slope = (net.cost(x + shift, y, w) - net.cost(x - shift, y, w)) / (2 * h)
        assert bp.input_gradient[row, column] == pytest.approx(slope, rel=1e-6, abs=1e-10)
    # A shift of a bias shifts z in every row, so the sum of a column of δ is what it must change.
    for layer, delta in zip(net.layers, bp.deltas, strict=True):
        for j in range(layer.n_out):
            kept, costs = float(layer.biases[j]), []
            for step in (h, -h):
                layer.biases[j] = kept + step
                costs.append(net.cost(x, y, w))
            layer.biases[j] = kept
            slope = (costs[0] - costs[1]) / (2 * h)
            assert delta[:, j].sum() == pytest.approx(slope, rel=1e-6, abs=1e-10)


def test_check_gradients_finds_a_wrong_derivative_and_where_it_is() -> None:
    almost = Activation.from_functions(
        "almost_tanh", lambda xp, z: xp.tanh(z), lambda xp, z: 1.01 * (1 - xp.tanh(z) ** 2)
    )
    x, y = np.random.default_rng(7).normal(size=(2, 6, 3))
    net = network((3, 4, 3), hidden=almost)
    tanh = network((3, 4, 3))
    tanh.parameters[...] = net.parameters
    right = tanh.backprop(x, y).gradient
    check = gpubp.check_gradients(net, x, y)
    # The first layer's gradient is 1 % too large, the second's right.
    off = np.zeros_like(right)
    for part in (slice(0, 12), slice(24, 28)):
        off[part] = 0.01 * right[part]
    expected = np.linalg.norm(off) / np.linalg.norm(right + off)
    assert check.relative_error == pytest.approx(expected, rel=1e-5)
    assert check.worst == np.abs(off).argmax()


def test_check_gradients_leaves_the_network_and_compares_no_more_than_asked() -> None:
    net = network((3, 4, 3), dtype="float32")
    before = net.parameters.copy()
    x, y = np.random.default_rng(8).normal(size=(2, 6, 3))
    check = gpubp.check_gradients(net, x, y, max_parameters=10)
    assert check.checked == 10
    assert check.relative_error < 1e-7
    np.testing.assert_array_equal(net.parameters, before)


# Random networks against autograd


def oracle_functions(anp: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """σ and c in autograd's NumPy, one-sided at kinks as gpubp is."""

    def elu(z: Array, alpha: float) -> Array:
        return anp.where(z > 0, z, alpha * (anp.exp(anp.where(z > 0, 0, z)) - 1))

    def softplus(z: Array) -> Array:
        return anp.logaddexp(0.0, z)

    def sigmoid(z: Array) -> Array:
        return 0.5 * (1 + anp.tanh(z / 2))

    def hard_sigmoid(z: Array) -> Array:
        return anp.where(z <= -3, 0, anp.where(z >= 3, 1, z / 6 + 0.5))

    def gelu_tanh(z: Array) -> Array:
        return z / 2 * (1 + anp.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))

    def softmax(z: Array) -> Array:
        e = anp.exp(z - anp.max(z, axis=1, keepdims=True))
        return e / anp.sum(e, axis=1, keepdims=True)

    sigmas = {
        "identity": lambda z: z,
        "sigmoid": sigmoid,
        "tanh": anp.tanh,
        "relu": lambda z: anp.where(z > 0, z, 0),
        "leaky_relu": lambda z: anp.where(z > 0, z, 0.01 * z),
        "elu": lambda z: elu(z, 1.0),
        "selu": lambda z: 1.0507009873554805 * elu(z, 1.6732632423543772),
        "gelu_tanh": gelu_tanh,
        "silu": lambda z: z * sigmoid(z),
        "mish": lambda z: z * anp.tanh(softplus(z)),
        "softplus": softplus,
        "squareplus": lambda z: (z + anp.sqrt(z * z + 4)) / 2,
        "sine": anp.sin,
        "hard_sigmoid": hard_sigmoid,
        "hard_tanh": lambda z: anp.where(z <= -1, -1, anp.where(z >= 1, 1, z)),
        "hard_swish": lambda z: z * hard_sigmoid(z),
        "exponential": anp.exp,
        "softmax": softmax,
    }
    r = lambda a, y: anp.abs(a - y)  # noqa: E731
    costs = {
        "quadratic": lambda a, y: (a - y) ** 2 / 2,
        "cross_entropy": lambda a, y: -y * anp.log(a),
        "binary_cross_entropy": lambda a, y: -y * anp.log(a) - (1 - y) * anp.log(1 - a),
        "huber": lambda a, y: anp.where(r(a, y) <= 1, (a - y) ** 2 / 2, r(a, y) - 0.5),
        "absolute_error": r,
        "log_cosh": lambda a, y: anp.log(anp.cosh(a - y)),
        "poisson": lambda a, y: a - y * anp.log(a),
        "quantile": lambda a, y: r(a, y) / 2,
    }
    return sigmas, costs


HIDDEN = [name for name in ELEMENTWISE if name not in ("exponential", "gelu")]
POSITIVE = ["sigmoid", "softplus", "squareplus", "exponential", "softmax"]
OUTPUTS = {(0.0, 1.0): ["sigmoid", "softmax"], (0.0, math.inf): POSITIVE}


@st.composite
def random_problems(draw: st.DrawFn) -> dict[str, Any]:
    depth = draw(st.integers(1, 4))
    cost = draw(st.sampled_from(sorted(COSTS)))
    sizes = tuple(draw(st.lists(st.integers(1, 6), min_size=depth + 1, max_size=depth + 1)))
    outputs = OUTPUTS.get(COSTS[cost].domain, [*HIDDEN, "softmax"])
    if sizes[-1] == 1:  # the softmax of one number is 1, where the oracle's log(1 - a) is infinite
        outputs = [name for name in outputs if name != "softmax"]
    return {
        "sizes": sizes,
        "hidden": [draw(st.sampled_from(HIDDEN)) for _ in range(depth - 1)],
        "cost": cost,
        "output": draw(st.sampled_from(outputs)),
        "biases": [draw(st.booleans()) for _ in range(depth)],
        "rows": draw(st.integers(1, 9)),
        "weighted": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


@given(random_problems())
def test_random_networks_agree_with_autograd(backend: Backend, problem: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        autograd = pytest.importorskip("autograd", reason="the oracle, autograd, is not installed")
        import autograd.numpy as anp
    rng = np.random.default_rng(problem["seed"])
    rows, cost = problem["rows"], COSTS[problem["cost"]]
    keys = ("hidden", "output", "cost", "biases")
    net = network(problem["sizes"], **{key: problem[key] for key in keys}, backend=backend)
    values = rng.normal(0, 0.6, net.layout.size)
    net.parameters[...] = backend.asarray(values)
    x = rng.normal(size=(rows, net.sizes[0]))
    y = targets_for(cost, (rows, net.sizes[-1])) + (0.01 if cost.targets == "real" else 0)
    weights = rng.uniform(size=rows) if problem["weighted"] else None

    sigmas, costs = oracle_functions(anp)
    share = np.full(rows, 1 / rows) if weights is None else weights / weights.sum()
    names = [*problem["hidden"], problem["output"]]

    def mean_cost(theta: Array, a: Array) -> Array:
        for (w, b), name in zip(net.layout.views(theta), names, strict=True):
            z = anp.dot(a, w.T)
            a = sigmas[name](z if b is None else z + b)
        return anp.sum(share * anp.sum(costs[cost.name](a, y), axis=1))

    expected_cost = mean_cost(values, x)
    by_parameters = autograd.grad(mean_cost, 0)(values, x)
    by_inputs = autograd.grad(mean_cost, 1)(values, x)
    bp = net.backprop(x if rows > 1 else x[0], y, weights)
    assert bp.cost == pytest.approx(expected_cost, rel=1e-10)
    for actual, expected in (
        (host(net, bp.gradient), by_parameters),
        (bp.input_gradient, by_inputs),
    ):
        scale = max(float(np.linalg.norm(expected)), 1e-3)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9 * scale)


# Dynamic programming: nothing is computed twice.


@pytest.fixture
def matmuls(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of matmuls so far, as a list of one number; cuBLAS's and our own, on CUDA."""
    count = [0]

    def watch(place: Any, name: str) -> None:
        matmul = getattr(place, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            count[0] += 1
            return matmul(*arguments, **options)

        monkeypatch.setattr(place, name, counting)

    if backend.name == "cupy":
        watch(Cublas, "bind")
        watch(gpubp.kernels.matmul, "_bind")
    else:
        watch(backend, "matmul")
    return count


def run_step(
    net: gpubp.Network,
    x: Array,
    y: Array,
    *,
    limit: int | None = None,
    gradient: Array | None = None,
    dropping: Dropping | None = None,
) -> tuple[float, Array]:
    """Cost and gradient of a training step's workspace, added to `gradient` if given."""
    backend = net.backend
    workspace = Workspace(
        *(backend, net.layers, net.cost_function, len(x), "train"),
        labels=y.ndim == 1,
        limit=limit,
        training=dropping is not None,
    )
    flats = [backend.asarray(np.full(net.layout.size, np.nan, net.dtype)) for _ in workspace.shards]
    if gradient is not None:
        flats[0][...] = gradient
    costs, counters = (
        backend.asarray(np.zeros((len(flats), 1))),
        backend.asarray(np.zeros(2, np.int64)),
    )
    rows = Rows(backend.asarray(x), backend.asarray(y))
    backpropagate(
        *(net.problem, workspace, rows, counters, [net.layout.views(flat) for flat in flats]),
        *(0.0 if gradient is None else 1.0, costs, dropping),
    )
    return float(host(net, costs).sum()), sum(host(net, flat) for flat in flats)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_network_costs_one_matmul_a_layer_forward_and_two_backward(
    backend: Backend, matmuls: list[int], depth: int
) -> None:
    net = network((3,) * (depth + 1), backend=backend)
    x = np.ones((4, 3))
    net.forward(x)
    assert matmuls[0] == depth
    net.backprop(x, x)  # with the input gradient
    assert matmuls[0] == depth + 3 * depth
    run_step(net, x, x)
    assert matmuls[0] == depth + 3 * depth + depth + (2 * depth - 1)


# Training steps, which reuse their buffers


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
    dropping = Dropping(seed=5)
    _, gradient = run_step(net, x, y, dropping=dropping)
    assert not np.allclose(gradient, run_step(net, x, y)[1])
    h = 1e-5
    for k in np.random.default_rng(12).choice(net.layout.size, 12, replace=False):
        kept, costs = float(net.parameters[k]), []
        for step in (h, -h):
            net.parameters[k] = kept + step
            costs.append(run_step(net, x, y, dropping=dropping)[0])
        net.parameters[k] = kept
        assert gradient[k] == pytest.approx((costs[0] - costs[1]) / (2 * h), rel=1e-6, abs=1e-9)


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


# Activations and costs of one's own

FORWARD = {"cuda": "return z / sqrt(T(1) + z * z);"}
BACKWARD = {"cuda_derivative": "const T q = T(1) + z * z; return T(1) / (q * sqrt(q));"}
OWN_ACTIVATIONS = {
    "array functions": {},
    "CUDA text": FORWARD | BACKWARD,
    "CUDA text forward": FORWARD,
    "CUDA text backward": BACKWARD,
}
COST = {"cuda": "const T r = a - y; return r * r * r * r;"}
DERIVATIVE = {"cuda_derivative": "const T r = a - y; return T(4) * r * r * r;"}
OWN_COSTS = {
    "array functions": {},
    "CUDA text": COST | DERIVATIVE,
    "CUDA text of the cost": COST,
    "CUDA text of its derivative": DERIVATIVE,
}


@pytest.mark.parametrize("cost_text", OWN_COSTS)
@pytest.mark.parametrize("text", OWN_ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_custom_activations_and_costs_work_on_every_backend(
    backend: Backend, text: str, cost_text: str, dtype: str
) -> None:
    own = Activation.from_functions(
        "own, unlike an identifier",
        lambda xp, z: z / xp.sqrt(1 + z * z),
        lambda xp, z: (1 + z * z) ** -1.5,
        **OWN_ACTIVATIONS[text],
    )
    fourth = Cost.from_functions(
        *("fourth power", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3),
        **OWN_COSTS[cost_text],
    )
    x, y = np.random.default_rng(18).normal(size=(2, 6, 3)).astype(dtype)
    net = network((3, 4, 3), hidden=own, output=own, cost=fourth, dtype=dtype, backend=backend)
    bp = net.backprop(x, y)
    output = net.predict(x)
    assert bp.cost == pytest.approx(((output - y).astype(float) ** 4).sum(axis=1).mean(), rel=1e-5)
    assert gpubp.check_gradients(net, x, y).relative_error < 1e-7
    wide = network((3, 4, 3), hidden=own, output=own, cost=fourth)
    wide.parameters[...] = host(net, net.parameters)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    assert relative_error(host(net, bp.gradient), wide.backprop(x, y).gradient) < tolerance


@pytest.mark.parametrize("output", ["tanh", "softmax"])
def test_custom_costs_work_behind_every_kind_of_output(backend: Backend, output: str) -> None:
    fourth = Cost.from_functions(
        "fourth", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3
    )
    x, y = np.random.default_rng(19).normal(size=(2, 6, 3))
    net = network((3, 4, 3), output=output, cost=fourth, backend=backend)
    assert gpubp.check_gradients(net, x, y).relative_error < 1e-7
    numpys = network((3, 4, 3), output=output, cost=fourth)
    gradient = host(net, net.backprop(x, y).gradient)
    assert relative_error(gradient, numpys.backprop(x, y).gradient) < 1e-13


def test_a_custom_activation_may_read_its_output(backend: Backend) -> None:
    own = Activation.from_functions(
        "own_tanh", lambda xp, z: xp.tanh(z), lambda xp, a: 1 - a * a, reads="a"
    )
    x, y = np.random.default_rng(20).normal(size=(2, 6, 3))
    tanh, net = network((3, 4, 3)), network((3, 4, 3), hidden=own, backend=backend)
    tanh.parameters[...] = host(net, net.parameters)
    expected = tanh.backprop(x, y).gradient
    assert relative_error(host(net, net.backprop(x, y).gradient), expected) < 1e-13
