"""Train a network on a file of data, and write a model that predicts from such files."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import values
from .completion import columns, files, words
from .demo import PICTURES
from .outputs import check_output
from .parser import complete
from .table_options import (
    ACTIVATIONS,
    DTYPES,
    OPTIMIZERS,
    PRECISIONS,
    SCHEDULES,
    TASKS,
    add_backend,
    add_data,
    add_quiet,
    check_not_input,
    from_zero,
    share,
    widths,
)

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of training."""
    add_data(parser)
    add = parser.add_argument
    target = add(
        "--target",
        required=True,
        metavar="COLUMN",
        help="the column to predict: its name, or its place (0, 1, ..., or -1 for the last)",
    )
    complete(target, columns)
    out = add(
        "--out",
        type=values.file("--out"),
        default=Path("model.skops"),
        metavar="FILE",
        help="file of the model; default: model.skops",
    )
    complete(out, files(".skops"))
    plot = add(
        "--plot",
        type=values.file("--plot"),
        metavar="FILE",
        help="draw costs, predictions, and the size of δ in each layer",
    )
    complete(plot, files(*PICTURES))
    add("--json", action="store_true", help="print the result as JSON")
    add_quiet(parser)

    data = parser.add_argument_group("the data")
    _named(data, "--task", TASKS, "auto", "what the target holds")
    for option, what in (
        ("--drop", "leave this column out; may be given several times"),
        ("--categorical", "give each value of this column an input of its own"),
        ("--numeric", "take this column for numbers"),
    ):
        wish = data.add_argument(option, action="append", default=[], metavar="COLUMN", help=what)
        complete(wish, columns)
    data.add_argument(
        "--validation-split",
        type=share("--validation-split"),
        default=0.1,
        metavar="SHARE",
        help="share of rows that are held out; 0 for none; default: 0.1",
    )
    data.add_argument(
        "--rows-at-once",
        type=values.whole_number("--rows-at-once", 2),
        metavar="N",
        help="read N rows at a time, in every epoch; default: only if memory is too small for all",
    )

    network = parser.add_argument_group("the network")
    network.add_argument(
        "--hidden",
        type=widths("--hidden"),
        default=(256, 256),
        metavar="N,N",
        help="widths of the hidden layers, or none; default: 256,256",
    )
    _named(network, "--activation", ACTIVATIONS, "relu", "activation of the hidden layers")
    network.add_argument(
        "--dropout",
        type=share("--dropout"),
        default=0.0,
        metavar="P",
        help="probability of dropping a hidden activation; default: 0",
    )
    _named(network, "--dtype", DTYPES, "float32", "numbers that the network computes with")
    _named(
        network, "--precision", PRECISIONS, None, "format to which products round their operands"
    )
    add_backend(network)  # type: ignore[arg-type]

    training = parser.add_argument_group("training")
    training.add_argument(
        "--epochs",
        type=values.whole_number("--epochs", 1),
        default=100,
        metavar="N",
        help="the most passes over the data; default: 100",
    )
    training.add_argument(
        "--patience",
        type=values.whole_number("--patience", 0),
        default=10,
        metavar="N",
        help="stop after N epochs without a lower validation cost; 0 for never; default: 10",
    )
    training.add_argument(
        "--batch-size",
        type=values.whole_number("--batch-size", 1),
        metavar="N",
        help="rows of a batch; default: 32 to 512, more for more rows",
    )
    _named(training, "--optimizer", OPTIMIZERS, "adam", "how parameters follow gradients")
    training.add_argument(
        "--learning-rate",
        type=values.number("--learning-rate", 0),
        default=1e-3,
        metavar="RATE",
        help="default: 0.001",
    )
    _named(training, "--schedule", SCHEDULES, "constant", "how the learning rate changes")
    training.add_argument(
        "--weight-decay",
        type=from_zero("--weight-decay"),
        metavar="DECAY",
        help="decay of the weights by adamw, which adam then becomes, or lion; default: the optimizer's",
    )
    training.add_argument(
        "--no-shuffle", action="store_true", help="train on the rows in their own order"
    )
    training.add_argument(
        "--seed",
        type=values.whole_number("--seed", 0),
        default=0,
        metavar="N",
        help="seed of all random numbers; default: 0",
    )


def _named(
    parser: argparse._ArgumentGroup,
    option: str,
    known: tuple[str, ...],
    default: str | None,
    what: str,
) -> None:
    """Add an option whose value is one of some names."""
    told = default or "none"
    action = parser.add_argument(
        option,
        type=values.name_of(option, known, kind=option[2:]),
        default=default,
        metavar="NAME",
        help=f"{what}: {', '.join(known)}; default: {told}",
    )
    complete(action, words(known))


def run(options: argparse.Namespace) -> int:
    """Check what will be written, then train; return the exit status."""
    check_output("--out", options.out)
    check_not_input("--out", options.out, data=options.data, picture=options.plot)
    if options.plot is not None:
        check_output("--plot", options.plot, PICTURES)
        check_not_input("--plot", options.plot, data=options.data)
    from .table_training import train  # noqa: PLC0415 - completion has no time for it

    return train(options)
