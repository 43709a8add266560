"""Network: it computes, backpropagates, is saved and loaded, and checks its gradients."""

from .gradient_check import GradientCheck, check_gradients
from .network import Network
from .outside import OutsidePasses
from .results import Backprop, Forward, Vjp
from .summary import Summary

__all__ = [
    "Backprop",
    "Forward",
    "GradientCheck",
    "Network",
    "OutsidePasses",
    "Summary",
    "Vjp",
    "check_gradients",
]
