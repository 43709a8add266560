"""Train in processes that SIGKILL ends at random moments; each goes on from the last one's checkpoint.

Run as ``python killed_training.py FOLDER KILLS SEED``. This process forks each trainer, so that Python and
gpubp start only once. It prints how many trainers were killed, and how many of these were writing.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gpubp import Checkpoint, Network, Trainer
from gpubp.files import TensorFile


def trainer(folder: Any = None) -> tuple[Trainer, Any, Any]:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 5)), rng.integers(0, 3, 64)
    network = Network(
        (5, 16, 3), hidden="tanh", output="softmax", dropout=0.2, dtype="float64", backend="numpy", seed=0
    )  # fmt: skip
    checkpoint = None if folder is None else Checkpoint(folder, every="2 steps", keep=2)
    made = Trainer(
        network, "adam", batch_size=8, schedule="exponential", early_stopping=10**6, seed=1,
        checkpoint=checkpoint,
    )  # fmt: skip
    return made, x, y


def train(folder: Path) -> None:
    made, x, y = trainer(folder)
    assert made.checkpoint is not None
    if made.checkpoint.newest is not None:
        made.resume(folder)
    made.fit(x, y, epochs=10**6, validation_data=(x, y))


def main(folder: Path, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    writing = 0
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            train(folder)
            os._exit(1)  # it never ends by itself
        time.sleep(draw.uniform(0.02, 0.25))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
        writing += any(folder.glob("*.part"))
        for file in folder.glob("*.safetensors"):
            with TensorFile(file) as whole:
                whole.read()
    print(kills, writing)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
