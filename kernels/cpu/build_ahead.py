"""Build the library of kernels ahead: what setup.py does when it makes a wheel.

    python -m gpubp.kernels.cpu.build_ahead FOLDER

The compiler is the one that `compiler.py` finds, or CXX. Its target decides the platform, so a cross
compiler makes a library for another machine: CXX="python -m ziglang c++ -target aarch64-linux-gnu.2.28".
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from ..activations import ACTIVATIONS
from ..costs import COSTS
from ..output_head import OutputHead
from ..updates import UPDATES
from . import compiler
from .ahead import RECORD, VARIANTS, Record, key_of, prefix
from .texts import (
    BASE,
    activation_text,
    base_text,
    dropout_text,
    output_delta_text,
    parts,
    row_costs_text,
    text_of,
    update_text,
)

__all__ = ["build", "every_text"]

FILES = 8
"""The texts of table entries are compiled in so many files for each variant, at the same time."""

HIDDEN = ("-fvisibility=hidden",)
"""Functions of the C++ library that are linked into the library are not exported, as kernels are."""


class Target(NamedTuple):
    """What a compiler compiles for.

    Attributes
    ----------
    system : str
        "linux", "macos" or "windows".
    machine : str
        "x86_64" or "aarch64".
    suffix : str
        The end of a shared library's name.
    """

    system: str
    machine: str
    suffix: str

    @classmethod
    def of_compiler(cls) -> Target:
        """Ask the compiler for its macros."""
        macros = _macros()
        for system, macro, suffix in (
            ("windows", "_WIN32", ".dll"),
            ("macos", "__APPLE__", ".dylib"),
            ("linux", "__linux__", ".so"),
        ):
            for machine in VARIANTS:
                if macro in macros and f"__{machine}__" in macros:
                    return cls(system, machine, suffix)
        raise compiler.CompileError("no variant of the kernels is known for the compiler's target")


def every_text() -> dict[str, None]:
    """List the base's text, then those of all table entries, and of pairs of activation and cost."""
    return dict.fromkeys(text for text in _texts() if text)


def _texts() -> Iterator[str]:
    yield base_text()
    yield dropout_text()
    for activation in ACTIVATIONS.values():
        yield activation_text(activation)
        for cost in COSTS.values():
            head = OutputHead(activation, cost)
            if not head.is_fused:
                yield output_delta_text(head)
                yield row_costs_text(head)
    for update in UPDATES.values():
        yield update_text(update, plain=True)
        yield update_text(update, plain=False)


def build(folder: Path) -> Path:
    """Build the library and its record in `folder`, and return the library's path.

    The folder is made if it is missing.

    Raises
    ------
    gpubp.kernels.cpu.compiler.CompileError
        If there is no compiler, if it fails, or if it makes code by itself for a better processor than the
        baseline.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = Target.of_compiler()
    variants, texts = VARIANTS[target.machine], list(every_text())
    if target.machine == "x86_64" and "__AVX__" in _macros(variants["baseline"]):
        raise compiler.CompileError(
            "the compiler's target is a processor with AVX, expected x86-64"
        )
    # Of inline functions with one name linkers keep the first: the least processor's objects come first.
    codes: dict[str, tuple[str, tuple[str, ...]]] = {}
    codes["processor"] = text_of("kernel.h") + text_of("processor.cpp"), ()
    for variant, flags in variants.items():
        runtime, kernels = _base(variant)
        codes[f"{variant}-runtime"] = runtime, next(iter(variants.values()))
        codes[f"{variant}-base"] = kernels, flags
        for k in range(FILES):
            codes[f"{variant}{k}"] = _united(texts[1 + k :: FILES], variant), flags
    library, windows = folder / f"built_ahead{target.suffix}", target.system == "windows"
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = [
            pool.submit(compiler.compile_object, code, Path(work), name, (*HIDDEN, *flags), windows)
            for name, (code, flags) in codes.items()
        ]
        compiler.link([made.result() for made in objects], library, ("-s",), Path(work), windows)
    record = Record(
        file=library.name,
        bytes=library.stat().st_size,
        platform=f"{target.system} on {target.machine}",
        machine=target.machine,
        compiler=compiler.version(),
        keys=sorted(map(key_of, texts)),
    )
    text = json.dumps(record._asdict(), indent=1) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")
    return library


def _base(variant: str) -> tuple[str, str]:
    """Return the base's text in two: the runtime, and kernels.

    The runtime is compiled for the least processor in every variant: it uses the C++ library, of whose
    inline functions the linker keeps one copy for all variants.
    """
    key, (runtime, *files) = key_of(base_text()), map(text_of, BASE)
    return _joined([(runtime, key)], variant), _joined([("\n".join(files), key)], variant)


def _united(texts: list[str], variant: str) -> str:
    """Join texts to one."""
    return _joined([(text, key_of(text)) for text in texts], variant)


def _joined(texts: list[tuple[str, str]], variant: str) -> str:
    """Join texts to one, each in a namespace of its own and with exported names that begin with its key."""
    directives: dict[str, None] = {}
    bodies = []
    for text, key in texts:
        own, body = parts(text)
        directives |= dict.fromkeys(own)
        start = f"#undef PREFIX\n#define PREFIX {prefix(variant, key)}\n"
        bodies.append(f"{start}namespace text_{key} {{\n{body}\n}}\n")
    common = text_of("math.h") + text_of("vectors.h")
    start = "\n".join((*directives, text_of("kernel.h")))
    return f"{start}namespace kernels {{\n{common}{''.join(bodies)}}}\n"


def _macros(flags: tuple[str, ...] = ()) -> set[str]:
    lines = compiler.preprocessed(flags).splitlines()
    return {line.split()[1] for line in lines if line.startswith("#define ")}


def main(folder: Path) -> int:
    """Build into a folder, or say why not in one line."""
    try:
        library = build(folder)
    except (compiler.CompileError, OSError) as error:
        print(str(error), file=sys.stderr)
        return 1
    print(f"{library}: {library.stat().st_size / 1e6:.1f} MB, by {compiler.version()}")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m gpubp.kernels.cpu.build_ahead FOLDER")
    sys.exit(main(Path(sys.argv[1])))
