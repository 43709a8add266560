"""On the CPU with compiled kernels, the steps of an epoch run without Python between them."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kinds_of_steps import KINDS, X, Y, noted_replays, state_of
from resuming import without_seconds
from single_steps import FORM, OPTIMIZERS, step_on
from small_networks import classes, classifier, parameters
from threadpoolctl import threadpool_limits

from gpubp import Activation, Callback, Checkpoint, EarlyStopping, History, Network, Trainer
from gpubp.backends.numpy import NumpyBackend
from gpubp.training import TrainingStep

SECONDS = "gpubp.backends.numpy.captured.SECONDS_TOGETHER"
CUBE = Activation.from_functions("cube", lambda xp, z: z**3, lambda xp, z: 3 * z * z)


@pytest.fixture
def compiled() -> NumpyBackend:
    backend = NumpyBackend()
    if not backend.compiles:
        pytest.skip("no compiled kernels")
    return backend


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return noted_replays(monkeypatch)


class Watch(Callback):
    """Looks at every step, so that steps run one by one; stops training after one of them."""

    def __init__(self, last: int = -1) -> None:
        self.last, self.steps = last, 0

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.steps += 1
        if self.steps == self.last:
            trainer.stop("enough")


def train(
    network: Network, epochs: int = 3, callbacks: Any = (), **options: Any
) -> tuple[Trainer, History]:
    fit = {"sample_weight": options.pop("sample_weight", None)}
    arguments = {"batch_size": 4, "seed": 0, **options}
    trainer = Trainer(network, callbacks=callbacks, **arguments)
    return trainer, trainer.fit(X, Y, epochs=epochs, **fit)


def check_same(one: tuple[Trainer, History], other: tuple[Trainer, History]) -> None:
    states = state_of(one[0]), state_of(other[0])
    assert states[0].keys() == states[1].keys()
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)
    assert without_seconds(one[1]) == without_seconds(other[1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("batch_size", [1, 4, 20, 59, 99])
def test_an_epoch_has_the_bits_of_single_steps(
    compiled: NumpyBackend, optimizer: Any, batch_size: int, replays: list[int]
) -> None:
    options: dict[str, Any] = {"optimizer": optimizer, "batch_size": batch_size}
    together = train(classifier(compiled), **options)
    whole, rest = divmod(59, batch_size)
    assert replays == [n for n in (whole, int(rest > 0)) if n] * 3
    check_same(together, train(classifier(compiled), callbacks=[Watch()], **options))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "overflow"])
def test_an_epoch_of_any_kind_has_the_bits_of_single_steps(
    compiled: NumpyBackend, kind: str, replays: list[int]
) -> None:
    network = KINDS[kind].get("network", {})
    options = {**KINDS[kind].get("trainer", {}), **KINDS[kind].get("fit", {})}
    together = train(classifier(compiled, **network), **options)
    # What a precision rounds is not compiled, so Python is between the steps.
    assert replays == ([1] * 45 if "precision" in network else [14, 1] * 3)
    check_same(together, train(classifier(compiled, **network), callbacks=[Watch()], **options))


def test_a_replay_that_takes_too_long_ends_after_a_step(
    compiled: NumpyBackend, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(classifier(compiled))
    replays.clear()
    monkeypatch.setattr(SECONDS, 0.0)
    check_same(train(classifier(compiled)), whole)
    assert replays == [1] * 45


def test_functions_that_are_not_compiled_run_step_by_step(
    compiled: NumpyBackend, replays: list[int]
) -> None:
    def network() -> Network:
        return classifier(compiled, hidden=CUBE, initializer="glorot_uniform")

    together = train(network())
    assert replays == [1] * 45
    check_same(together, train(network(), callbacks=[Watch()]))


@pytest.mark.parametrize("weighted", [False, True])
def test_epochs_of_two_shards_have_the_bits_of_single_steps(
    compiled: NumpyBackend, weighted: bool, replays: list[int]
) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(700, 40)).astype(np.float32), rng.integers(0, 3, 700)
    weights, results = rng.uniform(0.5, 1.5, 700) if weighted else None, []
    with threadpool_limits(2, user_api="blas"):
        if compiled._threads != 2:
            pytest.skip("this BLAS does not let its threads be set")
        assert len(compiled.plan(160, (40, 96, 96, 3), None)) == 2
        for callbacks in ([], [Watch()]):
            network = Network((40, 96, 96, 3), output="softmax", backend=compiled, seed=0)
            trainer = Trainer(network, batch_size=160, seed=0, callbacks=callbacks)
            results.append((trainer, trainer.fit(x, y, epochs=3, sample_weight=weights)))
    assert replays == [4, 1] * 3 + [1] * 15
    check_same(*results)


def test_early_stopping_and_validation_come_between_epochs(compiled: NumpyBackend) -> None:
    results = []
    for callbacks in ([], [Watch()]):
        stopping = EarlyStopping(patience=3, min_improvement=0.02)
        trainer = Trainer(classifier(compiled), "adam", batch_size=4, seed=0, callbacks=callbacks,
                          early_stopping=stopping)  # fmt: skip
        history = trainer.fit(X, Y, epochs=200, validation_data=(X[:20], Y[:20]))
        assert history.stopped == "early stopping"
        results.append((trainer, history))
    check_same(*results)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_a_request_to_stop_within_a_long_epoch_ends_it_after_a_whole_step(
    compiled: NumpyBackend, how: str, replays: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SECONDS, 0.005)
    x, y = classes(300_000)
    trainer = Trainer(classifier(compiled), "adam", batch_size=1, seed=0)
    request = interrupt if how == "interrupt" else lambda: trainer.stop("enough")
    replay = TrainingStep._replay

    def asking(self: TrainingStep, *arguments: Any) -> int:
        thread = threading.Thread(target=request)
        if len(replays) == 2:
            thread.start()  # it asks while the third replay runs
        try:
            return replay(self, *arguments)
        finally:
            if len(replays) == 3:
                thread.join()

    monkeypatch.setattr(TrainingStep, "_replay", asking)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        history = trainer.fit(x, y, epochs=1)
    finally:
        signal.signal(signal.SIGINT, before)
    assert history.stopped == ("interrupted" if how == "interrupt" else "enough")
    assert len(history) == 1
    done = trainer.training_step.steps_taken
    assert len(replays) == 3 and done == sum(replays) < len(x)
    single = Trainer(classifier(compiled), "adam", batch_size=1, seed=0, callbacks=[Watch(done)])
    expected = single.fit(x, y, epochs=1)
    assert single.training_step.steps_taken == done
    np.testing.assert_array_equal(parameters(trainer.network), parameters(single.network))
    assert history.cost == expected.cost


def test_a_checkpoint_of_a_stopped_epoch_goes_on_to_the_same_bits(
    compiled: NumpyBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(classifier(compiled))
    replay = TrainingStep._replay
    stopped = Trainer(classifier(compiled), batch_size=4, seed=0, checkpoint=tmp_path)
    steps = 0

    def five_at_most(self: TrainingStep, captured: Any, count: int, most: int = 1) -> int:
        nonlocal steps
        steps += (made := replay(self, captured, count, min(most, 5)))
        if steps == 25:
            stopped.stop("enough")
        return made

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "_replay", five_at_most)
        patch.setattr(SECONDS, 60.0)
        assert stopped.fit(X, Y, epochs=3).stopped == "enough"
    assert steps == 25
    resumed = Trainer(classifier(compiled), batch_size=4, seed=0)
    resumed.resume(tmp_path)
    check_same((resumed, resumed.fit(X, Y, epochs=3)), whole)


def test_checkpoints_by_steps_come_between_the_steps(
    compiled: NumpyBackend, tmp_path: Path, replays: list[int]
) -> None:
    train(classifier(compiled), checkpoint=Checkpoint(tmp_path, every="7 steps"))
    assert replays == [1] * 45


def test_some_steps_are_at_least_one_and_at_most_as_many_as_asked(
    compiled: NumpyBackend, replays: list[int]
) -> None:
    step = step_on(classifier(compiled), OPTIMIZERS["adam"])
    step.prepare()
    assert [step.run_some(FORM, most) for most in (1, 200, 55)] == [1, 200, 55]
    assert step.steps_taken == step.steps_done == len(step.costs()) == 256
    with pytest.raises(RuntimeError, match="256 steps were run; prepare comes before another"):
        step.run_some(FORM, 1)
    with pytest.raises(ValueError, match="steps is 0, expected at least 1"):
        step.run_some(FORM, 0)


def test_steps_that_are_reduced_run_one_by_one(compiled: NumpyBackend) -> None:
    step = step_on(classifier(compiled), OPTIMIZERS["adam"], reduce=lambda gradient: None)
    step.prepare()
    assert [step.run_some(FORM, 5) for _ in range(3)] == [1, 1, 1]
