"""Networks and classifiers as C files: the compiler takes them, and they predict what predict does."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported import (
    ACTIVATION_CASES,
    DTYPES,
    assert_close,
    drawn,
    edges,
    made,
    only,
)

from gpubp import Activation, Network
from gpubp.backends import Backend
from gpubp.exchange.c_text import body_in, c_number
from gpubp.kernels import PRECISIONS

COMPILER = shutil.which(os.environ.get("CC", "cc"))
FLAGS = ("-Wall", "-Wextra", "-pedantic", "-Wconversion", "-Wdouble-promotion", "-Werror", "-O2")
needs_a_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler: set CC")
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
DRAWN = 30
CASES = [(dtype, k) for dtype in DTYPES for k in range(len(ACTIVATION_CASES))]

CUDA = "const T m = z < T(0) ? -z : z; return z / (T(1) + m);"
SOFTSIGN = Activation.from_functions(
    "softsign",
    lambda xp, z: z / (1 + abs(z)),
    lambda xp, z: 1 / (1 + abs(z)) ** 2,
    cuda=CUDA,
    cuda_derivative="return 1 / ((1 + abs(z)) * (1 + abs(z)));",
)


def compiled(folder: Path, files: Sequence[Path]) -> ctypes.CDLL:
    """Compile C files to a library, and load it."""
    assert COMPILER is not None
    library = folder / "library.so"
    command = [COMPILER, "-std=c99", *FLAGS, "-fPIC", "-shared", "-o", library, *files, "-lm"]
    subprocess.run(command, check=True, timeout=120)
    return ctypes.CDLL(str(library))


def predicted(library: ctypes.CDLL, name: str, net: Network, x: Any) -> Any:
    """Call a file's predict for each row."""
    function = getattr(library, f"{name}_predict")
    x = np.ascontiguousarray(x, net.dtype)
    outputs = np.full((len(x), net.sizes[-1]), np.nan, net.dtype)
    for row, output in zip(x, outputs, strict=True):
        function(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(output.ctypes.data))
    return outputs


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Every activation in both dtypes, and the random networks, in one library."""
    folder = tmp_path_factory.mktemp("c")
    for dtype, k in CASES:
        only(*ACTIVATION_CASES[k], dtype).to_c(folder / f"{dtype}_{k}.c")
    for seed in range(DRAWN):
        drawn(seed)[0].to_c(folder / f"drawn_{seed}.c")
    return compiled(folder, sorted(folder.glob("*.c")))


@needs_a_compiler
@pytest.mark.parametrize(("dtype", "k"), CASES)
def test_an_activation_is_the_kernels_also_at_extreme_values(
    dtype: str, k: int, library: ctypes.CDLL
) -> None:
    net, x = only(*ACTIVATION_CASES[k], dtype), edges(dtype)
    outputs = predicted(library, f"{dtype}_{k}", net, x)
    assert_close(outputs, net.predict(x), 2e-7 if dtype == "float32" else 1e-15)


@needs_a_compiler
@pytest.mark.parametrize("seed", range(DRAWN))
def test_random_networks_predict_the_same(seed: int, library: ctypes.CDLL) -> None:
    net, x = drawn(seed)
    outputs = predicted(library, f"drawn_{seed}", net, x)
    assert_close(outputs, net.predict(x), TOLERANCE[str(net.dtype)])


@needs_a_compiler
def test_files_are_cpp_too_and_one_program_may_have_several(tmp_path: Path) -> None:
    files = []
    for k, dtype in enumerate(DTYPES):
        hidden = ["gelu", "exponential"]
        made((3, 4, 5, 2), hidden=hidden, output="softmax", dtype=dtype).to_c(tmp_path / f"n{k}.c")
        files.append(tmp_path / f"n{k}.c")
    both = tmp_path / "both.c"
    both.write_text("".join(f'#include "{file}"\n' for file in files))
    for language in ("-xc", "-std=c99"), ("-xc++", "-std=c++11"):
        command = [COMPILER, *language, *FLAGS, "-fsyntax-only", *files, both]
        subprocess.run(command, check=True, timeout=60)


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_the_parameters_to_the_last_bit(dtype: str, tmp_path: Path) -> None:
    net, path = made((7, 9, 3), dtype=dtype), tmp_path / "net.c"
    net.layers[0].weights[0] = [-0.0, 1.0, 1e-38, -3e38, 2.0**-140, 16777216.0, 1 / 3]
    net.to_c(path)
    arrays = re.findall(r"static const \w+ \w+\[\d+\] = \{(.*?)\}", path.read_text(), re.DOTALL)
    written = [np.array(re.findall(r"[-+.\de]+", array), dtype) for array in arrays]
    layers = [part for layer in net.layers for part in (layer.weights, layer.biases)]
    for array, layer in zip(written, layers, strict=True):
        assert array.tobytes() == layer.tobytes()


def test_a_file_says_what_it_is_and_is_ascii(tmp_path: Path) -> None:
    net, path = made((3, 4, 5, 2), hidden="gelu", output="softmax"), tmp_path / "my-net 2.c"
    net.to_c(path)
    text = path.read_bytes().decode("ascii")
    assert repr(net) in text and "gpubp" in text
    assert "enum { my_net_2_n_in = 3, my_net_2_n_out = 2 };" in text
    assert "void my_net_2_predict(const float x[3], float out[2]);" in text
    assert f"{4 * net.layout.size} bytes" in text and "36 bytes of the stack" in text
    assert re.findall(r"#include.*", text) == ["#include <math.h>"]
    variables = re.findall(r"^static (?!const)[^()\n]*;", text, re.MULTILINE)
    assert variables == []  # nothing that calls would share
    assert max(map(len, text.splitlines())) <= 120


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.c", "b.c"):
        made((3, 4, 2)).to_c(tmp_path / name, name="net")
    assert (tmp_path / "a.c").read_bytes() == (tmp_path / "b.c").read_bytes()


@needs_a_compiler
def test_a_name_may_be_chosen(tmp_path: Path, backend: Backend) -> None:
    net, path = made((3, 4, 2), backend=backend), tmp_path / "1.c"
    net.to_c(path, name="chosen")
    assert "net_1" not in path.read_text()
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    assert_close(predicted(compiled(tmp_path, [path]), "chosen", net, x), net.predict(x), 1e-5)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_precision_is_left_out(precision: str, tmp_path: Path) -> None:
    for name, chosen in (("a.c", precision), ("b.c", None)):
        made((3, 4, 2), precision=chosen).to_c(tmp_path / name, name="net")
    first, second = ((tmp_path / name).read_text().partition("*/")[2] for name in ("a.c", "b.c"))
    assert first == second


@needs_a_compiler
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", [CUDA, "return z / (1 + fabs(z));"])
def test_a_custom_activation_has_a_users_text(text: str, dtype: str, tmp_path: Path) -> None:
    net, path = made((3, 4, 2), hidden=SOFTSIGN, dtype=dtype), tmp_path / "net.c"
    net.to_c(path, custom={"softsign": text})
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(dtype)
    outputs = predicted(compiled(tmp_path, [path]), "net", net, x)
    assert_close(outputs, net.predict(x), TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({}, ValueError, "activation 'softsign' is custom, expected the body of a C function"),
        ({"custom": {"softsign": abs}}, TypeError, "custom['softsign'] is <built-in function abs>"),
        ({"custom": {"softsing": ""}}, ValueError, "did you mean 'softsign'?"),
        ({"custom": "text"}, TypeError, "custom is 'text', expected a dict"),
        ({"name": "2nd"}, ValueError, "name is '2nd', expected a name in C"),
        ({"name": "é"}, ValueError, "name is 'é', expected a name in C"),
        ({"name": ""}, ValueError, "name is '', expected a name in C"),
        ({"name": "a\n"}, ValueError, "expected a name in C"),
        ({"name": 3}, TypeError, "name is 3, expected a name in C"),
    ],
)
def test_what_is_wrong_is_told_and_no_file_is_changed(
    options: dict[str, Any], error: type[Exception], text: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.c"
    path.write_text("old")
    with pytest.raises(error) as raised:
        made((3, 4, 2), hidden=SOFTSIGN).to_c(path, **options)
    assert text in str(raised.value) and "\n" not in str(raised.value)
    assert path.read_text() == "old"


def test_parameters_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    net = made((3, 2))
    np.asarray(net.parameters)[1] = np.inf
    with pytest.raises(ValueError, match=r"layers\.0\.weights"):
        net.to_c(tmp_path / "net.c")
    assert not [*tmp_path.iterdir()]


def test_bodies_in_float_have_no_double_in_them() -> None:
    text = "return T(1) / (T(1e-3) + exp(-z) * max(abs(z), T(1.0 / 6)) + my_exp(z) + T(k));"
    assert body_in(text, "float32") == (
        "return 1.0f / (1e-3f + expf(-z) * fmaxf(fabsf(z), (float)(1.0 / 6)) + my_exp(z) + (float)(k));"
    )
    assert body_in("const T e = exp(z);", "float64") == "const double e = exp(z);"
    assert c_number(0.1, "float32") == "0.1f" and c_number(3, "float64") == "3.0"


# Classifiers.


@pytest.fixture(scope="module")
def classifiers() -> dict[str, Any]:
    """Fitted classifiers of every kind of y."""
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from gpubp import MLPClassifier

    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    codes = (x @ rng.normal(size=(4, 3))).argmax(axis=1)
    names = np.array(['r"o\\se?', "??/\n%d", "ネモ1"])
    of = {
        "strings": (names[codes], {}),
        "ints": (codes - 1, {"dtype": "float64"}),
        "large": (np.array([-(2**63), 5, 2**63 - 1])[codes], {}),
        "bools": (codes > 0, {}),
        "double": (codes > 0, {"dtype": "float64"}),
        "two": (codes > 0, {"loss": "cross_entropy"}),
        "one": (np.full(60, 7), {}),
        "labels": (
            np.stack([x[:, 0] > 0, x[:, 1] > 0.5], axis=1).astype(int),
            {"dtype": "float64"},
        ),
    }
    fitted = {}
    for name, (y, options) in of.items():
        classifier = MLPClassifier((8,), max_iter=5, random_state=0, backend="numpy", **options)
        with pytest.warns(sklearn.exceptions.ConvergenceWarning):
            fitted[name] = x, classifier.fit(x, y)
    return fitted


@needs_a_compiler
def test_classifiers_choose_the_same_classes(classifiers: Any, tmp_path: Path) -> None:
    for name, (_, classifier) in classifiers.items():
        classifier.to_c(tmp_path / f"{name}.c")
    library = compiled(tmp_path, sorted(tmp_path.glob("*.c")))
    for name, (x, classifier) in classifiers.items():
        net, expected = classifier.network_, classifier.predict(x)
        rows = x.astype(net.dtype)
        assert_close(predicted(library, name, net, rows), net.predict(rows), 1e-5)
        classify = getattr(library, f"{name}_classify")
        if name == "labels":
            labels = np.full((len(rows), 2), -1, np.intc)
            for row, out in zip(rows, labels, strict=True):
                classify(ctypes.c_void_p(row.ctypes.data), ctypes.c_void_p(out.ctypes.data))
            np.testing.assert_array_equal(labels, expected)
            continue
        kind = {"strings": ctypes.c_char_p, "large": ctypes.c_longlong}.get(name, ctypes.c_long)
        table = (kind * len(classifier.classes_)).in_dll(library, f"{name}_labels")
        values = [v.decode() if isinstance(v, bytes) else v for v in table]
        chosen = [values[classify(ctypes.c_void_p(row.ctypes.data))] for row in rows]
        np.testing.assert_array_equal(chosen, expected)


@needs_a_compiler
def test_classifiers_are_cpp_too(classifiers: Any, tmp_path: Path) -> None:
    for name, (_, classifier) in classifiers.items():
        classifier.to_c(tmp_path / f"{name}.c")
    command = [COMPILER, "-xc++", "-std=c++11", *FLAGS, "-fsyntax-only", *tmp_path.glob("*.c")]
    subprocess.run(command, check=True, timeout=60)


def test_classes_that_c_cannot_have_are_told(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from gpubp import MLPClassifier

    x = np.random.default_rng(0).normal(size=(30, 4))
    names = np.array(["a\0b", "a\0c"], object)[(x[:, 0] > 0).astype(int)]
    model = MLPClassifier((3,), solver="lbfgs", backend="numpy").fit(x, names)
    with pytest.raises(ValueError, match=r"^classes_ has 'a\\x00b', expected strings without NUL"):
        model.to_c(tmp_path / "model.c")
    assert not list(tmp_path.iterdir())


def test_regressors_are_written_once_they_are_fitted(tmp_path: Path) -> None:
    sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    from gpubp import MLPClassifier, MLPRegressor

    for kind in (MLPClassifier, MLPRegressor):
        with pytest.raises(sklearn.exceptions.NotFittedError):
            kind().to_c(tmp_path / "model.c")
    x = np.random.default_rng(0).normal(size=(30, 4))
    regressor = MLPRegressor(hidden_layer_sizes=(3,), solver="lbfgs", backend="numpy").fit(x, x)
    regressor.to_c(tmp_path / "a.c", name="net")
    regressor.network_.to_c(tmp_path / "b.c", name="net")
    assert (tmp_path / "a.c").read_bytes() == (tmp_path / "b.c").read_bytes()
