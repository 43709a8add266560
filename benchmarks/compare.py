"""What became slower, or faster, since an earlier run."""

from __future__ import annotations

from dataclasses import dataclass

from .results import Point, Results, geometric_mean

__all__ = ["Change", "Comparison", "compare"]

LEAST_CHANGE = 1.05
"""Smaller changes are not reported, because two runs of the same code may differ by as much."""


@dataclass(frozen=True)
class Change:
    """One contender at one point.

    Attributes
    ----------
    point : Point
        The point, as measured now.
    name : str
        The contender.
    factor : float
        How many times as long a call takes now.
    """

    point: Point
    name: str
    factor: float


@dataclass(frozen=True)
class Comparison:
    """A new run beside an old one.

    Attributes
    ----------
    slower, faster : list of Change
        gpubp's changes beyond the noise, the largest first. The quartile ranges of the two runs do not
        overlap, and the medians differ by at least 5 %.
    machine : float
        How many times as long everything but gpubp takes now, as a geometric mean. 1.1 means that the
        machine itself was a tenth slower.
    compared : int
        Number of gpubp's results that both runs have.
    missing : list of str
        gpubp's results that only the old run has, at points that both runs have, and why.
    """

    slower: list[Change]
    faster: list[Change]
    machine: float
    compared: int
    missing: list[str]


def compare(new: Results, old: Results) -> Comparison:
    """Compare the points that both runs have.

    A contender of which a call makes several steps in only one of the runs was measured in another way, and
    is left out.
    """
    other_way = _several_steps(new) ^ _several_steps(old)
    olds = {point.key: point for point in old.points}
    changes, others, missing, compared = [], [], [], 0
    for point in new.points:
        before = olds.get(point.key)
        if before is None:
            continue
        for entrant in old.entrants:
            then, now = before.spread(entrant.name), point.spread(entrant.name)
            if then is None or entrant.name in other_way:
                continue
            if now is None:
                if entrant.is_ours:
                    where = "/".join(map(str, point.key))
                    missing.append(f"{entrant.name} {where}: {_why(new, point, entrant.name)}")
                continue
            factor = now.median / then.median
            if not entrant.is_ours:
                others.append(factor)
                continue
            compared += 1
            apart = now.low > then.high if factor > 1 else now.high < then.low
            if apart and max(factor, 1 / factor) >= LEAST_CHANGE:
                changes.append(Change(point, entrant.name, factor))
    changes.sort(key=lambda change: change.factor)
    return Comparison(
        slower=[c for c in reversed(changes) if c.factor > 1],
        faster=[c for c in changes if c.factor < 1],
        machine=geometric_mean(others),
        compared=compared,
        missing=missing,
    )


def _several_steps(results: Results) -> set[str]:
    return {name for point in results.points for name in point.steps_in_call}


def _why(results: Results, point: Point, name: str) -> str:
    entrant = results.entrant(name)
    absent = entrant.absent if entrant else "unknown contender"
    return point.errors.get(name) or point.skipped or absent or "not measured"
