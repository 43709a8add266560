"""What a run measures, and for how long: the settings behind the options of `gpubp bench`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product

from .contenders import CONTENDERS, has_gpu
from .floor import FLOORS
from .tasks import ARCHITECTURES, BATCH_SIZES, EPOCH_BATCH_SIZES, OPTIMIZERS, SMALL

__all__ = ["WORKS", "Settings", "default_architectures", "gpu", "quick", "small"]

WORKS = ("step", "predict", "epoch")


@dataclass(frozen=True)
class Settings:
    """What to measure, and for how long.

    Attributes
    ----------
    architectures, batch_sizes, optimizers : tuple
        The grid of points. Without batch sizes, each network is measured at its own.
    contenders : tuple of str
        The contenders that take part.
    works : tuple of str
        The kinds of work: some of "step", "predict" and "epoch".
    rounds : int
        The most rounds of a point.
    least_rounds : int
        The fewest rounds of a point; after them it ends once its `point_seconds` are spent.
    turn_seconds : float
        Seconds that a contender measures in each round.
    point_seconds : float
        Seconds that a point is measured.
    memory : bool
        Whether peak memory is measured too.
    left_out : tuple of (str, str)
        The contenders that do not take part, and the reasons.
    floors : tuple of str
        The floors to measure, if a contender on their device takes part.
    retakes : int or None
        How often a turn is repeated that other processes disturbed; None takes the suite's default.
    check_peers_once : bool
        Whether peers are checked only at the first batch size of an architecture.
    cpu_work : float
        The largest step, in multiply-adds, in which contenders on the CPU take part.
    short_work : float
        The largest step, in multiply-adds, in which contenders take part that are made for short work.
    budget : float or None
        Seconds for the whole run. The batch sizes are then taken in the given order, each with all
        architectures. From the third batch size on, a point is measured without peers when time is short,
        and left out when the time is spent.
    busy : int
        How many processes keep cores busy meanwhile.
    patience : float or None
        Seconds after which a contender that does not answer is killed.
    """

    architectures: tuple[str, ...]
    batch_sizes: tuple[int, ...] = BATCH_SIZES
    optimizers: tuple[str, ...] = tuple(OPTIMIZERS)
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    works: tuple[str, ...] = WORKS
    rounds: int = 7
    least_rounds: int = 3
    turn_seconds: float = 0.1
    point_seconds: float = 10.0
    memory: bool = False
    left_out: tuple[tuple[str, str], ...] = ()
    floors: tuple[str, ...] = tuple(FLOORS)
    retakes: int | None = None
    check_peers_once: bool = False
    cpu_work: float = math.inf
    short_work: float = 2e9
    budget: float | None = None
    busy: int = 0
    patience: float | None = None

    def grid(self) -> list[tuple[str, int, str]]:
        """List architecture, batch size and optimizer of every point, in the order of measurement."""
        if not self.batch_sizes:
            own = [
                (name, ARCHITECTURES[name].rows or BATCH_SIZES[1]) for name in self.architectures
            ]
            return [(*point, optimizer) for point, optimizer in product(own, self.optimizers)]
        if self.budget is None:
            return list(product(self.architectures, self.batch_sizes, self.optimizers))
        sizes_first = product(self.batch_sizes, self.architectures, self.optimizers)
        return [(architecture, size, optimizer) for size, architecture, optimizer in sizes_first]

    def works_at(self, batch_size: int, optimizer: str) -> list[str]:
        """List the kinds of work at a point; a prediction has no optimizer and is measured once."""
        works = ["step"] if "step" in self.works else []
        if "predict" in self.works and optimizer == self.optimizers[0]:
            works.append("predict")
        if "epoch" in self.works and batch_size in EPOCH_BATCH_SIZES:
            works.append("epoch")
        return works


def default_architectures() -> tuple[str, ...]:
    """List the architectures without the small group; those made for GPUs only where there is one."""
    return tuple(
        name
        for name, architecture in ARCHITECTURES.items()
        if name not in SMALL and (has_gpu() or not architecture.for_gpu)
    )


def quick() -> Settings:
    """Make settings for less than a minute: two networks and batch sizes, SGD, no slow compilers."""
    reason = "compiles for longer than --quick may take; --contenders runs it"
    slow = [name for name in CONTENDERS if "-compile" in name]
    return Settings(
        ("classifier", "narrow"),
        batch_sizes=(32, 2048),
        optimizers=("sgd",),
        works=("step", "predict"),
        rounds=3,
        least_rounds=2,
        turn_seconds=0.03,
        point_seconds=1.5,
        left_out=tuple((name, reason) for name in slow),
    )


def small() -> Settings:
    """Make settings for two minutes: Adam's steps of the small networks, each at its own batch size."""
    names = (
        "gpubp-numpy", "gpubp-numpy-fit", "torch", "torch-1-thread", "torch-compile",
        "torch-compile-1-thread", "jax", "jax-scan",
    )  # fmt: skip
    return Settings(
        SMALL,
        batch_sizes=(),
        optimizers=("adam",),
        contenders=names,
        works=("step",),
        point_seconds=10.0,
        floors=(),
        retakes=1,
    )


def gpu() -> Settings:
    """Make settings for two minutes on a GPU: Adam's steps beside peers, two seconds for each point."""
    reason = "compiles for longer than --gpu has time; --contenders runs it"
    return Settings(
        ("narrow-6x64", "narrow", "classifier", "regression", "wide"),
        batch_sizes=(512, 2048, 32, 8192),
        optimizers=("adam",),
        contenders=(
            "gpubp-cupy", "gpubp-cupy-launched", "gpubp-numpy", "torch-cuda", "torch-cuda-graph",
            "torch-cuda-compile", "jax-cuda",
        ),
        works=("step",),
        rounds=5,
        turn_seconds=0.03,
        point_seconds=2.0,
        left_out=(("torch-cuda-compile", reason),),
        floors=("floor-gpu",),
        retakes=0,
        check_peers_once=True,
        cpu_work=3e10,
        budget=120.0,
        patience=90.0,
    )  # fmt: skip
