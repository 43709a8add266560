"""Peak memory of a training step.

A fresh process imports the library and trains a small network, which loads code and starts threads. The
memory that is resident then does not count. The process loads network, optimizer and batch, takes three
steps, resets its peak, and takes three more. The growth up to the new peak is the memory of a step. It
includes data, parameters and optimizer state, and excludes libraries and compilers.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .tasks import Architecture, OptimizerSettings

if TYPE_CHECKING:
    from .contenders import Contender

__all__ = ["peak"]

SMALL, SMALL_ROWS = Architecture("small", (128, 128, 10), "softmax"), 128


def peak(
    contender: Contender,
    architecture: Architecture,
    optimizer: OptimizerSettings,
    batch_size: int,
) -> dict[str, int | None]:
    """Measure the peak memory of a step.

    Parameters
    ----------
    contender : Contender
        An opened contender, in a process that has done nothing else.
    architecture : Architecture
        The network to train.
    optimizer : OptimizerSettings
        The optimizer to train it with.
    batch_size : int
        Rows of the batch.

    Returns
    -------
    dict
        The fields of `Memory` in bytes: `step_bytes`, `process_bytes` and `device_bytes`.

    Raises
    ------
    OSError
        When the system is not Linux, the only one that reports a peak.
    """
    _train(contender, SMALL, optimizer, SMALL_ROWS)
    gc.collect()
    before, device_before = resident("VmRSS"), contender.device_peak_bytes()
    _train(contender, architecture, optimizer, batch_size)
    gc.collect()
    _reset_peak()
    for _ in range(3):
        contender.step()
    contender.synchronize()
    device = contender.device_peak_bytes()
    return {
        "step_bytes": resident("VmHWM") - before,
        "process_bytes": resident("VmHWM"),
        "device_bytes": None if device is None else device - (device_before or 0),
    }


def _train(
    contender: Contender, architecture: Architecture, optimizer: OptimizerSettings, rows: int
) -> None:
    contender.load(architecture, optimizer, architecture.batch(rows))
    Architecture.weights.cache_clear()
    Architecture.batch.cache_clear()
    for _ in range(3):
        contender.step()
    contender.synchronize()


def resident(field: str) -> int:
    """Read VmRSS, the resident memory, or VmHWM, its peak since the last reset, in bytes."""
    if not sys.platform.startswith("linux"):
        raise OSError("peak memory is measured on Linux only")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")
