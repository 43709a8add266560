"""
A stream of digits that never repeat
====================================

The digits of scikit-learn are centred. What if they are shifted by a pixel or two, does a network still
read them? And does it help to learn from shifted images, made during training and never stored?

:meth:`gpubp.Trainer.fit` takes an iterable of batches, or a function that returns one for each epoch.
They may come from a file, a queue, or, as here, a generator.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import gpubp

digits = load_digits()
x_train, x_test, y_train, y_test = train_test_split(
    digits.images / 16,
    digits.target,
    test_size=0.3,
    stratify=digits.target,
    random_state=0,
)


def shifted(images, down, right):
    """Shift 8 × 8 images by whole pixels; what comes in is white."""
    wide = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    return wide[:, 2 - down : 10 - down, 2 - right : 10 - right]


# %%
# In each epoch, the generator draws a new order and a shift for each batch: by −2 to 2 pixels in both
# directions, small ones more often.

rng = np.random.default_rng(0)


def batches():
    for rows in np.array_split(
        rng.permutation(len(x_train)), len(x_train) // 32
    ):
        down, right = rng.choice(
            [-2, -1, 0, 1, 2], size=2, p=[0.1, 0.2, 0.4, 0.2, 0.1]
        )
        yield shifted(x_train[rows], down, right).reshape(-1, 64), y_train[rows]


def make():
    network = gpubp.Network(
        (64, 128, 64, 10), hidden="relu", output="softmax", seed=0
    )
    return gpubp.Trainer(network, gpubp.Adam(1e-3), batch_size=32, seed=0)


plain, streamed = make(), make()
plain.fit(x_train.reshape(-1, 64), y_train, epochs=60)
streamed.fit(batches, epochs=60)

# %%
# How many of the shifted new digits does each network read?

SHIFTS = range(-2, 3)


def accuracies(trainer):
    return np.array(
        [
            [
                100
                * np.mean(
                    trainer.network.predict(
                        shifted(x_test, down, right).reshape(-1, 64)
                    ).argmax(axis=1)
                    == y_test
                )
                for right in SHIFTS
            ]
            for down in SHIFTS
        ]
    )


tables = {
    "learned from the images": accuracies(plain),
    "learned from the stream": accuracies(streamed),
}
figure, axes = plt.subplots(
    1, 3, figsize=(9.8, 3.7), layout="constrained", width_ratios=(3, 4, 4)
)
tiles = np.ones((26, 26))
for row, down in enumerate((-2, 0, 2)):
    for column, right in enumerate((-2, 0, 2)):
        tile = shifted(x_test[:1], down, right)[0]
        tiles[9 * row : 9 * row + 8, 9 * column : 9 * column + 8] = 1 - tile
axes[0].imshow(tiles, cmap="gray")
for place in (8, 17):
    axes[0].axhline(place, color="#56B4E9", lw=3)
    axes[0].axvline(place, color="#56B4E9", lw=3)
axes[0].set(xticks=[], yticks=[], title="one digit, shifted")
for cell, (name, table) in zip(axes[1:], tables.items(), strict=True):
    image = cell.imshow(table, cmap="viridis", vmin=0, vmax=100)
    for (i, j), value in np.ndenumerate(table):
        colour = "black" if value > 60 else "white"
        cell.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour)
    cell.set(title=name, xlabel="pixels to the right", ylabel="pixels down")
    cell.set_xticks(range(5), SHIFTS)
    cell.set_yticks(range(5), SHIFTS)
figure.colorbar(image, ax=axes[2], label="accuracy on new digits, %")
plt.show()

# %%
# To a fully connected network a shifted digit is a different image, because each pixel has weights of its
# own. The stream contains such images. The same number of weights must then read more kinds of images,
# which may cost some of the centred digits.

for name, table in tables.items():
    print(
        f"{name}: centred {table[2, 2]:.1f} %, mean over all shifts {table.mean():.1f} %"
    )
means = [table.mean() for table in tables.values()]
assert means[1] > means[0] + 20
