"""Network: it computes, backpropagates, is saved and loaded, and checks its gradients."""

from .gradient_check import GradientCheck, check_gradients
from .network import Network
from .results import Backprop, Forward
from .summary import Summary

__all__ = ["Backprop", "Forward", "GradientCheck", "Network", "Summary", "check_gradients"]
