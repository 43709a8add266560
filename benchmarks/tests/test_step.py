"""gpubp's training step and prediction on each backend, with pytest-benchmark.

`gpubp bench` compares gpubp with other libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gpubp.benchmarks.contenders import AbsentError, GpubpCupy, GpubpNumpy
from gpubp.benchmarks.tasks import ARCHITECTURES, BATCH_SIZES, OPTIMIZERS, SMALL

NAMES = [n for n, a in ARCHITECTURES.items() if n not in SMALL and not a.for_gpu]


@pytest.fixture(params=[GpubpNumpy, GpubpCupy], ids=["numpy", "cupy"])
def contender(request: pytest.FixtureRequest) -> GpubpNumpy:
    opened: GpubpNumpy = request.param()
    try:
        opened.open()
    except AbsentError as error:
        pytest.skip(f"{opened.name} is absent: {error}")
    return opened


@pytest.mark.parametrize("batch_size", BATCH_SIZES)
@pytest.mark.parametrize("architecture", NAMES)
@pytest.mark.parametrize("work", ["step", "predict"])
def test_step(
    benchmark: Callable[[Callable[[], Any]], Any],
    contender: GpubpNumpy,
    architecture: str,
    work: str,
    batch_size: int,
) -> None:
    chosen = ARCHITECTURES[architecture]
    contender.load(chosen, OPTIMIZERS["sgd"], chosen.batch(batch_size))
    call = getattr(contender, work)

    def synchronized() -> None:
        call()
        contender.synchronize()

    synchronized()
    benchmark.extra_info["rows"] = batch_size
    benchmark(synchronized)
