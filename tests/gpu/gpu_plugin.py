"""A pytest plugin for short runs of the suite on a GPU: `-p gpu_plugin`, with or without pytest-xdist.

Each test ends by waiting for the device, because CUDA's errors arrive late. After an error that stays, such
as an illegal access, no test of that process can pass. The process then ends, and pytest-xdist starts
another. The outcome of each test is written at once, with the kernels that the test asked for.
"""

from __future__ import annotations

import functools
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_report import last_lines, record

FIRST_FOLDERS = ("kernels", "network", "backends")
"""The folders whose tests run first, because a run may be cut short."""
MOST_LINES = 120

_asked: set[str] = set()


def pytest_configure(config: pytest.Config) -> None:
    _note_kernels()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Records(), "gpu-trial-records")


def _note_kernels() -> None:
    """Note which kernels are asked for. A caller may keep an elementwise kernel and then asks once."""
    from gpubp.kernels.cuda import launch

    def noting(function: Any, name_of: Any) -> Any:
        @functools.wraps(function)
        def ask(*arguments: Any, **options: Any) -> Any:
            _asked.add(name_of(*arguments))
            return function(*arguments, **options)

        return ask

    launch.raw = noting(launch.raw, lambda cupy, file, *_: file)
    launch.by_rows = noting(launch.by_rows, lambda cupy, name, *_: f"{name}.cu")
    launch.elementwise = noting(
        launch.elementwise, lambda cupy, inputs, outputs, operation, name, *_: name
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for name, keep in (("GPUBP_TRIAL_ONLY", True), ("GPUBP_TRIAL_DONE", False)):
        if name in os.environ:
            listed = set(Path(os.environ[name]).read_text(encoding="utf-8").splitlines())
            without = [item for item in items if (item.nodeid in listed) != keep]
            items[:] = [item for item in items if (item.nodeid in listed) == keep]
            config.hook.pytest_deselected(items=without)
    places = {name: k for k, name in enumerate(FIRST_FOLDERS)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    _asked.clear()
    try:
        yield
    finally:
        item.user_properties.append(("kernels", sorted(_asked)))
    _wait()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    result = yield
    if _is_broken():
        print(f"gpu trial: the device is lost to this process after {item.nodeid}", file=sys.stderr)
        sys.stderr.flush()
        if hasattr(item.config, "workerinput"):
            os._exit(3)
        pytest.exit("the device is lost to this process", 3)
    return result


def _wait() -> None:
    """Wait until the device has done its work; an error that came late is raised here."""
    cupy = sys.modules.get("cupy")
    runtime: Any = getattr(getattr(cupy, "cuda", None), "runtime", None)
    if hasattr(runtime, "deviceSynchronize"):  # a test may have replaced the module cupy
        runtime.deviceSynchronize()


def _is_broken() -> bool:
    """Tell whether waiting fails twice. CUDA reports an error that does not stay only once."""
    for _ in range(2):
        try:
            _wait()
        except Exception:
            continue
        return False
    return True


class Records:
    """Writes a record for each test; with pytest-xdist, from what the workers report."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._outcomes: dict[str, tuple[str, Any]] = {}
        self._done: set[str] = set()
        self._warnings: Counter[str] = Counter()
        self._collected = False

    def pytest_runtest_logreport(self, report: Any) -> None:
        nodeid = report.nodeid
        self._seconds[nodeid] = self._seconds.get(nodeid, 0.0) + report.duration
        if report.when == "???":  # the worker ended during the test
            if nodeid not in self._done:
                self._write(nodeid, "crashed", report)
            return
        if report.outcome != "passed" or report.when == "call":
            outcome = str(report.outcome)
            if outcome == "failed" and report.when != "call":
                outcome = "error"
            if nodeid not in self._outcomes or self._outcomes[nodeid][0] == "passed":
                self._outcomes[nodeid] = outcome, report
        if report.when == "teardown" and nodeid in self._outcomes:
            self._write(nodeid, *self._outcomes.pop(nodeid))

    def _write(self, nodeid: str, outcome: str, report: Any) -> None:
        self._done.add(nodeid)
        fields: dict[str, Any] = {"test": nodeid, "outcome": outcome}
        fields["seconds"] = round(self._seconds.pop(nodeid, 0.0), 4)
        fields["kernels"] = dict(report.user_properties).get("kernels", [])
        if outcome == "skipped" and isinstance(report.longrepr, tuple):
            fields["reason"] = str(report.longrepr[2])
        elif outcome != "passed":
            fields["failure"] = last_lines(report.longreprtext or str(report.longrepr), 40)
            output = "\n".join(text for _, text in report.sections)
            if output:
                fields["output"] = last_lines(output, 15)
        record(**fields)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome == "failed":
            record(file=report.nodeid, outcome="error", failure=last_lines(report.longreprtext, 40))
        elif report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            record(file=report.nodeid, outcome="skipped", reason=str(report.longrepr[2]))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:
            self._collect(len(session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self._collect(len(ids))

    def _collect(self, count: int) -> None:
        if not self._collected:
            record(collected=count)
        self._collected = True

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        text = f"{warning_message.category.__name__}: {str(warning_message.message)[:160]}"
        self._warnings[text] += 1
        if self._warnings[text] == 1 and len(self._warnings) <= MOST_LINES:
            record(warning=text, first=nodeid)

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        record(finished=int(exitstatus), warnings=dict(self._warnings.most_common(MOST_LINES)))
