"""
The hardest digits, and what the network looks at
=================================================

A network reads nearly all handwritten digits. Which ones does it misread, and because of which pixels?

The cost of each row tells which examples are hard. ∂C/∂x, the ``input_gradient`` of
:meth:`gpubp.Network.backprop`, tells which pixels would have to change.
"""

# %%

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import train_test_split

import gpubp

x, y = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(
    x / 16, y, test_size=0.5, stratify=y, random_state=0
)
network = gpubp.Network(
    (64, 64, 10), hidden="gelu", output="softmax", dropout=0.2, seed=0
)
gpubp.Trainer(network, gpubp.Adam(2e-3), batch_size=50, seed=0).fit(
    x_train, y_train, epochs=25
)

probabilities = network.predict(x_test)
predicted = probabilities.argmax(axis=1)
wrong = predicted != y_test
print(
    f"{wrong.sum()} of {len(y_test)} new digits are misread, {wrong.mean():.1%}"
)

# %%
# Which digits are taken for which?

table = confusion_matrix(y_test, predicted)
mistakes = table * (1 - np.eye(10, dtype=int))
figure, axes = plt.subplots(figsize=(6, 5.4), layout="constrained")
image = axes.imshow(np.ma.masked_equal(mistakes, 0), cmap="viridis_r", vmin=0)
for (i, j), count in np.ndenumerate(table):
    if i == j:
        axes.text(
            j, i, count, ha="center", va="center", color="0.55", fontsize=8
        )
    elif count:
        dark = count > 0.5 * mistakes.max()
        axes.text(
            j,
            i,
            count,
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
axes.set(
    xticks=range(10), yticks=range(10), xlabel="read as", ylabel="the digit is"
)
axes.spines[:].set_visible(False)
axes.set_xticks(np.arange(-0.5, 10), minor=True)
axes.set_yticks(np.arange(-0.5, 10), minor=True)
axes.grid(which="minor", color="0.9")
axes.tick_params(which="both", length=0)
axes.set_title(
    "mistakes (coloured), and digits that are read rightly (grey)", fontsize=10
)
plt.show()

true, taken = np.unravel_index(mistakes.argmax(), mistakes.shape)
print(
    f"most often, {mistakes.max()} times, the digit {true} is taken for {taken}"
)

# %%
# The six digits with the largest cost, which is −log of the probability of the right class. Below each of
# them stands −∂C/∂x: where it is red, more ink would help the right digit; where it is blue, less would.
# The bars are the probabilities.

costs = -np.log(probabilities[np.arange(len(y_test)), y_test])
hardest = np.argsort(-costs)[:6]
np.testing.assert_allclose(
    costs.mean(), network.cost(x_test, y_test), rtol=1e-4
)

figure, axes = plt.subplots(
    3, 6, figsize=(9.6, 5), layout="constrained", height_ratios=(3, 3, 2)
)
for column, index in zip(axes.T, hardest, strict=True):
    bp = network.backprop(x_test[index : index + 1], y_test[index : index + 1])
    wish = -bp.input_gradient.reshape(8, 8)
    largest = abs(wish).max()
    column[0].imshow(x_test[index].reshape(8, 8), cmap="gray_r")
    column[0].set_title(
        f"{y_test[index]}, read as {predicted[index]}", fontsize=10
    )
    column[0].set_xlabel(f"cost {costs[index]:.1f}", fontsize=9)
    column[1].imshow(wish, cmap="RdBu_r", vmin=-largest, vmax=largest)
    colours = ["0.7"] * 10
    colours[predicted[index]], colours[y_test[index]] = "#D55E00", "#0072B2"
    column[2].bar(range(10), probabilities[index], color=colours)
    column[2].set(ylim=(0, 1), xticks=range(10), yticks=[])
    column[2].tick_params(labelsize=7, length=0)
    column[2].spines[["top", "right", "left"]].set_visible(False)
    for cell in column[:2]:
        cell.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("digit")
axes[1, 0].set_ylabel("−∂C/∂x")
axes[2, 0].set_ylabel("probability")
figure.suptitle("blue bar: the right digit; orange bar: what the network reads")
# sphinx_gallery_thumbnail_number = 2
plt.show()

# %%
# Is the gradient right? We follow it: a small step along −∂C/∂x must lower the cost of each digit.

bp = network.backprop(x_test[hardest], y_test[hardest])
step = (
    0.5
    * bp.input_gradient
    / np.linalg.norm(bp.input_gradient, axis=1, keepdims=True)
)
after = network.predict(x_test[hardest] - step)[np.arange(6), y_test[hardest]]
for index, new in zip(hardest, -np.log(after), strict=True):
    print(
        f"digit {y_test[index]}: cost {costs[index]:.2f}, after the step {new:.2f}"
    )
assert (-np.log(after) < costs[hardest]).all()
