"""What `gpubp trace` does."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from ..files import check_is_file, write_whole
from ..network import Network
from ..tracing import Trace, trace_network, worked_example
from ..tracing.trace import check_fits_page
from .showing import Notes, show_pairs
from .trace import is_network

__all__ = ["trace"]


def trace(options: argparse.Namespace) -> int:
    """Trace a row, and print or write the trace; return the exit status."""
    network, row = _row(options)
    if options.html is not None:
        check_fits_page(network.layout.size)
    found = trace_network(network, learning_rate=options.learning_rate, **row)
    contents = _contents(options, found)
    for _, path, content in contents:
        write_whole(path, content)
    if contents:
        show_pairs([(what, str(path)) for what, path, _ in contents])
    else:
        found.show(sys.stdout, digits=options.digits)
    return 0


def _contents(options: argparse.Namespace, found: Trace) -> list[tuple[str, Any, bytes]]:
    """Make the files before one of them is written: what each is, its path, its content."""
    made = []
    if options.html is not None:
        made.append(("page", options.html, found.to_html().encode()))
    if options.json is not None:
        text = json.dumps(found.to_dict(), ensure_ascii=False, allow_nan=False)
        made.append(("numbers", options.json, f"{text}\n".encode()))
    return made


def _row(options: argparse.Namespace) -> tuple[Network, dict[str, Any]]:
    """Find the network, and the arguments of `trace_network` that are its row."""
    tell = Notes(options.quiet)
    if options.model is None:
        network, x, y = worked_example()
        return network, _typed(
            network, x if options.x is None else options.x, y if options.y is None else options.y
        )
    check_is_file(options.model, "a model")
    if options.data is None:
        network = Network.load(options.model, backend=options.backend)
        return network, _typed(network, options.x, options.y)
    from ..tables import load, open_table  # noqa: PLC0415 - only data need it
    from ..tables.single_row import of_model, of_network  # noqa: PLC0415

    number = options.row or 0
    if is_network(options.model):
        network = Network.load(options.model, backend=options.backend)
        table = open_table(options.data)
        row = of_network(network, table, number)
    else:
        model = load(options.model, backend=options.backend)
        network, table = model.network, open_table(options.data)
        row, findings = of_model(model, table, number)
        table.notes += findings
    tell(*(f"note: {note}" for note in table.notes))
    return network, row


def _typed(network: Network, x: Any, y: Any) -> dict[str, Any]:
    """Check the lengths of --x and --y; one whole number is a label where the cost is of classes."""
    n_in, n_out = network.sizes[0], network.sizes[-1]
    takes_labels = network.cost_function.targets == "class"
    if len(x) != n_in:
        raise ValueError(f"--x has {_counted(x)}, expected {n_in}, one for each input")
    if takes_labels and len(y) == 1 and float(y[0]).is_integer():
        if not 0 <= y[0] < n_out:
            raise ValueError(f"--y is {y[0]:g}, expected a label from 0 to {n_out - 1}")
        return {"x": x, "y": int(y[0])}
    if len(y) != n_out:
        label = ", or a label" if takes_labels else ""
        raise ValueError(f"--y has {_counted(y)}, expected {n_out}, one for each output{label}")
    return {"x": x, "y": y}


def _counted(numbers: Any) -> str:
    return "1 number" if len(numbers) == 1 else f"{len(numbers)} numbers"
