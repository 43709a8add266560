"""Parts of a run's results beside its points: the arithmetic peak, and first calls."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["FirstCall", "Peak"]


@dataclass
class Peak:
    """The arithmetic peak of the CPU; see peak.py.

    Attributes
    ----------
    threads : int
        How many threads "all" are.
    one_thread, all_threads : dict
        For each dtype, the operations a second; a multiply-add is two.
    absent : str
        Why nothing was measured, or "".
    """

    threads: int = 0
    one_thread: dict[str, float] = field(default_factory=dict)
    all_threads: dict[str, float] = field(default_factory=dict)
    absent: str = ""

    def share(self, multiply_adds: float, seconds: float) -> float | None:
        """Divide the time that float32 multiply-adds take at the peak by the time of a step."""
        if self.absent:
            return None
        fastest = max(self.one_thread["float32"], self.all_threads["float32"])
        return 2 * multiply_adds / fastest / seconds


@dataclass
class FirstCall:
    """New processes of one kind; a list has an entry for each process.

    Attributes
    ----------
    kind : str
        The contender or library, and what it found stored.
    imports, first, second : list of float
        Seconds of the imports, of what follows up to the end of the first step or fit, and of the second.
    network : str
        The name of the architecture, or "".
    failed : str
        Why there are no figures, or "".
    """

    kind: str
    imports: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    second: list[float] = field(default_factory=list)
    network: str = ""
    failed: str = ""
