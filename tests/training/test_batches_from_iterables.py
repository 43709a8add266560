"""Fits on batches that an iterable gives: the same training as on arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from iterables import BATCH, VALIDATION, WEIGHTS, NoLength, X, Y, cut, trainer
from resuming import assert_same, fit_in_parts
from small_networks import Log, classes, parameters

from gpubp import Adam, Callback, Network, Trainer
from gpubp.backends import Backend
from gpubp.training.schedules import Constant, Cosine, Exponential, InverseScaling, OnPlateau, Step
from gpubp.training.step_runs import STEPS_KEPT


def same_fit(backend: Backend | str, batches: Any, arrays: tuple[Any, ...], **options: Any) -> None:
    """Check that a fit on batches and one on arrays, without shuffling, give the same bits."""
    settings = {name: options.pop(name) for name in ("schedule", "accumulate") if name in options}
    by_batches, by_arrays = trainer(backend, **settings), trainer(backend, **settings)
    x, y, *weights = arrays
    history = by_batches.fit(batches, **options)
    expected = by_arrays.fit(x, y, sample_weight=weights[0] if weights else None, **options)
    np.testing.assert_array_equal(parameters(by_batches.network), parameters(by_arrays.network))
    for name in ("cost", "validation_cost", "validation_accuracy", "learning_rate"):
        np.testing.assert_allclose(getattr(history, name), getattr(expected, name), rtol=1e-12)


@pytest.mark.parametrize("arrays", [(X, Y), (X, np.eye(3)[Y]), (X, Y, WEIGHTS)])
@pytest.mark.parametrize("make", [list, tuple, NoLength, lambda batches: lambda: iter(batches)])
def test_batches_of_an_iterable_train_like_the_batches_of_arrays(
    backend: Backend, arrays: tuple[Any, ...], make: Callable[[Any], Any]
) -> None:
    same_fit(backend, make(cut(*arrays)), arrays, epochs=3, validation_data=VALIDATION)


def test_a_generator_serves_one_epoch_and_is_refused_for_more() -> None:
    same_fit("numpy", (batch for batch in cut(X, Y)), (X, Y), epochs=1)
    made = trainer()
    before = parameters(made.network)
    given = (batch for batch in cut(X, Y))
    text = r"^x is <generator object .*, which gives its batches once, expected for 2 epochs a list, an"
    with pytest.raises(ValueError, match=text):
        made.fit(given, epochs=2)
    assert len(list(given)) == len(cut(X, Y))  # none was drawn
    with pytest.raises(
        ValueError, match=r"^validation_data is <list_iterator object .*, which gives"
    ):
        made.fit(X, Y, epochs=2, validation_data=iter(cut(X, Y)))
    np.testing.assert_array_equal(parameters(made.network), before)


def test_batches_of_any_size_are_steps_by_hand(backend: Backend) -> None:
    sizes = [1, 7, 2, 3, 5, 4]
    stops = np.cumsum([0, *sizes])
    batches = [(X[a:b], Y[a:b], WEIGHTS[a:b]) for a, b in pairwise(stops)]
    by_fit, by_steps = trainer(backend), trainer(backend)
    history = by_fit.fit(batches, epochs=2)
    costs = []
    for _ in range(2):
        weighted = total = 0.0
        for x, y, weights in batches:
            by_steps.step(x, y, weights)
            weighted += by_steps.step_cost * weights.sum()
            total += weights.sum()
        costs.append(weighted / total)
    np.testing.assert_array_equal(parameters(by_fit.network), parameters(by_steps.network))
    np.testing.assert_allclose(history.cost, costs, rtol=1e-6)


def test_many_sizes_keep_few_captured_steps() -> None:
    x, y = classes(400, seed=1)
    batches = [(x[:n], y[:n]) for n in range(1, 20)]
    made = trainer()
    made.fit(batches, epochs=2)
    assert len(made.training_step.captured) <= STEPS_KEPT


def test_more_batches_than_there_is_room_for_at_first() -> None:
    x, y = classes(700, seed=1)
    by_fit, by_steps = trainer(), trainer()
    history = by_fit.fit(NoLength(cut(x, y, size=1)), epochs=1)
    costs = []
    for k in range(len(x)):
        by_steps.step(x[k : k + 1], y[k : k + 1])
        costs.append(by_steps.step_cost)
    np.testing.assert_array_equal(parameters(by_fit.network), parameters(by_steps.network))
    np.testing.assert_allclose(history.cost, [np.mean(costs)], rtol=1e-12)


@pytest.mark.parametrize("arrays", [(X, Y), (scipy.sparse.csr_array(X), Y, WEIGHTS)])
def test_accumulate_joins_batches(arrays: tuple[Any, ...]) -> None:
    same_fit("numpy", cut(*arrays), arrays, epochs=2, accumulate=3)


def test_an_iterable_may_give_every_batch_in_the_same_memory() -> None:
    class OneBuffer:
        def __iter__(self) -> Iterator[Any]:
            x, y = np.empty((BATCH, 3)), np.empty(BATCH, int)
            for part_x, part_y in cut(X[:20], Y[:20]):
                x[...], y[...] = part_x, part_y
                yield x, y

    for accumulate in (1, 2):
        same_fit("numpy", OneBuffer(), (X[:20], Y[:20]), epochs=2, accumulate=accumulate)


def test_batches_may_be_sparse_and_change_their_kind() -> None:
    kinds: list[Callable[[Any], Any]] = [np.asarray, scipy.sparse.csr_array, np.ndarray.tolist]
    batches = [(kinds[k % 3](x), y) for k, (x, y) in enumerate(cut(X, Y))]
    made, other = trainer(), trainer()
    made.fit(batches, epochs=2)
    other.fit(X, Y, epochs=2)
    np.testing.assert_allclose(
        parameters(made.network), parameters(other.network), rtol=1e-9, atol=1e-12
    )


def test_validation_data_may_be_batches() -> None:
    x, y = VALIDATION
    weights = np.arange(9.0)
    for given in (cut(x, y, weights), NoLength(cut(x, y, weights)), cut(x, y, weights)[:2]):
        rows = 8 if isinstance(given, list) and len(given) == 2 else 9
        by_batches, by_arrays = trainer(), trainer()
        history = by_batches.fit(X, Y, epochs=2, validation_data=given)
        expected = by_arrays.fit(
            X, Y, epochs=2, validation_data=(x[:rows], y[:rows], weights[:rows])
        )
        np.testing.assert_allclose(history.validation_cost, expected.validation_cost, rtol=1e-12)
        np.testing.assert_allclose(
            history.validation_accuracy, expected.validation_accuracy, rtol=1e-12
        )


def test_some_validation_batches_of_a_size_may_have_weights(backend: Backend) -> None:
    x, y = classes(12, seed=4)
    weights = [np.ones(4), np.array([2.0, 1, 0, 1]), np.ones(4)]
    parts = cut(x, y)
    parts[1] = (*parts[1], weights[1])
    made = trainer(backend)
    history = made.fit(X, Y, epochs=1, validation_data=parts)
    every = np.concatenate(weights)
    assert history.validation_cost[0] == pytest.approx(made.network.cost(x, y, every), rel=1e-12)
    right = backend.to_numpy(made.network.predict(x)).argmax(axis=1) == y
    assert history.validation_accuracy[0] == pytest.approx(np.average(right, weights=every))


SCHEDULES = [Constant(), Step(1, 0.5), OnPlateau(patience=0), InverseScaling()]


@pytest.mark.parametrize("schedule", [*SCHEDULES, Cosine(), Exponential()], ids=str)
def test_schedules_of_an_iterable_with_a_length_are_those_of_arrays(schedule: Any) -> None:
    same_fit("numpy", cut(X, Y), (X, Y), epochs=3, schedule=schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_that_need_no_length_go_without_one(schedule: Any) -> None:
    same_fit("numpy", NoLength(cut(X, Y)), (X, Y), epochs=3, schedule=schedule)


@pytest.mark.parametrize("schedule", [Cosine(), Exponential(), "one_cycle"], ids=str)
def test_schedules_that_need_a_length_are_refused_without_one(schedule: Any) -> None:
    batches, made = NoLength(cut(X, Y)), trainer(schedule=schedule)
    text = r"^schedule is \w+\(.*\), which needs the number of batches of an epoch, expected x to be an"
    with pytest.raises(ValueError, match=text):
        made.fit(batches, epochs=2)
    assert not batches.begun


def test_a_schedule_of_the_batches_weights_is_refused() -> None:
    class ByWeight(Constant):
        def penalty_factors(self, batch_weights: Any) -> Any:
            return 1 / batch_weights

    text = r"^schedule is .*, whose penalty_factors need the weights of all batches of an epoch, expected"
    with pytest.raises(ValueError, match=text):
        trainer(schedule=ByWeight()).fit(cut(X, Y), epochs=1)


@pytest.mark.parametrize(("make", "steps"), [(list, 6), (NoLength, 0)])
def test_callbacks_are_told_the_number_of_batches_if_it_is_known(
    make: Callable[[Any], Any], steps: int
) -> None:
    log: list[Any] = []
    made = trainer(callbacks=[Log("a", log)])
    made.fit(make(cut(X, Y)), epochs=2, progress=True)
    assert log[0] == ("a", "fit begins", made, 2, steps)
    assert [entry[3] for entry in log if entry[1] == "step"] == [*range(6), *range(6)]


def test_a_stop_ends_the_fit_after_its_step() -> None:
    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            if step == 2:
                trainer.stop("enough")

    for batches in (cut(X, Y), NoLength(cut(X, Y))):
        made, other = trainer(callbacks=[Stop()]), trainer(callbacks=[Stop()])
        history, expected = made.fit(batches, epochs=2), other.fit(X, Y, epochs=2)
        assert (history.stopped, history.cost) == ("enough", expected.cost)
        np.testing.assert_array_equal(parameters(made.network), parameters(other.network))


@pytest.mark.parametrize("make", [list, NoLength])
@pytest.mark.parametrize("weights", [(), (WEIGHTS,)])
def test_a_checkpoint_within_an_epoch_passes_over_the_batches_before_it(
    backend: Backend, tmp_path: Path, make: Callable[[Any], Any], weights: tuple[Any, ...]
) -> None:
    batches = make(cut(X, Y, *weights))
    fresh = partial(trainer, backend)
    whole = fresh()
    expected = whole.fit(batches, epochs=4, validation_data=VALIDATION)
    resumed = fit_in_parts(
        fresh, tmp_path, [2, 5, 4], batches, None, epochs=4, validation_data=VALIDATION
    )
    assert_same(resumed, (whole, expected))


def test_a_fit_goes_on_after_more_batches_than_there_is_room_for_at_first(tmp_path: Path) -> None:
    x, y = classes(300)
    batches = NoLength(cut(x, y, size=1))
    whole = trainer(callbacks=[])
    expected = whole.fit(batches, epochs=2)
    resumed = fit_in_parts(trainer, tmp_path, [290], batches, None, epochs=2)
    assert_same(resumed, (whole, expected))


def test_fewer_batches_than_before_the_checkpoint_are_an_error(tmp_path: Path) -> None:
    class Stop(Callback):
        def on_step_end(self, trainer: Trainer, step: int) -> None:
            if step == 3:
                trainer.stop("enough")

    batches = NoLength(cut(X, Y))
    trainer(checkpoint=tmp_path, callbacks=[Stop()]).fit(batches, epochs=2)
    made = trainer()
    made.resume(tmp_path)
    text = "x gave 3 batches in epoch 1, expected more than the 4 before the checkpoint"
    with pytest.raises(ValueError, match=f"^{text}$"):
        made.fit(NoLength(cut(X, Y)[:3]), epochs=2)


def test_a_checkpoint_of_arrays_does_not_go_on_with_batches(tmp_path: Path) -> None:
    trainer(checkpoint=tmp_path).fit(X, Y, epochs=1)
    made = trainer()
    made.resume(tmp_path)
    with pytest.raises(ValueError, match="is of a fit whose data's number of batches is None, but"):
        made.fit(cut(X, Y), epochs=2)


def test_the_batches_of_a_torch_data_loader_train_like_arrays() -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=BATCH)
    same_fit("numpy", loader, (X, Y), epochs=2, schedule="cosine", validation_data=VALIDATION)


def test_a_fit_in_a_callback_of_an_iterables_epoch_is_refused() -> None:
    made = trainer()

    def batches() -> Iterator[Any]:
        yield X, Y
        made.step(X, Y)
        yield X, Y

    with pytest.raises(RuntimeError, match="in the middle of an epoch"):
        made.fit(batches, epochs=1)


def test_the_network_learns_from_a_stream() -> None:
    rng = np.random.default_rng(0)
    network = Network((2, 16, 2), output="softmax", seed=0, backend="numpy")

    def stream() -> Iterator[Any]:
        for _ in range(200):
            x = rng.normal(size=(32, 2))
            yield x, (x[:, 0] > x[:, 1]).astype(int)

    history = Trainer(network, Adam(learning_rate=0.02), seed=0).fit(stream, epochs=2)
    assert 4 * history.cost[1] < 2 * history.cost[0] < np.log(2)
