"""The table of a network's layers, as text and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from .network import Network

__all__ = ["HasSummary", "Summary"]

# Colours are those of the page, so that the table fits light and dark themes.
_STYLE = """
<style>
.gpubp-layers { font: 13px/1.4 monospace; margin: 8px; }
.gpubp-layers summary { cursor: pointer; }
.gpubp-layers table { border-collapse: collapse; color: inherit; font: inherit; margin: 4px 0; }
.gpubp-layers th, .gpubp-layers td {
  border-bottom: 1px solid rgba(128, 128, 128, 0.35); padding: 2px 12px; text-align: right;
}
.gpubp-layers :is(th, td):is(:nth-child(1), :nth-child(3)) { text-align: left; }
</style>
"""

HEAD = "layer", "width", "activation", "weights", "biases", "dropout", "parameters"
_LEFT = "layer", "activation"
"""The columns whose text begins at the left; numbers end at the right."""


class Summary:
    """What a network consists of: a row for each layer, then what there is in all.

    `print` shows a table of text, a notebook one of HTML.

    Attributes
    ----------
    rows : list of tuple of str
        The cells of each row; `HEAD` has the names of the columns.
    parameters : int
        The number of parameters.
    parameter_bytes : int
        The bytes that they take.
    multiply_adds : int
        The multiplications of weights and activations that one row of x needs in the forward pass; the
        backward pass needs twice as many.
    """

    def __init__(self, network: Network) -> None:
        self.rows = _rows(network)
        self.parameters = network.layout.size
        self.parameter_bytes = network.layout.size * network.dtype.itemsize
        self.multiply_adds = network.layout.n_weights
        self._cost = network.cost_function.name
        precision = f" with {network.precision} products" if network.precision else ""
        self._computes = f"{network.dtype}{precision}, {network.backend.name}"

    def __str__(self) -> str:
        table = [HEAD, *self.rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(HEAD))]
        lines = [_line(row, widths) for row in table]
        rule = "-" * max(map(len, lines))
        totals = (
            f"{self.parameters:,} parameters, {_shown_bytes(self.parameter_bytes)};"
            f" {self.multiply_adds:,} multiply-adds a row"
        )
        return "\n".join(
            [lines[0], rule, *lines[1:], rule, totals, f"{self._computes}; cost {self._cost}"]
        )

    __repr__ = __str__

    def to_html(self, cost: str = "cost") -> str:
        """Return the table as HTML; `cost` is the word for the cost."""
        body = "".join(_html_row("td", row) for row in self.rows)
        total = f"{self.parameters:,} parameters, {self._computes}"
        return (
            f'{_STYLE}<details class="gpubp-layers" open><summary>{len(self.rows) - 1} layers,'
            f" {escape(total)}, {cost} {escape(self._cost)}</summary>"
            f"<table><thead>{_html_row('th', HEAD)}</thead><tbody>{body}</tbody></table></details>"
        )

    def _repr_html_(self) -> str:
        return self.to_html()


class HasSummary:
    """A base class of `Network`."""

    def summary(self) -> Summary:
        """Describe the layers: widths, activations, weights, biases, dropout and parameters.

        Returns
        -------
        Summary
            An object that `print` shows as a table, and a notebook too.

        Examples
        --------
        >>> import gpubp
        >>> gpubp.Network((4, 8, 3), output="softmax", backend="numpy").summary()
        layer     width  activation  weights  biases  dropout  parameters
        -----------------------------------------------------------------
        input         4
        hidden 1      8  relu          8 x 4       8                   40
        output        3  softmax       3 x 8       3                   27
        -----------------------------------------------------------------
        67 parameters, 268 bytes; 56 multiply-adds a row
        float32, numpy; cost cross_entropy
        """
        return Summary(cast("Network", self))


def _rows(network: Network) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("input", f"{network.sizes[0]:,}", *[""] * (len(HEAD) - 2))]
    for number, layer in enumerate(network.layers, 1):
        biases = 0 if layer.biases is None else layer.n_out
        rows.append(
            (
                "output" if number == len(network.layers) else f"hidden {number}",
                f"{layer.n_out:,}",
                layer.activation.name,
                f"{layer.n_out:,} x {layer.n_in:,}",
                f"{biases:,}" if biases else "none",
                f"{layer.dropout:g}" if layer.dropout else "",
                f"{layer.n_out * layer.n_in + biases:,}",
            )
        )
    return rows


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if name in _LEFT else cell.rjust(width)
        for name, cell, width in zip(HEAD, row, widths, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _html_row(tag: str, cells: Sequence[Any]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _shown_bytes(count: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if count >= size:
            return f"{count / size:.4g} {unit}"
    return f"{count} bytes"
