"""Fork beside threads that train and predict; a program of its own.

Its arguments are "compiled" or "array functions", and the number of forks. Each child predicts and trains.
It prints how many children ended well.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import warnings

import numpy as np

from gpubp import Activation, Network, Trainer

LONGEST_HANG = 60

SMOOTH = Activation.from_functions(
    "smooth", lambda xp, z: z / xp.sqrt(1 + z * z), lambda xp, z: (1 + z * z) ** -1.5
)
X = np.random.default_rng(0).normal(size=(256, 64)).astype(np.float32)
Y = np.arange(256) % 10


def make_network(kind: str, seed: int) -> Network:
    hidden = SMOOTH if kind == "array functions" else "tanh"
    return Network((64, 128, 10), hidden=hidden, output="softmax", backend="numpy", seed=seed)


def child_is_right(network: Network, expected: np.ndarray, kind: str) -> bool:
    trained = make_network(kind, seed=2)
    Trainer(trained, "sgd").step(X, Y)
    changed = not np.array_equal(trained.parameters, make_network(kind, seed=2).parameters)
    return changed and np.array_equal(network.predict(X), expected)


def main(kind: str, forks: int) -> None:
    network, trainer = make_network(kind, seed=0), Trainer(make_network(kind, seed=1), "adam")
    fitting = Trainer(make_network(kind, seed=3), "adam", batch_size=16)
    expected = network.predict(X)
    trainer.step(X, Y)
    stopped = threading.Event()

    def repeat(call: object) -> None:
        while not stopped.is_set():
            call()  # type: ignore[operator]

    threads = [
        threading.Thread(target=repeat, args=(call,))
        for call in (
            lambda: trainer.step(X, Y),
            lambda: fitting.fit(X, Y, epochs=20),
            lambda: network.predict(X),
        )
    ]
    for thread in threads:
        thread.start()
    right = 0
    for _ in range(forks):
        time.sleep(0.002)
        faulthandler.dump_traceback_later(LONGEST_HANG, exit=True)
        child = os.fork()
        if not child:
            signal.alarm(LONGEST_HANG // 2)
            os._exit(0 if child_is_right(network, expected, kind) else 1)
        right += os.waitpid(child, 0)[1] == 0
    stopped.set()
    for thread in threads:
        thread.join()
    faulthandler.cancel_dump_traceback_later()
    assert np.array_equal(network.predict(X), expected)
    print(right)


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # a fork beside threads
    main(sys.argv[1], int(sys.argv[2]))
