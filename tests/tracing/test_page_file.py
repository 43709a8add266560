"""The page of a trace as a file: its data, its equations, and what is refused."""

from __future__ import annotations

import json
import math
import re
from html import unescape
from typing import Any

import pytest
from support.made_traces import EXAMPLES, worked_example

from gpubp.tracing import page_text
from gpubp.tracing.page import notebook, page


def data_of(text: str) -> Any:
    found = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', text, re.S)
    assert len(found) == 1
    return json.loads(found[0])


@pytest.mark.parametrize("name", list(EXAMPLES))
def test_the_page_holds_the_whole_trace_and_names_no_address(name: str) -> None:
    trace = EXAMPLES[name]()
    text = page(trace)
    assert data_of(text) == trace
    assert text.count("<script") == text.count("</script>") == 2
    data = text.partition('id="trace">')[2].partition("</script>")[0]
    assert data and not set("<>") & set(
        data
    )  # "</script " or "<!--" would end or change the element
    addresses = set(re.findall(r"https?://[^\s\"']+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}, addresses
    assert not re.search(r"@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")|\bsrc=", text) or (
        name == "hostile"
    )


def test_the_page_of_the_worked_example_is_small() -> None:
    assert len(page(worked_example()).encode()) < 110_000


def test_a_frame_holds_the_page_as_it_is() -> None:
    trace = EXAMPLES["hostile"]()
    frame = re.fullmatch(r'<iframe ([^>]*) srcdoc="([^"]*)"></iframe>', notebook(trace))
    assert frame is not None
    assert unescape(frame[2]) == page(trace)
    assert 'sandbox="allow-scripts"' in frame[1]


def test_a_number_that_json_lacks_is_refused() -> None:
    trace = worked_example()
    trace["values"]["cost"] = math.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        page(trace)


def test_equations_as_mathml() -> None:
    def plain(text: str) -> str:
        return (
            page_text.math(text).removeprefix('<math displaystyle="true">').removesuffix("</math>")
        )

    z = "<msup><mi>z</mi><mn>1</mn></msup>"
    assert plain("z¹ = 2") == f"{z}<mo>=</mo><mn>2</mn>"
    assert plain("σ′(z¹)") == (
        '<mi>σ′</mi><mrow><mo stretchy="false">(</mo>' + z + '<mo stretchy="false">)</mo></mrow>'
    )
    assert plain("∂C/∂w²") == (
        "<mfrac><mrow><mo>∂</mo><mi>C</mi></mrow>"
        "<mrow><mo>∂</mo><msup><mi>w</mi><mn>2</mn></msup></mrow></mfrac>"
    )
    assert plain("exp(-a)").startswith('<mi mathvariant="normal">exp</mi>')
    assert '<mo form="prefix">−</mo>' in plain("exp(-a)")
    assert plain("my_σ") == '<mi mathvariant="normal">my_σ</mi>'
    assert plain("Σ_k z_k").endswith("<msub><mi>z</mi><mtext>k</mtext></msub>")
    assert plain("aᵀ") == "<msup><mi>a</mi><mtext>T</mtext></msup>"
    assert plain("</b>&") == "<mo>&lt;</mo><mo>/</mo><mi>b</mi><mo>&gt;</mo><mo>&amp;</mo>"
    for odd in ("", "¹", "((", "))", "(a", "₁₂", "∂C/∂"):
        assert plain(odd).count("<") == 2 * plain(odd).count("</")


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0.15625, "0.1563"),
        (-0.0468750, "−0.04688"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (123456.7, "123457"),
        (99999.6, "100000"),
        (2.5e10, "2.5e10"),
        (-1.25e-7, "−1.25e−7"),
        (0.0001, "0.0001"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-inf", "−inf"),
    ],
)
def test_numbers(number: float | str, shown: str) -> None:
    assert page_text.shown_number(number) == shown
