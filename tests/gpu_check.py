"""Run the suite on a CUDA machine and write what ran: `make gpu-check`.

It fails if the suite fails or if no GPU was used. The report goes to benchmarks/results/, named after the
device and the day. It lists the oracles that are not installed, and the reasons for skipped tests. If there
are only minutes, use `gpu_trial.py`.
"""

from __future__ import annotations

import platform
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.extend([str(HERE), str(HERE / "gpu")])  # PYTHONSAFEPATH keeps HERE off the path

import pytest  # noqa: E402
from gpu_report import Counter, write_report  # noqa: E402

import gpubp  # noqa: E402
from gpubp.backends import get_backend  # noqa: E402
from gpubp.backends.cupy import device_count  # noqa: E402

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


def main() -> int:
    devices, reason = device_count()
    if not devices:
        print(f"gpu-check: no GPU to check: {reason}", file=sys.stderr)
        return 1
    counter = Counter()
    arguments = ["-q", "-ra", "-p", "no:cacheprovider", str(HERE), *sys.argv[1:]]
    status = int(pytest.main(arguments, plugins=[counter]))
    found = facts()
    path = write_report(found, counter, status)
    print(f"\ngpu-check: {found['device']}")
    print(f"  {counter.outcomes}, of which {counter.on_gpu} passed on the GPU; report: {path}")
    for oracle in found["missing_oracles"]:
        print(f"  oracle not installed, tests that need it were skipped: {oracle}")
    if not counter.on_gpu:
        print("gpu-check: no test ran on the GPU", file=sys.stderr)
        return status or 1
    return status


def facts() -> dict[str, Any]:
    """Return the head of a report: what ran, and where."""
    backend = get_backend("cupy")
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": backend.device,
        "driver": backend.xp.cuda.runtime.driverGetVersion(),
        "runtime": backend.xp.cuda.runtime.runtimeGetVersion(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "gpubp": gpubp.__version__,
        "packages": {name: _version(name) for name in PACKAGES},
        "missing_oracles": missing_oracles(),
    }


def missing_oracles() -> list[str]:
    """List the packages that tests compare with and that are not installed; these tests are skipped."""
    from support.nvidia import nvrtc_version

    missing = [name for name in ORACLES if find_spec(name) is None]
    return missing if nvrtc_version() else [*missing, "NVRTC"]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    raise SystemExit(main())
