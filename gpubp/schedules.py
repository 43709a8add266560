"""Schedules: how the learning rate changes during training, as factors of the optimizer's rate."""

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
