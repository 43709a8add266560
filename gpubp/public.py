"""What `import gpubp` offers: all names but the estimators, for which scikit-learn must be installed."""

from __future__ import annotations

from . import schedules
from .backends import available_backends, get_backend
from .errors import BackendUnavailableError, CorruptFileError, DivergenceError
from .kernels import Activation, Cost
from .network import Backprop, Forward, GradientCheck, Network, Vjp, check_gradients
from .registry import get_activation, get_cost
from .tracing import Trace, worked_example
from .training import (
    SGD,
    Adam,
    AdamW,
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    LearningRateCurve,
    Lion,
    Metric,
    Optimizer,
    RMSProp,
    Trainer,
    get_optimizer,
)

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BackendUnavailableError",
    "Backprop",
    "Callback",
    "Checkpoint",
    "CorruptFileError",
    "Cost",
    "DivergenceError",
    "EarlyStopping",
    "Forward",
    "GradientCheck",
    "History",
    "LearningRateCurve",
    "Lion",
    "Metric",
    "Network",
    "Optimizer",
    "RMSProp",
    "Trace",
    "Trainer",
    "Vjp",
    "available_backends",
    "check_gradients",
    "get_activation",
    "get_backend",
    "get_cost",
    "get_optimizer",
    "schedules",
    "worked_example",
]
