"""Predictions of partitions in other threads and processes: joblib, dask, dask.distributed and ray."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from gpubp import MLPClassifier, MLPRegressor, Network
from gpubp.backends.numpy.blas_threads import get_threads
from gpubp.kernels.cpu import cache

X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
PARTS = np.split(X, [100, 350])
NETWORK = Network((4, 16, 3), output="softmax", seed=0, backend="numpy")
OUTPUTS = NETWORK.predict(X)

Each = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


def with_joblib(**options: Any) -> Iterator[Each]:
    joblib = pytest.importorskip("joblib", reason="needs joblib")
    yield lambda function, parts: joblib.Parallel(n_jobs=2, **options)(
        joblib.delayed(function)(part) for part in parts
    )


def with_distributed() -> Iterator[Each]:
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield lambda function, parts: client.gather(client.map(function, parts, pure=False))


def with_ray() -> Iterator[Each]:
    ray = pytest.importorskip("ray", reason="needs ray")
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_AUTH_MODE", "disabled")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:
        patch.undo()
        pytest.skip(f"ray cannot start here: {type(error).__name__}: {error}")
    finally:
        signal.signal(signal.SIGTERM, handler)  # ray's own would end this process in another test

    @ray.remote
    def run(function: Callable[[Any], Any], part: Any) -> Any:
        return function(part)

    def each(function: Callable[[Any], Any], parts: list[Any]) -> list[Any]:
        stored = ray.put(function)  # sent once, for all tasks
        return list(ray.get([run.remote(stored, part) for part in parts]))

    yield each
    ray.shutdown()
    patch.undo()


WAYS = {
    "joblib": with_joblib,
    "joblib's threads": partial(with_joblib, prefer="threads"),
    "distributed": with_distributed,
    "ray": with_ray,
}


@pytest.fixture(scope="module", params=WAYS)
def each(request: pytest.FixtureRequest) -> Iterator[Each]:
    """Call a function on each part, in two processes or threads."""
    yield from WAYS[request.param]()


def fitted(kind: Any, y: Any) -> Any:
    with pytest.warns(match="Maximum iterations"):
        return kind(hidden_layer_sizes=(8,), max_iter=2, random_state=0, backend="numpy").fit(X, y)


@pytest.mark.slow
def test_partitions_are_predicted_like_the_whole(each: Each) -> None:
    np.testing.assert_allclose(np.concatenate(each(NETWORK.predict, PARTS)), OUTPUTS, rtol=1e-6)
    for model in (fitted(MLPClassifier, X[:, 0] > 0), fitted(MLPRegressor, X[:, 1])):
        outputs = np.concatenate(each(model.predict, PARTS))
        np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-5)


@pytest.mark.slow
def test_a_process_beside_others_has_its_share_of_threads_and_compiles_nothing(each: Each) -> None:
    stored, _ = cache.folder()
    before = sorted(os.listdir(stored)) if stored and stored.is_dir() else []

    def threads_and_process(part: Any) -> tuple[int, int, bool]:
        compiled = NETWORK.backend.compiles
        NETWORK.predict(part)
        return get_threads(), os.getpid(), compiled

    for threads, process, compiled in each(threads_and_process, PARTS):
        assert compiled == NETWORK.backend.compiles
        if process != os.getpid():  # the libraries set the number of threads of BLAS
            assert threads <= max(1, (os.cpu_count() or 1) // 2)
    assert (sorted(os.listdir(stored)) if stored and stored.is_dir() else []) == before


WITH_DASK = pytest.mark.parametrize("each", ["distributed", "joblib's threads"], indirect=True)
"""With dask's cluster, and without it, by dask's own threads."""


@pytest.mark.slow
@WITH_DASK
def test_blocks_of_a_dask_array_are_predicted_where_they_are(each: Each) -> None:
    array = pytest.importorskip("dask.array", reason="needs dask")
    x = array.from_array(X, chunks=(150, 4))
    outputs = x.map_blocks(NETWORK.predict, dtype=NETWORK.dtype, chunks=(x.chunks[0], 3))
    assert outputs.shape == OUTPUTS.shape
    np.testing.assert_allclose(outputs.compute(), OUTPUTS, rtol=1e-6)


@pytest.mark.slow
@WITH_DASK
def test_partitions_of_a_dask_frame_are_predicted_with_their_names(each: Each) -> None:
    frames = pytest.importorskip("dask.dataframe", reason="needs dask[dataframe]")
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    with pytest.warns(match="Maximum iterations"):
        model = MLPRegressor(
            hidden_layer_sizes=(8,), max_iter=2, random_state=0, backend="numpy"
        ).fit(frame, X[:, 1])
    parts = frames.from_pandas(frame, npartitions=3)
    outputs = parts.map_partitions(model.predict, meta=np.empty(0, np.float32))
    np.testing.assert_allclose(outputs.compute(), model.predict(frame), rtol=1e-5)


@pytest.mark.slow
def test_an_error_in_a_partition_names_its_row(each: Each) -> None:
    spoilt = PARTS[1].copy()
    spoilt[7, 2] = np.nan
    with pytest.raises(Exception, match=r"x holds nan at \[7, 2\], expected finite numbers"):
        each(NETWORK.predict, [PARTS[0], spoilt])
