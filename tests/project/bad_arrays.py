"""Arrays, functions and files that gpubp refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from bad_settings import LABELS, Row, X, Y, fitting
from sparse_matrices import DAMAGED

from gpubp import Activation, Cost, MLPClassifier, MLPRegressor, Network, check_gradients


class NeedsGradient:
    """Like a PyTorch tensor that requires a gradient: NumPy cannot read it."""

    shape = (8, 3)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use detach() instead.")

    def __len__(self) -> int:
        return 8


class BFloat16:
    """Like an array of bfloat16, which DLPack can give away, but NumPy cannot take."""

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("DLPack only supports signed/unsigned integers, float and complex.")


class LongMessage:
    """An object whose library explains itself at length."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("no. " * 1000)


def spoilt(value: Any, index: tuple[int, ...] = (5, 1)) -> Any:
    x = X.copy()
    x[index] = value
    return x


STRUCTURED = np.zeros(8, [(f"a_long_name_of_a_field_{k}", "f4") for k in range(50)])

# What is no array of inputs, for every method that takes one.
NO_INPUTS: dict[str, tuple[Any, str]] = {
    "None": (None, "x is None, expected an array of real numbers"),
    "text": ("data.csv", "x is 'data.csv', expected an array of real numbers"),
    "texts": (X.astype(str), "x has dtype <U32, expected real numbers"),
    "bytes": (b"123", "x has dtype |S3, expected real numbers"),
    "objects": (X.astype(object), "x has dtype object, expected real numbers"),
    "complex": (X.astype(complex), "x has dtype complex128, expected real numbers"),
    "dates": (X.astype("M8[D]"), "x has dtype datetime64[D], expected real numbers"),
    "durations": (X.astype("m8[s]"), "x has dtype timedelta64[s], expected real numbers"),
    "records": (STRUCTURED, "x has dtype [('a_long_name"),
    "a dict": ({"a": 1}, "x has dtype object, expected real numbers"),
    "a set": ({1, 2}, "x has dtype object, expected real numbers"),
    "a generator": ((row for row in X), "x has dtype object, expected real numbers"),
    "a function": (print, "x has dtype object, expected real numbers"),
    "a class": (np.ndarray, "x "),
    "a number": (3.0, "x has shape (), expected (rows, 3)"),
    "a huge int": ([[10**400] * 3], "x has dtype object, expected real numbers"),
    "ragged lists": ([[1, 2, 3], [1]], "x cannot be converted (ValueError: "),
    "nested too deeply": ([[[[[[1, 2, 3]]]]]], "x has shape (1, 1, 1, 1, 1, 3), expected"),
    "three axes": (np.ones((2, 4, 3)), "x has shape (2, 4, 3), expected (rows, 3)"),
    "no rows": (X[:0], "x has no rows, expected at least one"),
    "no columns": (X[:, :0], "x has 0 columns, expected 3"),
    "an empty list": ([], "x has shape (0,), expected (rows, 3)"),
    "columns": (X[:, :2], "x has 2 columns, expected 3, the width of the input layer"),
    "transposed": (X.T, "x has 8 columns, expected 3"),
    "a row": (X[0, :2], "x has shape (2,), expected (rows, 3)"),
    "nan": (spoilt(np.nan), "x holds nan at [5, 1], expected finite numbers"),
    "inf": (spoilt(np.inf), "x holds inf at [5, 1], expected finite numbers"),
    "-inf in a list": (spoilt(-np.inf).tolist(), "x holds -inf at [5, 1], expected finite numb"),
    "too large": (spoilt(1e300), "x holds 1e+300 at [5, 1], too large for float32"),
    "masked": (np.ma.masked_less(X, 0), "x is a masked array, expected a number everywhere"),
    "a wide csr": (scipy.sparse.csr_array(X[:, :2]), "x has 2 columns, expected 3, the width of"),
    **{kind: (matrix, f"x {message}") for kind, (matrix, message) in DAMAGED.items()},
    "needs a gradient": (NeedsGradient(), "x cannot be converted (RuntimeError: Can't call numpy"),
    "bfloat16": (BFloat16(), "x cannot be converted (BufferError: DLPack only supports"),
    "a long message": (LongMessage(), "x cannot be converted (TypeError: no. no. no. "),
}

NO_TARGETS: dict[str, tuple[Any, str]] = {
    "None": (None, "y is None, expected an array of real numbers"),
    "fewer rows": (Y[:7], "y has 7 rows, expected 8, as x has"),
    "more rows": (np.vstack([Y, Y]), "y has 16 rows, expected 8, as x has"),
    "labels": (LABELS, "y has shape (8,), as labels have, expected shape (8, 2)"),
    "columns": (Y[:, :1], "y has 1 columns, expected shape (8, 2)"),
    "texts": (["yes"] * 8, "y has dtype <U3, expected real numbers"),
    "nan": (Y * np.nan, "y holds nan at [0, 0], expected finite numbers"),
    "too large": (Y * 1e300, "too large for float32, the network's dtype"),
    "complex": (Y * 1j, "y has dtype complex128, expected real numbers"),
    "three axes": (Y[None], "y has shape (1, 8, 2), expected shape (8, 2)"),
    "sparse": (scipy.sparse.csc_array(Y), "y is sparse, expected a dense array"),
}

NO_LABELS: dict[str, tuple[Any, str]] = {
    "negative": (LABELS - 1, "y holds the label -1 at [0], expected labels from 0 to 2"),
    "too large": (LABELS + 1, "y holds the label 3 at [2], expected labels from 0 to 2"),
    "far too large": (LABELS + 2**62, "y holds the label 4611686018427387904 at [0], expected"),
    "bool": (LABELS > 0, "y has dtype bool, expected integer labels from 0 to 2"),
    "float": (LABELS / 2, "y has dtype float64, expected integer labels from 0 to 2"),
    "texts": (LABELS.astype(str), "y has dtype <U21, expected real numbers"),
    "no probabilities": (np.ones((8, 3)), "y's row 0 sums to 3, expected rows of probabilities"),
    "negative probabilities": (-np.eye(3)[LABELS], "y holds -1 at [0, 0], expected numbers from"),
}

NO_WEIGHTS: dict[str, tuple[Any, str]] = {
    "negative": (np.arange(8) - 1.0, "sample_weight holds -1 at [0], expected no negative number"),
    "all zero": (np.zeros(8), "sample_weight is all zero, expected at least one positive"),
    "too few": (np.ones(7), "sample_weight has shape (7,), expected (8,), one for each row"),
    "one number": (1.0, "sample_weight has shape (), expected (8,), one for each row"),
    "nan": (np.full(8, np.nan), "sample_weight holds nan at [0], expected finite numbers"),
    "texts": (["1"] * 8, "sample_weight has dtype <U1, expected real numbers"),
    "a column": (np.ones((8, 1)), "sample_weight has shape (8, 1), expected (8,)"),
}

NO_PARAMETERS: dict[str, tuple[Any, str]] = {
    "nan": (np.full(26, np.nan), "parameters holds nan at [0], expected finite numbers"),
    "complex": (np.ones(26) * 1j, "parameters has dtype complex128, expected real numbers"),
    "texts": (["a"] * 26, "parameters has dtype <U1, expected real numbers"),
    "a number": (1.0, "parameters is given shape (), expected shape (26,)"),
    "too many": (np.ones(27), "parameters is given shape (27,), expected shape (26,)"),
    "None": (None, "parameters is None, expected an array of real numbers"),
    "too large": (np.full(26, 1e300), "parameters holds 1e+300 at [0], too large for float32"),
    "masked": (np.ma.masked_array(np.ones(26), np.ones(26)), "parameters is a masked array"),
    "ragged": ([[1.0], [1.0, 2.0]], "parameters cannot be converted (ValueError: "),
}


def classifier() -> Network:
    return Network((3, 4, 3), output="softmax", backend="numpy", seed=0)


def arrays() -> list[Row]:
    """Every array with every value that is none, for the methods that take one."""
    rows = []
    for kind, (x, text) in NO_INPUTS.items():
        for name, call in {
            "predict": lambda net, trainer, x=x: net.predict(x),
            "backprop": lambda net, trainer, x=x: net.backprop(x, Y),
            "vjp": lambda net, trainer, x=x: net.vjp(x, Y),
            "trace": lambda net, trainer, x=x: net.trace(x, Y[0]),
            "fit": fitting(x=x),
            "validation": fitting(validation_data=(x, Y)),
        }.items():
            rows.append(Row(f"x of {name}: {kind}", call, ValueError, text))
    for kind, (y, text) in NO_TARGETS.items():
        rows += [
            Row(f"y: {kind}", lambda net, trainer, y=y: net.cost(X, y), ValueError, text),
            Row(f"y of fit: {kind}", fitting(y=y), ValueError, text),
        ]
    for kind, (y, text) in NO_LABELS.items():
        call = lambda net, trainer, y=y: classifier().cost(X, y)  # noqa: E731
        rows.append(Row(f"labels: {kind}", call, ValueError, text))
    for kind, (w, text) in NO_WEIGHTS.items():
        rows += [
            Row(f"weights: {kind}", lambda net, trainer, w=w: net.cost(X, Y, w), ValueError, text),
            Row(f"weights of fit: {kind}", fitting(sample_weight=w), ValueError, text),
        ]
    for kind, (values, text) in NO_PARAMETERS.items():
        call = lambda net, trainer, v=values: setattr(net, "parameters", v)  # noqa: E731
        rows.append(Row(f"parameters: {kind}", call, ValueError, text))
    return rows


def to_layer(name: str, values: Any) -> Any:
    return lambda net, trainer: setattr(net.layers[0], name, values)


def ok(xp: Any, z: Any) -> Any:
    return z


def own(**options: Any) -> Any:
    return lambda net, trainer: Activation.from_functions(
        **{"name": "own", "function": ok, "derivative": ok, **options}
    )


def own_cost(**options: Any) -> Any:
    given = {"name": "own", "function": lambda xp, a, y: a, "derivative": lambda xp, a, y: a}
    return lambda net, trainer: Cost.from_functions(**{**given, **options})


def returning(value: Any) -> Any:
    activation = Activation.from_functions("own", lambda xp, z: value, ok)
    return lambda net, trainer: Network((3, 4, 2), hidden=activation, backend="numpy").predict(X)


def exporting(**options: Any) -> Any:
    return lambda net, trainer: net.to_c("never_written.c", **options)


def tracing(**options: Any) -> Any:
    return lambda net, trainer: net.trace(**{"x": X[0], "y": Y[0], **options})


def showing(**options: Any) -> Any:
    return lambda net, trainer: net.trace(X[0], Y[0]).to_text(**options)


def fit(kind: Any, *arguments: Any) -> Any:
    return lambda net, trainer: kind(max_iter=1, backend="numpy").fit(*arguments)


OTHER_ARRAYS: list[Row] = [
    Row("validation 7", fitting(validation_data=7), ValueError, "validation_data is 7, expected"),
    Row("validation text", fitting(validation_data="xy"), ValueError, "validation_data is 'xy'"),
    Row("validation (x,)", fitting(validation_data=(X,)), ValueError, "validation_data has 1 ent"),
    Row("validation array", fitting(validation_data=X), ValueError, "validation_data is array("),
    Row("layer shape", to_layer("weights", Y), ValueError, "weights is given shape (8, 2), expec"),
    Row("layer texts", to_layer("weights", [["a"] * 3] * 4), ValueError, "weights has dtype <U1"),
    Row("layer nan", to_layer("biases", [np.nan] * 4), ValueError, "biases holds nan at [0], exp"),
    Row("layer None", to_layer("biases", None), ValueError, "biases is None, expected an array"),
    Row("layer dropout", to_layer("dropout", 0.5), AttributeError, "a layer's dropout cannot be"),
    Row("layer n_in", to_layer("n_in", 5), AttributeError, "n_in"),
    Row(
        "another network",
        lambda net, trainer: setattr(trainer, "network", classifier()),
        AttributeError,
        "a trainer's network cannot be changed; make a new Trainer with it",
    ),
    Row("no name", own(name=""), ValueError, "name is '', which is none, expected a new one"),
    Row("name list", own(name=["own"]), ValueError, "name is ['own'], which is none, expected"),
    Row("built-in name", own(name="relu"), ValueError, "name is 'relu', which is a built-in one's"),
    Row("reads", own(reads="b"), ValueError, "reads is 'b', expected 'a' or 'z'"),
    Row("reads list", own(reads=["a"]), ValueError, "reads is ['a'], expected 'a' or 'z'"),
    Row("cuda", own(cuda=1), TypeError, "cuda is 1, expected CUDA text, or '' for none"),
    Row("output_range", own(output_range=(1, 0)), ValueError, "output_range is (1, 0), expected"),
    Row("output_range 1", own(output_range=1), ValueError, "output_range is 1, expected two num"),
    Row("function None", own(function=None), TypeError, "function of activation 'own' is None"),
    Row("function text", own(derivative="z"), TypeError, "derivative of activation 'own' is 'z'"),
    Row(
        "fewer arguments",
        own(function=lambda z: z),
        TypeError,
        "function of activation 'own' takes (z), expected a function of (xp, z)",
    ),
    Row(
        "more arguments",
        own_cost(derivative=lambda xp, z, a, y: a),
        TypeError,
        "derivative of cost 'own' takes (xp, z, a, y), expected a function of (xp, a, y)",
    ),
    Row("targets", own_cost(targets="classes"), ValueError, "targets is 'classes', expected"),
    Row("domain", own_cost(domain=("a", "b")), ValueError, "domain is ('a', 'b'), expected two"),
    Row("returns None", returning(None), ValueError, "function of activation 'own' gave None"),
    Row("returns text", returning("z"), ValueError, "function of activation 'own' gave 'z'"),
    Row("returns a shape", returning(X), ValueError, "gave float64 of shape (8, 3), expected"),
    Row(
        "a gradient check's x",
        lambda net, trainer: check_gradients(net, X[:, :2], Y),
        ValueError,
        "x has 2 columns, expected 3",
    ),
    Row("load None", lambda net, trainer: Network.load(None), TypeError, "path"),
    Row("to_c None", lambda net, trainer: net.to_c(None), TypeError, "path is None, expected"),
    Row("C name", exporting(name="a b"), ValueError, "name is 'a b', expected a name in C"),
    Row("C name 5", exporting(name=5), TypeError, "name is 5, expected a name in C"),
    Row("C custom 5", exporting(custom=5), TypeError, "custom is 5, expected a dict"),
    Row("C tanh", exporting(custom={"tanh": ""}), ValueError, "unknown custom activation 'tanh'"),
    Row(
        "custom 5",
        lambda net, trainer: Network.load("network.safetensors", custom=5),  # type: ignore[arg-type]
        TypeError,
        "custom",
    ),
    Row("trace rows", tracing(x=X[:2]), ValueError, "x has 2 rows, expected one, of shape (3,) or"),
    Row("trace y", tracing(y=1.0), ValueError, "y has shape (1,), as labels have, expected shape"),
    Row("trace ys", tracing(y=Y[:2]), ValueError, "y has 2 rows, expected 1, as x has"),
    Row("trace y nan", tracing(y=[np.nan, 1]), ValueError, "y holds nan at [0, 0], expected fini"),
    Row("trace rate", tracing(learning_rate=-1), ValueError, "learning_rate is -1, expected a num"),
    Row("trace rate 0", tracing(learning_rate=0), ValueError, "learning_rate is 0, expected a num"),
    Row("trace rate inf", tracing(learning_rate=np.inf), ValueError, "learning_rate is inf, exp"),
    Row("trace rate text", tracing(learning_rate="1"), ValueError, "learning_rate is '1', expect"),
    Row("trace rate True", tracing(learning_rate=True), ValueError, "learning_rate is True, expe"),
    Row(
        "names", tracing(input_names=["a"]), ValueError, "input_names has 1 name, expected 3 names"
    ),
    Row("name", tracing(input_names="abc"), ValueError, "input_names is 'abc', expected 3 names"),
    Row("names 3", tracing(input_names=3), ValueError, "input_names is 3, expected 3 names, one f"),
    Row("no names", tracing(output_names=[]), ValueError, "output_names has 0 names, expected 2 n"),
    Row("digits", showing(digits=18), ValueError, "digits is 18, expected a whole number at least"),
    Row("digits 1.5", showing(digits=1.5), ValueError, "digits is 1.5, expected a whole number"),
    Row("width", showing(width=59), ValueError, "width is 59, expected a whole number at least 60"),
    Row("width None", showing(width=None), ValueError, "width is None, expected a whole number"),
    Row("sklearn weights", fit(MLPClassifier, X, LABELS, -np.ones(8)), ValueError, "sample_weight"),
    Row("sklearn zero", fit(MLPClassifier, X, LABELS, np.zeros(8)), ValueError, "zero"),
    Row(
        "sklearn too few",
        fit(MLPRegressor, X, Y, np.ones(3)),
        ValueError,
        "sample_weight.shape == (3,)",
    ),
]
