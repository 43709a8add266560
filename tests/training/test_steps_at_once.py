"""A fit whose backend captures several training steps together ends with the bits of single steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import environment
import numpy as np
import pytest
from kinds_of_steps import BATCH, KINDS, X, Y, noted_replays, state_of
from single_steps import FORM, OPTIMIZERS, by_trainer, step_on
from small_networks import classes, classifier, parameters

from gpubp import Callback, Checkpoint, Lion, Network, Optimizer, Trainer
from gpubp.backends import Backend, cupy
from gpubp.kernels.precision import convert_cuda
from gpubp.kernels.update import update_and_advance_cuda
from gpubp.training import TrainingStep


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return noted_replays(monkeypatch)


def compiled(backend: Backend) -> bool:
    """Whether all of a step is compiled for the CPU, so that any number of steps run together."""
    return bool(getattr(backend, "compiles", False))


def train(
    backend: Backend,
    optimizer: Optimizer | str = "adam",
    network: dict[str, Any] | None = None,
    trainer: dict[str, Any] | None = None,
    fit: dict[str, Any] | None = None,
    loss_scale: float = 0.0,
) -> Trainer:
    options: dict[str, Any] = {"batch_size": BATCH, "seed": 0, **(trainer or {})}
    made = Trainer(classifier(backend, **(network or {})), optimizer, **options)
    if loss_scale:
        scale = np.array([loss_scale, 1 / loss_scale, 0.0])
        made.training_step._loss_scale[...] = backend.asarray(scale)  # type: ignore[index]
    made.fit(X, Y, epochs=3, **(fit or {}))
    return made


def compare(backend: Backend, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """Check that four steps at once do what four single steps do."""
    states = []
    for steps_at_once in (1, 4):
        monkeypatch.setattr(backend, "steps_at_once", steps_at_once)
        with backend.use():
            states.append(state_of(train(backend, **options)))
    assert states[0].keys() == states[1].keys()
    if "loss_scale" in options:  # steps were skipped, and others were not
        assert 1 < states[0]["loss_scale"][0] < options["loss_scale"]
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS.values(), Lion()], ids=[*OPTIMIZERS, "lion"])
def test_several_steps_at_once_have_the_bits_of_single_steps(
    backend: Backend, optimizer: Optimizer, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(backend, monkeypatch, optimizer=optimizer)
    alone = [14, 1] * 3 if compiled(backend) else [1] * 45
    assert runs == alone + [4, 4, 4, 1, 1, 1] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_several_steps_of_any_kind_have_the_bits_of_single_steps(
    backend: Backend, kind: str, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(backend, monkeypatch, **KINDS[kind])
    assert runs.count(4) == 9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("graphs", [True, False])
def test_fused_steps_at_once_have_the_bits_of_single_ones(
    cuda_backend: Backend, kind: str, graphs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = cupy.open_cupy(graphs=graphs, fused=True)
    assert backend.steps_at_once == (16 if graphs else 1)
    compare(backend, monkeypatch, **KINDS[kind])


def test_an_epoch_is_few_launches_of_graphs(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not tell what it was asked for")
    asked: list[str] = []
    monkeypatch.setattr(environment.ON_HOST.runtime, "asked", asked)
    backend, launches = cupy.open_cupy(fused=True), list[int]()

    def count(*arguments: object) -> None:
        launches.append(asked.count("replay"))
        asked.clear()

    x, y = classes(40 * 4)
    trainer = Trainer(classifier(backend), batch_size=4, seed=0, callbacks=[count])
    trainer.fit(backend.asarray(x), backend.asarray(y), epochs=3)
    # The first step runs without a graph; the fifteen after it warm up the graph of sixteen.
    assert launches == [15 + 1 + 8, 2 + 8, 2 + 8]


def test_only_the_first_of_steps_at_once_rounds_the_weights(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = cupy.open_cupy(fused=True)
    network = classifier(backend, dtype="float32", precision="bfloat16")
    step, n_weights = step_on(network, OPTIMIZERS["adam"]), network.layout.n_weights
    converted, updated = [], []

    def convert(xp: Any, values: Any, out: Any) -> Any:
        converted.append(out.size)
        return convert_cuda(xp, values, out)

    def update(*arguments: Any) -> Any:
        updated.append(arguments[-2] is not None)
        return update_and_advance_cuda(*arguments)

    monkeypatch.setattr("gpubp.backends.cupy.verbs.convert_cuda", convert)
    monkeypatch.setattr("gpubp.backends.cupy.fused.update_and_advance_cuda", update)
    with backend.use():
        step.prepare()
        # Two single steps' verbs run: the first step and its capture. Then four are captured together.
        for updates, conversions in ((2, 2), (4, 1), (0, 0)):
            converted.clear()
            updated.clear()
            step.run(FORM, 4)
            assert updated == [True] * updates
            assert converted.count(n_weights) == conversions


def test_rows_at_another_address_are_met_by_single_steps(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, plain = cupy.open_cupy(fused=True), cupy.open_cupy(fused=True)
    plain.steps_at_once = 1
    results = []
    for each in (backend, plain):
        trainer = Trainer(classifier(each), "adam", batch_size=2, seed=0)
        for first in (0, 5, 0):
            trainer.fit(X[first : first + 40], Y[first : first + 40], epochs=2)
        results.append(parameters(trainer.network))
    np.testing.assert_array_equal(*results)


class Count(Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step_end(self, trainer: Trainer, step: int) -> None:
        self.steps.append(step)


def test_what_looks_at_single_steps_sees_each(
    backend: Backend, runs: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "steps_at_once", 4)
    count = Count()
    train(backend, trainer={"callbacks": [count]})
    assert count.steps == list(range(15)) * 3
    train(backend, trainer={"checkpoint": Checkpoint(tmp_path, every="5 steps")})
    X.tofile(tmp_path / "x")
    streamed = np.memmap(tmp_path / "x", X.dtype, "r", shape=X.shape)
    Trainer(classifier(backend), batch_size=BATCH, seed=0).fit(streamed, Y, epochs=1)
    assert set(runs) == {1}
    train(backend, trainer={"checkpoint": Checkpoint(tmp_path / "epochs", every="1 epoch")})
    assert 4 in runs


def test_a_resumed_fit_goes_on_in_groups_to_the_same_bits(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "steps_at_once", 4)
    whole = train(backend)
    saving = {"checkpoint": Checkpoint(tmp_path, every="7 steps", keep=99)}
    train(backend, trainer=saving)
    options: dict[str, Any] = {"batch_size": BATCH, "seed": 0}
    for file in sorted(tmp_path.iterdir()):
        trainer = Trainer(classifier(backend), "adam", **options)
        trainer.resume(file)
        trainer.fit(X, Y, epochs=3)
        np.testing.assert_array_equal(parameters(trainer.network), parameters(whole.network))


def test_a_stop_is_looked_for_between_groups(
    backend: Backend, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "steps_at_once", 4)
    trainer = Trainer(classifier(backend), batch_size=BATCH, seed=0)
    replay = TrainingStep._replay

    def stopping(self: TrainingStep, *arguments: Any) -> int:
        steps = replay(self, *arguments)
        if len(runs) == 2:
            trainer.stop("enough")
        return steps

    monkeypatch.setattr(TrainingStep, "_replay", stopping)
    history = trainer.fit(X, Y, epochs=2)
    assert runs == [4, 4] and history.stopped == "enough"
    assert trainer.training_step.steps_taken == 8


def test_more_steps_at_once_than_there_is_room_for_are_an_error(backend: Backend) -> None:
    network = classifier(backend)
    step = step_on(network, OPTIMIZERS["adam"])
    with backend.use():
        step.prepare()
        for _ in range(63):
            step.run(FORM, 4)
        step.run(FORM)
        before = parameters(network)
        with pytest.raises(RuntimeError, match="253 steps were run; prepare comes before another"):
            step.run(FORM, 4)
        np.testing.assert_array_equal(parameters(network), before)
        step.run(FORM, 3)
        assert len(step.costs()) == step.steps_taken == 256
    expected = by_trainer(classifier(backend), OPTIMIZERS["adam"], 256)
    np.testing.assert_array_equal(parameters(network), expected)


def test_steps_that_are_reduced_run_one_after_another(backend: Backend) -> None:
    seen: list[float] = []

    def note(gradient: Any) -> None:
        seen.append(float(backend.to_numpy(gradient)[0]))

    network = classifier(backend)
    step = step_on(network, OPTIMIZERS["adam"], reduce=note)
    assert step.steps_at_once == 1
    with backend.use():
        step.prepare()
        for _ in range(3):
            step.run(FORM, 2)
    assert len(seen) == len(set(seen)) == 6
    expected = by_trainer(classifier(backend), OPTIMIZERS["adam"], 6)
    np.testing.assert_array_equal(parameters(network), expected)


def test_steps_that_fail_together_are_not_counted(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = step_on(classifier(backend), OPTIMIZERS["adam"])
    with backend.use():
        step.prepare()
        step.run(FORM, 2)

        def fail() -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(step._in_a_row[FORM], "_captured", {2: fail})
        with pytest.raises(KeyboardInterrupt):
            step.run(FORM, 2)
        assert (step.steps_taken, step.steps_prepared) == (2, 0)


def test_steps_of_custom_functions_are_not_captured_together(cuda_backend: Backend) -> None:
    from gpubp.kernels import Activation

    cube = Activation.from_functions("cube", lambda xp, z: z**3, lambda xp, z: 3 * z * z)
    results = []
    for fused in (True, False):
        backend = cupy.open_cupy(fused=fused)
        network = Network(
            (3, 4, 3), hidden=cube, output="softmax", backend=backend, seed=0, dtype="float64"
        )
        Trainer(network, "sgd", batch_size=2, seed=0).fit(X, Y, epochs=2)
        results.append(parameters(network))
    np.testing.assert_allclose(*results, rtol=1e-12)
