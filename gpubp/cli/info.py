"""List this machine's backends, the one that "auto" chooses, which kernels run, and the reasons."""

from __future__ import annotations

import argparse
import json

__all__ = ["add_arguments", "run"]

FIELDS = """\
fields of --json:
  gpubp, python, system       versions, and the operating system
  auto                        what "auto" chooses: backend, device, reason
  backends                    for each backend, its device, or why it is absent
  kernels.run                 which kernels run on the CPU, and why
  kernels.not_built_ahead     why none are built ahead; null if they are
  blas                        each BLAS of NumPy and SciPy
  packages                    the version of each package; null if it is absent
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog = FIELDS


def run(options: argparse.Namespace) -> int:
    """Print versions, backends, devices, the CPU's kernels and BLAS, and packages."""
    from .info_facts import collect, lines  # noqa: PLC0415 - completion has no time for it

    facts = collect()
    print(json.dumps(facts, indent=2) if options.json else "\n".join(lines(facts)))
    return 0
