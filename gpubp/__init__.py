"""gpubp: a GPU-accelerated backpropagation engine with explicit kernels."""

from __future__ import annotations

from .backends import available_backends, get_backend
from .checking import GradientCheck, check_gradients
from .errors import BackendUnavailableError, DivergenceError
from .kernels import Activation, Cost
from .network import Backprop, Forward, Network
from .training import (
    SGD,
    Adam,
    AdamW,
    Callback,
    EarlyStopping,
    History,
    Lion,
    Optimizer,
    RMSProp,
    Trainer,
    get_optimizer,
)
from .training import schedules as schedules
from .validation import get_activation, get_cost

__all__ = [
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BackendUnavailableError",
    "Backprop",
    "Callback",
    "Cost",
    "DivergenceError",
    "EarlyStopping",
    "Forward",
    "GradientCheck",
    "History",
    "Lion",
    "Network",
    "Optimizer",
    "RMSProp",
    "Trainer",
    "available_backends",
    "check_gradients",
    "get_activation",
    "get_backend",
    "get_cost",
    "get_optimizer",
    "schedules",
]

__version__ = "0.1.0"
