"""What a user asks of a network: to compute, to backpropagate, to be saved, to be checked."""

from .gradient_check import GradientCheck, check_gradients
from .network import Network
from .results import Backprop, Forward

__all__ = ["Backprop", "Forward", "GradientCheck", "Network", "check_gradients"]
