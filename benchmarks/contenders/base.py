"""What all contenders share: the methods that the suite calls, and the error of an absent contender."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ...kernels.typing import Array
from ..tasks import AlternatingBatch, Architecture, OptimizerSettings, Weights

__all__ = ["AbsentError", "Contender", "Predictor", "alternated", "has_gpu", "import_library"]


class AbsentError(RuntimeError):
    """The contender cannot run here; the message says why."""


class Predictor(ABC):
    """One way to compute the predictions of a network.

    `open` is called once. `load` may be called many times. It takes a network, an optimizer and a batch,
    and copies them into arrays of the contender's library. The other methods work on what was loaded last.

    Attributes
    ----------
    name : str
        The name in options, results and reports.
    library, setting : str
        The library, and which of its ways this is, for tables of each library's fastest.
    device : str
        "cpu" or "gpu".
    works : tuple of str
        The kinds of work in which the contender takes part.
    activations : tuple of str
        The hidden activations that its library has.
    for_short_work : bool
        Whether the contender differs from others of its library only where a call is short: it has one
        thread, or makes several steps in one call. It is left out where a step is long.
    """

    name: ClassVar[str]
    library: ClassVar[str]
    setting: ClassVar[str] = ""
    device: ClassVar[str] = "cpu"
    works: ClassVar[tuple[str, ...]] = ("predict",)
    activations: ClassVar[tuple[str, ...]] = ("relu", "tanh", "gelu", "silu")
    for_short_work: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> str:
        """Import the library.

        Returns
        -------
        str
            What the contender runs on, in words.

        Raises
        ------
        AbsentError
            When the contender cannot run here.
        """

    @abstractmethod
    def load(
        self, architecture: Architecture, optimizer: OptimizerSettings, batch: AlternatingBatch
    ) -> None:
        """Take the network with its initial weights, a fresh optimizer, and the batch."""

    @abstractmethod
    def predict(self) -> Array:
        """Compute the outputs for the batch.

        Returns
        -------
        array of shape (rows, n_out)
            Probabilities for a classifier; an array of the contender's library.
        """

    def predict_to_numpy(self) -> Array:
        """Compute the outputs for the batch as a NumPy array."""
        return np.asarray(self.predict())

    def synchronize(self) -> None:  # noqa: B027
        """Wait until all work has been computed."""

    def device_peak_bytes(self) -> int | None:
        """Return the peak of the device memory held so far, in bytes; None for a contender on the CPU."""
        return None


class Contender(Predictor):
    """One way to train a network.

    Attributes
    ----------
    steps_at_once : int
        The most steps that one call makes when they are timed, a power of two. With 1, `step` is timed.
    """

    works: ClassVar[tuple[str, ...]] = ("step", "predict", "epoch")
    steps_at_once: ClassVar[int] = 1

    @abstractmethod
    def step(self) -> None:
        """Make one update on the batch; successive steps alternate between its two targets."""

    def steps(self, count: int) -> None:
        """Make `count` updates, in one call of the library if `steps_at_once` > 1.

        The count is a power of two, or 3.
        """
        for _ in range(count):
            self.step()

    @abstractmethod
    def cost(self) -> float:
        """Return the cost of the last step, before its update."""

    @abstractmethod
    def parameters(self) -> Weights:
        """Copy the current weights and biases into NumPy arrays of the shapes that `load` was given."""

    @abstractmethod
    def load_epoch(self, data: AlternatingBatch) -> None:
        """Take the data set that `epoch` goes over, with the first of its targets."""

    @abstractmethod
    def epoch(self) -> None:
        """Go once over the data set, shuffled, in batches of as many rows as the loaded batch has."""

    _steps = 0

    def _next(self, targets: tuple[Array, Array]) -> Array:
        self._steps += 1
        return targets[(self._steps - 1) % 2]


def alternated(
    x: Array, targets: tuple[Array, Array], batches: int, first: int
) -> tuple[Array, Array]:
    """Lay out a batch as the rows of several, which alternate between the targets, from `first` on."""
    if batches == 1:
        return x, targets[first]
    y = [targets[(first + k) % 2] for k in range(batches)]
    return np.concatenate([x] * batches), np.concatenate(y)


def has_gpu() -> bool:
    """Tell whether an NVIDIA driver is loaded, without asking a library."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()


def import_library(module: str, package: str) -> Any:
    """Import the library of a contender.

    Parameters
    ----------
    module : str
        The module to import.
    package : str
        The package that holds it, as the message calls it.

    Raises
    ------
    AbsentError
        When the package is not installed, or its import fails.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = "is not installed" if error.name == module.partition(".")[0] else f"fails: {error}"
        raise AbsentError(f"{package} {reason}; pip install 'gpubp[bench]'") from None
