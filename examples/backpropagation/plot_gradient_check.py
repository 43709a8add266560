"""
How well can finite differences check a gradient?
=================================================

A gradient is checked by changing each parameter by a small h and watching the cost. How small should h
be?

The difference quotient has two errors. One comes from the curvature of the cost, and shrinks with h. The
other comes from rounding, and grows as h shrinks. Their sum has the shape of a V. It says what a gradient
check can find, and why :func:`gpubp.check_gradients` computes in float64, whatever the dtype of the
network.
"""

# %%
# A small network with a smooth activation reads handwritten digits. The function below compares its
# gradient with central differences (C(w + h) − C(w − h)) / 2h, in the dtype of the network.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gpubp

x, y = load_digits(return_X_y=True)
x, y = x[:40] / 16, y[:40]


def make(hidden, dtype):
    return gpubp.Network(
        (64, 16, 10), hidden=hidden, output="softmax", dtype=dtype, seed=0
    )


exact = make("tanh", "float64").backprop(x, y).gradient
chosen = np.argsort(-abs(exact))[:40:4]  # ten parameters that matter


def error_of_central_differences(network, h):
    differences = []
    for index in chosen:
        kept = network.parameters[index]
        costs = []
        for change in (h, -h):
            network.parameters[index] = kept + network.dtype.type(change)
            costs.append(network.cost(x, y))
        network.parameters[index] = kept
        differences.append((costs[0] - costs[1]) / (2 * h))
    gradient = exact[chosen]
    return np.linalg.norm(differences - gradient) / np.linalg.norm(gradient)


# %%
# :func:`gpubp.check_gradients` uses differences of fourth order: two more costs a parameter, and an error
# that falls with h⁴ instead of h². The last curve is of a network with relu. Their kinks spoil the
# quotient: a step that crosses a kink sees a slope on each side.

steps = np.logspace(-10, -0.5, 20)
errors = {
    "central differences, float32": [
        error_of_central_differences(make("tanh", "float32"), h) for h in steps
    ],
    "central differences, float64": [
        error_of_central_differences(make("tanh", "float64"), h) for h in steps
    ],
}
for name, hidden in {
    "check_gradients, tanh": "tanh",
    "check_gradients, relu": "relu",
}.items():
    network = make(hidden, "float32")
    errors[name] = [
        gpubp.check_gradients(
            network, x, y, step=h, max_parameters=20
        ).relative_error
        for h in steps
    ]

best = {
    name: (np.min(values), steps[np.argmin(values)])
    for name, values in errors.items()
}
for name, (error, h) in best.items():
    print(f"{name:29} least error {error:.1e}, at h = {h:.1e}")

# %%

colours = ["#E69F00", "#D55E00", "#0072B2", "#009E73"]
figure, axes = plt.subplots(figsize=(7.6, 5), layout="constrained")
for (name, values), colour, line in zip(
    errors.items(), colours, ["-", "-", "-", "--"], strict=True
):
    axes.loglog(steps, values, line, color=colour, lw=1.8, label=name)
    axes.plot(*best[name][::-1], "o", color=colour, ms=7)
axes.axvline(1e-3, color="black", ls=":", lw=1)
axes.text(
    1.1e-3,
    3e-14,
    "the default step\nof check_gradients",
    fontsize=8,
    va="bottom",
)
axes.set(
    title="four kinds of differences",
    xlabel="step h (relative to a parameter of size 1)",
    ylabel="relative error of the differences",
    ylim=(1e-14, 1e4),
)
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="upper center", ncols=2, fontsize=9)
plt.show()

# %%
# With float32 no step is good: the best one still leaves an error that would hide many mistakes. In
# float64 with differences of fourth order, a correct gradient agrees to about eleven digits, and the
# default step lies in the valley. relu agrees as well, as long as no step crosses a kink.

assert (
    best["central differences, float32"][0]
    > 100 * best["central differences, float64"][0]
)
assert (
    best["check_gradients, tanh"][0] < best["central differences, float64"][0]
)
assert (
    gpubp.check_gradients(
        make("tanh", "float32"), x, y, max_parameters=50
    ).relative_error
    < 1e-7
)

# %%
# Would a mistake be found? Here is an activation whose derivative has an error of one part in a thousand.

wrong = gpubp.Activation.from_functions(
    "almost_tanh",
    lambda xp, z: xp.tanh(z),
    lambda xp, a: 1.001 * (1 - a**2),
    reads="a",
)
network = make(wrong, "float32")
error = gpubp.check_gradients(network, x, y, max_parameters=50).relative_error
print(
    f"with a derivative that is 0.1 % too large, the relative error is {error:.1e}"
)
assert error > 1e-5
