"""The output layer's activation together with the cost: how z becomes δ^L and the cost.

This file decides it once, when a network is made. No other code compares the names of the pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .activations import Activation
from .costs import Cost
from .cuda.text import device_function

__all__ = ["OutputHead"]


@dataclass(frozen=True)
class OutputHead:
    """An output activation and a cost.

    Parameters
    ----------
    activation : Activation
        σ of the output layer.
    cost : Cost
        C, what training minimises.

    Attributes
    ----------
    is_canonical : bool
        Whether σ is the cost's canonical partner. Then δ^L is a - y, and the cost is computed from z, which
        keeps digits that a has lost.
    goes_by_rows : bool
        Whether σ is softmax, where each output depends on every z of its row.
    is_fused : bool
        Whether the pair is softmax with cross-entropy. Then one kernel computes δ^L and the cost from z,
        and nothing reads a.
    needs_jacobian : bool
        Whether the pair is softmax with another cost. Then δ^L is ∂C/∂a multiplied by softmax's Jacobian.
    """

    activation: Activation
    cost: Cost

    @cached_property
    def is_canonical(self) -> bool:
        return self.cost.canonical == self.activation.name

    @cached_property
    def goes_by_rows(self) -> bool:
        return self.activation.rowwise

    @cached_property
    def is_fused(self) -> bool:
        return self.is_canonical and self.goes_by_rows

    @cached_property
    def needs_jacobian(self) -> bool:
        return self.goes_by_rows and not self.is_canonical

    @cached_property
    def cost_body(self) -> str:
        """The body of `cost(z, a, y)`, the cost's term of one output; "" if the cost has no text."""
        return (self.cost.canonical_cuda if self.is_canonical else "") or self.cost.cuda

    @cached_property
    def cost_text(self) -> str:
        """CUDA text of `cost(z, a, y)`; "" if the cost has no text."""
        body = self.cost_body
        return body and device_function("cost", "z a y", body, self.cost.parameters)

    @cached_property
    def delta_text(self) -> str:
        """CUDA text of `delta_of(a, y, scale, v)`, an element of the output delta; "" if there is none.

        With `needs_jacobian` it is scale ∂C/∂a, which another kernel multiplies by the Jacobian.
        """
        if self.is_canonical:
            return device_function("delta_of", "a y scale v", "return (a - y) * scale;")
        has_derivative = self.goes_by_rows or self.activation.has_cuda_derivative
        return self.cost_derivative_text(with_activation=True) if has_derivative else ""

    def cost_derivative_text(self, with_activation: bool = False) -> str:
        """CUDA text of `delta_of(a, y, scale, v)` = scale ∂C/∂a; "" if there is none.

        With `with_activation` it is multiplied by σ′, if σ is elementwise.
        """
        if not self.cost.has_cuda_derivative:
            return ""
        parameters = self.cost.parameters
        text = device_function("cost_derivative", "a y", self.cost.cuda_derivative, parameters)
        formula = "cost_derivative(a, y)"
        if with_activation and not self.goes_by_rows:
            text += self.activation.derivative_text
            formula += " * derivative(v)"
        return text + device_function("delta_of", "a y scale v", f"return ({formula}) * scale;")
