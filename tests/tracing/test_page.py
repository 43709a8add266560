"""The page of a trace in a browser: its steps, numbers, sums and keys."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from browsing import evaluated, find, hover, number, press, step_shown, text_of, wait
from support.made_traces import EXAMPLES

from gpubp.tracing.page_text import shown_number

Opened = Callable[..., Any]
NAMES = list(EXAMPLES)


def test_every_step_is_reached_by_buttons_by_keys_and_in_the_list(opened: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    steps = EXAMPLES["one_layer"]()["steps"]
    browser = opened("one_layer")
    expected = [
        (f"Step {k + 1} of {len(steps)}", str(k + 1), step["id"]) for k, step in enumerate(steps)
    ]
    seen = [step_shown(browser)]
    for _ in steps[1:]:
        find(browser, "#next").click()
        seen.append(step_shown(browser))
    assert seen == expected
    seen = [step_shown(browser)]
    for _ in steps[1:]:
        press(browser, Keys.ARROW_LEFT)
        seen.append(step_shown(browser))
    assert seen == expected[::-1]
    press(browser, Keys.END)
    assert step_shown(browser) == expected[-1]
    press(browser, Keys.ARROW_RIGHT)
    assert step_shown(browser) == expected[-1]
    press(browser, Keys.HOME)
    assert step_shown(browser) == expected[0]
    for k in (6, 2):
        browser.find_elements("css selector", "#steps button")[k].click()
        assert step_shown(browser) == expected[k]
        assert text_of(browser, "#step-title") == steps[k]["title"]
    find(browser, "#last").click()
    find(browser, "#previous").click()
    assert step_shown(browser) == expected[-2]
    find(browser, "#first").click()
    browser = opened("worked_example")
    shown = [step_shown(browser)[2]]
    for key in "]]]][":
        press(browser, key)
        shown.append(step_shown(browser)[2])
    assert shown == ["z1", "z2", "cost", "cost_derivative", "propagated1", "cost_derivative"]


def test_the_address_names_the_step(opened: Opened) -> None:
    browser = opened("worked_example", "delta1")
    assert step_shown(browser)[2] == "delta1"
    browser.execute_script("location.hash = '#a2'")
    wait(browser, lambda b: step_shown(b)[0] == "Step 4 of 18")
    assert step_shown(opened("worked_example", "nonsense%"))[0] == "Step 1 of 18"


COLLECT = """
const [digits] = arguments, steps = [];
const select = document.querySelector("#digits");
select.value = digits;
select.dispatchEvent(new Event("change"));
for (const button of document.querySelectorAll("#steps button")) {
  document.activeElement.blur();
  button.click();
  const results = [...document.querySelectorAll(".result table")].map((table) =>
    [...table.querySelectorAll("td[data-row]")].map((cell) => {
      cell.focus();
      const shown = document.querySelector(".sum-line");
      const lit = [...document.querySelectorAll("#drawing .lit:not(.flow)")];
      return {
        text: cell.textContent, row: +cell.dataset.row, column: +cell.dataset.column,
        sum: shown.querySelector(".sum").textContent, result: shown.querySelector("strong").textContent,
        heard: document.querySelector("#live").textContent,
        edges: lit.filter((part) => part.classList.contains("edge")).length,
        neurons: lit.filter((part) => part.classList.contains("neuron")).length,
        used: [...document.querySelectorAll("td.used")].map((each) => each.textContent),
      };
    }));
  steps.push(results);
}
return steps;
"""
"""Choose every element of every result, and collect what is shown of it."""


COLLECTED: dict[str, Any] = {}


def collected(opened: Opened, name: str) -> Any:
    """Collect once what a page shows, with 8 digits."""
    if name not in COLLECTED:
        COLLECTED[name] = opened(name).execute_script(COLLECT, 8)
    return COLLECTED[name]


def value_at(values: dict[str, Any], name: str, cell: dict[str, Any]) -> float:
    value = np.array(values[name], dtype=object)
    index = (cell["row"], cell["column"])[: value.ndim]
    return float(value[index])


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_are_those_of_the_trace(opened: Opened, name: str) -> None:
    trace = EXAMPLES[name]()
    shown = collected(opened, name)
    assert len(shown) == len(trace["steps"])
    for step, results in zip(trace["steps"], shown, strict=True):
        written = [step["writes"]]
        if step["operation"] == "update" and trace["values"].get(f"new_b{step['layer']}"):
            written.append(f"new_b{step['layer']}")
        assert len(results) == len(written)
        for name_of_value, cells in zip(written, results, strict=True):
            assert cells
            for cell in cells:
                wanted = value_at(trace["values"], name_of_value, cell)
                assert number(cell["text"]) == pytest.approx(wanted, rel=1e-7, nan_ok=True)
                assert cell["result"] == cell["text"]


def computed(trace: dict[str, Any], step: dict[str, Any]) -> Any:  # noqa: PLR0911
    """Compute a step with NumPy from what it reads, all in one: the sums must give the same."""
    v = {k: np.array(value) for k, value in trace["values"].items() if value is not None}
    layer = int(re.sub(r"\D", "", step["writes"]) or len(trace["sizes"]) - 1)
    before = v["x"] if layer == 1 else v.get(f"a{layer - 1}")
    match step["operation"]:
        case "affine":
            return v[f"w{layer}"] @ before + v.get(f"b{layer}", 0)
        case "activation" if trace["activations"][layer - 1] == "sigmoid":
            return 1 / (1 + np.exp(-v[f"z{layer}"]))
        case "activation" if trace["activations"][layer - 1] == "tanh":
            return np.tanh(v[f"z{layer}"])
        case "activation" if trace["activations"][layer - 1] == "relu":
            return np.maximum(v[f"z{layer}"], 0)
        case "softmax":
            powers = np.exp(v[f"z{layer}"])
            return powers / powers.sum()
        case "cost" if step.get("terms"):
            return np.sum((v["y"] - v[f"a{layer}"]) ** 2) / 2
        case "cost_derivative" | "output_delta_fused":
            return v[f"a{layer}"] - v["y"]
        case "slope" if trace["activations"][layer - 1] == "sigmoid":
            return v[f"a{layer}"] * (1 - v[f"a{layer}"])
        case "slope" if trace["activations"][layer - 1] == "tanh":
            return 1 - v[f"a{layer}"] ** 2
        case "slope" if trace["activations"][layer - 1] == "relu":
            return np.where(v[f"z{layer}"] > 0, 1.0, 0.0)
        case "output_delta_softmax":
            a = v[f"a{layer}"]
            return (np.diag(a) - np.outer(a, a)) @ v["cost_derivative"]
        case "output_delta":
            return v["cost_derivative"] * v[f"slope{layer}"]
        case "propagate":
            return v[f"delta{layer + 1}"] @ v[f"w{layer + 1}"]
        case "input_gradient":
            return v["delta1"] @ v["w1"]
        case "delta":
            return v[f"propagated{layer}"] * v[f"slope{layer}"]
        case "weight_gradient":
            return np.outer(v[f"delta{layer}"], before)
        case "bias_gradient":
            return v[f"delta{layer}"]
        case "update":
            return v[f"w{layer}"] - trace["learning_rate"] * v[f"weight_gradient{layer}"]
    return None


@pytest.mark.parametrize(
    "name", ["worked_example", "classes", "three_layers", "softmax_with_quadratic_cost"]
)
def test_each_sum_has_the_numbers_that_it_is_made_of(opened: Opened, name: str) -> None:
    trace, checked = EXAMPLES[name](), set()
    for step, results in zip(trace["steps"], collected(opened, name), strict=True):
        wanted = computed(trace, step)
        if wanted is None:
            continue
        checked.add(step["operation"])
        for cell in results[0]:
            index = (cell["row"], cell["column"])[: np.ndim(wanted)]
            expected = float(np.asarray(wanted)[index])
            assert evaluated(cell["sum"]) == pytest.approx(expected, rel=1e-6, abs=1e-7)
            assert f"{cell['sum']} = {cell['result']}" in cell["heard"]
            if step["operation"] == "affine":
                inputs = trace["sizes"][step["layer"] - 1]
                weights = np.array(trace["values"][f"w{step['layer']}"])[cell["row"]]
                assert cell["edges"] == inputs and cell["neurons"] == inputs + 1
                assert [number(text) for text in cell["used"][:inputs]] == pytest.approx(
                    weights, rel=1e-7
                )
            elif step["operation"] == "propagate":
                outputs = trace["sizes"][step["layer"] + 1]
                assert (cell["edges"], cell["neurons"]) == (outputs, outputs + 1)
            elif step["operation"] == "weight_gradient":
                assert (cell["edges"], cell["neurons"], len(cell["used"])) == (1, 2, 2)
    assert {"affine", "propagate", "weight_gradient"} <= checked


def test_a_sum_is_shown_where_the_mouse_points(opened: Opened) -> None:
    browser = opened("worked_example", "z1")
    rows = browser.find_elements("css selector", ".result td[data-row]")
    hover(browser, rows[3])
    assert text_of(browser, ".sum") == "1·1 − 1·2 + 0·(−1) + 1"
    assert text_of(browser, ".where") == "Neuron 4 of layer 1"
    assert [cell.text for cell in browser.find_elements("css selector", "td.used")] == [
        "1", "−1", "0", "1", "2", "−1", "1"
    ]  # fmt: skip
    neuron = find(browser, "#drawing [aria-label^='Neuron 2 of layer 1']")
    hover(browser, neuron)
    assert text_of(browser, ".sum") == "1.099·1 + 0·2 + 0·(−1) + 0"
    assert text_of(browser, "#readout") == "Neuron 2 of layer 1: b¹ = 0, z¹ = 1.099"
    # What a later step computes is not told before.
    find(browser, "#next").click()
    hover(browser, neuron)
    assert text_of(browser, "#readout") == "Neuron 2 of layer 1: b¹ = 0, z¹ = 1.099, a¹ = 0.75"


def test_the_keys_of_the_result_and_of_the_network(opened: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = opened("worked_example", "weight_gradient1")
    browser.execute_script("document.querySelector('.result td[tabindex=\"0\"]').focus()")
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert text_of(browser, ".sum") == "0.03223·(−1)"
    assert step_shown(browser)[2] == "weight_gradient1"
    press(browser, Keys.HOME)
    # The focus stays in the result; in a vector the arrows to the sides go to another step.
    press(browser, Keys.ARROW_DOWN, Keys.ARROW_DOWN)
    assert text_of(browser, ".where") == "Neuron 3 of layer 1"
    press(browser, Keys.ARROW_RIGHT)
    assert step_shown(browser)[2] == "a1"
    browser.execute_script("document.querySelector('#drawing [tabindex=\"0\"]').focus()")
    press(browser, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    assert text_of(browser, "#readout").startswith("Neuron 2 (second) of layer 2: ")
    press(browser, "?")
    assert find(browser, "#keys").is_displayed()
    press(browser, Keys.ARROW_RIGHT, Keys.ESCAPE)
    assert not find(browser, "#keys").is_displayed()
    assert step_shown(browser)[2] == "a1"


def test_the_list_of_steps_is_one_stop_of_tab(opened: Opened) -> None:
    from selenium.webdriver.common.keys import Keys

    browser = opened("worked_example", "cost")
    stops = browser.find_elements("css selector", "#steps button[tabindex='0']")
    assert [stop.get_attribute("data-step") for stop in stops] == ["4"]
    browser.execute_script("arguments[0].focus()", stops[0])
    for key, step in ((Keys.ARROW_RIGHT, 5), (Keys.ARROW_RIGHT, 6), (Keys.END, 17), (Keys.HOME, 0)):
        press(browser, key)
        assert browser.switch_to.active_element.get_attribute("data-step") == str(step)
        assert step_shown(browser)[1] == str(step + 1)
    press(browser, Keys.TAB)
    assert browser.switch_to.active_element.tag_name == "g"  # a neuron


def test_what_the_page_says_of_a_step(opened: Opened) -> None:
    browser = opened("worked_example", "delta2")
    live = find(browser, "#live")
    assert (live.get_attribute("aria-live"), live.get_attribute("role")) == ("polite", "status")
    assert live.get_property("textContent") == (
        "Step 8 of 18, backward: δ² = ∂C/∂a² ⊙ σ′(z²). δ² is −0.04688, 0.125."
    )
    find(browser, "#next").click()
    assert live.get_property("textContent") == (
        "Step 9 of 18, backward: ∂C/∂w² = δ² (a¹)ᵀ. ∂C/∂w² is row 1: −0.02344, −0.03516, −0.01172, "
        "−0.02344; row 2: 0.0625, 0.09375, 0.03125, 0.0625."
    )
    find(browser, "#last").click()
    assert "The cost was 0.1563; after the step it is 0.1406." in live.get_property("textContent")


def test_the_number_of_digits_can_be_chosen(opened: Opened) -> None:
    browser = opened("worked_example", "z1")
    for digits in (2, 5, 8):
        find(browser, f"#digits option[value='{digits}']").click()
        cells = browser.find_elements("css selector", ".result td[data-row]")
        logarithm = shown_number(math.log(3), digits)
        assert [cell.text for cell in cells] == ["0", logarithm, f"−{logarithm}", "0"]


def test_it_plays_and_pauses(opened: Opened) -> None:
    browser = opened("one_layer", "a1")
    press(browser, " ")
    assert find(browser, "#play").get_attribute("aria-label") == "Pause"
    wait(browser, lambda b: text_of(b, ".where") == "Neuron 2 (a2) of layer 1")
    wait(browser, lambda b: step_shown(b)[2] == "cost")
    find(browser, "#play").click()
    assert find(browser, "#play").get_attribute("aria-label") == "Play"


def test_what_is_not_finite_is_shown_as_such(opened: Opened) -> None:
    browser = opened("not_finite", "z1")
    assert text_of(browser, ".result td[data-row]") == "inf"
    find(browser, "#next").click()
    assert text_of(browser, ".result td[data-row]") == "nan"
    browser = opened("not_finite", "delta1")
    shown = [cell.text for cell in browser.find_elements("css selector", ".result td[data-row]")]
    assert shown[1] == "−inf"
