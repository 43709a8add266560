"""Run a Python command as on a processor without AVX-512, on a machine that has it.

    python benchmarks/tools/haswell.py -m gpubp bench --quick
    python benchmarks/tools/haswell.py benchmarks/tools/variants.py classifier 32 twins

The processor is an Intel Haswell, which has AVX2 and FMA. The compiler of gpubp's kernels and OpenBLAS are
told so by its name. PyTorch, oneDNN, MKL and XLA are told not to use more than AVX2. What the command
measures is near to what such a processor does, but not the same: the clock and the caches are those of this
machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SETTINGS = {
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


def main() -> int:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("g++", "clang++")), "")
    settings = dict(SETTINGS)
    if compiler:
        settings["CXX"] = f"{compiler} -march=haswell"
    limit = "--xla_cpu_max_isa=AVX2"
    settings["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {limit}".strip()
    command = [sys.executable, *sys.argv[1:]]
    return subprocess.run(command, check=False, env=os.environ | settings).returncode


if __name__ == "__main__":
    sys.exit(main())
