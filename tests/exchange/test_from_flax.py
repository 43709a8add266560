"""Networks of flax's parameters, against flax's own forward pass."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from gpubp.exchange import from_flax

jax = pytest.importorskip("jax", reason="jax is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of packages that flax imports
    pytest.importorskip("flax", reason="flax is not installed")
    from flax import linen, nnx

X = np.linspace(-3, 3, 48).reshape(12, 4).astype(np.float32)
WIDTHS = (4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3)


class Deep(linen.Module):  # type: ignore[misc]
    """Twelve layers: Dense_10 comes after Dense_2, and also before it in the alphabet."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        for width in WIDTHS[:-1]:
            x = linen.tanh(linen.Dense(width, bias_init=linen.initializers.normal(0.5))(x))
        return linen.softmax(linen.Dense(WIDTHS[-1], use_bias=False)(x))


class Nested(linen.Module):  # type: ignore[misc]
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.gelu(linen.Dense(4, name="body")(x), approximate=True)
        return Deep(name="head")(x)


class Pair(nnx.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.linear1, self.linear2 = nnx.Linear(4, 5, rngs=rngs), nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.linear2(nnx.relu(self.linear1(x)))


def check(net: Any, expected: Any) -> None:
    np.testing.assert_allclose(net.predict(X), expected, rtol=2e-5, atol=2e-6)


def test_layers_come_in_the_order_of_their_numbers() -> None:
    variables = Deep().init(jax.random.key(0), X)
    in_alphabet = jax.tree.map(lambda leaf: leaf, variables)
    assert list(in_alphabet["params"])[:4] == ["Dense_0", "Dense_1", "Dense_10", "Dense_11"]
    for params in (variables, in_alphabet, variables["params"]):
        net = from_flax(params, hidden="tanh", output="softmax", backend="numpy")
        assert net.sizes == (4, *WIDTHS)
        assert net.layers[-1].biases is None
        check(net, Deep().apply(variables, X))


def test_names_without_numbers_need_an_order() -> None:
    variables = Nested().init(jax.random.key(0), X)
    told = r"^params holds 'body', 'head', whose order their names do not give, expected order="
    with pytest.raises(ValueError, match=told):
        from_flax(variables)
    order = ["body", *(f"head.Dense_{k}" for k in range(len(WIDTHS)))]
    activations = ["gelu_tanh", *["tanh"] * (len(WIDTHS) - 1)]
    net = from_flax(variables, hidden=activations, output="softmax", order=order, backend="numpy")
    check(net, Nested().apply(variables, X))
    with pytest.raises(
        ValueError, match=r"^order is \['body'\], expected each of 'body', 'head.Den"
    ):
        from_flax(variables, order=["body"])
    with pytest.raises(TypeError, match=r"^order is 3, expected a sequence of the layers' names"):
        from_flax(variables, order=3)


def test_states_of_nnx() -> None:
    pair = Pair()
    for params in (nnx.state(pair, nnx.Param), nnx.to_pure_dict(nnx.state(pair))):
        check(from_flax(params, backend="numpy"), pair(X))
    rngs = nnx.Rngs(1)
    sequential = nnx.Sequential(nnx.Linear(4, 5, rngs=rngs), nnx.tanh, nnx.Linear(5, 3, rngs=rngs))
    net = from_flax(nnx.state(sequential), hidden="tanh", backend="numpy")
    check(net, sequential(X))


def test_dtypes() -> None:
    variables = Pair()
    params = nnx.to_pure_dict(nnx.state(variables))
    narrow = jax.tree.map(lambda leaf: leaf.astype("float16"), params)
    with pytest.raises(ValueError, match=r"^params has weights of dtype float16, expected float32"):
        from_flax(narrow)
    assert from_flax(narrow, dtype="float32", backend="numpy").dtype == np.float32
    with pytest.raises(ValueError, match=r"^linear1.kernel has dtype bfloat16, expected real num"):
        from_flax(jax.tree.map(lambda leaf: leaf.astype("bfloat16"), params), dtype="float32")


KERNEL = np.ones((4, 3))
BAD: dict[str, tuple[Any, str]] = {
    "a norm": (
        {"Dense_0": {"kernel": KERNEL}, "Dense_1": {"scale": np.ones(3), "bias": np.ones(3)}},
        "params holds 'Dense_1.scale', expected dense layers, with a 'kernel' and perhaps",
    ),
    "more than dense": (
        {"Dense_0": {"kernel": KERNEL, "scale": np.ones(3)}},
        "params holds 'scale' in 'Dense_0', expected a 'kernel' and perhaps a 'bias', as a dense",
    ),
    "a convolution": (
        {"Conv_0": {"kernel": np.ones((3, 4, 3))}},
        r"Conv_0.kernel has shape \(3, 4, 3\), expected \(inputs, outputs\)",
    ),
    "two kinds of layers": (
        {"Dense_0": {"kernel": KERNEL}, "Head_0": {"kernel": KERNEL.T}},
        "params holds 'Dense_0', 'Head_0', whose order their names do not give, expected order=",
    ),
    "widths": (
        {"Dense_0": {"kernel": KERNEL}, "Dense_1": {"kernel": KERNEL}},
        "Dense_1 has 4 inputs, expected 3, as Dense_0 has outputs",
    ),
    "nothing": ({"params": {}}, "params has no dense layer, expected at least one"),
    "text": (
        {"Dense_0": {"kernel": [["a"]]}},
        "Dense_0.kernel has dtype <U1, expected real numbers",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_network_is_told(name: str) -> None:
    params, told = BAD[name]
    with pytest.raises(ValueError, match=f"^{told}"):
        from_flax(params)


def test_what_is_no_mapping_is_told() -> None:
    with pytest.raises(
        TypeError, match=r"^params is \[\], expected a mapping of flax's parameters"
    ):
        from_flax([])
