"""The browser in which the tests of the page run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from support.made_traces import EXAMPLES

from gpubp.tracing.page import page

OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
    "--window-size=1280,900",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start one browser for all tests, with logs of its console and of its requests."""
    selenium = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    binary = which("chromium") or which("google-chrome") or which("chromium-browser")
    driver = which("chromedriver")
    if not binary or not driver:
        pytest.skip(f"{'chromedriver' if binary else 'chromium'} is not installed")
    options = selenium.ChromeOptions()
    for option in OPTIONS:
        options.add_argument(option)
    options.binary_location = binary
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = selenium.Chrome(options=options, service=Service(driver))
    try:
        started.set_page_load_timeout(60)
        yield started
    finally:
        started.quit()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the pages of all examples."""
    folder, written = tmp_path_factory.mktemp("pages"), {}
    for name, made in EXAMPLES.items():
        written[name] = folder / f"{name}.html"
        written[name].write_text(page(made()), encoding="utf-8")
    return written


@pytest.fixture
def opened(browser: Any, files: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Open an example at a step, with a width, a theme and other media features."""

    def open_example(name: str, step: str = "", width: int = 1280, **features: str) -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        media = [
            {"name": f"prefers-{k.replace('_', '-')}", "value": v} for k, v in features.items()
        ]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": media})
        browser.get("about:blank")
        browser.get(f"{files[name].as_uri()}#{step}")
        return browser

    yield open_example
    if not browser.current_url.startswith("about:"):
        complaints = [entry["message"] for entry in browser.get_log("browser")]
        assert not complaints, complaints
