"""Traces for the tests of the page: the numbers of `Network.backprop`, and what NumPy makes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import gpubp

SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
FORMULAS = {
    "sigmoid": "σ(z) = 1 / (1 + exp(-z))",
    "tanh": "σ(z) = tanh(z)",
    "relu": "σ(z) = max(0, z)",
    "identity": "σ(z) = z",
    "softmax": "aⱼ = exp(zⱼ) / Σₖ exp(zₖ)",
}
DERIVATIVES = {
    "sigmoid": "a (1 - a)",
    "tanh": "1 - a²",
    "relu": "1 if a > 0 else 0",
    "identity": "1",
}
SLOPES = {
    "sigmoid": lambda z, a: a * (1 - a),
    "tanh": lambda z, a: 1 - a * a,
    "relu": lambda z, a: (z > 0) * 1.0,
    "identity": lambda z, a: np.ones_like(z),
}


def made_trace(
    network: gpubp.Network, x: Any, y: Any, *, learning_rate: float | None = None, **texts: Any
) -> dict[str, Any]:
    """Make the data of a trace; y is one row of numbers. `texts` replace entries such as "title"."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    bp = network.backprop(x[np.newaxis], y[np.newaxis])
    sizes, last = list(network.sizes), len(network.layers)
    names = [layer.activation.name for layer in network.layers]
    fused = (names[-1], network.cost_function.name) in {
        ("softmax", "cross_entropy"),
        ("identity", "quadratic"),
    }
    a = [x, *(np.asarray(rows)[0] for rows in bp.a[1:])]
    weights = [np.asarray(layer.weights) for layer in network.layers]
    deltas = [np.asarray(rows)[0] for rows in bp.deltas]
    values: dict[str, Any] = {"x": x, "y": y, "cost": float(bp.cost)}
    steps: list[dict[str, Any]] = []

    def step(operation: str, layer: int, equation: str, reads: list[str], writes: str) -> None:
        of_pass = {"affine": "forward", "activation": "forward", "softmax": "forward"}
        entry = {
            "id": writes,
            "pass": {"cost": "cost", "update": "update"}.get(
                operation, of_pass.get(operation, "backward")
            ),
            "layer": layer,
            "operation": operation,
            "title": f"{operation.replace('_', ' ').capitalize()} of layer {layer}",
            "equation": equation,
            "text": f"This computes {writes} of layer {layer} from {', '.join(reads)}.",
            "code": "backprop.forward" if operation == "affine" else None,
            "reads": [name for name in reads if values.get(name) is not None],
            "writes": writes,
        }
        if operation == "cost" and network.cost_function.name == "quadratic":
            entry["terms"] = [
                [f"a{k + 1}", float((y[k] - a[-1][k]) ** 2 / 2)] for k in range(len(y))
            ]
        steps.append(entry)

    for k, layer in enumerate(network.layers):
        one = k + 1
        values[f"w{one}"], before = weights[k], "x" if k == 0 else f"a{k}"
        values[f"b{one}"] = None if layer.biases is None else np.asarray(layer.biases)
        values[f"z{one}"], values[f"a{one}"] = np.asarray(bp.z[k])[0], a[one]
        s, t = str(one).translate(SUPERSCRIPTS), str(k).translate(SUPERSCRIPTS)
        plus = "" if layer.biases is None else f" + b{s}"
        step("affine", one, f"z{s} = w{s} a{t}{plus}", [f"w{one}", before, f"b{one}"], f"z{one}")
        softmax = names[k] == "softmax"
        equation = f"a{s} = {'softmax' if softmax else 'σ'}(z{s})"
        step("softmax" if softmax else "activation", one, equation, [f"z{one}"], f"a{one}")
    s, out = str(last).translate(SUPERSCRIPTS), f"a{last}"
    quadratic = network.cost_function.name == "quadratic"
    cost_formula = "C = ½ Σ (y - a)²" if quadratic else "C = -Σ y log(a)"
    step("cost", last, cost_formula.replace("a", f"a{s}"), [out, "y"], "cost")
    values["cost_derivative"] = a[-1] - y if quadratic else -y / a[-1]
    for k in reversed(range(last)):
        one = k + 1
        slope = SLOPES.get(names[k], lambda z, a: None)
        values[f"slope{one}"] = slope(values[f"z{one}"], values[f"a{one}"])
        values[f"delta{one}"] = deltas[k]
        s, t, u = (str(m).translate(SUPERSCRIPTS) for m in (one, k, one + 1))
        if one < last:
            values[f"propagated{one}"] = weights[k + 1].T @ deltas[k + 1]
            reads = [f"w{one + 1}", f"delta{one + 1}"]
            step("propagate", one, f"e{s} = (w{u})ᵀ δ{u}", reads, f"propagated{one}")
        if one < last or not fused:
            if one == last:
                reads = [out, "y"]
                step("cost_derivative", one, f"∂C/∂a{s} = a{s} - y", reads, "cost_derivative")
            if names[k] != "softmax":
                equation = f"σ′(z{s}) = {DERIVATIVES[names[k]]}"
                step("slope", one, equation, [f"a{one}"], f"slope{one}")
        if one == last and fused:
            step("output_delta_fused", one, f"δ{s} = a{s} - y", [out, "y"], f"delta{one}")
        elif one == last and names[k] == "softmax":
            equation, reads = f"δ{s} = a{s} ⊙ (∂C/∂a - Σ ∂C/∂a a{s})", [out, "cost_derivative"]
            step("output_delta_softmax", one, equation, reads, f"delta{one}")
        elif one == last:
            reads = ["cost_derivative", f"slope{one}"]
            step("output_delta", one, f"δ{s} = ∂C/∂a{s} ⊙ σ′(z{s})", reads, f"delta{one}")
        else:
            reads = [f"propagated{one}", f"slope{one}"]
            step("delta", one, f"δ{s} = e{s} ⊙ σ′(z{s})", reads, f"delta{one}")
        values[f"weight_gradient{one}"] = np.outer(deltas[k], a[k])
        reads = [f"delta{one}", "x" if k == 0 else f"a{k}"]
        step("weight_gradient", one, f"∂C/∂w{s} = δ{s} (a{t})ᵀ", reads, f"weight_gradient{one}")
        biases = values[f"b{one}"]
        values[f"bias_gradient{one}"] = None if biases is None else deltas[k]
        if biases is not None:
            equation = f"∂C/∂b{s} = δ{s}"
            step("bias_gradient", one, equation, [f"delta{one}"], f"bias_gradient{one}")
    values["input_gradient"] = weights[0].T @ deltas[0]
    step("input_gradient", 1, "∂C/∂x = (w¹)ᵀ δ¹", ["w1", "delta1"], "input_gradient")
    if learning_rate is not None:
        for one in range(1, last + 1):
            kinds = [("w", "weight_gradient"), ("b", "bias_gradient")]
            for kind, of in kinds:
                if values[f"{kind}{one}"] is not None:
                    new = values[f"{kind}{one}"] - learning_rate * values[f"{of}{one}"]
                    values[f"new_{kind}{one}"] = new
            reads = [f"w{one}", f"weight_gradient{one}", f"b{one}", f"bias_gradient{one}"]
            s = str(one).translate(SUPERSCRIPTS)
            step("update", one, f"w{s} ← w{s} - η ∂C/∂w{s}", reads, f"new_w{one}")
        values["new_cost"] = float(bp.cost) * 0.9
    trace = {
        "format": "gpubp trace 1",
        "title": f"Backpropagation in a {'-'.join(map(str, sizes))} network",
        "sizes": sizes,
        "activations": names,
        "activation_formulas": [FORMULAS.get(name, name) for name in names],
        "cost": network.cost_function.name,
        "cost_formula": cost_formula,
        "input_names": [f"x{k + 1}" for k in range(sizes[0])],
        "output_names": [f"a{k + 1}" for k in range(sizes[-1])],
        "learning_rate": learning_rate,
        "prediction": None,
        "values": {name: _plain(value) for name, value in values.items()},
        "steps": steps,
    }
    return {**trace, **texts}


def _plain(value: Any) -> Any:
    """Return lists of numbers; "nan", "inf" and "-inf" for what JSON does not have."""
    if value is None:
        return None
    if np.ndim(value):
        return [_plain(part) for part in value]
    return float(value) if math.isfinite(value) else str(float(value))


def worked_example() -> dict[str, Any]:
    """Return the 3-4-2 network whose numbers are worked out by hand in test_backprop.py."""
    log3 = math.log(3)
    net = gpubp.Network(
        (3, 4, 2), hidden="sigmoid", output="sigmoid", cost="quadratic", dtype="float64"
    )
    w1, b1 = [[1, 0, 1], [log3, 0, 0], [0, -log3, -log3], [1, -1, 0]], [0, 0, 0, 1]
    w2, b2 = [[1, -1, 1, 0], [-2, 1, -1, 1]], [log3, 0]
    net.parameters[...] = np.concatenate([np.ravel(part) for part in (w1, w2, b1, b2)])
    names = {"input_names": ["length", "width", "height"], "output_names": ["first", "second"]}
    return made_trace(net, [1, 2, -1], [1, 0], learning_rate=0.5, **names)


def classes() -> dict[str, Any]:
    """Return a 4-5-3 network with softmax and cross-entropy, without a learning rate."""
    net = gpubp.Network((4, 5, 3), hidden="tanh", output="softmax", dtype="float64", seed=1)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    said = "The network predicts setosa with probability 0.41; the row is versicolor."
    kinds = ["setosa", "versicolor", "virginica"]
    texts = {"input_names": names, "output_names": kinds, "prediction": said}
    return made_trace(net, [5.1, 3.5, 1.4, 0.2], [0, 1, 0], **texts)


def three_layers() -> dict[str, Any]:
    """Return a 2-3-3-1 network with tanh, relu and identity."""
    net = gpubp.Network(
        (2, 3, 3, 1), hidden=["tanh", "relu"], output="identity", cost="quadratic",
        dtype="float64", seed=3,
    )  # fmt: skip
    return made_trace(net, [0.5, -1.25], [2], learning_rate=0.1)


def softmax_with_quadratic_cost() -> dict[str, Any]:
    """Return a 2-3-3 network whose output delta needs the Jacobian of softmax."""
    net = gpubp.Network(
        (2, 3, 3), hidden="tanh", output="softmax", cost="quadratic", dtype="float64", seed=1
    )
    return made_trace(net, [0.5, -1], [1, 0, 0], notes=["Dropout takes no part."])


def without_biases() -> dict[str, Any]:
    """Return a 2-3-2 network without biases."""
    net = gpubp.Network(
        (2, 3, 2), hidden="relu", output="sigmoid", cost="quadratic", biases=False,
        dtype="float64", seed=5,
    )  # fmt: skip
    return made_trace(net, [1.5, -0.25], [0, 1], learning_rate=0.2)


def one_layer() -> dict[str, Any]:
    """Return a 3-2 network, which has no hidden layer."""
    net = gpubp.Network((3, 2), output="sigmoid", cost="quadratic", dtype="float64", seed=2)
    return made_trace(net, [0.1, 0.2, -3], [1, 0])


def wide() -> dict[str, Any]:
    """Return a 30-20-10 network, of which the page draws a part."""
    net = gpubp.Network((30, 20, 10), hidden="sigmoid", output="softmax", dtype="float64", seed=4)
    x = np.random.default_rng(0).normal(size=30)
    return made_trace(net, x, np.eye(10)[3], learning_rate=0.01)


def not_finite() -> dict[str, Any]:
    """Return a trace with "nan" and "inf" among its numbers."""
    trace = three_layers()
    trace["values"]["z1"][0], trace["values"]["a1"][0] = "inf", "nan"
    trace["values"]["delta1"][1], trace["values"]["w2"][0][1] = "-inf", "nan"
    return trace


HOSTILE = '</script><b id="broken">&amp;{{title}}<!--'


def hostile() -> dict[str, Any]:
    """Return the worked example with names that would break a page which does not escape them."""
    trace = worked_example()
    changed = {
        "title": HOSTILE,
        "prediction": HOSTILE,
        "input_names": [HOSTILE, "</style>", "{{data}}"],
    }
    steps = [{**step, "title": step["title"] + HOSTILE, "text": HOSTILE} for step in trace["steps"]]
    changed.update(output_names=[HOSTILE, "'\"><img src=x>"], cost_formula=HOSTILE, steps=steps)
    return {**trace, **changed}


EXAMPLES = {
    made.__name__: made
    for made in (
        worked_example, classes, three_layers, softmax_with_quadratic_cost, without_biases, one_layer, wide,
        not_finite, hostile,
    )
}  # fmt: skip
