"""The steps of a trace: each equation of backpropagation in the order of computing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..kernels import Activation
from .numbers import cost_terms
from .symbols import raised
from .trace import Step

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["described", "steps_of", "title_of"]


def title_of(network: Network) -> str:
    """Return a title: "Backpropagation in a 3-4-2 network"."""
    return f"Backpropagation in a {'-'.join(map(str, network.sizes))} network"


def described(entry: Any) -> str:
    """Return the name of an activation or a cost, with its parameters: "leaky_relu(slope=0.2)"."""
    parameters = ", ".join(f"{name}={value:g}" for name, value in entry.parameters.items())
    return f"{entry.name}({parameters})" if parameters else str(entry.name)


def steps_of(
    network: Network, values: Mapping[str, Any], output_names: Sequence[str]
) -> tuple[Step, ...]:
    """Describe every equation that computes one of the values."""
    return tuple(_Equations(network, values, output_names).all())


class _Equations:
    """Makes the steps."""

    def __init__(
        self, network: Network, values: Mapping[str, Any], output_names: Sequence[str]
    ) -> None:
        self._network, self._values, self._output_names = network, values, output_names
        self._head, self._depth = network.output_head, len(network.layers)

    def all(self) -> Iterator[Step]:
        """Yield the steps."""
        layers = range(1, self._depth + 1)
        for k in layers:
            yield from self._forward(k)
        yield self._cost()
        yield from self._output_delta()
        for k in reversed(layers):
            yield from self._gradients(k)
            if k > 1:
                yield from self._hidden_delta(k - 1)
        if self._values["input_gradient"] is not None:
            yield Step(
                "input_gradient", "backward", 1, "input_gradient", "Gradient of the inputs",
                f"∂C/∂x = ({raised('w', 1)})ᵀ {raised('δ', 1)}",
                "How fast the cost grows with each input. This gradient changes no weight. It shows which"
                " inputs matter for this cost.",
                "backprop.backward", ("w1", "delta1"),
            )  # fmt: skip
        if "new_cost" in self._values:
            yield from map(self._update, layers)

    def _of_layer(self, k: int) -> str:
        return "the output layer" if k == self._depth else f"layer {k}"

    def _sigma(self, k: int) -> Activation:
        return self._network.layers[k - 1].activation

    def _has_biases(self, k: int) -> bool:
        return self._values[f"b{k}"] is not None

    def _a(self, k: int) -> tuple[str, str]:
        """Return the key and the symbol of what layer k + 1 reads."""
        return (f"a{k}", raised("a", k)) if k else ("x", "x")

    def _forward(self, k: int) -> Iterator[Step]:
        key, a = self._a(k - 1)
        biases = self._has_biases(k)
        yield Step(
            f"z{k}", "forward", k, "affine", f"Weighted sums of {self._of_layer(k)}",
            f"{raised('z', k)} = {raised('w', k)} {a}" + (f" + {raised('b', k)}" if biases else ""),
            self._weighted_sum(k),
            "backprop.forward", (f"w{k}", key, *((f"b{k}",) if biases else ())),
        )  # fmt: skip
        sigma, z = self._sigma(k), raised("z", k)
        name = "softmax" if sigma.rowwise else "σ"
        text = f"σ is {described(sigma)}: {formula_of(sigma)}."
        if sigma.rowwise:
            text = f"{formula_of(sigma)}. The activations are positive, and their sum is 1."
        elif sigma.is_identity:
            text = "σ is the identity: the activations are the weighted sums."
        yield Step(
            f"a{k}", "forward", k, "softmax" if sigma.rowwise else "activation",
            f"Activations of {self._of_layer(k)}", f"{raised('a', k)} = {name}({z})",
            text, "backprop.forward", (f"z{k}",),
        )  # fmt: skip

    def _weighted_sum(self, k: int) -> str:
        """Say in a sentence what the neurons of layer k compute."""
        n_out, n_in = self._network.sizes[k], self._network.sizes[k - 1]
        neurons = f"Each of the {n_out} neurons" if n_out > 1 else "The neuron"
        inputs = "input" if k == 1 else f"activation of layer {k - 1}"
        bias = " and its bias" if self._has_biases(k) else ""
        if n_in > 1:
            return f"{neurons} multiplies every {inputs} by its weight, and adds up the products{bias}."
        adds = ", and adds its bias" if bias else ""
        return f"{neurons} multiplies the {inputs} by its weight{adds}."

    def _cost(self) -> Step:
        cost, L = self._head.cost, self._depth
        a, y = self._values[f"a{L}"], self._values["y"]
        terms = cost_terms(self._head, self._values[f"z{L}"], a, y)
        with_z = self._head.is_canonical and cost.canonical_numpy is not cost.numpy
        rounding = " It is computed from z, which keeps digits that a has lost." if with_z else ""
        many = "; it is the sum of the terms of the outputs" if len(a) > 1 else ""
        return Step(
            "cost", "cost", L, "cost", "Cost", f"C = {cost.formula}",
            f"The {described(cost)} cost says how far the outputs a are from the target y{many}.{rounding}",
            "backprop.output_delta", (f"a{L}", "y"),
            tuple(zip(self._output_names, terms, strict=True)),
        )  # fmt: skip

    def _output_delta(self) -> Iterator[Step]:
        head, L = self._head, self._depth
        a, z, delta = (raised(name, L) for name in ("a", "z", "δ"))
        what = f"δ of {self._of_layer(L)}"
        if head.is_canonical:
            names = f"{described(head.activation)} and the {described(head.cost)} cost"
            yield Step(
                f"delta{L}", "backward", L, "output_delta_fused", what, f"{delta} = {a} - y",
                f"δ = ∂C/∂z says how fast the cost grows with each z. For {names}, ∂C/∂a and the derivative"
                " of the activation cancel to a difference.",
                "backprop.output_delta", (f"a{L}", "y"),
            )  # fmt: skip
            return
        g = f" = {head.cost.derivative_formula}" if head.cost.derivative_formula else ""
        yield Step(
            "cost_derivative", "backward", L, "cost_derivative", "Derivative of the cost",
            f"∂C/∂a{g}", f"How fast the {described(head.cost)} cost grows with each output.",
            None, (f"a{L}", "y"),
        )  # fmt: skip
        if head.needs_jacobian:
            yield Step(
                f"delta{L}", "backward", L, "output_delta_softmax", what,
                f"{delta} = {a} ⊙ (∂C/∂a - Σ ∂C/∂a {a})",
                "Each z changes every output of softmax, so δ = ∂C/∂z needs its whole Jacobian. The sum is"
                " the same for all outputs.",
                "backprop.output_delta", (f"a{L}", "cost_derivative"),
            )  # fmt: skip
            return
        yield self._slope(L)
        yield Step(
            f"delta{L}", "backward", L, "output_delta", what, f"{delta} = ∂C/∂a ⊙ σ′({z})",
            "δ = ∂C/∂z says how fast the cost grows with each z: the chain rule, element by element.",
            "backprop.output_delta", ("cost_derivative", f"slope{L}"),
        )  # fmt: skip

    def _slope(self, k: int) -> Step:
        sigma = self._sigma(k)
        formula = f" = {sigma.derivative_formula}" if sigma.derivative_formula else ""
        told = "The slope of the activation: how fast each a grows with its z."
        if sigma.reads == "a":
            told += " It is computed from a, which is there already."
        return Step(
            f"slope{k}", "backward", k, "slope", f"σ′ of {self._of_layer(k)}",
            f"σ′({raised('z', k)}){formula}", told, None, (f"{sigma.reads}{k}",),
        )  # fmt: skip

    def _gradients(self, k: int) -> Iterator[Step]:
        key, a = self._a(k - 1)
        delta = raised("δ", k)
        yield Step(
            f"weight_gradient{k}", "backward", k, "weight_gradient",
            f"Gradient of the weights of {self._of_layer(k)}", f"∂C/∂{raised('w', k)} = {delta} {a}ᵀ",
            "A weight's gradient is δ of the neuron that it leads to, times the activation that it comes"
            " from." if k > 1 else
            "A weight's gradient is δ of the neuron that it leads to, times the input that it comes from.",
            "backprop.gradients", (f"delta{k}", key),
        )  # fmt: skip
        if self._has_biases(k):
            yield Step(
                f"bias_gradient{k}", "backward", k, "bias_gradient",
                f"Gradient of the biases of {self._of_layer(k)}", f"∂C/∂{raised('b', k)} = {delta}",
                "A bias is added to z, so its gradient is δ.", "backprop.gradients", (f"delta{k}",),
            )  # fmt: skip

    def _hidden_delta(self, k: int) -> Iterator[Step]:
        e, weights = raised("e", k), raised("w", k + 1)
        yield Step(
            f"propagated{k}", "backward", k, "propagate", f"The error goes back to layer {k}",
            f"{e} = ({weights})ᵀ {raised('δ', k + 1)}",
            f"Each neuron of layer {k} adds up the δ of {self._of_layer(k + 1)}, each times the weight that"
            f" leads to it: {e} is ∂C/∂a of layer {k}.",
            "backprop.propagate", (f"w{k + 1}", f"delta{k + 1}"),
        )  # fmt: skip
        yield self._slope(k)
        yield Step(
            f"delta{k}", "backward", k, "delta", f"δ of layer {k}",
            f"{raised('δ', k)} = {e} ⊙ σ′({raised('z', k)})",
            f"{e} times the slope of each neuron. Where the slope is near 0, a neuron learns little.",
            "backprop.propagate", (f"propagated{k}", f"slope{k}"),
        )  # fmt: skip

    def _update(self, k: int) -> Step:
        w, b, biases = raised("w", k), raised("b", k), self._has_biases(k)
        equation = f"{w} ← {w} - η ∂C/∂{w}" + (f", {b} ← {b} - η ∂C/∂{b}" if biases else "")
        reads = (
            f"w{k}",
            f"weight_gradient{k}",
            *((f"b{k}", f"bias_gradient{k}") if biases else ()),
        )
        both = "Weights and biases go" if biases else "Weights go"
        return Step(
            f"update{k}", "update", k, "update", f"Gradient descent in {self._of_layer(k)}", equation,
            f"{both} a step against their gradient, with the learning rate η.", None, reads,
            writes=f"new_w{k}",
        )  # fmt: skip


def formula_of(sigma: Activation) -> str:
    """Return the formula of an activation: "σ(z) = tanh(z)"."""
    return f"{'softmax(z)_j' if sigma.rowwise else 'σ(z)'} = {sigma.formula}"
