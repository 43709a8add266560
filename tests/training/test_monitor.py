"""The monitor: what ends a fit, and what sends it back to earlier parameters."""

from __future__ import annotations

import math

import numpy as np
import pytest
from small_networks import classifier, parameters

import gpubp
from gpubp import DivergenceError, EarlyStopping, History
from gpubp.training.evaluation import Score
from gpubp.training.monitor import Monitor
from gpubp.training.step import TrainingStep


def monitored(stopping: EarlyStopping | None = None) -> tuple[gpubp.Network, Monitor]:
    network = classifier()
    step = TrainingStep(network, gpubp.SGD(), dropout_seed=0)
    return network, Monitor(step, stopping, History())


def epoch(monitor: Monitor, network: gpubp.Network, value: float, cost: float) -> None:
    """Show the monitor an epoch that sets all parameters to a value and has this cost."""
    monitor.begin_epoch()
    network.parameters = np.full(network.layout.size, value)
    monitor.check(np.array([cost]), cost, None)
    monitor.record(cost, None, learning_rate=0.1, seconds=1.0)


def test_the_best_epoch_is_the_first_whose_cost_no_other_is_far_enough_below() -> None:
    network, monitor = monitored(EarlyStopping(3, min_improvement=0.5))
    stops = []
    for value, cost in enumerate([5.0, 4.0, 3.6, 3.5, 3.4, 3.6, 1.0]):
        epoch(monitor, network, value, cost)
        stops.append(monitor.says_stop)
    assert monitor.history.best_epoch == 6
    assert stops == [False, False, False, False, False, False, False]
    for value in (7, 8, 9):
        epoch(monitor, network, value, 0.9)
    assert monitor.says_stop
    monitor.finish("early stopping")
    assert (parameters(network) == 6).all()
    assert monitor.history.stopped == "early stopping"


def test_without_early_stopping_the_last_epoch_stays_and_no_copy_of_the_best_is_kept() -> None:
    network, monitor = monitored()
    for value, cost in enumerate([5.0, 1.0, 2.0, 3.0]):
        epoch(monitor, network, value, cost)
    assert not monitor.says_stop
    monitor.finish("epochs")
    assert (parameters(network) == 3).all()
    assert monitor.history.best_epoch == 1
    assert not monitor.best.arrays


def test_the_validation_cost_decides_where_there_is_one() -> None:
    _, monitor = monitored(EarlyStopping(2))
    for cost, validation in [(3.0, 2.0), (2.0, 2.5), (1.0, 2.25)]:
        monitor.begin_epoch()
        score = Score(validation, accuracy=None)
        monitor.check(np.array([cost]), cost, score)
        monitor.record(cost, score, learning_rate=0.1, seconds=1.0)
    assert monitor.history.best_epoch == 0
    assert monitor.says_stop
    assert monitor.history.validation_cost == [2.0, 2.5, 2.25]
    assert monitor.history.validation_accuracy == []


@pytest.mark.parametrize(
    ("costs", "kept", "text"),
    [
        ([1.0, math.nan], 1, "the cost became nan in epoch 3; .* from before epoch 3 "),
        ([math.inf, math.inf], 0, "the cost became inf in epoch 3; .* from before epoch 2 "),
    ],
)
def test_divergence_goes_back_to_the_last_epoch_that_began_well(
    costs: list[float], kept: int, text: str
) -> None:
    network, monitor = monitored()
    for value in (0, 1):
        epoch(monitor, network, value, 1.0)
    monitor.begin_epoch()
    network.parameters = np.full(network.layout.size, 2.0)
    with pytest.raises(DivergenceError, match=text) as error:
        monitor.check(np.array(costs), costs[-1], None)
    assert error.value.epoch == 2
    assert error.value.history is monitor.history
    assert monitor.history.stopped == "diverged"
    assert (parameters(network) == kept).all()
