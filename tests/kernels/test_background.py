"""Custom text that is compiled in the background: what runs until it is ready, and from when on it runs."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_compiler import FakeCompiler, wait_for

from gpubp import SGD, Activation, Callback, Cost, History, Network, Trainer
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import ACTIVATIONS, COSTS, OutputHead
from gpubp.kernels.cpu import build, cache, compiler, texts
from gpubp.kernels.cpu.background import background
from gpubp.kernels.cpu.build_ahead import every_text

pytestmark = pytest.mark.skipif(
    not build.made_by(), reason="no C++ compiler: install g++ or set CXX"
)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 6)).astype(np.float32)
Y = RNG.normal(size=(100, 3)).astype(np.float32)

OWN = Activation.from_functions(
    "own",
    lambda xp, z: z / (1 + xp.abs(z)),
    lambda xp, z: (1 + xp.abs(z)) ** -2,
    cuda="return z / (T(1) + abs(z));",
    cuda_derivative="return T(1) / ((T(1) + abs(z)) * (T(1) + abs(z)));",
)
_made: dict[str, Path] = {}  # the libraries that tests have compiled, by their texts


class Gate:
    """A stand-in for `compile_library` that compiles custom text when the gate is opened.

    Attributes
    ----------
    calls : int
        How often it was called with custom text.
    error : Exception or None
        What it raises instead of compiling custom text.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened = folder, threading.Event()
        self.calls = 0
        self.error: Exception | None = None

    def __call__(self, codes: Sequence[str], folder: Path, flags: Sequence[str]) -> Path:
        code = "".join(codes)
        if texts.CUSTOM not in code:
            return compiler.compile_library(codes, folder, flags)
        self.calls += 1
        assert self._opened.wait(60)
        if self.error is not None:
            raise self.error
        if code not in _made:
            _made[code] = compiler.compile_library(codes, self._folder, flags)
        return Path(shutil.copy(_made[code], folder))

    def open(self) -> None:
        """Let the text be compiled, and wait until its kernels are ready."""
        self._opened.set()
        wait_for(lambda: not background._is_busy)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder for libraries, after all that networks need besides custom text was compiled."""
    Trainer(Network((6, 8, 3), hidden="tanh", backend="numpy"), "sgd").fit(X, Y, epochs=1)
    yield tmp_path_factory.mktemp("libraries")
    _made.clear()


@pytest.fixture
def gate(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Yield a gate, closed; nothing is stored, and no custom text is known."""
    gate = Gate(folder)
    monkeypatch.delenv("GPUBP_COMPILE")
    monkeypatch.setattr(build, "compile_library", gate)
    monkeypatch.setattr(cache, "folder", lambda: (tmp_path, ""))
    background._entries.clear()
    yield gate
    gate.open()
    background._entries.clear()
    background._failures.clear()


def network(**settings: Any) -> Network:
    return Network((6, 8, 3), hidden=OWN, **{"backend": "numpy", "seed": 0, **settings})


def trainer(**settings: Any) -> Trainer:
    return Trainer(network(), SGD(learning_rate=0.1), batch_size=32, seed=0, **settings)


def is_compiled(trained: Trainer) -> set[bool]:
    return {step.is_compiled for step in trained.training_step.captured.values()}  # type: ignore[attr-defined]


# Which text.


def test_text_is_custom_if_a_users_text_is_in_it() -> None:
    cost = Cost.from_functions(
        *("own", lambda xp, a, y: (a - y) ** 4, lambda xp, a, y: 4 * (a - y) ** 3),
        **{"cuda": "return (a - y);", "cuda_derivative": "return T(1);"},
    )
    table_entries = OutputHead(ACTIVATIONS["tanh"], COSTS["huber"])
    own_output = OutputHead(OWN, COSTS["huber"])
    own_cost = OutputHead(ACTIVATIONS["softmax"], cost)
    assert not any(map(texts.is_custom, every_text()))
    for text, expected in (
        (texts.activation_text(OWN), True),
        (texts.output_delta_text(table_entries), False),
        (texts.output_delta_text(own_output), True),
        (texts.row_costs_text(own_output), False),
        (texts.output_delta_text(own_cost), True),
        (texts.row_costs_text(own_cost), True),
    ):
        assert text and texts.is_custom(text) is expected


def test_a_wrong_value_of_gpubp_compile_is_told(
    fake: FakeCompiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPUBP_COMPILE", "later")
    with pytest.raises(ValueError, match="GPUBP_COMPILE is 'later', expected '1', 'wait' or '0'"):
        build.base()
    assert not fake.runs


# From when on.


def test_a_first_fit_does_not_wait_and_the_next_one_uses_what_was_compiled(gate: Gate) -> None:
    trained = trainer()
    twins = Trainer(
        network(backend=NumpyBackend(compile=False)), SGD(learning_rate=0.1), batch_size=32, seed=0
    )
    for ready in (False, True):
        if ready:
            gate.open()
        for each in (trained, twins):
            each.fit(X, Y, epochs=2)
        assert is_compiled(trained) == {ready}
        np.testing.assert_allclose(
            trained.network.parameters, twins.network.parameters, rtol=1e-4, atol=1e-6
        )
    assert gate.calls == 1
    captured = dict(trained.training_step.captured)
    trained.fit(X, Y, epochs=1)
    assert (
        trained.training_step.captured == captured
    )  # without new kernels nothing is captured again


def test_who_waits_gets_the_kernels_at_once(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUBP_COMPILE", "wait")
    gate._opened.set()
    trained = trainer()
    trained.fit(X, Y, epochs=1)
    assert is_compiled(trained) == {True}


def test_nothing_changes_within_a_fit(gate: Gate) -> None:
    """The last batch, the validation, and predictions by a callback are captured after the gate opens."""

    def fitted(opens: Callable[[], None]) -> list[Any]:
        seen: list[Any] = []

        class Opens(Callback):
            def on_step_end(self, trained: Trainer, step: int) -> None:
                opens()

            def on_epoch_end(self, trained: Trainer, history: History) -> None:
                seen.append(trained.network.predict(X[:50]))
                seen.append(trained.network.backprop(X, Y).gradient)

        trained = trainer(callbacks=[Opens()])
        history = trained.fit(X, Y, epochs=2, validation_data=(X, Y))
        return [trained.network.parameters, history.cost, history.validation_cost, *seen]

    expected = fitted(lambda: None)
    for one, other in zip(fitted(gate.open), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    changed = fitted(lambda: None)  # with compiled kernels
    assert not all(map(np.array_equal, changed, expected))


def test_steps_by_hand_do_not_change_until_a_fit_or_another_trainer(gate: Gate) -> None:
    def steps(trained: Trainer, opens: Callable[[], None]) -> Any:
        for k in range(6):
            if k == 3:
                opens()
            trained.step(X[: 20 + k // 4], Y[: 20 + k // 4])  # the last two are of another form
        return trained.network.parameters.copy()

    expected = steps(trainer(), lambda: None)
    trained = trainer()
    np.testing.assert_array_equal(steps(trained, gate.open), expected)
    assert is_compiled(trained) == {False}
    other = trainer()
    assert not np.array_equal(steps(other, lambda: None), expected)
    assert is_compiled(other) == {True}
    trained.fit(X, Y, epochs=1)
    assert is_compiled(trained) == {True}


def test_predictions_and_passes_use_what_is_ready_when_they_begin(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def results(net: Network) -> list[Any]:
        passed = net.backprop(X, Y)
        return [net.predict(X), net.forward(X).a[1], passed.gradient, net.cost(X, Y)]

    net = network()
    with_twins = results(net)
    gate.open()
    compiled = results(net)
    for one, other in zip(with_twins, compiled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    monkeypatch.setenv("GPUBP_COMPILE", "wait")
    for one, other in zip(compiled, results(network()), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not all(map(np.array_equal, with_twins, compiled))


def test_a_prediction_in_parts_ends_with_the_kernels_that_it_began_with(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = network().predict(X)
    monkeypatch.setattr("gpubp.network.predictor.ROWS_AT_ONCE", 40)
    net, predict = network(), type(network()._predictor)._predict

    def open_after(predictor: Any, *arguments: Any) -> Any:
        outputs = predict(predictor, *arguments)
        gate.open()
        return outputs

    monkeypatch.setattr(type(net._predictor), "_predict", open_after)
    parts = net.predict(X)
    assert not next(iter(net._predictor.captured.values())).replay.is_compiled  # type: ignore[attr-defined]
    np.testing.assert_allclose(parts, expected, rtol=1e-5, atol=1e-7)
    net.predict(X)
    assert next(iter(net._predictor.captured.values())).replay.is_compiled  # type: ignore[attr-defined]


def test_twins_see_only_numbers_that_have_been_checked(gate: Gate) -> None:
    def function(xp: Any, z: Any) -> Any:
        assert np.isfinite(z).all()
        return z

    careful = Activation.from_functions(
        *("careful", function, lambda xp, z: xp.ones_like(z)),
        **{"cuda": "return z;", "cuda_derivative": "return T(1);"},
    )
    net = network(output=careful)
    with pytest.raises(ValueError, match="x holds nan"):
        net.predict(np.full((20, 6), np.nan))


def test_estimators_go_on_with_what_was_compiled(gate: Gate) -> None:
    neural = pytest.importorskip("gpubp.estimators", reason="scikit-learn is not installed")
    classifier = neural.MLPClassifier(8, activation=OWN, backend="numpy", random_state=0)
    labels = (Y[:, 0] > 0).astype(int)
    for ready in (False, True):
        if ready:
            gate.open()
        classifier.partial_fit(X, labels, classes=[0, 1])
        assert is_compiled(classifier._trainer) == {ready}
        assert classifier.predict_proba(X).shape == (100, 2)
        (captured,) = classifier.network_._predictor.captured.values()
        assert captured.replay.is_compiled is ready
    classifier.set_params(solver="lbfgs", max_iter=3)
    with pytest.warns(UserWarning, match="lbfgs failed to converge"):
        classifier.fit(X, labels)


# Failures, threads.


def test_text_that_does_not_compile_is_told_once_by_a_later_call(gate: Gate) -> None:
    gate.error = compiler.CompileError("error: 'absolute' is no function")
    net = network()
    expected = net.predict(X)  # warnings are errors
    gate.open()
    why = "a kernel does not compile, its NumPy twin runs instead, more slowly: .*'absolute' is no"
    with pytest.warns(RuntimeWarning, match=why) as told:
        again = net.predict(X)
    assert len(told) == 1
    np.testing.assert_array_equal(again, expected)
    trainer().fit(X, Y, epochs=1)
    assert gate.calls == 1


def test_fits_in_two_threads_compile_a_text_once(gate: Gate) -> None:
    begin = threading.Barrier(2)

    def fit(trained: Trainer) -> Any:
        begin.wait(60)
        trained.fit(X, Y, epochs=1)
        return trained.network.parameters

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(fit, [trainer(), trainer()])
    np.testing.assert_array_equal(one, other)
    gate.open()
    assert gate.calls == 1


def test_without_another_thread_twins_run(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse)
    assert np.isfinite(network().predict(X)).all()
    assert build.account(texts.activation_text(OWN)).endswith("can't start new thread")
    background._entries.clear()  # else the gate would wait for the text


def test_what_a_parent_stores_after_a_fork_is_found_by_the_childs_later_calls(gate: Gate) -> None:
    text = texts.activation_text(OWN)
    with background.kept():
        assert build.kernel("columns_activate", np.float32, text) is None
        compiled = background._futures[-1]
        background.after_fork_in_child()
        gate._opened.set()
        compiled.result(60)
        assert build.kernel("columns_activate", np.float32, text) is None
    assert build.kernel("columns_activate", np.float32, text) is not None
    assert gate.calls == 1
