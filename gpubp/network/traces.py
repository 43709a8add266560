"""The method of a network that traces one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from ..tracing import Trace
    from .network import Network

__all__ = ["Traces"]


class Traces:
    """The part of `Network` that shows one forward and backward pass."""

    def trace(
        self,
        x: Any,
        y: Any,
        *,
        learning_rate: float | None = None,
        input_names: Sequence[Any] | None = None,
        output_names: Sequence[Any] | None = None,
    ) -> Trace:
        """Trace a forward and backward pass of one row: each equation with its numbers, layer by layer.

        The numbers are those of `backprop`, in the network's dtype and by its backend. Dropout is off,
        and the network is not changed.

        Parameters
        ----------
        x : array_like of shape (n_in,) or (1, n_in)
            The inputs.
        y : array_like of shape (n_out,) or (1, n_out), or int
            The target, as one row of `backprop` has it: numbers, or, for costs of classes, a label or
            probabilities.
        learning_rate : float, optional
            With it the trace also has one step of plain gradient descent, w ← w - η ∂C/∂w: the new weights
            and biases, and the cost after the step.
        input_names, output_names : sequence of str, optional
            The names of the inputs, and of the outputs, such as classes; by default x₁, x₂, ... and a₁,
            a₂, ...

        Returns
        -------
        Trace
            The trace. `print` shows tables, a notebook a page; `to_html` makes the page, `to_dict` plain
            values.

        Raises
        ------
        ValueError
            If x is not one row, x or y does not fit the network, the learning rate is not above 0, or there
            are fewer or more names than inputs or outputs.

        Examples
        --------
        >>> import gpubp
        >>> network, x, y = gpubp.worked_example()
        >>> trace = network.trace(x, y, learning_rate=0.5)
        >>> trace.values["a2"]
        array([0.75, 0.5 ])
        >>> trace.values["cost"], trace.values["new_cost"] < trace.values["cost"]
        (0.15625, True)
        """
        from ..tracing import trace_network  # noqa: PLC0415

        return trace_network(
            cast("Network", self),
            x,
            y,
            learning_rate=learning_rate,
            input_names=input_names,
            output_names=output_names,
        )
