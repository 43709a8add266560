"""The contenders: each agrees with the reference, and what they do in one call is what it should be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from made_up import SMALL, needs_scikit_learn

from gpubp.benchmarks import agreement, worker
from gpubp.benchmarks.contenders import (
    CONTENDERS,
    AbsentError,
    Contender,
    GpubpNumpyFit,
    ScikitLearn,
)
from gpubp.benchmarks.floor import FLOORS
from gpubp.benchmarks.settings import default_architectures, small
from gpubp.benchmarks.tasks import ARCHITECTURES, OPTIMIZERS, Architecture
from gpubp.benchmarks.tasks import SMALL as SMALL_GROUP

ON_CPU = [name for name, kind in CONTENDERS.items() if kind.device == "cpu"]
SLOW = [name for name in ON_CPU if name.startswith(("torch", "jax"))]
PREDICTORS = ["onnxruntime", "onnxruntime-1-thread", "openvino", "openvino-1-thread"]
NETWORKS = ("narrow", *SMALL_GROUP)


def opened(name: str, kind: type = worker.Session) -> Iterator[worker.Worker]:
    """Start a contender in a process of its own: its library may warn, and starts threads."""
    with worker.Worker(name, kind) as process:
        try:
            process.call("open")
        except AbsentError as error:
            pytest.skip(f"{name} is absent: {error}")
        yield process


def check(process: worker.Worker, architecture: Architecture, optimizer: str) -> None:
    outcome = process.call("load", architecture.name, optimizer, 8, False)
    assert (outcome.cost is None) == (process.name in PREDICTORS)
    expected = agreement.reference(architecture, optimizer, 8)
    assert agreement.difference(outcome, expected) == "", (architecture.name, optimizer)


@pytest.mark.parametrize("name", [name for name in ON_CPU if name not in SLOW])
def test_the_contender_agrees_on_every_network(name: str) -> None:
    for process in opened(name):
        for architecture in map(ARCHITECTURES.__getitem__, NETWORKS):
            if architecture.hidden in CONTENDERS[name].activations:
                for optimizer in ("sgd", "adam") if name not in PREDICTORS else ("adam",):
                    check(process, architecture, optimizer)


@pytest.mark.parametrize("name", ["gpubp-numpy", "scikit-learn"])
def test_the_contender_agrees_on_a_network_with_one_output(name: str) -> None:
    for process in opened(name):
        check(process, ARCHITECTURES["regression"], "adam")


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_the_contender_that_compiles_or_loads_slowly_agrees(name: str) -> None:
    for process in opened(name):
        check(process, ARCHITECTURES["narrow"], "sgd")
        for architecture in () if "compile" in name else NETWORKS:
            check(process, ARCHITECTURES[architecture], "adam")


@pytest.mark.parametrize("hidden", list(agreement.ACTIVATIONS))
def test_the_gradient_of_the_reference_is_that_of_finite_differences(hidden: str) -> None:
    architecture = Architecture("tiny", (3, 5, 4, 2), "identity", hidden)
    batch = architecture.batch(6)
    x, y = batch.x.astype(np.float64), batch.targets[0]
    start = [(w.astype(np.float64), b.astype(np.float64)) for w, b in architecture.weights()]
    gradient = agreement.reference(architecture, "sgd", 6).gradient
    size, step = len(agreement.flatten(start)), 1e-6

    def cost(k: int, change: float) -> float:
        moved = agreement._add(start, change * np.eye(size)[k])
        return agreement._backprop(architecture, moved, x, y)[0]

    differences = [(cost(k, step) - cost(k, -step)) / (2 * step) for k in range(size)]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8)


def test_a_wrong_prediction_of_a_contender_that_only_predicts_is_told() -> None:
    expected = agreement.reference(SMALL, "adam", 8)
    right, wrong = expected.predictions, 1.001 * expected.predictions
    assert agreement.difference(agreement.Outcome(right), expected) == ""
    assert "predictions by" in agreement.difference(agreement.Outcome(wrong), expected)


class InOneCall:
    """A contender's weights after many steps in one call, or after an epoch, beside single steps."""

    def __init__(self, name: str) -> None:
        self._contender = CONTENDERS[name]()

    def open(self) -> str:
        return self._contender.open()

    def difference(self, rows: int, calls: tuple[int, ...]) -> float:
        """Compare calls of so many steps with as many steps one by one."""
        contender, moved = self._contender, []
        assert isinstance(contender, Contender)
        for counts in (calls, (1,) * sum(calls)):
            contender.load(SMALL, agreement.CHECKED["adam"], SMALL.batch(rows))
            for count in counts:
                contender.steps(count)
            moved.append(agreement.flatten(contender.parameters()))
        return agreement.relative_error(moved[0], moved[1])

    def epochs(self, rows: int, of: int) -> list[np.ndarray]:
        """Return the weights after an epoch of this contender and of JAX, which jits each step."""
        moved = []
        for contender in (self._contender, CONTENDERS["jax"]()):
            assert isinstance(contender, Contender)
            contender.open()
            contender.load(SMALL, agreement.CHECKED["adam"], SMALL.batch(rows))
            contender.load_epoch(SMALL.batch(of))
            contender.epoch()
            moved.append(agreement.flatten(contender.parameters()))
        return moved


@pytest.mark.parametrize(
    ("name", "rows", "calls"),
    [
        ("gpubp-numpy-fit", 8, (1, 64)),
        ("gpubp-numpy-fit", 2048, (1, 16)),  # four batches an epoch
        pytest.param("jax-scan", 8, (1, 64), marks=pytest.mark.slow),
        ("scikit-learn", 8, (1, 64)),
    ],
)
def test_steps_in_one_call_are_those_of_single_calls(
    name: str, rows: int, calls: tuple[int, ...]
) -> None:
    for process in opened(name, InOneCall):
        assert process.call("difference", rows, calls) < 1e-3


@pytest.mark.slow
def test_an_epoch_in_one_scan_is_that_of_single_steps() -> None:
    for process in opened("jax-scan", InOneCall):
        for of in (64, 70):  # with 70 rows, the last batch has 6
            scanned, stepped = process.call("epochs", 16, of)
            np.testing.assert_allclose(scanned, stepped, rtol=1e-4, atol=1e-6)


def test_scikit_learn_gets_an_epoch_as_one_call_of_shuffled_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs_scikit_learn()
    contender = ScikitLearn()
    contender.open()
    contender.load(SMALL, OPTIMIZERS["adam"], SMALL.batch(16))
    contender.load_epoch(SMALL.batch(64))
    kind, calls = type(contender._model), []
    whole = kind.partial_fit

    def partial_fit(self, x, y, **options):  # type: ignore[no-untyped-def]
        calls.append((len(x), self.batch_size, self.shuffle))
        return whole(self, x, y, **options)

    monkeypatch.setattr(kind, "partial_fit", partial_fit)
    contender.epoch()
    contender.steps(4)
    assert calls == [(64, 16, True), (64, 16, False)]


class Slow(GpubpNumpyFit):
    """A contender for which a step takes a millisecond, and a call two more."""

    steps_at_once = 64

    def steps(self, count: int) -> None:
        self.now += 2e-3 + 1e-3 * count

    def synchronize(self) -> None:
        """Do nothing: all work has been computed."""

    now = 0.0


@pytest.mark.parametrize(("most", "expected"), [(64, 8), (4, 4)])
def test_a_call_makes_as_many_steps_as_take_ten_milliseconds(
    most: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    contender = Slow()
    monkeypatch.setattr(Slow, "steps_at_once", most)
    monkeypatch.setattr(worker.time, "perf_counter", lambda: contender.now)
    assert worker._fitting_steps(contender) == expected


def test_the_small_group_is_measured_at_its_own_batch_sizes() -> None:
    chosen = small()
    assert chosen.grid() == [
        ("tanh-4", 10_000, "adam"), ("tanh-24", 200, "adam"), ("relu-10", 200, "adam"),
        ("relu-64", 32, "adam"), ("gelu-48", 64, "adam"), ("silu-13", 32, "adam"),
    ]  # fmt: skip
    assert not set(SMALL_GROUP) & set(default_architectures())
    assert replace(chosen, batch_sizes=(8,)).grid()[0] == ("tanh-4", 8, "adam")
    assert len(ARCHITECTURES["tanh-4"].batch(10_000).x) == 10_000
    assert set(FLOORS) & set(chosen.floors) == set()
