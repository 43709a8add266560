"""Build the sdist and, from it, a wheel for each platform, with the C++ compiler of the package ziglang.

    make wheels
    make wheels ARGS="--platforms manylinux_2_28_x86_64 --out dist"

Zig compiles for every platform from any of them, and for Linux with the C library of a chosen version, so
none of these wheels depends on the machine that builds it. A wheel serves every Python 3.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as host
import shlex
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import ziglang

ROOT = Path(__file__).resolve().parent.parent

PLATFORMS = {
    "manylinux_2_28_x86_64": "x86_64-linux-gnu.2.28",
    "manylinux_2_28_aarch64": "aarch64-linux-gnu.2.28",
    "win_amd64": "x86_64-windows-gnu",
    "macosx_11_0_arm64": "aarch64-macos.11.0",
    "macosx_11_0_x86_64": "x86_64-macos.11.0",
}
"""The wheels' platforms, and Zig's name of each."""

MOST_BYTES = 12_000_000
"""The most bytes of a library."""


def main() -> None:
    """Build the wheels that the command line names; the first fault ends the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--platforms", nargs="+", choices=PLATFORMS, default=list(PLATFORMS))
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    options = parser.parse_args()
    sdist = build(ROOT, options.out, "--sdist")
    for platform in options.platforms:
        began = time.perf_counter()
        wheel = build_wheel(sdist, platform, options.out)
        size = library_size(wheel)
        seconds = time.perf_counter() - began
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB,", end=" ")
        print(f"library {size / 1e6:.1f} MB, {seconds:.0f} s", flush=True)


def here() -> str | None:
    """Return the platform of this machine; None if no wheel is built for it."""
    system, machine = host.system(), host.machine()
    if system == "Linux":
        name = f"manylinux_2_28_{machine}"
    else:
        name = {"Windows": "win_amd64", "Darwin": f"macosx_11_0_{machine}"}.get(system, "")
    return name if name in PLATFORMS else None


def build_wheel(sdist: Path, platform: str, out: Path) -> Path:
    """Build the wheel for a platform from an sdist."""
    zig = Path(ziglang.__file__).parent / ("zig.exe" if os.name == "nt" else "zig")
    compiler = f"c++ -fno-sanitize=undefined -target {PLATFORMS[platform]}"
    variables = {
        "CXX": f"{shlex.quote(str(zig))} {compiler}",
        "GPUBP_WHEEL": "platform",
        "GPUBP_WHEEL_TAG": platform,
    }
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        return build(source, out, "--wheel", **variables)


def build(source: Path, out: Path, what: str, **variables: str) -> Path:
    """Run the package `build`, and return the file that it made."""
    command = (sys.executable, "-m", "build", "--no-isolation", what, "--outdir", out, source)
    shown = run(*command, cwd=ROOT, NO_COLOR="1", FORCE_COLOR="", **variables)
    return out / shown.split()[-1]  # "Successfully built NAME"


def run(*command: str | Path, cwd: Path, quiet: bool = True, **variables: str) -> str:
    """Run a command without the checkout on its path; return its output, and show it on failure."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GPUBP"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment | variables,
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout}\nfailed: {' '.join(map(str, command))}")
    if not quiet:
        print(done.stdout.rstrip())
    return done.stdout


def library_size(wheel: Path) -> int:
    """Check that a wheel has one library, as its record says, and return its bytes."""
    folder = "gpubp/kernels/cpu/"
    with zipfile.ZipFile(wheel) as archive:
        record = json.loads(archive.read(f"{folder}built_ahead.json"))
        sizes = {
            info.filename: info.file_size
            for info in archive.infolist()
            if Path(info.filename).suffix in (".so", ".dll", ".dylib")
        }
    if sizes != {folder + record["file"]: record["bytes"]} or record["bytes"] > MOST_BYTES:
        raise SystemExit(f"{wheel.name} has {sizes}, expected {record['file']} alone")
    return int(record["bytes"])


if __name__ == "__main__":
    main()
