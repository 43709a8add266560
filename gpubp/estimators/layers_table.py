"""A fitted estimator's layers as an HTML table, which notebooks show below scikit-learn's."""

from __future__ import annotations

from html import escape
from typing import Any

__all__ = ["layers_table"]

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


def layers_table(estimator: Any) -> str:
    """Describe the layers of a fitted estimator.

    Parameters
    ----------
    estimator : BaseMLP
        The estimator.

    Returns
    -------
    str
        HTML: a table with the width, the activation, the dropout and the number of parameters of each
        layer; "" if the estimator is not fitted.
    """
    network = getattr(estimator, "network_", None)
    if network is None:
        return ""
    last = len(network.layers)
    rows = [("input", network.sizes[0], "", "", "")]
    for number, layer in enumerate(network.layers, 1):
        count = layer.weights.size + (0 if layer.biases is None else layer.biases.size)
        name = "output" if number == last else f"hidden {number}"
        dropout = f"{layer.dropout:g}" if layer.dropout else ""
        width = layer.weights.shape[0]
        rows.append((name, f"{width:,}", layer.activation.name, dropout, f"{count:,}"))
    head = "layer", "width", "activation", "dropout", "parameters"
    body = "".join(_row("td", row) for row in rows)
    total = f"{network.layout.size:,} parameters, {network.dtype}, {network.backend.name}"
    return (
        f'{_STYLE}<details class="gpubp-layers" open><summary>{last} layers, {escape(total)}, loss'
        f" {escape(network.cost_function.name)}</summary>"
        f"<table><thead>{_row('th', head)}</thead><tbody>{body}</tbody></table></details>"
    )


def _row(tag: str, cells: tuple[Any, ...]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
