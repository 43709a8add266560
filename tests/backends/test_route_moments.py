"""Odd moments of fused steps: new addresses, errors, threads, captures in captures, several devices."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import environment
import numpy as np
import pytest
from replays import graphs_of
from routes import ROUTES, TWINS, Route, Training, open_route, values_of
from support.streams import CudaError

import gpubp
from gpubp.backends import Backend
from gpubp.backends.cupy import CupyBackend, device_count
from gpubp.backends.cupy.graphs import GRAPHS_KEPT, CapturedStep
from gpubp.training import BatchForm, TrainingStep

TRAINING = Training(
    (10, 17, 8, 5), ["tanh", "relu"], settings={"batch_size": 16}, options={"dropout": [0.2, 0.0]}
)
FUSED = [Route(graphs, False, True) for graphs in (False, True)]
KEPT = pytest.mark.parametrize("route", FUSED, ids=str)


def batch(k: int, rows: int = 16) -> tuple[Any, Any]:
    """Make the k-th batch in new arrays."""
    rng = np.random.default_rng(k)
    return rng.normal(size=(rows, 10)), rng.integers(0, 5, rows)


def assert_same(trainer: gpubp.Trainer, expected: gpubp.Trainer) -> None:
    np.testing.assert_allclose(values_of(trainer), values_of(expected), rtol=1e-9, atol=1e-12)


@KEPT
def test_rows_of_a_step_may_lie_elsewhere_each_time(cuda_backend: Backend, route: Route) -> None:
    """Arrays that are kept have other addresses; arrays that are freed may have the same."""
    trainers, kept = [TRAINING.trainer(b) for b in (TWINS, open_route(route))], []
    for k in range(2 * GRAPHS_KEPT + 2):
        x, y = batch(k)
        for trainer in trainers:
            given = x, y
            if k % 3 and trainer.backend is not TWINS:
                given = tuple(trainer.backend.asarray(values.copy()) for values in (x, y))
                kept.append(given)
            trainer.step(*given)
    assert_same(*trainers)
    for rows in (40, 17, 40):
        x, y = batch(rows, rows)
        for trainer in trainers:
            trainer.fit(x, y, epochs=3)
    assert_same(*trainers)


@KEPT
@pytest.mark.parametrize("label", [np.int64, np.int32, np.uint8])
def test_rows_of_other_types_follow_each_other(
    cuda_backend: Backend, route: Route, label: type
) -> None:
    """Rows of the network's type stay where they are, others are gathered; targets likewise."""
    trainers = [TRAINING.trainer(b) for b in (TWINS, open_route(route))]
    rng = np.random.default_rng(0)
    for kind in (np.float64, np.uint8, np.float32, np.float16, np.float64, np.uint8):
        x, y = rng.integers(0, 3, (40, 10)).astype(kind), rng.integers(0, 5, 40).astype(label)
        dense = np.eye(5)[y].astype(kind)
        for trainer in trainers:
            trainer.fit(x, y, epochs=3)
            trainer.fit(x, dense, epochs=2)
            trainer.fit(x[::-1, ::-1], y[::-1], epochs=2)
    assert_same(*trainers)


@KEPT
def test_two_trainers_in_turn(cuda_backend: Backend, route: Route) -> None:
    other = replace(TRAINING, sizes=(10, 33, 5), hidden=["gelu"], options={}, seed=1)
    backend = open_route(route)
    found = [each.trainer(backend) for each in (TRAINING, other)]
    expected = [each.trainer(TWINS) for each in (TRAINING, other)]
    for k in range(8):
        for trainer in (*found, *expected):
            trainer.step(*batch(k % 5))
    for pair in zip(found, expected, strict=True):
        assert_same(*pair)


@KEPT
@pytest.mark.parametrize("run", [1, 2], ids=["first run", "captured or written down"])
@pytest.mark.parametrize(
    "verb", ["output_layer", "layer_backward", "multiply_by_derivative", "update_with"]
)
def test_nothing_is_left_of_a_step_that_failed(
    cuda_backend: Backend, route: Route, verb: str, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, plain = open_route(route), gpubp.SGD(learning_rate=0.05)  # its gradient is no velocity
    kinds = [replace(TRAINING, seed=seed, optimizer=plain) for seed in (0, 7)]
    trainer, other = (kind.trainer(backend) for kind in kinds)
    expected, other_expected = (kind.trainer(TWINS) for kind in kinds)
    x, y = batch(0)
    place = backend.asarray(x), backend.asarray(y)
    given = getattr(backend, verb)
    failing: list[int] = []

    def maybe(*arguments: Any, **options: Any) -> None:
        if failing:
            raise ZeroDivisionError("in a verb")
        given(*arguments, **options)

    monkeypatch.setattr(backend, verb, maybe)
    for k in range(1, 6):
        if k == run:
            failing.append(k)
            with pytest.raises(ZeroDivisionError, match="in a verb"):
                trainer.step(*place)
            failing.clear()
        for each in (other, trainer):
            each.step(*place)
        for each in (other_expected, expected):
            each.step(x, y)
        # What was left would be launched with the other trainer's step, and add to this one's cost.
        other.step(*place)
        other_expected.step(x, y)
        assert trainer.step_cost == pytest.approx(expected.step_cost, rel=1e-9)
    assert_same(trainer, expected)
    assert_same(other, other_expected)


def test_a_list_that_takes_a_graphs_place_has_its_launches(
    cuda_backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not fail when it is asked to")

    def fail(handle: int) -> int:
        raise CudaError(2)

    whole = TRAINING.trainer(open_route(FUSED[1]))
    whole.fit(*batch(0, 50), epochs=4)
    monkeypatch.setattr(environment.ON_HOST.runtime, "instantiate", fail)
    trainer = TRAINING.trainer(open_route(FUSED[1]))
    with pytest.warns(RuntimeWarning, match="cannot be captured in a CUDA graph"):
        trainer.fit(*batch(0, 50), epochs=4)
    assert graphs_of(trainer) == 0 < graphs_of(whole)
    np.testing.assert_array_equal(values_of(trainer), values_of(whole))


@pytest.mark.parametrize("labels", [True, False])
@pytest.mark.parametrize("sizes", [(10, 5), (10, 17, 5), (10, 17, 8, 8, 5)])
def test_a_list_has_two_launches_for_a_layer_and_one_for_the_update(
    cuda_backend: Backend, sizes: tuple[int, ...], labels: bool
) -> None:
    hidden = ["tanh"] * (len(sizes) - 2)
    training = replace(TRAINING, sizes=sizes, hidden=hidden, options={}, labels=labels)
    trainer = training.trainer(open_route(FUSED[0]))
    x, y, _ = replace(training, rows=16).data()
    trainer.fit(x.astype(np.float64), y, epochs=3)
    (step,) = trainer._training_step.captured.values()
    assert isinstance(step, CapturedStep)
    (launches,) = step._lists.values()
    assert len(launches) == 2 * (len(sizes) - 1) + 1


@KEPT
def test_a_capture_of_steps_that_were_captured(cuda_backend: Backend, route: Route) -> None:
    backend, form = open_route(route), BatchForm(16, labels=True, weighted=False, block_limit=None)
    kinds = [TRAINING, replace(TRAINING, sizes=(10, 40, 5), hidden=["tanh"], options={}, seed=3)]
    with backend.use():
        steps = [
            TrainingStep(kind.network(backend), kind.optimizer, dropout_seed=None) for kind in kinds
        ]
        inner = []
        for step in steps:
            step.make_room([form], 24)
            step.prepare(24)
            gradient, update = step.halves(form)
            inner.append((backend.capture(gradient), backend.capture(update)))
        x, y = batch(0)
        for step in steps:
            step.rows.set(backend.asarray(x), backend.asarray(y))
        for halves in inner[:1] * 3:  # the first is replayed by itself before
            for half in halves:
                half()

        def together() -> None:
            for halves in inner:
                for half in halves:
                    half()

        replay = backend.capture(together)
        for k in range(5):
            x, y = (backend.asarray(values) for values in batch(k))
            for step in steps:
                step.rows.set(x, y)
            replay()
    for step, kind, begun in zip(steps, kinds, (3, 0), strict=True):
        expected = replace(kind, options={}).trainer(TWINS)  # these steps drop nothing
        for k in (*[0] * begun, *range(5)):
            expected.step(*batch(k))
        found = backend.to_numpy(step.network.parameters)
        np.testing.assert_allclose(found, values_of(expected), rtol=1e-9, atol=1e-12)


@KEPT
def test_threads_train_at_the_same_time(cuda_backend: Backend, route: Route) -> None:
    backend, alone = open_route(route), open_route(route)
    found: dict[int, Any] = {}

    def fit(seed: int) -> None:
        trainer = replace(TRAINING, seed=seed).trainer(backend)
        trainer.fit(*batch(seed, 50), epochs=3)
        found[seed] = values_of(trainer)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(3):
        trainer = replace(TRAINING, seed=seed).trainer(alone)
        trainer.fit(*batch(seed, 50), epochs=3)
        np.testing.assert_array_equal(found[seed], values_of(trainer))


@KEPT
def test_each_device_has_its_own_launches(cuda_backend: Backend, route: Route) -> None:
    if device_count()[0] < 2:
        pytest.skip("this machine has one GPU")
    trainers = [TRAINING.trainer(b) for b in (TWINS, open_route(route), open_route(route, 1))]
    x, y = batch(0, 50)
    for _ in range(2):
        for trainer in trainers:
            trainer.fit(x, y, epochs=2, validation_data=(x, y))
            trainer.step(x, y)
    assert_same(trainers[1], trainers[0])
    assert_same(trainers[2], trainers[0])


class Streamed:
    """Rows that can only be sliced."""

    def __init__(self, rows: Any) -> None:
        self._rows, self.shape, self.dtype = rows, rows.shape, rows.dtype

    def __getitem__(self, chosen: Any) -> Any:
        return self._rows[chosen]


@KEPT
@pytest.mark.parametrize("late", ["", "steps", "copies", "both"])
def test_streamed_rows(
    cuda_backend: Backend, route: Route, late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulated streams do their work as late as events allow."""
    if environment.ON_HOST is not None:
        monkeypatch.setattr(environment.ON_HOST.runtime, "late", late)
    x, y = batch(0, 75)
    training = replace(TRAINING, settings={"batch_size": 16, "accumulate": 2})
    trainers = [training.trainer(b) for b in (TWINS, open_route(route))]
    for trainer in trainers:
        trainer.fit(Streamed(x), Streamed(y), epochs=4)
    assert_same(*trainers)


class Costs(gpubp.Callback):
    """Keeps the cost of each step."""

    def __init__(self) -> None:
        self.costs: list[float] = []

    def on_step_end(self, trainer: gpubp.Trainer, step: int) -> None:
        self.costs.append(trainer.step_cost)


def costs_of(backend: Backend, powers_of: str, shuffle: bool) -> list[float]:
    """Train so that each step's cost tells exactly which rows it read, or what it dropped."""
    powers = 2.0 ** np.arange(20)
    options: Any = {"dtype": "float64", "backend": backend, "seed": 0}
    x, y = np.zeros((20, 8)), np.zeros((20, 4))
    if powers_of == "masks":
        network = gpubp.Network((8, 20, 4), hidden="identity", dropout=0.5, **options)
        x[:] = 1 / 8
        network.layers[0].weights[...] = 1
        network.layers[1].weights[...] = 0
        network.layers[1].weights[0] = backend.asarray(powers)
    else:
        network = gpubp.Network((8, 4), **options)
        network.parameters[...] = 1
        (x if powers_of == "x" else y)[:, 0] = powers
    costs = Costs()
    trainer = gpubp.Trainer(
        network, gpubp.SGD(learning_rate=1e-300), batch_size=8, shuffle=shuffle, seed=3,
        callbacks=[costs],
    )  # fmt: skip
    trainer.fit(x, y, epochs=4)
    return costs.costs


@pytest.mark.parametrize("route", ROUTES, ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("powers_of", ["x", "y", "masks"])
def test_seeds_choose_the_rows_and_masks_that_they_choose_on_the_cpu(
    cuda_backend: Backend,
    route: Route,
    powers_of: str,
    shuffle: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sums of a few powers of two are exact in any order."""
    if route.cublas:
        monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", 0)
    found = costs_of(open_route(route), powers_of, shuffle)
    assert found == costs_of(TWINS, powers_of, shuffle)
    assert len(set(found)) > 3 or (powers_of != "masks" and not shuffle)


NETWORKS = {
    "small": TRAINING,
    "one layer": replace(TRAINING, sizes=(10, 5), hidden=[], options={}),
    "narrow": replace(TRAINING, sizes=(10, 3, 2, 5), hidden=["relu", "mish"], options={}),
    "wide outputs": replace(TRAINING, sizes=(10, 64, 65), hidden=["gelu"], options={}),
    "other head": replace(TRAINING, head=("tanh", "huber")),
    "softmax's Jacobian": replace(TRAINING, head=("softmax", "quadratic")),
}


@pytest.mark.parametrize("cublas", [False, True], ids=["own", "cublas"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
def test_backprop_gives_every_array(
    cuda_backend: Backend, name: str, dtype: str, cublas: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cublas:
        monkeypatch.setattr("gpubp.kernels.matmul.SMALL_WORK", 0)
    training = replace(NETWORKS[name], rows=33)
    backend = open_route(Route(True, cublas, True))
    network, expected = training.network(backend, dtype), training.network(TWINS, "float64")
    x, y, _ = training.data()
    kinds: list[Any] = [x, x.astype(np.float64)[:, ::-1][:, ::-1], np.abs(x * 10).astype(np.uint8)]
    targets: list[Any] = [y, np.repeat(y, 2, axis=0)[::2]]
    if training.labels and y.ndim == 1:
        targets += [y.astype(np.int32), y.astype(np.uint8)]
    tolerance = 1e-11 if dtype == "float64" else 2e-4
    for k, given in enumerate([*kinds, kinds[0], np.asfortranarray(x)]):
        labels = targets[k % len(targets)]
        found, true = network.backprop(given, labels), expected.backprop(given, labels)
        assert found.cost == pytest.approx(true.cost, rel=tolerance)
        for field in ("z", "a", "deltas", "weight_gradients", "bias_gradients"):
            for one, other in zip(getattr(found, field), getattr(true, field), strict=True):
                size = np.abs(other).max() or 1.0
                here = backend.to_numpy(one) if backend.owns(one) else one
                np.testing.assert_allclose(here, other, rtol=0, atol=tolerance * size)
        size = np.abs(true.input_gradient).max()
        np.testing.assert_allclose(
            found.input_gradient, true.input_gradient, rtol=0, atol=tolerance * size
        )
        forward = network.forward(given)
        np.testing.assert_allclose(forward.a[-1], true.a[-1], atol=tolerance, rtol=tolerance)


def test_one_layer_on_sparse_rows(cuda_backend: Backend) -> None:
    """The output layer reads sparse rows, so no launch reads its targets by their order."""
    training = replace(NETWORKS["one layer"], density=0.4)
    for route in FUSED:
        trainers = [training.trainer(b) for b in (TWINS, open_route(route))]
        x, y, _ = training.data()
        for trainer in trainers:
            trainer.fit(x, y, epochs=3, validation_data=(x, y))
        assert_same(*trainers)


def test_a_fused_backend_is_one(cuda_backend: Backend) -> None:
    backend = open_route(FUSED[0])
    assert isinstance(backend, CupyBackend) and backend._fused
