"""Optimizer updates against the published formulas."""

from __future__ import annotations

import environment
import numpy as np
import pytest
from twins import BLOCK, both, close, on

from gpubp.backends import Backend
from gpubp.backends.cupy import open_cupy
from gpubp.backends.numpy import NumpyBackend
from gpubp.kernels import (
    PRECISIONS,
    UPDATES,
    ParameterArrays,
    StepVariables,
    UpdateOptions,
    UpdateRule,
)
from gpubp.kernels.typing import Array

pytestmark = pytest.mark.usefixtures("short_blocks")


HYPERPARAMETERS = {
    "momentum": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 1e-8,
    "decay": 0.99,
}


def published_update(
    name: str, theta: Array, g: Array, state: dict[str, Array], rate: float, t: int
) -> Array:
    """Compute theta after one step of the published optimizer, in float64; `state` holds its averages."""
    h = HYPERPARAMETERS
    if name == "sgd":
        return theta - rate * g
    if name.startswith(("momentum", "nesterov")):
        before, after = (rate, 1) if name.endswith("with_rate") else (1, rate)
        state["v"] = h["momentum"] * state.get("v", 0) + before * g
        nesterov = before * g + h["momentum"] * state["v"]
        return theta - after * (nesterov if name.startswith("nesterov") else state["v"])
    if name in ("adam", "adam_hat"):
        state["m"] = h["beta1"] * state.get("m", 0) + (1 - h["beta1"]) * g
        state["v"] = h["beta2"] * state.get("v", 0) + (1 - h["beta2"]) * g**2
        if name == "adam_hat":
            rate *= np.sqrt(1 - h["beta2"] ** t) / (1 - h["beta1"] ** t)
            return theta - rate * state["m"] / (np.sqrt(state["v"]) + h["epsilon"])
        m, v = state["m"] / (1 - h["beta1"] ** t), state["v"] / (1 - h["beta2"] ** t)
        return theta - rate * m / (np.sqrt(v) + h["epsilon"])
    if name == "rmsprop":
        state["v"] = h["decay"] * state.get("v", 0) + (1 - h["decay"]) * g**2
        return theta - rate * g / (np.sqrt(state["v"]) + h["epsilon"])
    assert name == "lion"
    m = state.get("m", np.zeros_like(g))
    state["m"] = h["beta2"] * m + (1 - h["beta2"]) * g
    return theta - rate * np.sign(h["beta1"] * m + (1 - h["beta1"]) * g)


OPTIONS = {
    "plain": UpdateOptions(),
    "penalties": UpdateOptions(l1=0.02, l2=0.03),
    "decay": UpdateOptions(weight_decay=0.1),
    "clip_norm": UpdateOptions(clip_norm=2.0),
    "clip_value": UpdateOptions(clip_value=0.5),
    "all": UpdateOptions(l1=0.02, l2=0.03, weight_decay=0.1, clip_norm=2.0, clip_value=0.05),
}


def prepared(
    options: UpdateOptions,
    theta: Array,
    g: Array,
    is_weight: Array,
    rate: float,
    penalties: float,
) -> tuple[Array, Array]:
    """Do what precedes the update: clipping, penalties and decay. Biases are only clipped."""
    g = g * min(1.0, options.clip_norm / np.linalg.norm(g))
    g = np.clip(g, -options.clip_value, options.clip_value)
    g = g + is_weight * penalties * (options.l2 * theta + options.l1 * np.sign(theta))
    return theta * (1 - is_weight * rate * options.weight_decay), g


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("name", UPDATES)
def test_update_is_the_published_one(
    cuda_backend: Backend, name: str, kind: str, dtype: str
) -> None:
    update, options, rng = UPDATES[name], OPTIONS[kind], np.random.default_rng(13)
    size, n_weights, steps = 2 * BLOCK, BLOCK + 1000, 3
    is_weight = np.arange(size) < n_weights
    rates, penalties = [0.1, 0.05, 0.2], [1.0, 0.25, 3.0]
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    per_step = [
        [rates[t], *update.factors(rates[t], t + 1, **h), penalties[t]] for t in range(steps)
    ]
    start = rng.normal(size=size).astype(dtype)
    start[0] = 0
    gs = rng.normal(size=(steps, size)).astype(dtype)
    gs[:, 1] = 0

    expected, averages = start.astype(np.float64), {}
    for t, g in enumerate(gs.astype(np.float64)):
        expected, seen = prepared(options, expected, g, is_weight, rates[t], penalties[t])
        expected = published_update(name, expected, seen, averages, rates[t], t + 1)

    for backend in both(cuda_backend):
        theta, counters = on(backend, start), on(backend, [100, 0], np.int64)
        state = tuple(on(backend, np.zeros(size), dtype) for _ in update.state)
        for g in gs:
            gradient, norm = on(backend, g), on(backend, [0.0])
            backend.weighted_sum(gradient, None, norm)
            backend.update(
                UpdateRule(update, h, options),
                ParameterArrays(theta, gradient, state, n_weights),
                StepVariables(on(backend, per_step), counters, norm),
            )
            backend.advance(counters)
            np.testing.assert_array_equal(backend.to_numpy(gradient), g)
        assert backend.to_numpy(counters).tolist() == [100 + steps, steps]
        result = backend.to_numpy(theta)
        # Lion's sign may differ where its argument is near 0.
        turned = np.abs(result - expected) > 1e-3 if name == "lion" else np.zeros(size, bool)
        assert np.count_nonzero(turned) < 5
        close(result[~turned], expected[~turned], dtype, ulps=32)


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize(("size", "firsts"), [(1, 0), (3, 0), (4, 0), (517, 0), (518, 1), (519, 4)])
@pytest.mark.parametrize("name", UPDATES)
def test_an_update_of_any_length_and_alignment(
    cuda_backend: Backend, name: str, size: int, firsts: int, skips: bool, dtype: str
) -> None:
    update, rng = UPDATES[name], np.random.default_rng(22)
    options = UpdateOptions(
        l1=0.02, l2=0.03, weight_decay=0.1, clip_norm=2.0, clip_value=0.5, skips=skips
    )
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    given = rng.uniform(0.5, 1, (2 + len(update.state), firsts + size + 3)).astype(dtype)
    used = slice(firsts, firsts + size)
    rates, counters = np.array([[0.1, *update.factors(0.1, 1, **h), 1.0]]), np.zeros(2, np.int64)
    for squared_norm in (9.0, np.inf):
        results = []
        for backend in (NumpyBackend(compile=False), cuda_backend):
            arrays = [on(backend, row) for row in given]
            theta, gradient, *state = (array[used] for array in arrays)
            step = (on(backend, array) for array in (rates, counters, [squared_norm]))
            backend.update(
                UpdateRule(update, h, options),
                ParameterArrays(theta, gradient, tuple(state), size // 2),
                StepVariables(*step),
            )
            results.append([backend.to_numpy(array) for array in arrays])
        skipped = skips and squared_norm == np.inf
        for before, twin, cuda in zip(given, *results, strict=True):
            close(cuda, twin, dtype)
            np.testing.assert_array_equal(cuda[:firsts], before[:firsts])
            np.testing.assert_array_equal(cuda[firsts + size :], before[firsts + size :])
            assert not skipped or (cuda == before).all()
        assert squared_norm == np.inf or (results[1][0][used] != given[0][used]).all()


@pytest.mark.parametrize("name", UPDATES)
def test_a_gradient_of_nan_makes_its_parameter_nan(cuda_backend: Backend, name: str) -> None:
    update = UPDATES[name]
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    for backend in both(cuda_backend):
        theta, gradient = on(backend, np.ones(3)), on(backend, [0.5, np.nan, 0.5])
        state = tuple(on(backend, np.zeros(3)) for _ in update.state)
        rates, counters, norm = (
            on(backend, [[0.1, 0.5, 0.5, 1.0]]),
            on(backend, [0, 0], np.int64),
            on(backend, [0.0]),
        )
        backend.update(
            UpdateRule(update, h),
            ParameterArrays(theta, gradient, state, 3),
            StepVariables(rates, counters, norm),
        )
        assert np.isnan(backend.to_numpy(theta)).tolist() == [False, True, False]


# An update together with what else ends a step.

ENDS = [("float64", None), ("float32", None), *(("float32", name) for name in PRECISIONS)]


def end_steps(
    backend: Backend,
    name: str,
    given: Array,
    part: slice,
    precision: str | None,
    squared_norms: list[float],
) -> tuple[Array, list[int], Array]:
    """Make a step for each squared norm; return theta and state, the counters, and the rounded weights."""
    update, rounding = UPDATES[name], None if precision is None else PRECISIONS[precision]
    h = {key: HYPERPARAMETERS[key] for key in update.hyperparameters}
    options = UpdateOptions(l2=0.03, weight_decay=0.1, clip_norm=2.0, skips=True)
    arrays = [on(backend, row) for row in given]
    theta, gradient, *state = (array[part] for array in arrays)
    n_weights = (theta.size + 1) // 2
    counters = on(backend, [100, 0], np.int64)
    rates = [[0.1 * t, *update.factors(0.1 * t, t, **h), 1.0] for t in range(1, 4)]
    rounded, narrow = None, on(backend, np.zeros(1, np.float32))
    if rounding is not None:
        narrow = backend.operands((part.start + theta.size,), rounding)
        narrow[...] = 0
        rounded = narrow[part][:n_weights]
        backend.convert(theta[:n_weights], rounded)
    for squared_norm in squared_norms:
        backend.update_with(
            UpdateRule(update, h, options),
            ParameterArrays(theta, gradient, tuple(state), n_weights),
            StepVariables(on(backend, rates), counters, on(backend, [squared_norm])),
            rounded=rounded,
            precision=rounding,
            advances=True,
        )
    values = np.array([backend.to_numpy(array) for array in arrays])
    return values, backend.to_numpy(counters).tolist(), backend.to_numpy(narrow)


@pytest.mark.parametrize(("dtype", "precision"), ENDS)
@pytest.mark.parametrize("size, first", [(3, 0), (517, 0), (518, 1), (5003, 4)])
@pytest.mark.parametrize("name", UPDATES)
def test_a_fused_end_of_a_step_has_the_bits_of_its_parts(
    cuda_backend: Backend, name: str, size: int, first: int, dtype: str, precision: str | None
) -> None:
    update, rng = UPDATES[name], np.random.default_rng(22)
    given = rng.uniform(0.5, 1, (2 + len(update.state), first + size + 3)).astype(dtype)
    arguments = name, given, slice(first, first + size), precision, [9.0, np.inf, 1.0]
    apart, fused = (end_steps(open_cupy(fused=f), *arguments) for f in (False, True))
    for expected, found in zip(apart, fused, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert fused[1] == [103, 3]
    if precision in ("bfloat16", "float16"):
        n_weights = (size + 1) // 2
        weights = fused[0][0, first : first + n_weights]
        written = fused[2][first : first + n_weights]
        if precision == "float16":
            np.testing.assert_array_equal(written, weights.astype(np.float16))
        else:
            wide = (written.astype(np.uint32) << 16).view(np.float32)
            np.testing.assert_allclose(wide, weights, rtol=2.0**-8)
        assert (fused[2][:first] == 0).all() and (fused[2][first + n_weights :] == 0).all()


@pytest.mark.parametrize("blocks", [1, 4096], ids=["too many blocks", "one launch"])
def test_the_end_of_a_step_is_one_launch_unless_its_blocks_are_too_many(
    cuda_backend: Backend, blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if environment.ON_HOST is None:
        pytest.skip("a GPU does not tell what it was asked for")
    monkeypatch.setattr("gpubp.kernels.update.MOST_ARRIVING", blocks)
    given = np.random.default_rng(1).uniform(0.5, 1, (4, 4000)).astype(np.float32)
    arguments = "adam", given, slice(0, 4000), "bfloat16", [1.0]
    expected = end_steps(open_cupy(), *arguments)
    asked: list[str] = []
    monkeypatch.setattr(environment.ON_HOST.runtime, "asked", asked)
    found = end_steps(open_cupy(fused=True), *arguments)
    launches = asked.count("launch")
    asked.clear()
    end_steps(open_cupy(fused=True), *arguments[:-1], [])
    assert launches - asked.count("launch") == (2 if blocks == 1 else 1)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fused_update_without_more_is_the_plain_one(cuda_backend: Backend) -> None:
    backend, results = open_cupy(fused=True), []
    for verb in (backend.update, backend.update_with):
        theta = on(backend, np.linspace(-1, 1, 700))
        rates, counters = on(backend, [[0.1, 0, 0, 1.0]]), on(backend, [0, 0], np.int64)
        verb(
            UpdateRule(UPDATES["sgd"], {}),
            ParameterArrays(theta, on(backend, np.ones(700)), (), 700),
            StepVariables(rates, counters, on(backend, [0.0])),
        )
        results.append(backend.to_numpy(theta))
        assert backend.to_numpy(counters).tolist() == [0, 0]
    np.testing.assert_array_equal(*results)
