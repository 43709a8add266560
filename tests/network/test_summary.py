"""network.summary(): the table as text and as HTML."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gpubp import Activation, Network


def test_the_table_has_the_layers_and_what_there_is_in_all() -> None:
    network = Network(
        (784, 1000, 10), hidden="gelu", output="softmax", dropout=0.25, biases=[True, False],
        dtype="float64", backend="numpy",
    )  # fmt: skip
    assert str(network.summary()).splitlines() == [
        "layer     width  activation      weights  biases  dropout  parameters",
        "---------------------------------------------------------------------",
        "input       784",
        "hidden 1  1,000  gelu        1,000 x 784   1,000     0.25     785,000",
        "output       10  softmax      10 x 1,000    none               10,000",
        "---------------------------------------------------------------------",
        "795,000 parameters, 6.065 MiB; 794,000 multiply-adds a row",
        "float64, numpy; cost cross_entropy",
    ]
    assert repr(network.summary()) == str(network.summary())


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": (3, 1)},
        {"sizes": (3, 4, 5, 6), "biases": False},
        {"sizes": (1, 1, 1), "dtype": "float64", "biases": [False, True]},
        {"sizes": (70, 80, 90), "precision": "bfloat16"},
    ],
)
def test_the_numbers_are_those_of_the_arrays(options: dict[str, Any]) -> None:
    network = Network(**options, backend="numpy")
    summary = network.summary()
    assert summary.parameters == sum(
        layer.weights.size + (0 if layer.biases is None else layer.biases.size)
        for layer in network.layers
    )
    assert summary.parameter_bytes == network.parameters.nbytes
    assert summary.multiply_adds == sum(layer.weights.size for layer in network.layers)
    assert [row[-1].replace(",", "") for row in summary.rows[1:]] == [
        str(layer.weights.size + (0 if layer.biases is None else layer.biases.size))
        for layer in network.layers
    ]
    if network.precision:
        assert "float32 with bfloat16 products, numpy" in str(summary)


def test_a_notebook_shows_the_same_cells() -> None:
    own = Activation.from_functions("<b>", lambda xp, z: z, lambda xp, z: 1 + 0 * z)
    summary = Network((3, 4, 2), hidden=own, backend="numpy").summary()
    html = summary._repr_html_()
    cells = re.findall(r"<td>(.*?)</td>", html)
    assert cells == [c.replace("<b>", "&lt;b&gt;") for row in summary.rows for c in row]
    assert "2 layers, 26 parameters, float32, numpy, cost quadratic" in html
