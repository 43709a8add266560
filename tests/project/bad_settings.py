"""Settings that gpubp refuses: bad values of every number, and wrong kinds of everything else."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

import gpubp
from gpubp import (
    SGD,
    Adam,
    AdamW,
    Callback,
    Checkpoint,
    EarlyStopping,
    Lion,
    MLPClassifier,
    MLPRegressor,
    Network,
    RMSProp,
    Trainer,
    check_gradients,
    get_activation,
    get_cost,
    schedules,
)

X = np.random.default_rng(0).normal(size=(8, 3))
Y = np.random.default_rng(1).normal(size=(8, 2))
LABELS = np.arange(8) % 3
SMALL = Network((3, 2), backend="numpy", seed=0)


class Row(NamedTuple):
    """A call with one bad argument, and the error that it must raise.

    Attributes
    ----------
    name : str
        What is bad.
    call : callable
        A function (network, trainer) that makes the call.
    error : type or tuple of types
        The error that is expected.
    text : str
        A part of the message.
    """

    name: str
    call: Callable[[Network, Trainer], Any]
    error: type[Exception] | tuple[type[Exception], ...]
    text: str


def making(**options: Any) -> Callable[[Network, Trainer], Any]:
    given = {"sizes": (3, 4, 2), "backend": "numpy", **options}
    return lambda net, trainer: Network(**given)


def training(**options: Any) -> Callable[[Network, Trainer], Any]:
    return lambda net, trainer: Trainer(net, **options)


def setting(name: str, value: Any) -> Callable[[Network, Trainer], Any]:
    return lambda net, trainer: setattr(trainer, name, value)


def fitting(**options: Any) -> Callable[[Network, Trainer], Any]:
    return lambda net, trainer: trainer.fit(**{"x": X, "y": Y, "epochs": 1, **options})


def estimating(kind: Any = MLPClassifier, **options: Any) -> Callable[[Network, Trainer], Any]:
    return lambda net, trainer: kind(**options).fit(X, LABELS)


def of(make: Callable[..., Any], **options: Any) -> Callable[[Network, Trainer], Any]:
    return lambda net, trainer: make(**options)


# No number of any setting: each is refused as what it is.
NO_NUMBERS: dict[str, Any] = {
    "nan": np.nan,
    "-inf": -np.inf,
    "-1": -1,
    "text": "1",
    "bytes": b"1",
    "True": True,
    "numpy's True": np.True_,
    "None": None,
    "complex": 1 + 0j,
    "array": np.array([0.5]),
    "array without axes": np.array(1),
    "list": [1],
    "huge list": list(range(10**6)),
    "huge negative int": -(10**5000),
    "dict": {"a": 1},
    "Decimal": Decimal(1),
    "Fraction": Fraction(1, 2),
    "date": np.datetime64("2020-01-01"),
    "function": abs,
    "class": int,
}
NO_REAL_NUMBERS = NO_NUMBERS | {"inf": np.inf, "10**400": 10**400, "10**5000": 10**5000}
NO_COUNTS = NO_NUMBERS | {"inf": np.inf, "1.0": 1.0, "2**63": 2**63, "10**5000": 10**5000}

Maker = Callable[..., Callable[[Network, Trainer], Any]]
# By the name of the setting, after what has it.
REAL: dict[str, Maker] = {
    "SGD learning_rate": functools.partial(of, SGD),
    "SGD momentum": functools.partial(of, SGD),
    "SGD l1": functools.partial(of, SGD),
    "Adam l2": functools.partial(of, Adam),
    "Adam beta1": functools.partial(of, Adam),
    "Adam beta2": functools.partial(of, Adam),
    "Adam epsilon": functools.partial(of, Adam),
    "AdamW weight_decay": functools.partial(of, AdamW),
    "RMSProp decay": functools.partial(of, RMSProp),
    "Lion beta1": functools.partial(of, Lion),
    "Exponential decay": functools.partial(of, schedules.Exponential),
    "InverseScaling power": functools.partial(of, schedules.InverseScaling),
    "Step factor": functools.partial(of, schedules.Step),
    "Cosine warmup": functools.partial(of, schedules.Cosine),
    "Cosine final": functools.partial(of, schedules.Cosine),
    "OneCycle start": functools.partial(of, schedules.OneCycle),
    "OnPlateau min_improvement": functools.partial(of, schedules.OnPlateau),
    "EarlyStopping min_improvement": functools.partial(of, EarlyStopping),
    "leaky_relu slope": functools.partial(of, get_activation, activation="leaky_relu"),
    "elu alpha": functools.partial(of, get_activation, activation="elu"),
    "huber threshold": functools.partial(of, get_cost, cost="huber"),
    "quantile quantile": functools.partial(of, get_cost, cost="quantile"),
    "cross_entropy label_smoothing": functools.partial(of, get_cost, cost="cross_entropy"),
    "check_gradients step": functools.partial(of, check_gradients, network=SMALL, x=X, y=Y),
    "MLPClassifier alpha": estimating,
    "MLPClassifier learning_rate_init": estimating,
    "MLPClassifier tol": estimating,
    "MLPClassifier validation_fraction": estimating,
    "MLPRegressor beta_1": functools.partial(estimating, MLPRegressor),
    "MLPRegressor power_t": functools.partial(estimating, MLPRegressor),
}
COUNTS: dict[str, Maker] = {
    "Trainer batch_size": training,
    "Trainer accumulate": training,
    "fit epochs": fitting,
    "Step every": functools.partial(of, schedules.Step),
    "OnPlateau patience": functools.partial(of, schedules.OnPlateau),
    "EarlyStopping patience": functools.partial(of, EarlyStopping),
    "check_gradients max_parameters": functools.partial(
        of, check_gradients, network=SMALL, x=X, y=Y
    ),
    "MLPClassifier max_iter": estimating,
    "MLPClassifier batch_size": estimating,
}


def numbers() -> Iterator[Row]:
    """Every number with every value that is none."""
    for tables, values in ((REAL, NO_REAL_NUMBERS), (COUNTS, NO_COUNTS)):
        for setting_of, maker in tables.items():
            owner, name = setting_of.split()
            told = f"The {name!r} parameter of {owner} must" if "MLP" in owner else f"{name} is "
            for kind, value in values.items():
                call = maker(**{name: value})
                yield Row(f"{setting_of}: {kind}", call, ValueError, told)


HUGE = "a" * 10**6
OTHERS: list[Row] = [
    # Networks.
    Row("sizes text", making(sizes="45"), TypeError, "sizes is '45', expected layer widths"),
    Row("sizes bytes", making(sizes=b"45"), TypeError, "sizes is b'45'"),
    Row("sizes set", making(sizes={3, 4}), TypeError, "sizes is {3, 4}"),
    Row("sizes dict", making(sizes={3: 4, 4: 5}), TypeError, "sizes is {3: 4, 4: 5}"),
    Row("sizes generator", making(sizes=(n for n in (3, 4))), TypeError, "sizes is <generator"),
    Row("sizes two axes", making(sizes=np.ones((2, 2), int)), TypeError, "sizes is array("),
    Row("sizes no axes", making(sizes=np.array(3)), TypeError, "sizes is array(3)"),
    Row("sizes empty", making(sizes=()), ValueError, "sizes is ()"),
    Row("sizes huge", making(sizes=(4, 10**20)), ValueError, "each of sizes is 100000000000000000"),
    Row("sizes too many", making(sizes=(10**10, 10**10)), ValueError, "expected fewer than"),
    Row("sizes nan", making(sizes=(3, np.nan)), ValueError, "each of sizes is nan"),
    Row("sizes texts", making(sizes=("3", "4")), ValueError, "each of sizes is '3'"),
    Row("sizes nested", making(sizes=((3, 4), 2)), ValueError, "each of sizes is (3, 4)"),
    Row("dtype None", making(dtype=None), ValueError, "dtype is None, expected 'float32' or"),
    Row("dtype array", making(dtype=np.ones(3)), ValueError, "dtype is array([1., 1., 1.])"),
    Row("dtype int", making(dtype=int), ValueError, "dtype is <class 'int'>"),
    Row("dtype floating", making(dtype=np.floating), ValueError, "dtype is <class 'numpy.float"),
    Row("dtype swapped", making(dtype=">f4"), ValueError, "dtype is '>f4'"),
    Row("dtype comma", making(dtype="f4,f4"), ValueError, "dtype is 'f4,f4'"),
    Row("dtype list", making(dtype=["float32"]), ValueError, "dtype is ['float32']"),
    Row("biases text", making(biases="yes"), TypeError, "biases is 'yes', expected True or False"),
    Row("biases number", making(biases=1), TypeError, "biases is 1, expected True or False"),
    Row("biases texts", making(biases=["yes", "no"]), TypeError, "biases holds 'yes'"),
    Row("dropout text", making(dropout="0.1"), TypeError, "dropout is '0.1', expected a number"),
    Row("dropout True", making(dropout=True), ValueError, "dropout is True, expected a number"),
    Row("dropout None", making(dropout=[None]), ValueError, "dropout is None, expected a number"),
    Row("dropout dict", making(dropout={0.1: 1}), TypeError, "dropout is {0.1: 1}"),
    Row("hidden bytes", making(hidden=b"relu"), TypeError, "hidden is b'relu', expected a name"),
    Row("hidden dict", making(hidden={"relu": 1}), TypeError, "hidden is {'relu': 1}"),
    Row("hidden set", making(hidden={"relu"}), TypeError, "hidden is {'relu'}"),
    Row("hidden long", making(hidden=HUGE), ValueError, "hidden: unknown activation 'aaa"),
    Row("hidden function", making(hidden=np.tanh), TypeError, "hidden is <ufunc 'tanh'>"),
    Row("output list", making(output=["relu"]), TypeError, "output: activation is ['relu']"),
    Row("cost list", making(cost=["huber"]), TypeError, "cost is ['huber'], expected a name or"),
    Row("cost near", making(cost="hubber"), ValueError, "did you mean 'huber'?"),
    Row(
        "initializer dict", making(initializer={}), TypeError, "initializer is {}, expected a name"
    ),
    Row(
        "initializer None",
        making(initializer=lambda rng, shape: None),
        ValueError,
        "what initializer gave is None",
    ),
    Row("precision", making(precision="float"), ValueError, "unknown precision 'float'; did you"),
    Row("precision list", making(precision=[1]), ValueError, "unknown precision [1]; known: "),
    Row("seed text", making(seed="1"), ValueError, "seed is '1', expected a whole number"),
    Row("seed array", making(seed=np.array([1])), ValueError, "seed is array([1])"),
    Row("backend list", making(backend=["numpy"]), ValueError, "unknown backend ['numpy']"),
    Row("unknown keyword", making(size=3), TypeError, "argument 'size'; did you mean 'sizes'?"),
    # Trainers.
    Row("network None", lambda net, trainer: Trainer(None), TypeError, "network is None, expected"),  # type: ignore[arg-type]
    Row("optimizer near", training(optimizer="adm"), ValueError, "did you mean 'adam'?"),
    Row(
        "optimizer class",
        training(optimizer=Adam),
        ValueError,
        "optimizer is the class Adam, expected",
    ),
    Row("optimizer set", setting("optimizer", 3), ValueError, "unknown optimizer 3; known:"),
    Row(
        "schedule class",
        training(schedule=schedules.Step),
        ValueError,
        "schedule is the class Step, expected",
    ),
    Row(
        "layer_rates 0.1", training(layer_rates=0.1), TypeError, "layer_rates is 0.1, expected None"
    ),
    Row("layer_rates text", training(layer_rates="01"), TypeError, "layer_rates is '01', expected"),
    Row("layer_rates dict", training(layer_rates={0: 1}), TypeError, "layer_rates is {0: 1}, exp"),
    Row("layer_rates set", training(layer_rates={0, 1}), TypeError, "layer_rates is {0, 1}, exp"),
    Row("layer_rates axes", training(layer_rates=np.ones((2, 1))), TypeError, "layer_rates is arr"),
    Row(
        "layer_rates empty", training(layer_rates=()), ValueError, "has 0 entries, expected 2, one"
    ),
    Row(
        "layer_rates 3", setting("layer_rates", (1, 1, 1)), ValueError, "layer_rates has 3 entries"
    ),
    Row("layer_rates -1", setting("layer_rates", (1, -1)), ValueError, "layer_rates[1] is -1, exp"),
    Row(
        "layer_rates nan", setting("layer_rates", (np.nan, 1)), ValueError, "layer_rates[0] is nan"
    ),
    Row("layer_rates inf", training(layer_rates=(np.inf, 1)), ValueError, "layer_rates[0] is inf"),
    Row("layer_rates None", training(layer_rates=(1, None)), ValueError, "layer_rates[1] is None"),
    Row("layer_rates True", training(layer_rates=(True, 1)), ValueError, "layer_rates[0] is True"),
    Row("layer_rates texts", training(layer_rates=("1", "1")), ValueError, "layer_rates[0] is '1'"),
    Row(
        "layer_rates 0", setting("layer_rates", (0, 0)), ValueError, "layer_rates is (0.0, 0.0), ex"
    ),
    Row("shuffle text", training(shuffle="yes"), ValueError, "shuffle is 'yes', expected True or"),
    Row("shuffle None", setting("shuffle", None), ValueError, "shuffle is None, expected True or"),
    Row("early_stopping -1", training(early_stopping=-1), ValueError, "patience is -1, expected"),
    Row(
        "early_stopping text", training(early_stopping="yes"), TypeError, "early_stopping is 'yes'"
    ),
    Row("early_stopping 0.5", training(early_stopping=0.5), TypeError, "early_stopping is 0.5"),
    Row(
        "early_stopping class",
        training(early_stopping=EarlyStopping),
        TypeError,
        "early_stopping is <class 'gpubp.training.early_stopping.EarlyStopping'>",
    ),
    Row("callbacks class", training(callbacks=[Callback]), TypeError, "callbacks holds <class"),
    Row("callbacks one", training(callbacks=print), TypeError, "callbacks is <built-in function"),
    Row("callbacks text", training(callbacks="ab"), TypeError, "callbacks holds 'a', expected"),
    Row("callbacks set", training(callbacks={print}), TypeError, "callbacks is {<built-in func"),
    Row(
        "progress text", fitting(progress="yes"), ValueError, "progress is 'yes', expected True or"
    ),
    Row("progress None", fitting(progress=None), ValueError, "progress is None, expected True or"),
    Row("stop empty", lambda net, trainer: trainer.stop(""), ValueError, "reason is '', expected"),
    Row("stop None", lambda net, trainer: trainer.stop(None), ValueError, "reason is None, expec"),  # type: ignore[arg-type]
    Row("nesterov 1", of(SGD, nesterov=1), ValueError, "nesterov is 1, expected True or False"),
    Row("clip_norm 0", of(SGD, clip_norm=0), ValueError, "clip_norm is 0, expected a number above"),
    Row("clip_value inf", of(SGD, clip_value=np.inf), ValueError, "clip_value is inf, expected a"),
    Row("an unknown option", of(SGD, beta1=0.9), TypeError, "did you mean Adam(beta1=...)?"),
    # Checkpoints.
    Row(
        "checkpoint 5", training(checkpoint=5), TypeError, "checkpoint is 5, expected a Checkpoint"
    ),
    Row("folder 5", of(Checkpoint, folder=5), TypeError, "folder is 5, expected the name of a fol"),
    Row("every", of(Checkpoint, folder="a", every="soon"), ValueError, "every is 'soon', expected"),
    Row("every long", of(Checkpoint, folder="a", every=HUGE), ValueError, "every is 'aaaaaaaaaaa"),
    Row("keep", of(Checkpoint, folder="a", keep=0), ValueError, "keep is 0, expected a whole num"),
    Row("on_error", of(Checkpoint, folder="a", on_error=X), ValueError, "on_error is array([["),
    Row("resume None", lambda net, trainer: trainer.resume(None), TypeError, "path is None, expec"),
    # Gradient checks, activations and costs.
    Row("no network", of(check_gradients, network=None, x=X, y=Y), TypeError, "network is None"),
    Row(
        "a parameter of an activation",
        of(get_activation, activation="leaky_relu", slpe=0.1),
        ValueError,
        "unknown parameter 'slpe' of activation 'leaky_relu'; did you mean 'slope'?",
    ),
    Row("activation None", of(get_activation, activation=None), TypeError, "activation is None"),
    Row("cost class", of(get_cost, cost=gpubp.Cost), TypeError, "cost is <class"),
    # Estimators.
    Row("widths 2.5", estimating(hidden_layer_sizes=2.5), ValueError, "Got 2.5 instead"),
    Row("widths None", estimating(hidden_layer_sizes=None), ValueError, "Got None instead"),
    Row(
        "widths nested", estimating(hidden_layer_sizes=[[5]]), ValueError, "sizes is [5], expected"
    ),
    Row("shuffle of sklearn", estimating(shuffle=1), ValueError, "'shuffle' parameter of MLPC"),
    Row("solver None", estimating(solver=None), ValueError, "'solver' parameter of MLPClassifier"),
    Row("solver near", estimating(solver="sgdd"), ValueError, "did you mean 'sgd'?"),
    Row(
        "activation list", estimating(activation=["relu"] * 2), ValueError, "activation has 2 entr"
    ),
    Row("activation entry", estimating(activation=[None]), ValueError, "'activation' parameter"),
    Row("dropout entry", estimating(dropout=["half"]), ValueError, "'dropout' parameter"),
    Row("class_weight set", estimating(class_weight={1}), ValueError, "'class_weight' parameter"),
    Row(
        "class_weight inf", estimating(class_weight={1: 1e999}), ValueError, "each of class_weight"
    ),
    Row("class of no weight", estimating(class_weight={"a": 1}), ValueError, "not in class_weight"),
    Row("loss class", estimating(loss=gpubp.Cost), ValueError, "'loss' parameter of MLPClassifier"),
    Row("smoothing", estimating(label_smoothing=1.0), ValueError, "'label_smoothing' parameter"),
    Row(
        "output_activation list",
        estimating(output_activation=["softmax"]),
        ValueError,
        "'output_activation'",
    ),
    Row("clip_norm zero", estimating(clip_norm=0.0), ValueError, "'clip_norm' parameter of MLPC"),
    Row(
        "weight_decay of adam",
        estimating(weight_decay=0.1),
        ValueError,
        "expected None with solver",
    ),
    Row(
        "layer_rates of sklearn",
        estimating(layer_rates=(0, 1, 1)),
        ValueError,
        "has 3 entries, exp",
    ),
    Row(
        "frozen of sklearn", estimating(layer_rates=[0, 0]), ValueError, "nothing would be trained"
    ),
    Row(
        "layer_rates of lbfgs",
        estimating(layer_rates=(0, 1), solver="lbfgs"),
        ValueError,
        "layer_rates is (0, 1), expected None with solver 'lbfgs'",
    ),
    Row("callbacks of sklearn", estimating(callbacks=print), TypeError, "callbacks is <built-in"),
    Row("progress of sklearn", estimating(progress=1), ValueError, "'progress' parameter of MLPC"),
    Row(
        "learning_rate class",
        estimating(learning_rate=schedules.Cosine),
        ValueError,
        "'learning_rate' parameter",
    ),
    Row(
        "quantile", estimating(MLPRegressor, quantile=[0.5, 1]), ValueError, "'quantile' parameter"
    ),
    Row("dtype of sklearn", estimating(dtype="half"), ValueError, "dtype is 'half', expected"),
    Row(
        "n_iter_no_change", estimating(n_iter_no_change=np.ones(2)), ValueError, "n_iter_no_change"
    ),
    Row("loss", estimating(MLPRegressor, loss="squared"), ValueError, "Got 'squared' instead"),
    Row("loss list", estimating(MLPRegressor, loss=[1]), ValueError, "Got [1] instead"),
]
