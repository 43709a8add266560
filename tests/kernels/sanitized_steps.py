"""Train and predict in several threads, with every kind of compiled kernel; a program of its own."""

from __future__ import annotations

import os
import threading

os.environ.pop("LD_PRELOAD", None)  # the compiler itself runs without a sanitizer

import numpy as np

from gpubp import Network, Trainer

X = np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32)
Y = np.arange(512) % 10


def train(seed: int, optimizer: str, hidden: str, accumulate: int, epochs: int) -> None:
    network = Network(
        (64, 128, 10), hidden=hidden, output="softmax", backend="numpy", seed=seed, dropout=0.1
    )
    trainer = Trainer(network, optimizer, batch_size=256, accumulate=accumulate, seed=seed)
    trainer.fit(X, Y, epochs=epochs, validation_data=(X, Y), sample_weight=np.ones(512))


def predict() -> None:
    network = Network((64, 128, 10), output="softmax", backend="numpy", seed=9)
    for _ in range(200):
        network.predict(X)


FITS = [(1, "adam", "gelu", 1), (2, "sgd", "relu", 2), (3, "rmsprop", "tanh", 1)]
# The kernels are compiled before the threads start: a compiler started beside them would confuse OpenBLAS.
for fit in FITS:
    train(*fit, epochs=1)
threads = [threading.Thread(target=train, args=(*fit, 40)) for fit in FITS]
threads.append(threading.Thread(target=predict))
for thread in threads:
    thread.start()
predict()
for thread in threads:
    thread.join()
print("ended")
