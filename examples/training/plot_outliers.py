"""
Your own cost, against wrong numbers
====================================

Someone types numbers into a table, and in one of eight the last digit is doubled: 97 becomes 977. Can a
network learn from such data?

A cost and an activation of your own are two functions each, the function and its derivative. gpubp checks
them against finite differences, and they work everywhere: in networks and estimators, on the CPU and the
GPU.
"""

# %%
# The data are scikit-learn's diabetes: ten numbers about each of 442 patients, and how far the disease
# has progressed a year later. We spoil the targets that the network learns from, but not those that judge
# it.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import gpubp

x, y = load_diabetes(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x, y, test_size=0.3, random_state=0
)
scaler = StandardScaler().fit(x_train)
x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

spoilt = np.random.default_rng(0).random(len(y_train)) < 1 / 8
typed = np.where(spoilt, 10 * y_train + y_train % 10, y_train)
print(
    f"{spoilt.sum()} of {len(typed)} targets are wrong; the largest is {typed.max():.0f}"
)

middle = np.median(typed)
scale = np.median(abs(typed - middle))  # outliers hardly move medians
t_train = ((typed - middle) / scale)[:, None]

# %%
# Tukey's biweight cost grows like a square near 0, but becomes flat at the threshold: what is further
# away has no gradient, and no influence. The hidden activation is "snake" (Ziyin, Hartwig and Ueda, 2020).

THRESHOLD = 4.0


def tukey(xp, a, y):
    u = xp.minimum(xp.abs(a - y) / THRESHOLD, 1)
    return THRESHOLD**2 / 6 * (1 - (1 - u**2) ** 3)


def tukey_derivative(xp, a, y):
    u = xp.minimum(xp.abs(a - y) / THRESHOLD, 1)
    return (a - y) * (1 - u**2) ** 2


biweight = gpubp.Cost.from_functions("tukey", tukey, tukey_derivative)
snake = gpubp.Activation.from_functions(
    "snake", lambda xp, z: z + xp.sin(z) ** 2, lambda xp, z: 1 + xp.sin(2 * z)
)
network = gpubp.Network((10, 16, 1), hidden=snake, cost=biweight, seed=0)
check = gpubp.check_gradients(network, x_train, t_train, max_parameters=50)
print(
    f"backpropagation and finite differences agree to {check.relative_error:.1e}"
)
assert check.relative_error < 1e-7

# %%
# We compare it with gpubp's own costs.

costs = {
    "quadratic": ("quadratic", "#999999"),
    "absolute_error": ("absolute_error", "#0072B2"),
    "huber": ("huber", "#E69F00"),
    "Tukey's biweight": (biweight, "#D55E00"),
}
predictions, errors = {}, {}
for name, (cost, _) in costs.items():
    outputs = []
    for seed in range(4):
        network = gpubp.Network((10, 16, 1), hidden=snake, cost=cost, seed=seed)
        trainer = gpubp.Trainer(
            network, gpubp.AdamW(3e-3), batch_size=32, seed=seed
        )
        trainer.fit(x_train, t_train, epochs=30)
        outputs.append(network.predict(x_test)[:, 0] * scale + middle)
    predictions[name] = outputs[0]
    errors[name] = [abs(output - y_test).mean() for output in outputs]
    print(
        f"{name:17} mean error on clean rows {np.mean(errors[name]):.1f}",
        end="",
    )
    print(f" (from {min(errors[name]):.1f} to {max(errors[name]):.1f})")
guess = abs(np.median(typed) - y_test).mean()
print(f"always the median   mean error on clean rows {guess:.1f}")

# %%

residuals = np.linspace(-8, 8, 401)
figure, axes = plt.subplots(2, 3, figsize=(9.8, 6.2), layout="constrained")
for name, (cost, colour) in costs.items():
    probe = gpubp.Network(
        (1, 1), cost=cost, biases=False, initializer="zeros", dtype="float64"
    )
    values = [probe.cost([[0.0]], [[-r]]) for r in residuals]  # its output is 0
    slopes = [
        probe.backprop([[0.0]], [[-r]]).deltas[-1][0, 0] for r in residuals
    ]
    line = (
        "--" if name == "huber" else "-"
    )  # the absolute error's δ is close to it
    axes[0, 0].plot(residuals, values, line, color=colour, lw=2, label=name)
    axes[1, 0].plot(residuals, slopes, line, color=colour, lw=2)
axes[0, 0].set(xlabel="error a − y", ylabel="cost", ylim=(0, 9))
axes[1, 0].set(xlabel="error a − y", ylabel="δ = ∂C/∂z", ylim=(-4, 4))
axes[0, 0].legend(frameon=False, fontsize=8, loc="upper center")
for cell, name in zip(axes[:, 1:].flat, costs, strict=True):
    cell.plot([0, 360], [0, 360], color="black", lw=1)
    cell.plot(
        y_test, predictions[name], "o", ms=4, color=costs[name][1], alpha=0.7
    )
    cell.set(
        xlim=(0, 360),
        ylim=(0, 700),
        title=f"{name}: mean error {errors[name][0]:.0f}",
    )
    cell.title.set_fontsize(10)
    cell.set(xlabel="true progression", ylabel="predicted")
for cell in axes.flat:
    cell.grid(alpha=0.25)
    cell.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# With the quadratic cost the wrong numbers pull all predictions up, because δ grows with the error.
# Huber's and the absolute error limit δ. Tukey's cost lets it return to 0.

mean = {name: np.mean(values) for name, values in errors.items()}
assert mean["Tukey's biweight"] < mean["quadratic"]
assert (
    mean["huber"] < mean["quadratic"]
    and mean["absolute_error"] < mean["quadratic"]
)
order = " < ".join(sorted(mean, key=mean.get))
print(f"mean errors: {order}")
