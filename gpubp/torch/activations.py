"""The activations of gpubp and the modules of PyTorch that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ..kernels import ACTIVATIONS, Activation
from ..registry import get_activation

__all__ = ["activation_of", "computes_as", "module_of"]


class SquarePlus(nn.Module):  # type: ignore[misc]
    """(z + √(z² + 4)) / 2, without loss of digits for negative z."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Compute the activation of each element."""
        result: torch.Tensor = torch.relu(z) + 2 / (z.abs() + torch.sqrt(z * z + 4))
        return result


class Sine(nn.Module):  # type: ignore[misc]
    """sin(z)."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Compute the activation of each element."""
        return torch.sin(z)


class Exponential(nn.Module):  # type: ignore[misc]
    """exp(z), with z capped where it stops being finite: 87 in float32, 708 in float64."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Compute the activation of each element."""
        return torch.exp(z.clamp(max=87 if z.dtype == torch.float32 else 708))


class ScaledELU(nn.Module):  # type: ignore[misc]
    """scale (z if z > 0 else alpha (exp(z) - 1)): SELU with other constants.

    Parameters
    ----------
    scale, alpha : float
        The constants.
    """

    def __init__(self, scale: float, alpha: float) -> None:
        super().__init__()
        self.scale, self.alpha = scale, alpha

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Compute the activation of each element."""
        result: torch.Tensor = self.scale * nn.functional.elu(z, self.alpha)
        return result

    def extra_repr(self) -> str:
        """Describe the constants."""
        return f"scale={self.scale}, alpha={self.alpha}"


# PyTorch's softplus is z itself above a threshold, by default 20, where the difference is 2e-9. Above 50
# there is none in float64.
EXACT_THRESHOLD, LEAST_THRESHOLD = 50, 20


def _selu(scale: float, alpha: float) -> nn.Module:
    own = ACTIVATIONS["selu"].parameters
    is_selu = (scale, alpha) == (own["scale"], own["alpha"])
    return nn.SELU() if is_selu else ScaledELU(scale, alpha)


_MODULES: Mapping[str, Callable[..., nn.Module]] = {
    "identity": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": lambda *, slope: nn.LeakyReLU(slope),
    "elu": nn.ELU,
    "selu": _selu,
    "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU("tanh"),
    "silu": nn.SiLU,
    "mish": nn.Mish,
    "softplus": lambda: nn.Softplus(threshold=EXACT_THRESHOLD),
    "squareplus": SquarePlus,
    "sine": Sine,
    "exponential": Exponential,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_tanh": nn.Hardtanh,
    "hard_swish": nn.Hardswish,
    "softmax": lambda: nn.Softmax(dim=-1),
}


def module_of(activation: Activation, place: str) -> nn.Module:
    """Make the module that computes the same as an activation of the network's layer `place`."""
    if activation.function is not None:
        raise ValueError(
            f"the activation of {place} is {activation.name!r}, a custom one, expected one of gpubp's"
        )
    return _MODULES[activation.name](**activation.parameters)


def _soft_plus(module: nn.Softplus) -> Activation | str:
    if module.beta != 1 or module.threshold < LEAST_THRESHOLD:
        return f"a Softplus with beta 1 and a threshold of {LEAST_THRESHOLD} or more"
    return ACTIVATIONS["softplus"]


def _hard_tanh(module: nn.Hardtanh) -> Activation | str:
    if (module.min_val, module.max_val) != (-1, 1):
        return "a Hardtanh from -1 to 1"
    return ACTIVATIONS["hard_tanh"]


def _softmax(module: nn.Module) -> Activation | str:
    if module.dim not in (None, 1, -1):
        return f"a {type(module).__name__} over dimension 1"
    return ACTIVATIONS["softmax"]


def _gelu(module: nn.GELU) -> Activation | str:
    return ACTIVATIONS["gelu_tanh" if module.approximate == "tanh" else "gelu"]


# Each gives the activation, or says what is expected instead.
_ACTIVATIONS: Mapping[type, Callable[[Any], Activation | str]] = {
    nn.LeakyReLU: lambda module: get_activation("leaky_relu", slope=module.negative_slope),
    nn.ELU: lambda module: get_activation("elu", alpha=module.alpha),
    ScaledELU: lambda module: get_activation("selu", scale=module.scale, alpha=module.alpha),
    nn.GELU: _gelu,
    nn.Softplus: _soft_plus,
    nn.Hardtanh: _hard_tanh,
    nn.Softmax: _softmax,
    nn.LogSoftmax: _softmax,
}
_BY_NAME: Mapping[type, str] = {
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.SELU: "selu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Hardsigmoid: "hard_sigmoid",
    nn.Hardswish: "hard_swish",
    SquarePlus: "squareplus",
    Sine: "sine",
    Exponential: "exponential",
}


def computes_as(module: nn.Module, kind: type) -> bool:
    """Whether a module is of this class, and computes with the forward of it and not one of its own."""
    forward = getattr(module.forward, "__func__", None)
    return isinstance(module, kind) and forward is getattr(kind, "forward", None)


def activation_of(module: nn.Module) -> Activation | str | None:
    """Find the activation that a module computes.

    Parameters
    ----------
    module : nn.Module
        The module.

    Returns
    -------
    Activation, str or None
        The activation; a description of what is expected, if gpubp has it with other settings alone; None
        if the module is no activation that gpubp has.
    """
    for kind in type(module).__mro__:
        if not computes_as(module, kind):
            return None
        if kind in _BY_NAME:
            return ACTIVATIONS[_BY_NAME[kind]]
        if kind in _ACTIVATIONS:
            return _ACTIVATIONS[kind](module)
    return None
