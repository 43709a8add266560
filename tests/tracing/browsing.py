"""What the tests of the page do in the browser, and read there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

__all__ = ["evaluated", "find", "hover", "number", "press", "step_shown", "text_of", "wait"]


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def text_of(browser: Any, selector: str) -> str:
    script = "return document.querySelector(arguments[0]).textContent.trim()"
    return str(browser.execute_script(script, selector))  # in one call: the page may be playing


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        browser.switch_to.active_element.send_keys(key)


def hover(browser: Any, element: Any) -> None:
    from selenium.webdriver import ActionChains

    ActionChains(browser, duration=0).move_to_element(element).perform()


def wait(browser: Any, condition: Callable[[Any], bool]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60, poll_frequency=0.05).until(condition)


def number(text: str) -> float:
    return float(text.replace("−", "-"))


def step_shown(browser: Any) -> tuple[str, str, str]:
    """Return what the counter, the list of steps and the address say."""
    count, current, address = browser.execute_script("""
        const current = document.querySelectorAll("#steps [aria-current=step]");
        const places = [...current].map((each) => String(Number(each.dataset.step) + 1)).join();
        return [document.querySelector("#count").textContent, places, location.hash.slice(1)];
    """)
    return count, current, address


def evaluated(sum_text: str) -> float:
    """Evaluate "0.5·1 + 0.25·(−2)" as Python."""
    sum_text = sum_text.replace("²", "**2")
    known = {"exp": math.exp, "tanh": math.tanh, "max": max}
    return float(eval(sum_text.replace("−", "-").replace("·", "*"), {"__builtins__": {}}, known))
