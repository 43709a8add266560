"""Build sdists and wheels: with the library of kernels built ahead where there is a C++ compiler.

The environment variable GPUBP_WHEEL is "platform" (an error without the library), "pure" (no library), or
not set (the library if it can be built). CXX names the compiler, which may be a cross compiler.
GPUBP_WHEEL_TAG then names the platform of the wheel, such as manylinux_2_28_aarch64. The library knows
nothing of Python, so one wheel serves every Python 3. An editable install has no library.

The README is also the description of the package, where only absolute links lead somewhere.
"""

from __future__ import annotations

import json
import os
import platform as host
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution

ROOT = Path(__file__).parent.absolute()
README = (ROOT / "README.md").read_text(encoding="utf-8")
AHEAD = ROOT / "build" / "ahead"
"""Where the library and its record are built."""


class Package(Distribution):
    """The package, which belongs to a platform if it has a library."""

    has_library = False

    def parse_config_files(self, *arguments: Any, **keywords: Any) -> None:
        """Read pyproject.toml; then the URL and the version that the description needs are known."""
        super().parse_config_files(*arguments, **keywords)
        about = self.metadata
        source = about.project_urls["Source"]
        about.long_description = with_absolute_links(README, source, about.version)

    def has_ext_modules(self) -> bool:
        """Whether the wheel is for one platform."""
        return self.has_library


class Wheel(bdist_wheel):
    """A wheel for every Python 3, of one platform or of all."""

    def finalize_options(self) -> None:
        """Build the library first: whether there is one decides the wheel's tag.

        Other commands, of editable installs and of metadata, finalise this one too, and need no library.
        """
        if "bdist_wheel" in self.distribution.commands:
            self.distribution.has_library = built_ahead(os.environ.get("GPUBP_WHEEL", ""))
        super().finalize_options()

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tags of Python, of its binary interface and of the platform."""
        if self.root_is_pure:
            return "py3", "none", "any"
        platform = os.environ.get("GPUBP_WHEEL_TAG") or super().get_tag()[2]
        # A Python for both kinds of Macs; the library is for one of them.
        return "py3", "none", platform.replace("universal2", host.machine())


class Files(build_py):
    """The package's files, with the library and its record."""

    def run(self) -> None:
        """Copy the files; what an earlier build left is removed."""
        super().run()
        folder = Path(self.build_lib, "gpubp", "kernels", "cpu")
        for left in folder.glob("built_ahead.*"):
            left.unlink()
        if not self.editable_mode and AHEAD.exists():
            for built in AHEAD.iterdir():
                shutil.copy2(built, folder)


def with_absolute_links(text: str, source: str, version: str) -> str:
    """Make the relative links and images of Markdown absolute.

    Parameters
    ----------
    text : str
        The Markdown text.
    source : str
        The URL of the repository.
    version : str
        A release's links lead to the files of its tag, those of other versions to the newest files.

    Returns
    -------
    str
        The text with absolute links. Links within the page (`#part`) stay as they are.
    """
    revision = "main" if ".dev" in version or "+" in version else f"v{version}"

    def absolute(found: re.Match[str]) -> str:
        start, target = found[1], found[2]
        # "raw" is the file itself, "blob" a page that shows it.
        kind = "raw" if start.startswith(("![", "<img")) else "blob"
        return f"{start}{source}/{kind}/{revision}/{target.removeprefix('./')}"

    # A target that begins with a scheme, such as https:, is absolute.
    relative = r"(?![a-zA-Z][a-zA-Z+.-]*:|#|/)([^)\s\"]+)"
    for start in (r"!?\[[^][]*\]\(", r"\]\(", r'<img[^>]*?\ssrc="', r'<a[^>]*?\shref="'):
        text = re.sub(f"({start}){relative}", absolute, text)
    return text


def built_ahead(wanted: str) -> bool:
    """Build the library, or write down why there is none; return whether there is one."""
    if wanted not in ("", "platform", "pure"):
        raise SystemExit(f"GPUBP_WHEEL is {wanted!r}, expected 'platform', 'pure' or nothing")
    shutil.rmtree(AHEAD, ignore_errors=True)
    AHEAD.mkdir(parents=True)
    reason = "the package was built with GPUBP_WHEEL='pure'"
    if wanted != "pure":
        # In gpubp/, so that the package `kernels` is found without the packages that gpubp needs.
        command = [sys.executable, "-m", "kernels.cpu.build_ahead", str(AHEAD)]
        done = subprocess.run(
            command, cwd=ROOT / "gpubp", check=False, stderr=subprocess.PIPE, encoding="utf-8"
        )
        if done.returncode == 0:
            return True
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        if wanted == "platform":
            raise SystemExit(said)
        print(said, file=sys.stderr)
        reason = f"when the package was built, {said}"
    record = json.dumps({"missing": reason}) + "\n"
    (AHEAD / "built_ahead.json").write_text(record, encoding="utf-8")
    return False


if __name__ == "__main__":
    setup(
        distclass=Package,
        cmdclass={"bdist_wheel": Wheel, "build_py": Files},
        long_description=README,
        long_description_content_type="text/markdown",
    )
