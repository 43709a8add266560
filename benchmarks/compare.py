"""What got slower, or faster, since an earlier run."""

from __future__ import annotations

from dataclasses import dataclass

from .results import Point, Results, geometric_mean

__all__ = ["Change", "Comparison", "compare"]

LEAST_CHANGE = 1.05
"""Smaller changes are not told: two runs of the same code differ as much."""


@dataclass(frozen=True)
class Change:
    """One contender at one point: how many times as long it takes now."""

    point: Point
    name: str
    factor: float


@dataclass(frozen=True)
class Comparison:
    """Of a new run with an old one.

    Attributes
    ----------
    slower, faster : gpubp's changes beyond the noise, the largest first: the quartiles of the two runs
        lie apart, and so do the medians, by 5 % at least.
    machine : how many times as long everything that is not gpubp takes now, as a geometric mean: 1.1
        says that the machine was a tenth slower.
    compared : how many results both runs have.
    missing : results that the old run has and the new one has not, for the same contenders and points.
    """

    slower: list[Change]
    faster: list[Change]
    machine: float
    compared: int
    missing: list[str]


def compare(new: Results, old: Results) -> Comparison:
    """Compare what both have measured."""
    olds = {point.key: point for point in old.points}
    changes, others, missing, compared = [], [], [], 0
    for point in new.points:
        before = olds.get(point.key)
        if before is None:
            continue
        for entrant in old.entrants:
            then, now = before.spread(entrant.name), point.spread(entrant.name)
            if then is None:
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


def _why(results: Results, point: Point, name: str) -> str:
    entrant = results.entrant(name)
    absent = entrant.absent if entrant else "unknown contender"
    return point.errors.get(name) or point.skipped or absent or "not measured"
