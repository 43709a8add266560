"""gpubp: a GPU-accelerated backpropagation engine with explicit kernels."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if find_spec(f"{__name__}.kernels") is None:
    raise ImportError(
        "gpubp/kernels is not a folder, expected a link to kernels/: git has checked out links as text,"
        " which `git config core.symlinks true` and a new checkout mend"
    )

from .backends import available_backends, get_backend
from .errors import BackendUnavailableError, CorruptFileError, DivergenceError
from .kernels import Activation, Cost
from .network import Backprop, Forward, GradientCheck, Network, check_gradients
from .registry import get_activation, get_cost
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
from .training import schedules as schedules

if TYPE_CHECKING:
    from .estimators import LossCurveDisplay as LossCurveDisplay
    from .estimators import MLPClassifier as MLPClassifier
    from .estimators import MLPRegressor as MLPRegressor

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


_ESTIMATORS = ("LossCurveDisplay", "MLPClassifier", "MLPRegressor")


def __getattr__(name: str) -> Any:
    """Import the estimators at their first use, because only they need scikit-learn."""
    if name in schedules.__all__:
        raise AttributeError(
            f"module 'gpubp' has no attribute {name!r}; did you mean gpubp.schedules.{name}?"
        )
    if name not in _ESTIMATORS:
        raise AttributeError(f"module 'gpubp' has no attribute {name!r}")
    try:
        from . import estimators  # noqa: PLC0415
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "sklearn":
            raise
        told = f"gpubp.{name} needs scikit-learn 1.7 or later; pip install 'gpubp[sklearn]'"
        # hasattr, help and inspect expect an AttributeError. After it, `from gpubp import` would tell
        # something else; it asks here from this function of importlib.
        if sys._getframe(1).f_code.co_name == "_handle_fromlist":
            raise ImportError(told, name=error.name) from error
        raise AttributeError(told, name=name) from error
    return getattr(estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *(_ESTIMATORS if find_spec("sklearn") else ())})
