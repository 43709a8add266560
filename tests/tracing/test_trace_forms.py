"""What a trace is shown and stored as: text, plain values, pages."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from traced_networks import row_for, small, softsign

import gpubp
from gpubp import Network, Trace, backprop, get_activation
from gpubp.tracing import trace_network
from gpubp.tracing.cells import number_text, significant_text
from gpubp.tracing.trace import MOST_PARAMETERS


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def example(**options: Any) -> Trace:
    network, x, y = gpubp.worked_example()
    return network.trace(x, y, **options)


FIRST_STEP = """\
 1  Weighted sums of layer 1
    z¹ = w¹ x + b¹
    Each of the 4 neurons multiplies every input by its weight, and adds up the products and its
    bias.

                w¹                 x     b¹       z¹
    ⎡ 1        0        1     ⎤   ⎡ 1⎤   ⎡0⎤   ⎡ 0     ⎤
    ⎢ 1.0986   0        0     ⎥ · ⎢ 2⎥ + ⎢0⎥ = ⎢ 1.0986⎥
    ⎢ 0       -1.0986  -1.0986⎥   ⎣-1⎦   ⎢0⎥   ⎢-1.0986⎥
    ⎣ 1       -1        0     ⎦          ⎣1⎦   ⎣ 0     ⎦
"""

OUTER_PRODUCT = """\
       δ²                     a¹ᵀ
    ⎡-0.0469⎤ · [0.5000  0.7500  0.2500  0.5000]
    ⎣ 0.1250⎦

                      ∂C/∂w²
     = ⎡-0.0234  -0.0352  -0.0117  -0.0234⎤
       ⎣ 0.0625   0.0938   0.0313   0.0625⎦
"""

COST = """\
            a²  y    term
    a₁  0.7500  1  0.0313
    a₂  0.5000  0  0.1250

    C = 0.1563
"""


def test_the_text_has_each_equation_with_its_numbers() -> None:
    text = str(example(learning_rate=0.5))
    assert text.startswith(
        "Backpropagation in a 3-4-2 network\n\nlayer 1: 4 neurons, sigmoid, σ(z)"
    )
    assert FIRST_STEP in text
    assert COST in text
    assert OUTER_PRODUCT in example().to_text(width=80)
    for step in example(learning_rate=0.5).steps:
        assert f"{step.title}\n    {step.equation}\n" in text
    assert text.endswith("the cost of this row falls from 0.1563 to 0.1117.")


def test_halves_are_rounded_up_as_on_the_page() -> None:
    """Floats that lie exactly between two texts; Python's own formats would write 0.1562 and 0.0312."""
    assert [number_text(n, 4) for n in (0.15625, -0.03125, 0.09375)] == [
        "0.1563",
        "-0.0313",
        "0.0938",
    ]
    assert [significant_text(n, 4) for n in (0.15625, 0.396, 1e-9)] == ["0.1563", "0.396", "1e-09"]
    assert significant_text(np.nan, 4) == "nan"
    assert number_text(1e300 / 3, 2) == f"{1e300 / 3:.2f}"


@pytest.mark.parametrize("width", [60, 64, 80, 100, 120, 200])
@pytest.mark.parametrize("sizes", [(3, 4, 2), (1, 1), (30, 50, 12, 13)])
def test_no_line_is_wider_than_asked_for(width: int, sizes: tuple[int, ...]) -> None:
    network = small(sizes, hidden=get_activation("leaky_relu", slope=0.2), output="gelu")
    names = [f"a column with a long name {k}" for k in range(sizes[0])]
    trace = network.trace(*row_for(network), learning_rate=3, input_names=names)
    text = trace.to_text(width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\n    " in text and not any(line != line.rstrip() for line in text.splitlines())


def test_of_wide_layers_the_first_and_last_are_shown_and_the_text_says_so() -> None:
    network = small((784, 50, 10), hidden="relu", output="softmax", dtype="float32")
    x = np.arange(784.0)
    text = str(network.trace(x, 3))
    assert "first 3 and the last 3 are shown" in text and "The widths are 784, 50, 10." in text
    assert "x₇₈₄  783" in text and "x₁      0" in text and "x₅" not in text
    (caption,) = (k for k, line in enumerate(text.splitlines()) if line.strip().startswith("w¹ "))
    matrix = text.splitlines()[caption + 1 : caption + 8]
    assert matrix[3].count("…") > 7 and matrix[0].startswith("    ⎡")
    assert len(text) < 20_000
    assert "first 3" not in str(example())


def test_numbers_keep_their_size_and_sign() -> None:
    network = small((1, 6), output="identity", biases=False)
    network.layers[0].weights = [[1e-7], [-3], [0.25], [123456.789], [0], [-1e-9]]
    text = network.trace([1.0], np.zeros(6)).to_text(digits=2)
    block = text[text.index("z¹\n") :].splitlines()[1:7]
    column = [
        line.rsplit("⎡" if k == 0 else "⎣" if k == 5 else "⎢", 1)[1][:-1]
        for k, line in enumerate(block)
    ]
    assert [cell.strip() for cell in column] == ["1e-07", "-3", "0.25", "123456.79", "0", "-1e-09"]
    points = {line.index(".") for line in column if "." in line}
    assert points == {column[1].index("-3") + 2}
    network.layers[0].weights = np.full((6, 1), 2.5e7 / 3)
    assert "8.33e+06" in network.trace([1.0], np.zeros(6)).to_text(digits=2)


def test_names_are_shown_on_one_line_each() -> None:
    trace = example(input_names=["width\n\x1b[31m", "幅", 3], output_names=["yes", "no"])
    assert trace.input_names == ("width [31m", "幅", "3") and trace.output_names == ("yes", "no")
    assert "    width [31m   1      yes  1\n    幅           2      no   0\n" in str(trace)
    assert "yes  0.7500  1  0.0313" in str(trace)
    assert "width [31m   1  -0.0076" in str(trace)  # the gradient of the inputs


def test_sentences_about_columns_hold_nothing_that_a_terminal_obeys() -> None:
    told = "The model predicts \x1b[2Jbig;\nkind is \u202esmall."
    network, x, y = gpubp.worked_example()
    trace = trace_network(network, x, y, prediction=told, notes=[told])
    expected = "The model predicts [2Jbig; kind is small."
    assert (trace.prediction, trace.notes) == (expected, (expected,))
    assert str(trace).count(expected) == 2


def test_classes_have_a_prediction() -> None:
    network = small((3, 4, 3), output="softmax")
    x, _ = row_for(network)
    outputs = network.predict(x)
    best, names = int(outputs.argmax()), ["red", "green", "blue"]
    trace = network.trace(x, best, output_names=names)
    told = f"The largest output is that of {names[best]} ({outputs.max():.4g})"
    assert trace.prediction == f"{told}, which is the target."
    assert trace.prediction in str(trace)
    other = network.trace(x, (best + 1) % 3, output_names=names)
    assert other.prediction == f"{told}; the target is {names[(best + 1) % 3]}."
    assert example().prediction is None


def test_the_dictionary_has_what_the_page_reads() -> None:
    told = example(learning_rate=0.5, output_names=["first", "second"]).to_dict()
    assert told == json.loads(json.dumps(told, allow_nan=False))
    assert told["format"] == "gpubp trace 1" and told["sizes"] == [3, 4, 2]
    assert told["activations"] == ["sigmoid", "sigmoid"] and told["cost"] == "quadratic"
    assert told["activation_formulas"] == ["σ(z) = 1 / (1 + exp(-z))"] * 2
    assert told["cost_formula"] == "C = ½ Σ (y - a)²"
    assert told["input_names"] == ["x₁", "x₂", "x₃"] and told["output_names"] == ["first", "second"]
    assert told["learning_rate"] == 0.5 and told["notes"] == [] and told["prediction"] is None
    assert told["values"]["cost"] == 0.15625 and told["values"]["delta2"] == [-0.046875, 0.125]
    steps = {step["id"]: step for step in told["steps"]}
    assert len(steps) == len(told["steps"])
    assert steps["z1"] | {"text": ""} == {
        "id": "z1", "pass": "forward", "layer": 1, "operation": "affine",
        "title": "Weighted sums of layer 1", "equation": "z¹ = w¹ x + b¹", "text": "",
        "code": "backprop.forward", "reads": ["w1", "x", "b1"], "writes": "z1",
    }  # fmt: skip
    assert steps["cost"]["terms"] == [["first", 0.03125], ["second", 0.125]]
    assert steps["update2"]["reads"] == ["w2", "weight_gradient2", "b2", "bias_gradient2"]
    for step in told["steps"]:
        assert step["writes"] in told["values"]
        module, _, function = (step["code"] or "backprop.backpropagate").partition(".")
        assert module == "backprop" and hasattr(backprop, function)


def test_the_order_is_that_of_backprop() -> None:
    network = small((2, 3, 4, 2), output="sigmoid", cost="quadratic", biases=[True, False, True])
    assert [step.id for step in network.trace(*row_for(network), learning_rate=1).steps] == [
        "z1", "a1", "z2", "a2", "z3", "a3", "cost", "cost_derivative", "slope3", "delta3",
        "weight_gradient3", "bias_gradient3", "propagated2", "slope2", "delta2", "weight_gradient2",
        "propagated1", "slope1", "delta1", "weight_gradient1", "bias_gradient1", "input_gradient",
        "update1", "update2", "update3",
    ]  # fmt: skip


def test_numbers_of_json_are_those_of_the_dtype() -> None:
    network = small((2, 2), dtype="float32")
    network.layers[0].weights = [[0.1, 0.2], [0.3, np.float32(1) / 3]]
    trace = network.trace([0.1, 0.7], [0, 0])
    told = trace.to_dict()["values"]
    assert told["w1"][0] == [0.1, 0.2]
    for name, value in trace.values.items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(np.array(told[name], np.float32), value)


def test_parameters_of_activations_are_told() -> None:
    leaky = get_activation("leaky_relu", slope=0.2)
    network = small(hidden=[leaky], output=softsign(), cost="quadratic")
    trace = network.trace(*row_for(network))
    assert trace.activations == ("leaky_relu(slope=0.2)", "softsign")
    assert trace.activation_formulas[1] == "σ(z) = softsign(z), user-defined"
    equations = {step.id: step.equation for step in trace.steps}
    assert (
        equations["slope1"] == "σ′(z¹) = 1 if a > 0 else slope" and equations["slope2"] == "σ′(z²)"
    )


def test_a_trace_is_read_only_and_can_be_copied() -> None:
    trace = example()
    with pytest.raises(AttributeError):
        trace.title = "another"  # type: ignore[misc]
    with pytest.raises(TypeError):
        trace.values["x"] = 1  # type: ignore[index]
    with pytest.raises(ValueError, match="read-only"):
        trace.values["w1"][0, 0] = 5
    for other in (pickle.loads(pickle.dumps(trace)), copy.deepcopy(trace)):
        assert other.to_dict() == trace.to_dict()
    assert repr(trace) == "Trace(sizes=(3, 4, 2), 16 steps, cost=0.15625)"


def test_a_later_change_of_the_network_changes_no_trace() -> None:
    network, x, y = gpubp.worked_example()
    trace = network.trace(x, y)
    before = trace.to_dict()
    network.parameters[...] = 7
    x[...] = 7
    assert trace.to_dict() == before


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_show_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    plain = io.StringIO()
    example().show(plain, digits=2)
    assert plain.getvalue() == example().to_text(digits=2, width=60) + "\n"


def test_a_terminal_has_colours_where_rich_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich", reason="what colours, rich, is not installed")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    example().show(coloured)
    monkeypatch.setattr("gpubp.tracing.showing.find_spec", lambda name: None)
    example().show(plain)
    assert plain.getvalue() == example().to_text(width=80) + "\n"
    assert "\x1b[1mBackpropagation in a 3-4-2 network\x1b[0m" in coloured.getvalue()


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("latin-1", ["cost: quadratic, C = ½ sum (y - a)²", "    d² = dC/da * s'(z²)",
                     "[ 1.0986   0        0     ] · [ 2] + [0] = [ 1.0986]"]),
        ("ascii", ["cost: quadratic, C = 1/2 sum (y - a)^2", "    e^1 = (w^2)^T d^2",
                   "    dC/dw^2 = d^2 a^1T", "    w^1 <- w^1 - eta dC/dw^1",
                   "[ 1.0986   0        0     ] * [ 2] + [0] = [ 1.0986]"]),
    ],
)  # fmt: skip
def test_letters_that_an_encoding_lacks_have_stand_ins(encoding: str, lines: list[str]) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    trace = example(learning_rate=0.5)
    trace.show(stream)
    stream.flush()
    text = stream.buffer.getvalue().decode(encoding)
    assert "?" not in text and all(line in text for line in lines), text
    # Columns stay below each other.
    full, shown = trace.to_text().split("\n"), text.split("\n")
    for there, here in zip(full, shown, strict=False):
        if there.startswith("    ⎡"):
            assert here[4] == "[" and len(here) == len(there)
            assert [k for k, c in enumerate(here) if c in "[]"] == [
                k for k, c in enumerate(there) if c in "⎡⎢⎣⎤⎥⎦[]"
            ]


def test_a_file_needs_only_a_write(capsys: pytest.CaptureFixture[str]) -> None:
    class Pieces(list[str]):
        write = list.append

    pieces = Pieces()
    example().show(pieces)
    assert "".join(pieces) == f"{example()}\n"
    with pytest.raises(ValueError, match=r"^file is 'a\.txt', expected a file of text"):
        example().show("a.txt")


@pytest.mark.parametrize(
    ("sizes", "biases", "told"),
    [
        ((1, 1), True, "The neuron multiplies the input by its weight, and adds its bias."),
        ((1, 2), False, "Each of the 2 neurons multiplies the input by its weight."),
        ((2, 1), False,
         "The neuron multiplies every input by its weight, and adds up the products."),
        ((2, 1), True,
         "The neuron multiplies every input by its weight, and adds up the products and its bias."),
    ],
)  # fmt: skip
def test_the_sentence_of_the_weighted_sums(sizes: tuple[int, int], biases: bool, told: str) -> None:
    network = small(sizes, biases=biases)
    assert network.trace(*row_for(network)).steps[0].text == told


def test_a_huge_cost_has_an_exponent_and_a_small_step_is_seen() -> None:
    network = small((2, 2), hidden="relu")
    for layer in network.layers:
        layer.weights, layer.biases = [[1e90, 0], [0, 1]], [0, 0]
    text = network.trace([1, 1], [0, 1]).to_text(width=60)
    assert "C = 5.0000e+179" in text and max(map(len, text.splitlines())) <= 60
    last = example(learning_rate=1e-7).to_text().splitlines()[-1]
    before, after = (float(n) for n in re.findall(r"falls from (\S+) to (\S+)\.$", last)[0])
    assert (before, after) == (0.1563, 0.1562)  # of 0.15625, and a little less


def test_rounding_alone_is_no_growth() -> None:
    trace = example(learning_rate=0.5)
    values = dict(trace.values) | {"cost": 0.5, "new_cost": np.nextafter(0.5, 1)}
    told = replace(trace, _values=values).to_text().splitlines()[-1]
    assert told.endswith(" the cost of this row is 0.5000000000000001; it was 0.5.")
    values["new_cost"] = 0.6
    assert (
        "grows from 0.5 to 0.6. The learning rate is too large"
        in replace(trace, _values=values).to_text()
    )


# Pages


def test_to_html_returns_or_writes_a_page(tmp_path: Path) -> None:
    text = example().to_html()
    assert text.startswith("<!DOCTYPE html>") and "<title>Backpropagation in a 3-4-2 net" in text
    example().to_html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
    assert str(example()._repr_html_()).startswith("<iframe ")
    with pytest.raises(TypeError, match="path is 3"):
        example().to_html(3)
    with pytest.raises(FileNotFoundError):
        example().to_html(tmp_path / "missing/page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_large_network_has_no_page() -> None:
    network = Network((200, 100), backend="numpy", seed=0)
    trace = network.trace(np.ones(200), np.ones(100))
    with pytest.raises(
        ValueError, match=r"^the network has 20,100 parameters, expected at most 20,000"
    ):
        trace.to_html()
    assert trace._repr_html_() is None and MOST_PARAMETERS == 20_000
    assert Network((199, 100), backend="numpy").trace(np.ones(199), np.ones(100)).to_html()
