"""The drawn network in a browser: what its neurons show, and what each step reads, writes and moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from browsing import number
from support.made_traces import EXAMPLES

COLLECT = """
const seen = [], select = document.querySelector("#digits");
select.value = 8;
select.dispatchEvent(new Event("change"));
const has = (part, name) => part.classList.contains(name);
const all = (selector) => [...document.querySelectorAll(`#drawing ${selector}`)];
for (const button of document.querySelectorAll("#steps button")) {
  document.activeElement.blur();
  button.click();
  seen.push({
    neurons: all(".neuron").map((group) => ({
      shown: group.querySelector(".number").textContent, kind: group.querySelector(".kind")?.textContent,
      heard: group.getAttribute("aria-label"),
      level: group.querySelector(".body").style.getPropertyValue("--level"),
      isDelta: has(group, "of-delta"), isEmpty: has(group, "empty"), isNegative: has(group, "negative"),
      reads: has(group, "reads"), writes: has(group, "writes"),
    })),
    edges: all(".edge").map((edge) => ({
      isNegative: has(edge, "negative"), isZero: has(edge, "zero"),
      size: edge.style.getPropertyValue("--size"),
      reads: has(edge, "reads"), writes: has(edge, "writes"),
    })),
    flows: all(".flow").map((flow) => flow.getAttribute("class")),
    targets: all(".target").map((group) =>
      [group.querySelector(".number").textContent, has(group, "reads")]),
    cost: all(".cost")[0].textContent,
  });
}
return seen;
"""

SHORT = {"x": "x", "z": "z", "a": "a", "delta": "δ", "propagated": "e", "input_gradient": "∂C/∂x"}
CHOICE = ("delta", "propagated", "a", "z")
"""What a neuron shows: δ as far as the backward pass has come, else a, else z."""


def of_neurons(name: str, layer: int, last: int) -> bool:
    """Whether a value has a number for each neuron of a layer."""
    if name in ("x", "input_gradient"):
        return layer == 0
    if name == "cost_derivative":
        return layer == last
    kinds = ("a", "b", "z", "slope", "propagated", "delta", "bias_gradient", "new_b")
    return name in [f"{kind}{layer}" for kind in kinds]


def of_edges(name: str, layer: int) -> bool:
    return name in (f"w{layer}", f"weight_gradient{layer}", f"new_w{layer}")


@pytest.mark.parametrize("name", ["worked_example", "three_layers", "without_biases"])
def test_the_network_shows_what_the_step_computes(name: str, opened: Callable[..., Any]) -> None:
    trace = EXAMPLES[name]()
    values, sizes, steps = trace["values"], trace["sizes"], trace["steps"]
    last, written = len(sizes) - 1, {"x"}
    seen = opened(name).execute_script(COLLECT)
    assert len(seen) == len(steps)
    for step, drawn in zip(steps, seen, strict=True):
        written.add(step["writes"])
        writes = {step["writes"], step["writes"].replace("new_w", "new_b")}
        reads = {one for one in step["reads"] if values.get(one) is not None}
        neurons, edges, flows = iter(drawn["neurons"]), iter(drawn["edges"]), iter(drawn["flows"])
        for layer, size in enumerate(sizes):
            choice = [f"{kind}{layer}" for kind in CHOICE] if layer else ["input_gradient", "x"]
            shown = next((one for one in choice if one in written), None)
            group = [next(neurons) for _ in range(size)]
            assert {one["isEmpty"] for one in group} == {shown is None}, (step["id"], layer)
            assert {one["reads"] for one in group} == {
                any(of_neurons(r, layer, last) for r in reads)
            }
            assert {one["writes"] for one in group} == {
                any(of_neurons(w, layer, last) and values.get(w) is not None for w in writes)
            }
            if shown is None:
                continue
            numbers = np.array(values[shown], float)
            is_delta = shown.startswith(("delta", "propagated", "input"))
            for one, value in zip(group, numbers, strict=True):
                assert number(one["shown"]) == pytest.approx(value, rel=2e-2, abs=1e-12), step["id"]
                assert one["isDelta"] is is_delta and one["isNegative"] is bool(value < 0)
                assert one["kind"] in (None, SHORT[shown.rstrip("0123456789")])
                assert SHORT[shown.rstrip("0123456789")] in one["heard"]
            levels = [int(one["level"].rstrip("%")) for one in group]
            order = np.argsort(abs(numbers), kind="stable")
            assert sorted(levels) == [levels[k] for k in order], "a fuller colour is larger"
        for layer in range(1, last + 1):
            current = f"new_w{layer}" if f"new_w{layer}" in written else f"w{layer}"
            for weight in np.ravel(values[current]):
                edge, flow = next(edges), next(flows)
                assert (edge["isNegative"], edge["isZero"]) == (weight < 0, weight == 0)
                size = abs(weight) / np.abs(values[current]).max()
                assert float(edge["size"]) == pytest.approx(size, abs=1e-3)
                assert edge["reads"] is any(of_edges(r, layer) for r in reads)
                assert edge["writes"] is any(of_edges(w, layer) for w in writes)
                way = {"affine": "forward", "propagate": "back", "input_gradient": "back"}
                moves = way.get(step["operation"]) if edge["reads"] else None
                assert [c for c in flow.split() if c not in ("dense", "lit")] == [
                    "flow",
                    *([moves] if moves else []),
                ]
        assert [read for _, read in drawn["targets"]] == ["y" in reads] * sizes[-1]
        assert [number(text) for text, _ in drawn["targets"]] == pytest.approx(
            values["y"], rel=1e-2
        )
        cost = drawn["cost"].removeprefix("C = ")
        assert (number(cost) if cost else None) == (
            pytest.approx(values["cost"], rel=1e-3) if "cost" in written else None
        )
