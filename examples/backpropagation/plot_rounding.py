"""
What rounding does to a gradient
================================

GPUs multiply many times as fast in tf32, bfloat16 and float16 as in float32. How much of the gradient is
lost, and does the network still learn?

``precision=`` makes every matmul round its operands (x, weights, a and δ). Sums and parameters stay
float32. The CPU rounds operands in the same way as a GPU, so the effect can be studied without one.
"""

# %%
# For networks of one to sixteen layers we compare the gradient with that of a float64 network with the
# same parameters. For smooth activations, theory bounds the relative error by 2 L u, where L is the
# number of layers, and u is 2⁻¹¹ for tf32 and float16, and 2⁻⁸ for bfloat16.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gpubp

x, y = load_digits(return_X_y=True)
x = x / 16

formats = {  # name: (the precision, u, colour, marker)
    "bfloat16": ("bfloat16", 2.0**-8, "#D55E00", "s"),
    "float16": ("float16", 2.0**-11, "#E69F00", "^"),
    "tf32": ("tf32", 2.0**-11, "#009E73", "v"),
    "float32": (None, None, "#0072B2", "o"),
}
depths = [1, 2, 4, 8, 16]
errors = {name: [] for name in formats}
for depth in depths:
    sizes = (64, *[64] * (depth - 1), 10)
    reference = gpubp.Network(
        sizes, hidden="tanh", output="softmax", dtype="float64", seed=0
    )
    reference.parameters = reference.parameters.astype("float32")
    exact = reference.backprop(x[:500], y[:500]).gradient
    for name, (precision, *_) in formats.items():
        network = gpubp.Network(
            sizes, hidden="tanh", output="softmax", precision=precision
        )
        network.parameters = reference.parameters
        gradient = network.backprop(x[:500], y[:500]).gradient
        errors[name].append(
            np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
        )

for name, values in errors.items():
    print(f"{name:8}", "  ".join(f"{error:.1e}" for error in values))

# %%
# Then a network of three layers learns to read digits in each format, from five seeds. The same seed
# means the same initial weights and the same batches, so formats can be compared step by step.

costs = {name: [] for name in formats}
for seed in range(5):
    for name, (precision, *_) in formats.items():
        network = gpubp.Network(
            (64, 64, 64, 10),
            hidden="tanh",
            output="softmax",
            precision=precision,
            seed=seed,
        )
        trainer = gpubp.Trainer(
            network, gpubp.Adam(1e-3), batch_size=64, seed=seed
        )
        history = trainer.fit(x, y, epochs=12, validation_split=0.2)
        costs[name].append(history.validation_cost)
costs = {name: np.array(values) for name, values in costs.items()}
for name, values in costs.items():
    print(f"{name:8} validation cost after training {values[:, -1].mean():.4f}")

# %%
# On the right: by how much does the validation cost differ from that of float32? The black line shows how
# much it differs between seeds.

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.6, 4.4), layout="constrained"
)
epochs = range(1, 13)
for name, (_, u, colour, marker) in formats.items():
    empty = (
        {"mfc": "none", "ms": 9} if name == "float16" else {}
    )  # it lies below tf32
    left.loglog(
        depths, errors[name], marker=marker, color=colour, label=name, **empty
    )
    if u is not None and name != "float16":
        left.loglog(depths, [2 * d * u for d in depths], ls=":", color=colour)
    if u is not None:
        apart = abs(costs[name] - costs["float32"]).mean(axis=0)
        right.semilogy(
            epochs, apart, marker=marker, color=colour, label=name, **empty
        )
left.plot([], [], ls=":", color="0.3", label="bounds 2 L u")
left.set(
    title="one gradient",
    xlabel="layers",
    ylabel="relative error of the gradient",
    xticks=depths,
    ylim=(3e-8, 0.3),
)
left.set_xticklabels(depths)
left.minorticks_off()
left.legend(frameon=False, loc=(0.6, 0.16))
spread = costs["float32"].std(axis=0)
right.semilogy(epochs, spread, color="black", lw=2, label="another seed")
right.set(
    title="a training",
    xlabel="epoch",
    ylabel="difference of the validation cost (mean of five seeds)",
)
right.set_ylim(top=0.4)
right.legend(frameon=False, ncols=2, loc="upper center")
for axes in (left, right):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The errors lie below their bounds and grow slowly with depth. Even bfloat16's is small beside the noise
# of a batch of 64 digits. So all formats learn alike: a format changes the result far less than a seed
# does.

for name, (_, u, *_) in formats.items():
    if u is not None:
        assert all(
            error < 2 * d * u
            for error, d in zip(errors[name], depths, strict=True)
        )
for values in costs.values():
    assert abs(values - costs["float32"]).mean() < 0.5 * spread.mean()

batch = np.random.default_rng(0).permutation(500)[:64]
noise = np.linalg.norm(reference.backprop(x[batch], y[batch]).gradient - exact)
print(
    f"the gradient of a batch of 64 differs from that of 500 by {noise / np.linalg.norm(exact):.0%}"
)
assert noise / np.linalg.norm(exact) > max(errors["bfloat16"])
