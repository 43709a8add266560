"""Traces: one forward and backward pass of one row, each equation with its numbers.

`Network.trace` makes one, as `Trace`. numbers.py has the numbers, which the engine and the kernels' tables
compute. equations.py puts them in order: a step for each equation. text.py shows them as tables of text,
page.py as a page of HTML.
"""

from .example import worked_example
from .making import trace_network
from .trace import Step, Trace

__all__ = ["Step", "Trace", "trace_network", "worked_example"]
