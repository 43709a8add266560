"""Trainers and networks that several threads use."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
import pytest
from small_networks import classes, classifier, parameters

from gpubp import Network, Trainer
from gpubp.backends import Backend

X, Y = classes(512, 64, 10)


def trainer_for(backend: Backend | str, seed: int = 0, **options: Any) -> Trainer:
    network = Network((64, 128, 10), output="softmax", backend=backend, seed=seed)
    return Trainer(network, "adam", seed=seed, batch_size=256, **options)


def in_threads(*functions: Callable[[], object]) -> None:
    """Run each function in a thread of its own; raise the first error."""
    errors: list[BaseException] = []

    def run(function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize("method", ["step", "fit"])
def test_a_trainer_in_use_by_another_thread_refuses_and_goes_on(
    backend: Backend, method: str
) -> None:
    refused: list[str] = []

    def use_elsewhere(trainer: Trainer, history: Any) -> None:
        call = trainer.step if method == "step" else lambda x, y: trainer.fit(x, y, epochs=1)
        with pytest.raises(RuntimeError) as caught:
            in_threads(lambda: call(X, Y))
        refused.append(str(caught.value))

    trainer, other = trainer_for(backend, callbacks=[use_elsewhere]), trainer_for(backend)
    trainer.fit(X, Y, epochs=2)
    other.fit(X, Y, epochs=2)
    assert refused == ["the trainer is in use by another thread; make a Trainer for each"] * 2
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))
    in_threads(lambda: trainer.step(X, Y))  # afterwards any thread may use it


def test_steps_of_one_trainer_in_three_threads_are_made_or_refused() -> None:
    trainer, other = trainer_for("numpy"), trainer_for("numpy")
    made: list[int] = []

    def step_often() -> None:
        for _ in range(50):
            try:
                trainer.step(X, Y)
            except RuntimeError:
                continue
            made.append(1)

    in_threads(step_often, step_often, step_often)
    for _ in made:
        other.step(X, Y)
    assert made
    np.testing.assert_array_equal(parameters(trainer.network), parameters(other.network))


def test_a_trainer_that_refuses_can_be_copied_and_its_copy_is_free() -> None:
    trainer, copies = trainer_for("numpy"), list[Trainer]()
    trainer.callbacks = [lambda trainer, history: copies.append(copy(trainer))]
    trainer.fit(X, Y, epochs=1)
    in_threads(lambda: copies[0].step(X, Y))


def test_fits_at_the_same_time_give_the_bits_of_fits_one_after_another() -> None:
    alone, together = ([trainer_for("numpy", seed) for seed in range(4)] for _ in range(2))
    for trainer in alone:
        trainer.fit(X, Y, epochs=3)
    in_threads(*[lambda t=trainer: t.fit(X, Y, epochs=3) for trainer in together])  # type: ignore[misc]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(parameters(one.network), parameters(other.network))


def test_sixteen_threads_predict_while_one_trains() -> None:
    network, trainer = classifier("numpy"), trainer_for("numpy")
    alone = trainer_for("numpy")
    x = np.random.default_rng(1).normal(size=(40, 3))
    expected = network.predict(x)

    def train() -> None:
        for _ in range(30):
            trainer.step(X, Y)

    def predict() -> None:
        for _ in range(30):
            np.testing.assert_array_equal(network.predict(x), expected)
            assert np.isfinite(trainer.network.predict(X)).all()

    in_threads(train, *[predict] * 16)
    for _ in range(30):
        alone.step(X, Y)
    np.testing.assert_array_equal(parameters(trainer.network), parameters(alone.network))


NO_THREADS = """
import resource, sys
import numpy as np
from gpubp import Activation, Network, Trainer
x, y = np.ones((512, 64), "f"), np.zeros(512, int)

def train(rows):
    network = Network((64, 128, 10), output="softmax", backend="numpy", seed=0, hidden={hidden})
    trainer = Trainer(network, "adam", seed=0)
    for _ in range(3):
        trainer.step(x[:rows], y[:rows])
    return network.parameters

train(3)  # in one thread; it compiles the kernels
with open("/proc/self/statm") as sizes:
    now = int(sizes.read().split()[0]) * resource.getpagesize()
# A thread's stack has 512 MiB, which is more than is left.
before = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (now + 256 * 2**20, before[1]))
without = train(512)
resource.setrlimit(resource.RLIMIT_AS, before)
print((without == train(512)).all())
"""
PROGRAM = """
import threading
import numpy as np
from gpubp import Activation, Network, Trainer
x, y = np.ones((512, 64), "f"), np.zeros(512, int)

def train():
    network = Network((64, 128, 10), output="softmax", backend="numpy", seed=0, hidden={hidden})
    Trainer(network, "adam", batch_size=256).fit(x, y, epochs=3)

threads = [threading.Thread(target=train) for _ in range(3)]
for thread in threads: thread.start()
train()
for thread in threads: thread.join()
print("ended")
"""
HIDDEN = {
    "compiled": "'tanh'",
    "array functions": "Activation.from_functions('a', lambda xp, z: z, lambda xp, z: z * 0 + 1)",
}


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_process_that_trained_with_threads_ends_without_errors(kind: str) -> None:
    code = PROGRAM.format(hidden=HIDDEN[kind])
    said = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "ended\n", "")


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems count memory otherwise"
)
@pytest.mark.parametrize("kind", HIDDEN)
def test_without_new_threads_a_step_runs_in_its_own_with_the_same_bits(kind: str) -> None:
    import resource  # other systems do not have it

    hard_limit = resource.getrlimit(resource.RLIMIT_STACK)[1]
    if hard_limit not in (resource.RLIM_INFINITY, max(hard_limit, 2**29)):
        pytest.skip(f"the system limits stacks to {hard_limit} bytes, below the test's 512 MiB")
    code = NO_THREADS.format(hidden=HIDDEN[kind])
    said = subprocess.run(
        ["sh", "-c", 'ulimit -s 524288 && exec "$0" -c "$1"', sys.executable, code],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "True\n", "")
