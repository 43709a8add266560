"""One row of a table, as `gpubp trace` needs it: inputs, target, and what they are called."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network import Network
from .columns import Column, used
from .model import Model
from .preparation import prepared
from .table import Table
from .values import Findings, check_columns, conform

__all__ = ["of_model", "of_network"]


def of_model(model: Model, table: Table, number: int) -> tuple[dict[str, Any], list[str]]:
    """Read and prepare a row for the network of a model.

    Parameters
    ----------
    model : Model
        The model.
    table : Table
        A table with the columns that the model was trained with.
    number : int
        The row, from 0.

    Returns
    -------
    row : dict of str
        The arguments of `tracing.trace_network`: x, y, names, a prediction and notes.
    findings : list of str
        What is unusual about the row, in sentences.

    Raises
    ------
    ValueError
        If there is no such row or column, or a value is not like those in training.
    """
    _check_number(table, number)
    target, findings = model.target, Findings()
    name = table.column(target.name)
    check_columns(table.name, model.columns, table.schema)
    raw = table.read(number, number + 1, list(dict.fromkeys([*used(model.columns), name])))
    # Messages count rows from 1, and --row from 0: they name the row as it was asked for.
    frame = conform(table.name, raw, model.columns, findings, number - 1)
    x = prepared(model.preparation, frame, model.network.dtype)
    present, y = target.read(table.name, raw[name], number - 1)
    if not present[0]:
        raise ValueError(
            f"row {number} of {table.name} has no value in column {name!r}, the target"
        )
    notes = ["The inputs are the columns as the model prepares them: numbers are standardised."]
    row: dict[str, Any] = {"x": x, "input_names": model.input_names, "notes": notes}
    (predicted,) = model.decide(model.network.predict(x))
    if target.classifies:
        row |= {"y": y, "output_names": target.texts}
        row["prediction"] = f"The model predicts {predicted}; {name} is {target.labels[y][0]}."
    else:
        scaled = ((y - target.mean) / target.scale).astype(model.network.dtype)
        row |= {"y": scaled[:, None], "output_names": [name]}
        row["prediction"] = f"The model predicts {predicted:.6g}; {name} is {y[0]:.6g}."
        notes.append(
            f"The network computes with ({name} - {target.mean:.6g}) / {target.scale:.6g}."
        )
    return row, findings.sentences()


def of_network(network: Network, table: Table, number: int) -> dict[str, Any]:
    """Read a row for a network: its first columns are the inputs, the others the target.

    Parameters
    ----------
    network : Network
        The network.
    table : Table
        A table with a column for each input, and one for each output or one of labels.
    number : int
        The row, from 0.

    Returns
    -------
    dict of str
        The arguments of `tracing.trace_network`: x, y and names.

    Raises
    ------
    ValueError
        If there is no such row, the table has other columns, or a value is missing or no number.
    """
    _check_number(table, number)
    names, n_in, n_out = list(table.schema), network.sizes[0], network.sizes[-1]
    takes_labels = network.cost_function.targets == "class"
    counts = {n_in + n_out, n_in + 1} if takes_labels else {n_in + n_out}
    if len(names) not in counts:
        last = "a label or a target for each output" if takes_labels else "a target for each output"
        shown = " or ".join(map(str, sorted(counts)))
        raise ValueError(
            f"{table.name} has {len(names)} column{'s' * (len(names) > 1)}, expected {shown}: {n_in}"
            f" input{'s' * (n_in > 1)}, then {last}"
        )
    columns = [Column(name, "number", "", gaps=1) for name in names]
    raw = table.read(number, number + 1)
    frame = conform(table.name, raw, columns, Findings(), number - 1)
    values = np.array(frame.row(0), dtype=float)  # a gap becomes nan, as infinity does
    if np.isnan(values).any():
        gap = names[int(np.isnan(values).argmax())]
        raise ValueError(
            f"row {number} of {table.name} has no value in column {gap!r}, expected a finite number"
        )
    row: dict[str, Any] = {"x": values[:n_in], "y": values[n_in:], "input_names": names[:n_in]}
    if takes_labels and len(names) == n_in + 1:
        label = float(values[n_in])
        if not (label.is_integer() and 0 <= label < n_out):
            raise ValueError(
                f"row {number} of {table.name} has {label:g} in column {names[n_in]!r}, expected a label"
                f" from 0 to {n_out - 1}"
            )
        row["y"] = int(label)
    elif n_out > 1 or not takes_labels:
        row["output_names"] = names[n_in:]
    return row


def _check_number(table: Table, number: int) -> None:
    if number >= table.rows:
        last = f", expected 0 to {table.rows - 1}" if table.rows > 1 else ", expected 0"
        raise ValueError(
            f"--row is {number}, and {table.name} has {table.rows:,} row{'s' * (table.rows > 1)}{last}"
        )
