"""Run the suite on a CUDA machine and write what ran: `make gpu-check`.

Fails if the suite fails or if no GPU was used. The report goes to benchmarks/results/, named after the
device and the day; oracles that are not installed are named in it, and why each test was skipped.
"""

from __future__ import annotations

import json
import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import gpubp
from gpubp.backends import device_count, get_backend

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "results"
ORACLES = ("autograd", "hypothesis", "matplotlib", "pytest_benchmark", "sklearn")
PACKAGES = (
    "cupy-cuda12x",
    "cupy-cuda13x",
    "numpy",
    "scipy",
    "nvmath-python",
    "pytest",
    "hypothesis",
    "autograd",
    "scikit-learn",
    "matplotlib",
)


class Counter:
    """A pytest plugin that counts outcomes, and those of tests on the GPU."""

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.on_gpu = 0
        self.failed: list[str] = []
        self.skipped: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when != "call" and report.outcome == "passed":
            return
        self.outcomes[report.outcome] = self.outcomes.get(report.outcome, 0) + 1
        parameters = report.nodeid.partition("[")[2].rstrip("]").split("-")
        is_gpu = "cupy" in parameters and "host" not in parameters
        self.on_gpu += is_gpu and report.when == "call" and report.outcome == "passed"
        if report.outcome == "failed":
            self.failed.append(report.nodeid)
        self._count_skipped(report)

    def pytest_collectreport(self, report: Any) -> None:
        """A file that is skipped as a whole counts as one test."""
        self._count_skipped(report)

    def _count_skipped(self, report: Any) -> None:
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            reason = str(report.longrepr[2]).removeprefix("Skipped: ")
            self.skipped[reason] = self.skipped.get(reason, 0) + 1


def main() -> int:
    devices, reason = device_count()
    if not devices:
        print(f"gpu-check: no GPU to check: {reason}", file=sys.stderr)
        return 1
    counter = Counter()
    arguments = ["-q", "-ra", "-p", "no:cacheprovider", str(HERE), *sys.argv[1:]]
    status = int(pytest.main(arguments, plugins=[counter]))
    missing = missing_oracles()
    backend = get_backend("cupy")
    report = {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": backend.device,
        "driver": backend.xp.cuda.runtime.driverGetVersion(),
        "runtime": backend.xp.cuda.runtime.runtimeGetVersion(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "gpubp": gpubp.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "missing_oracles": missing,
        "outcomes": counter.outcomes,
        "passed_on_gpu": counter.on_gpu,
        "failed": counter.failed,
        "skipped": counter.skipped,
        "exit_status": status,
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    name = "".join(c if c.isalnum() else "-" for c in backend.device.split(",")[0]).lower()
    path = RESULTS / f"gpu-check-{name}-{report['date'][:10]}.json"
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"\ngpu-check: {backend.device}")
    print(f"  {counter.outcomes}, of which {counter.on_gpu} passed on the GPU; report: {path}")
    for oracle in missing:
        print(f"  oracle not installed, tests that need it were skipped: {oracle}")
    if not counter.on_gpu:
        print("gpu-check: no test ran on the GPU", file=sys.stderr)
        return status or 1
    return status


def missing_oracles() -> list[str]:
    """What tests compare with and this installation lacks; the tests are skipped then."""
    # Where Python does not look for modules beside a script, pytest has seen to it by now.
    from cuda_on_host import nvrtc_version

    missing = [name for name in ORACLES if find_spec(name) is None]
    return missing if nvrtc_version() else [*missing, "NVRTC"]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
