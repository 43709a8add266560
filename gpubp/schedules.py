"""Schedules: how the learning rate changes during training, as factors of the optimizer's rate.

Examples
--------
A rate that is halved after every epoch, in a fit of three epochs; its record has the rate of each epoch's
last step:

>>> import gpubp
>>> network = gpubp.Network((1, 1), seed=0)
>>> halving = gpubp.schedules.Step(every=1, factor=0.5)
>>> trainer = gpubp.Trainer(network, gpubp.SGD(0.4), batch_size=2, schedule=halving)
>>> trainer.fit([[0.0], [1.0], [2.0], [3.0]], [[1.0], [3.0], [5.0], [7.0]], epochs=3).learning_rate
[0.4, 0.2, 0.1]
"""

from .training.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    Exponential,
    Function,
    InverseScaling,
    OneCycle,
    OnPlateau,
    Schedule,
    Step,
    get_schedule,
)

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "Exponential",
    "Function",
    "InverseScaling",
    "OnPlateau",
    "OneCycle",
    "Schedule",
    "Step",
    "get_schedule",
]
