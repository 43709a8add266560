"""The page of a trace in other places: in themes and widths, in print, in a notebook, without a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from browsing import evaluated, find, number, step_shown, text_of
from support.made_traces import EXAMPLES, HOSTILE

import gpubp
from gpubp.tracing.page import notebook

Opened = Callable[..., Any]


def test_names_cannot_break_the_page(opened: Opened) -> None:
    browser = opened("hostile", "a2")
    assert browser.title == text_of(browser, "h1") == text_of(browser, ".prediction") == HOSTILE
    assert text_of(browser, "#step-title").endswith(HOSTILE)
    assert not browser.find_elements("css selector", "#broken, img, b")
    names = browser.find_elements("css selector", "#drawing .neuron title")
    told = [name.get_property("textContent") for name in names]
    assert told == [HOSTILE, "</style>", "{{data}}", HOSTILE, "'\"><img src=x>"]
    find(browser, "#next").click()
    assert step_shown(browser)[2] == "cost"


@pytest.mark.parametrize("width", [1280, 390])
def test_long_names_are_cut_between_letters_and_by_no_edge(browser: Any, width: int) -> None:
    network = gpubp.Network((3, 13, 2), dtype="float64", backend="numpy", seed=0)
    names = ["😀" * 40, "a long name of an input", "short"]
    trace = network.trace([1, 2, 3], [0, 1], input_names=names)
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get("about:blank")
    browser.execute_script("document.write(arguments[0]); document.close()", trace.to_html())
    told = browser.execute_script("""
        return [...document.querySelectorAll("#drawing .name")].map((each) => {
          const { x, width } = each.getBBox(), whole = each.closest("svg").width.baseVal.value;
          return [each.textContent, x, whole - x - width];
        });
    """)
    assert [name[:3] for name, *_ in told] == ["😀" * 3, "a l", "sho", "a₁", "a₂"]
    for name, left, right in told:
        assert "\ufffd" not in name and set(name) - {"😀", "…"} <= set("".join(names) + "a₁₂")
        assert left >= 0 and right >= 0, told


def test_wide_layers_and_matrices_are_cut(opened: Opened) -> None:
    browser, trace = opened("wide", "z1"), EXAMPLES["wide"]()
    drawn = browser.find_elements("css selector", "#drawing .neuron")
    assert len(drawn) == 7 + 7 + 10
    more = browser.find_elements("css selector", "#drawing .more")
    assert [text.text for text in more] == ["23 more", "13 more"]
    rows = browser.find_elements("css selector", ".matrix.many tr")
    assert len(rows) == 8 and all(len(row.text.split()) == 8 for row in rows)
    head, tail = text_of(browser, ".sum").split(" + … ")
    x, w = trace["values"]["x"], trace["values"]["w1"][0]
    assert evaluated(head) == pytest.approx(np.dot(w[:5], x[:5]), abs=1e-3)
    assert evaluated(tail) == pytest.approx(np.dot(w[28:], x[28:]), abs=1e-3)
    assert "Of more than 12 rows or columns the first 5 and the last 2 are shown" in text_of(
        browser, "#hint"
    )
    assert number(text_of(browser, ".sum-line strong")) == pytest.approx(
        trace["values"]["z1"][0], abs=1e-3
    )


def test_nothing_is_requested_and_nothing_could_be(opened: Opened) -> None:
    browser = opened("classes")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = {
        message["params"]["request"]["url"].partition(":")[0]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    }
    assert "file" in sent and sent <= {"file", "data", "about"}
    blocked = browser.execute_async_script("""
        const [done] = arguments, seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
          seen.push(event.effectiveDirective);
          if (seen.length === 3) done(seen);
        });
        fetch("http://127.0.0.1:9/x").catch(() => {});
        const image = new Image();
        image.src = "http://127.0.0.1:9/x.png";
        const script = document.createElement("script");
        script.textContent = "window.ran = true";
        document.head.append(script);
    """)
    assert sorted(blocked) == ["connect-src", "img-src", "script-src-elem"]
    assert browser.execute_script("return window.ran === undefined")
    complaints = browser.get_log("browser")
    assert all("Content Security Policy" in entry["message"] for entry in complaints)


def test_a_frame_in_a_notebook(browser: Any, tmp_path: Any) -> None:
    outside = "<style>* { color: red !important } table, svg { display: none !important }</style>"
    file = tmp_path / "notebook.html"
    file.write_text(f"<!DOCTYPE html>{outside}{notebook(EXAMPLES['hostile']())}", encoding="utf-8")
    browser.get(file.as_uri())
    frame = find(browser, "iframe.gpubp-trace")
    assert frame.get_attribute("sandbox") == "allow-scripts"
    assert frame.get_attribute("title") == HOSTILE
    browser.switch_to.frame(frame)
    find(browser, "#next").click()
    assert text_of(browser, "#count") == "Step 2 of 18"
    assert find(browser, ".result table").is_displayed()
    assert find(browser, "h1").value_of_css_property("color") != "rgba(255, 0, 0, 1)"
    browser.switch_to.default_content()
    assert browser.current_url == file.as_uri()
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("name", ["classes", "three_layers", "wide", "hostile"])
def test_nothing_is_wider_than_a_narrow_window(opened: Opened, name: str) -> None:
    for width in (360, 640):  # 640: a window of 1280 at a zoom of 200 %
        browser = opened(name, width=width)
        widest = browser.execute_script("""
            let widest = 0;
            document.querySelector("#show-plain").click();
            for (const button of document.querySelectorAll("#steps button")) {
              button.click();
              widest = Math.max(widest, document.documentElement.scrollWidth);
            }
            return widest;
        """)
        assert widest <= browser.execute_script("return document.documentElement.clientWidth")


def test_motion_is_left_out_on_request(opened: Opened) -> None:
    for wish, animation in (("no-preference", "flowing"), ("reduce", "none")):
        browser = opened("worked_example", "z1", reduced_motion=wish)
        assert find(browser, ".flow.forward").value_of_css_property("animation-name") == animation


def test_print_has_all_steps_one_below_another(opened: Opened) -> None:
    browser = opened("worked_example", color_scheme="light")
    find(browser, "#theme").click()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    tops = browser.execute_script("""
        return [...document.querySelectorAll(".plain-step")].map((step) => step.getBoundingClientRect())
          .map((box) => [box.top, box.height]);
    """)
    assert len(tops) == 18 and all(height > 40 for _, height in tops)
    assert all(one[0] + one[1] <= other[0] for one, other in pairwise(tops))
    assert not find(browser, "#next").is_displayed()
    assert (
        find(browser, "body").value_of_css_property("background-color") == "rgba(255, 255, 255, 1)"
    )


def test_without_javascript_all_steps_are_there(opened: Opened) -> None:
    browser = opened("three_layers")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        steps = browser.find_elements("css selector", ".plain-step")
        assert len(steps) == 24 and steps[-1].is_displayed()
        assert find(browser, "noscript p").is_displayed()
        assert not find(browser, "#next").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


CONTRASTS = """
const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const rgba = (color) => {
  pixel.clearRect(0, 0, 1, 1);
  pixel.fillStyle = color;
  pixel.fillRect(0, 0, 1, 1);
  return [...pixel.getImageData(0, 0, 1, 1).data];
};
const light = (color) => {
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const [r, g, b] = color.map((c) => linear(c / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const behind = (element) => {
  const circle = element.closest("g")?.querySelector("circle.body, rect");
  if (circle && element.matches(".number, .kind")) return rgba(getComputedStyle(circle).fill);
  for (let at = element; at; at = at.parentElement) {
    const color = rgba(getComputedStyle(at).backgroundColor);
    if (color[3] === 255) return color;
  }
};
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!element.checkVisibility()) continue;
  if (element.closest("script, .only-heard, .skip, [aria-disabled=true]")) continue;
  const style = getComputedStyle(element), inSvg = element instanceof SVGElement;
  const name = element.tagName + "." + (element.getAttribute("class") ?? "");
  if (own && element.tagName !== "title") {
    found.push([name, 4.5, contrast(rgba(inSvg ? style.fill : style.color), behind(element))]);
  } else if (element.matches(".edge, .flow.lit, .neuron .body, .target rect") && style.stroke !== "none") {
    found.push([name, 3, contrast(rgba(style.stroke), behind(element))]);
  } else if (element.matches("button, select")) {
    const border = rgba(style.borderTopColor);
    if (border[3] === 255) found.push([name, 3, contrast(border, behind(element.parentElement))]);
  }
}
return found;
"""
"""What the contrast of a text, a line or a border is, and what it must be at least."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_contrasts(opened: Opened, theme: str) -> None:
    for name, step in (
        ("worked_example", "z1"),
        ("worked_example", "delta1"),
        ("worked_example", "new_w1"),
        ("classes", "cost"),
    ):
        browser = opened(name, step, color_scheme=theme, reduced_motion="reduce")
        browser.execute_script("document.querySelector('.about').open = true")
        found = browser.execute_script(CONTRASTS)
        assert len(found) > 100
        assert [each for each in found if each[2] < each[1]] == []


def test_a_button_switches_the_theme(opened: Opened) -> None:
    browser = opened("one_layer", color_scheme="dark")
    background = "return getComputedStyle(document.body).backgroundColor"
    dark = browser.execute_script(background)
    assert text_of(browser, "#theme") == "Light"
    find(browser, "#theme").click()
    assert text_of(browser, "#theme") == "Dark"
    light = browser.execute_script(background)
    assert light != dark
    assert opened("one_layer", color_scheme="light").execute_script(background) == light


def test_headings_are_in_order_and_all_that_can_be_used_has_a_name(opened: Opened) -> None:
    browser = opened("classes", "z2")
    find(browser, "#show-plain").click()
    levels, unnamed, language = browser.execute_script("""
        const name = (each) => each.getAttribute("aria-label") || each.textContent.trim()
          || each.labels?.[0]?.textContent;
        return [
          [...document.querySelectorAll("main h2, main h3, h1")].map((each) => Number(each.tagName[1])),
          [...document.querySelectorAll("button, select, summary, [tabindex='0'], table")]
            .filter((each) => !name(each)).map((each) => each.outerHTML),
          document.documentElement.lang,
        ];
    """)
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert (unnamed, language) == ([], "en")
    # A browser takes a table without headers for layout, unless it has a role.
    operands = browser.find_elements("css selector", "#product .operand:not(.result) table")
    assert [table.get_attribute("role") for table in operands] == ["table"] * 3
    grid = find(browser, ".result table")
    assert (grid.get_attribute("role"), grid.get_attribute("aria-label")) == ("grid", "z²")
