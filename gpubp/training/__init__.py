"""Training: the Trainer, optimizers, schedules, callbacks."""

from .callbacks import Callback
from .early_stopping import EarlyStopping
from .history import History
from .optimizers import SGD, Adam, AdamW, Lion, Optimizer, RMSProp, get_optimizer
from .trainer import Trainer

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Callback",
    "EarlyStopping",
    "History",
    "Lion",
    "Optimizer",
    "RMSProp",
    "Trainer",
    "get_optimizer",
]
