"""
Vanishing and exploding δ
=========================

Why do deep networks with sigmoid not learn, while deep networks with relu do?

Each layer multiplies δ by its weights and by σ′(z). If these factors are below 1, δ vanishes on its way
back; if they are above 1, it explodes. Both can be seen before the first step of training.
"""

# %%
# The networks have twenty hidden layers of 64 neurons each. They differ in their activation and in the
# initializer of their weights. For each of them we take the norm of δ in every layer, averaged over 500
# handwritten digits, and compare it with that of the output layer.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import gpubp

x, y = load_digits(return_X_y=True)
x = x / 16
DEPTH = 20
SIZES = (64, *[64] * DEPTH, 10)


def too_large(rng, shape):
    return rng.normal(scale=np.sqrt(4 / shape[1]), size=shape)


networks = {  # name: (activation, initializer, colour, marker)
    "sigmoid, glorot_normal": ("sigmoid", "glorot_normal", "#D55E00", "o"),
    "tanh, glorot_normal": ("tanh", "glorot_normal", "#E69F00", "s"),
    "relu, glorot_normal": ("relu", "glorot_normal", "#56B4E9", "^"),
    "relu, he_normal": ("relu", "he_normal", "#0072B2", "v"),
    "relu, variance 4 / n_in": ("relu", too_large, "#CC79A7", "P"),
    "selu, lecun_normal": ("selu", "lecun_normal", "#009E73", "D"),
}


def make(activation, initializer):
    return gpubp.Network(
        SIZES,
        hidden=activation,
        output="softmax",
        initializer=initializer,
        seed=0,
    )


def norms_of_delta(network):
    bp = network.backprop(x[:500], y[:500])
    return np.array(
        [np.linalg.norm(delta, axis=1).mean() for delta in bp.deltas]
    )


# %%
# Then each network is trained for five epochs, with the same optimizer.

norms, accuracies = {}, {}
for name, (activation, initializer, *_) in networks.items():
    network = make(activation, initializer)
    norms[name] = norms_of_delta(network)
    trainer = gpubp.Trainer(
        network, gpubp.Adam(1e-3, clip_norm=1.0), batch_size=64, seed=0
    )
    history = trainer.fit(x, y, epochs=5, validation_split=0.2)
    accuracies[name] = history.validation_accuracy[-1]
    first = norms[name][0] / norms[name][-1]
    print(
        f"{name:24} δ of layer 1 is {first:8.2g} × that of the output", end=""
    )
    print(f"; accuracy after five epochs {accuracies[name]:.1%}")

figure, (left, right) = plt.subplots(
    1,
    2,
    figsize=(9.6, 4.4),
    layout="constrained",
    width_ratios=(3, 2),
    sharey=False,
)
layers = np.arange(1, DEPTH + 2)
for name, (*_, colour, marker) in networks.items():
    ratio = norms[name] / norms[name][-1]
    left.plot(
        layers, ratio, color=colour, marker=marker, ms=4, lw=1.5, label=name
    )
left.axhline(1, color="black", lw=0.8, ls=":")
left.set(
    yscale="log",
    xlabel="layer (21 is the output)",
    ylabel="mean norm of δ, relative to the output's",
)
left.set_xticks([1, 5, 10, 15, 21])
left.set_title("before training: δ goes back, from right to left", fontsize=10)
left.legend(frameon=False, fontsize=8)

positions = np.arange(len(networks))[::-1]
colours = [colour for *_, colour, _ in networks.values()]
bars = right.barh(
    positions, [100 * accuracies[name] for name in networks], color=colours
)
right.bar_label(bars, fmt="%.0f %%", padding=3, fontsize=9)
right.axvline(10, color="black", lw=0.8, ls=":")
right.set(xlim=(0, 115), xlabel="accuracy on new digits, %", yticks=positions)
right.set_xticks([0, 10, 25, 50, 75, 100])
right.set_yticklabels(networks, fontsize=8)
right.set_title("after five epochs (dotted: guessing)", fontsize=10)
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# σ′ of the sigmoid is at most 1/4, so δ loses more than half of its size in every layer, and the first
# layers learn nothing. With relu, half of the neurons pass δ on and half do not, so the weights need twice
# the variance of Glorot's: 2 / n_in, which is He's initializer, and gpubp's default for relu. With twice
# the variance again, δ grows by a factor of about √2 a layer.

sigmoid, he, large = (
    norms[name][0] / norms[name][-1]
    for name in (
        "sigmoid, glorot_normal",
        "relu, he_normal",
        "relu, variance 4 / n_in",
    )
)
assert sigmoid < 1e-6
assert 0.1 < he < 10
assert large > 100
assert accuracies["relu, he_normal"] > 0.6
assert accuracies["sigmoid, glorot_normal"] < 0.3
