"""
A digit that fools the network
==============================

How little must an image change for the network to misread it?

∂C/∂x says in which direction each pixel raises the cost. One step in the direction of its signs makes an
adversarial example (Goodfellow, Shlens and Szegedy, 2015). We compare it with random noise of the same
size.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gpubp

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x / 16, y, test_size=0.3, stratify=y, random_state=0
)


def train(x_train):
    network = gpubp.Network(
        (64, 128, 10), hidden="relu", output="softmax", seed=0
    )
    gpubp.Trainer(network, gpubp.Adam(2e-3), batch_size=64, seed=0).fit(
        x_train, y_train, epochs=30
    )
    return network


def attack(network, x, y, size):
    """Change each pixel by `size`, towards a larger cost; no pixel leaves white or black."""
    return np.clip(
        x + size * np.sign(network.backprop(x, y).input_gradient), 0, 1
    )


def noise(x, size):
    signs = np.random.default_rng(1).choice([-1, 1], x.shape)
    return np.clip(x + size * signs, 0, 1)


def accuracy(network, x):
    return 100 * (network.predict(x).argmax(axis=1) == y_test).mean()


network = train(x_train)
print(f"accuracy on new digits: {accuracy(network, x_test):.1f} %")

# %%
# Can the network be made more robust? We let a second network learn from attacked digits, too: in each
# epoch, a generator attacks the network as it is, and gives the clean and the changed rows.


def clean_and_attacked():
    order = rng.permutation(len(x_train))
    for rows in np.array_split(order, len(x_train) // 64):
        changed = attack(robust, x_train[rows], y_train[rows], 0.15)
        yield np.vstack([x_train[rows], changed]), np.tile(y_train[rows], 2)


rng = np.random.default_rng(0)
robust = gpubp.Network((64, 128, 10), hidden="relu", output="softmax", seed=0)
gpubp.Trainer(robust, gpubp.Adam(2e-3), seed=0).fit(
    clean_and_attacked, epochs=30
)
print(
    f"accuracy on new digits of the second network: {accuracy(robust, x_test):.1f} %"
)

# %%

sizes = np.linspace(0, 0.4, 17)
curves = {
    ("random signs", "o", "#0072B2"): [
        accuracy(network, noise(x_test, s)) for s in sizes
    ],
    ("signs of ∂C/∂x", "s", "#D55E00"): [
        accuracy(network, attack(network, x_test, y_test, s)) for s in sizes
    ],
    ("signs of ∂C/∂x, network trained on attacks", "D", "#009E73"): [
        accuracy(robust, attack(robust, x_test, y_test, s)) for s in sizes
    ],
}
figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
for (name, marker, colour), values in curves.items():
    axes.plot(sizes, values, marker=marker, ms=5, color=colour, label=name)
axes.set(
    xlabel="change of each pixel (white is 0, black is 1)",
    ylabel="accuracy on new digits, %",
    ylim=(-3, 103),
)
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
figure.suptitle("accuracy when the digits are changed", fontsize=11)
plt.show()

# %%
# One digit, attacked with growing strength. For us it stays the same digit.

clear = np.flatnonzero(
    (network.predict(x_test).max(axis=1) > 0.99)
    & (
        network.predict(attack(network, x_test, y_test, 0.2)).argmax(axis=1)
        != y_test
    )
)[0]
image, label = x_test[clear : clear + 1], y_test[clear : clear + 1]
strengths = [0, 0.05, 0.1, 0.15, 0.2]
figure, axes = plt.subplots(2, 5, figsize=(9.6, 4.5), layout="constrained")
for column, size in zip(axes.T, strengths, strict=True):
    for cell, name, changed in zip(
        column,
        ["signs of ∂C/∂x", "random signs"],
        [attack(network, image, label, size), noise(image, size)],
        strict=True,
    ):
        output = network.predict(changed)[0]
        read = output.argmax()
        cell.imshow(changed.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        cell.set(xticks=[], yticks=[])
        colour = "black" if read == label[0] else "#D55E00"
        cell.set_xlabel(f"read as {read}: {output[read]:.0%}", color=colour)
        if size == 0:
            cell.set_ylabel(name)
    column[0].set_title(f"change {size}")
# sphinx_gallery_thumbnail_number = 2
plt.show()

# %%
# Random noise does little harm. The same amount of change along the gradient does a lot, since it adds up
# over all pixels. Training on attacked digits helps against small changes, though not against all.

at = np.abs(sizes - 0.15).argmin()
print("accuracy with a change of 0.15, in %:")
for (name, *_), values in curves.items():
    print(f"  {name:45} {values[at]:.0f}")
random, attacked, defended = (values[at] for values in curves.values())
assert random > attacked + 30 and defended > attacked
