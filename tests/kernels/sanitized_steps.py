"""Train and predict in several threads, with every kind of compiled kernel; a program of its own."""

from __future__ import annotations

import os
import threading

os.environ.pop("LD_PRELOAD", None)  # the compiler itself runs without a sanitizer

import numpy as np
import scipy.sparse

from gpubp import Network, Trainer

X = np.random.default_rng(0).normal(size=(512, 64)).astype(np.float32)
Y = np.arange(512) % 10
MANY, FEW = (scipy.sparse.csr_array(np.where(least < X, X, 0)) for least in (0, 3))


def train(seed: int, optimizer: str, hidden: str, accumulate: int, x: object, epochs: int) -> None:
    network = Network(
        (64, 128, 10), hidden=hidden, output="softmax", backend="numpy", seed=seed, dropout=0.1
    )
    trainer = Trainer(network, optimizer, batch_size=256, accumulate=accumulate, seed=seed)
    trainer.fit(x, Y, epochs=epochs, validation_data=(x, Y), sample_weight=np.ones(512))


def predict() -> None:
    network = Network((64, 128, 10), output="softmax", backend="numpy", seed=9)
    for _ in range(200):
        network.predict(X)


FITS = [
    (1, "adam", "gelu", 1, X),
    (2, "sgd", "relu", 2, MANY),
    (3, "rmsprop", "tanh", 1, X),
    (4, "adam", "relu", 1, FEW),
]


def by_columns(dtype: str, sizes: tuple[int, ...], rows: int, output: str, cost: str) -> None:
    """Train, evaluate and predict with matrices that lie column by column."""
    x, y = X[:rows, : sizes[0]], np.arange(rows)[:, None] % sizes[-1] == np.arange(sizes[-1])
    network = Network(
        sizes, hidden="tanh", output=output, cost=cost, dtype=dtype, backend="numpy", seed=0,
        dropout=0.3,
    )  # fmt: skip
    trainer = Trainer(network, batch_size=rows, accumulate=2, seed=0)
    trainer.fit(x, y, epochs=1, validation_data=(x, y), sample_weight=np.arange(1, rows + 1))
    network.predict(x)


HEADS = [("softmax", "cross_entropy"), ("softmax", "quadratic"), ("sigmoid", "quadratic")]
COLUMNS = [
    (dtype, sizes, rows, *head)
    for dtype in ("float32", "float64")
    for sizes in ((1, 1, 2), (17, 33, 3, 5), (64, 130, 16))
    for rows in (16, 17, 31, 33, 130, 300)
    for head in HEADS
]
# The kernels are compiled before the threads start: a compiler started beside them would confuse OpenBLAS.
for fit in FITS:
    train(*fit, epochs=1)
for arguments in COLUMNS:
    by_columns(*arguments)
threads = [threading.Thread(target=train, args=(*fit, 40)) for fit in FITS]
threads.append(threading.Thread(target=predict))
for thread in threads:
    thread.start()
predict()
for thread in threads:
    thread.join()
print("ended")
