"""Training: the `Trainer` and its step, optimizers, schedules and callbacks."""

from .callbacks import Callback
from .checkpoint import Checkpoint
from .data import BatchForm
from .early_stopping import EarlyStopping
from .history import History
from .metrics import Metric
from .optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSProp, get_optimizer
from .range_test import LearningRateCurve
from .step import TrainingStep
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "BatchForm",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "History",
    "LearningRateCurve",
    "Lion",
    "Metric",
    "Optimizer",
    "RMSProp",
    "Trainer",
    "TrainingStep",
    "get_optimizer",
]
