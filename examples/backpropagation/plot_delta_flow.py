"""
How δ flows back
================

What happens inside a network while it learns to read one digit?

:meth:`gpubp.Network.backprop` returns every z, every activation a, and every δ = ∂C/∂z, which is how much
the cost C changes with z. This example draws them for one image: first one pass forward and back, then δ
as the network learns.
"""

# %%
# The network has 64 inputs, one for each pixel, hidden layers of 64 and 36 neurons, and 10 outputs. The
# sizes are squares so that the hidden layers can be drawn as images. A callback keeps the parameters
# after each epoch.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gpubp

x, y = load_digits(return_X_y=True)
x = x / 16
x_train, y_train, x_test, y_test = x[:1400], y[:1400], x[1400:], y[1400:]

network = gpubp.Network(
    (64, 64, 36, 10), hidden="tanh", output="softmax", seed=0
)
parameters = [network.parameters.copy()]  # before the first epoch
trainer = gpubp.Trainer(
    network,
    gpubp.Adam(2e-3),
    batch_size=64,
    callbacks=[
        lambda trainer, history: parameters.append(network.parameters.copy())
    ],
    seed=0,
)
history = trainer.fit(
    x_train, y_train, epochs=30, validation_data=(x_test, y_test)
)
print(f"accuracy on new digits: {history.validation_accuracy[-1]:.1%}")

# %%
# We look at a test image that the network misreads after two epochs, and reads correctly after the last
# one.


def classes_after(epoch):
    network.parameters = parameters[epoch]
    return network.predict(x_test).argmax(axis=1)


early, late = classes_after(2), classes_after(30)
index = np.flatnonzero((early != y_test) & (late == y_test))[0]
image, label = x_test[index : index + 1], y_test[index : index + 1]
print(
    f"test image {index} shows the digit {label[0]}; after two epochs it is read as {early[index]}"
)

# %%
# One pass, after two epochs
# --------------------------
#
# Forward, from left to right, each layer computes z from the activations before it, and a from z.
# Backward, from right to left, δ of the output is known first, and each layer passes it on to the layer
# before. The last result is ∂C/∂x: it says which pixels would have to be darker or brighter.

BLUE, ORANGE = "#0072B2", "#D55E00"


def draw(axes, values):
    """Draw a layer: as an image if it is square, else as bars. 0 is white."""
    side = round(len(values) ** 0.5)
    largest = abs(values).max()
    axes.set(xticks=[], yticks=[])
    if side**2 == len(values):
        image = values.reshape(side, side)
        axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
    else:
        axes.bar(
            range(len(values)), values, color=np.where(values < 0, BLUE, ORANGE)
        )
        axes.axhline(0, color="black", lw=0.8)
        axes.set(
            xticks=range(len(values)),
            ylim=(-1.15 * largest, 1.15 * largest),
            box_aspect=1,
        )
        axes.tick_params(labelsize=7, length=0)
    axes.set_xlabel(f"up to {largest:.2g}", fontsize=8)


network.parameters = parameters[2]
bp = network.backprop(image, label)
rows = {
    "z": [None, *bp.z],
    "a": bp.a,
    "δ = ∂C/∂z": [None, *bp.deltas],
}
figure, axes = plt.subplots(3, 4, figsize=(8.4, 6.6), layout="constrained")
for line, (name, arrays) in zip(axes, rows.items(), strict=True):
    line[0].set_ylabel(name, fontsize=12)
    for cell, array in zip(line, arrays, strict=True):
        if array is None:
            cell.set(xticks=[], yticks=[])
            cell.spines[:].set_visible(False)
        else:
            draw(cell, array[0])
for cell, title in zip(
    axes[0], ["input", "layer 1", "layer 2", "output"], strict=True
):
    cell.set_title(title)
draw(axes[2, 0], bp.input_gradient[0])
axes[2, 0].spines[:].set_visible(True)
axes[1, 0].set_title("a⁰ = x", fontsize=10)
axes[2, 0].set_title("∂C/∂x", fontsize=10)
figure.suptitle(
    f"The digit {label[0]}, read as {early[index]} (red is positive, blue negative)"
)
plt.show()

# %%
# The output's δ is a − y: negative for the right digit, whose probability must rise, and positive for the
# digits that are too likely. The equation that carries δ back is δˡ = (δˡ⁺¹ wˡ⁺¹) ⊙ σ′(zˡ). The arrays
# fulfil it:

target = np.eye(10)[label]
weights = network.layers[2].weights
np.testing.assert_allclose(bp.deltas[2], bp.a[3] - target, atol=1e-6)
np.testing.assert_allclose(
    bp.deltas[1],
    (bp.deltas[2] @ weights) * (1 - np.tanh(bp.z[1]) ** 2),
    atol=1e-6,
)

# %%
# δ while the network learns
# --------------------------
#
# The same image after more and more epochs. Each column has one scale, so a panel that turns white is a
# layer with little left to learn from this image.

epochs = [0, 2, 5, 30]
passes = []
for epoch in epochs:
    network.parameters = parameters[epoch]
    passes.append(network.backprop(image, label))

columns = {
    "output: a": [bp.a[-1][0] for bp in passes],
    "δ of the output": [bp.deltas[2][0] for bp in passes],
    "δ of layer 2": [bp.deltas[1][0] for bp in passes],
    "δ of layer 1": [bp.deltas[0][0] for bp in passes],
    "∂C/∂x": [bp.input_gradient[0] for bp in passes],
}
figure, axes = plt.subplots(
    len(epochs), 5, figsize=(8.4, 6.9), layout="constrained"
)
for column, (title, arrays) in zip(axes.T, columns.items(), strict=True):
    column[0].set_title(title, fontsize=10)
    largest = max(abs(values).max() for values in arrays)
    for cell, values in zip(column, arrays, strict=True):
        draw(cell, values)
        cell.set_xlabel(f"norm {np.linalg.norm(values):.2g}", fontsize=8)
        for picture in cell.images:
            picture.set_clim(-largest, largest)
        if not cell.images:
            cell.set_ylim(
                min(0, 1.1 * min(map(np.min, arrays))),
                1.1 * max(map(np.max, arrays)),
            )
for cell, epoch, bp in zip(axes[:, 0], epochs, passes, strict=True):
    cell.set_ylabel(f"{epoch} epochs\ncost {bp.cost:.2g}")
plt.show()

# %%
# δ of the output is the error itself: it fades as the cost falls. What becomes of it further back depends
# on the weights, too. They grow in training, so δ of layer 1 shrinks less, and ∂C/∂x may even grow while
# an image is still near the border between two classes. Over all training images, δ fades in every layer:

faded = []
for epoch in epochs:
    network.parameters = parameters[epoch]
    whole = network.backprop(x_train, y_train)
    # δ of the mean cost has a factor 1 / rows in it, which the norms of an image's δ should not have.
    norms = [
        len(x_train) * np.linalg.norm(delta, axis=1).mean()
        for delta in whole.deltas
    ]
    faded.append(norms)
    print(
        f"after {epoch:2} epochs: cost {whole.cost:.3f}, mean norms of δ",
        np.round(norms, 3),
    )
assert all(
    last < first for first, last in zip(faded[0], faded[-1], strict=True)
)
