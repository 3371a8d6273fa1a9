"""The C files of a library: only the kernels that the plans call, flat in one folder, every name under one prefix.

All names of the project's C begin with ``kws_`` or ``KWS_``. A library of another prefix has that in their place, in
names of files too, so that two libraries of any versions can be linked together, even from one folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from model_pipeline.compiler.host import KERNELS
from model_pipeline.errors import KwsError
from model_pipeline.image import CORE, Part, detector_window
from model_pipeline.native import FIRMWARE

# The files that the functions of firmware/core/nn/fast of these names are in, with all that those call. What begins
# with kws_nn_ is in the file of its name. tests/library/test_sources.py links each alone.
FAST = {
    "kws_fast_add": ("add.c",),
    "kws_fast_average_pool": ("pool.c",),
    "kws_fast_depthwise": ("depthwise.c", "depthwise_m4.c"),
    "kws_fast_planes_3x3": ("planes.c", "planes_3x3.c"),
    "kws_fast_planes_x5": ("planes.c", "planes_x5.c"),
    "kws_fast_planes_line": ("planes.c", "planes_line.c"),
    "kws_fast_matrix8": ("matrix.c", "matrix8.c"),
    "kws_fast_matrix16": ("matrix.c", "matrix16.c"),
    "kws_fast_conv8": ("conv.c", "conv8.c", "matrix.c", "matrix8.c"),
    "kws_fast_conv16": ("conv.c", "conv16.c", "matrix.c", "matrix16.c"),
}
_RESERVED = {"int", "auto", "main", "std", "char", "long", "void", "case", "enum", "else", "goto", "this", "new"}
_INCLUDE = re.compile(r'^(\s*#\s*include\s+)"([^"]+)"', re.M)
_NAME = re.compile(r"\b(kws_|KWS_)")


def check_prefix(prefix: str) -> str:
    """
    Raises:
        KwsError: not the beginning of a C name.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", prefix) or len(prefix) > 31 or prefix in _RESERVED:
        raise KwsError(
            f"--prefix {prefix!r} can't begin a C name",
            hint="small letters, digits and single _ between them, such as front_door",
        )
    return prefix


def kernel_files(functions: Iterable[str]) -> list[Path]:
    """The C files that define these kernels, and what those call.

    Raises:
        ValueError: a kernel that is in no known file.
    """
    found: set[Path] = set()
    for function in functions:
        plain = sorted((p for p in KERNELS[0].glob("*.c") if function.startswith(p.stem)), key=lambda p: len(p.stem))
        fast = [KERNELS[1] / name for key, names in FAST.items() if function.startswith(key) for name in names]
        if not plain and not fast:
            raise ValueError(f"no file is known for {function}")
        found.update(plain[-1:] or fast)
    return sorted(found)


def library_files(parts: Sequence[Part], generated: dict[str, str], prefix: str) -> dict[str, str]:
    """The sources of a library by file name.

    Args:
        generated: the generated files of the same parts, with their names.
        prefix: see `check_prefix`.
    """
    calls = {call.function for part in parts for call in part.program.calls if call.function}
    wanted = [*kernel_files(calls), *(p for folder in CORE for p in folder.glob("*.c"))]
    texts = {_flat(path): path.read_text(encoding="utf-8") for path in wanted}
    texts |= generated
    headers = {_flat(path): path for folder in (*CORE, *KERNELS) for path in folder.glob("*.h")}
    waiting = list(texts.values())
    while waiting:
        for _, name in _INCLUDE.findall(waiting.pop()):
            flat = _include(name)
            if flat not in texts:
                texts[flat] = headers[flat].read_text(encoding="utf-8")
                waiting.append(texts[flat])
    for name in ("kws_nn.h", "kws_fast.h"):
        if name in texts:
            texts[name] = _declared(texts[name], [text for other, text in texts.items() if other != name])
    texts["kws_ring.h"] = headers["kws_ring.h"].read_text(encoding="utf-8")
    limits = {
        "KWS_FE_MAX_FFT": max(part.manifest.frontend.fft_size for part in parts),
        "KWS_FE_MAX_CHANNELS": max(part.manifest.frontend.channels for part in parts),
        "KWS_DET_MAX_LABELS": max(len(part.manifest.labels) for part in parts),
        "KWS_DET_MAX_WINDOW": max(detector_window(part.manifest) for part in parts),
    }
    return {_renamed(name, prefix): _adapted(text, prefix, limits) for name, text in texts.items()}


def _declared(header: str, others: Sequence[str]) -> str:
    """A header of kernels without the paragraphs, comments included, whose functions and types all are unused.

    Args:
        header: its paragraphs have an empty line between them.
        others: the texts that may use what it declares.
    """
    paragraphs = header.split("\n\n")
    used = "\n".join(others)
    kept = [not _declares(paragraph) for paragraph in paragraphs]
    while True:
        text = used + "".join(p for p, keep in zip(paragraphs, kept, strict=True) if keep)
        more = [
            keep or any(re.search(rf"\b{name}", text) for name in _declares(paragraph))
            for paragraph, keep in zip(paragraphs, kept, strict=True)
        ]
        if more == kept:
            break
        kept = more
    return "\n\n".join(p for p, keep in zip(paragraphs, kept, strict=True) if keep)


def _declares(paragraph: str) -> list[str]:
    """Beginnings of the names of functions and types that a paragraph of a kernels' header declares, as patterns."""
    types = [f"{name}\\b" for name in re.findall(r"^\} (kws_\w+);", paragraph, re.M)]
    functions = [f"{name}\\b" for name in re.findall(r"^void (kws_\w+)\(", paragraph, re.M)]
    kinds = [f"kws_fast_{name}_" for name in re.findall(r"^KWS_FAST_KINDS\(\w+, (\w+)\)", paragraph, re.M)]
    return [*types, *functions, *kinds]


def _flat(path: Path) -> str:
    return path.name if path.name.startswith("kws_") else f"kws_fast_{path.name}"


def _include(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    return base if base.startswith(("kws_", "model_")) else f"kws_fast_{base}"


def _adapted(text: str, prefix: str, limits: dict[str, int]) -> str:
    """``text`` with flat includes, the limits of these models, and the prefix."""
    text = _INCLUDE.sub(lambda m: f'{m[1]}"{_include(m[2])}"', text)
    for name, value in limits.items():
        text = re.sub(rf"^(#define {name}) \d+$", rf"\1 {value}", text, flags=re.M)
    return _renamed(text, prefix)


def _renamed(text: str, prefix: str) -> str:
    if prefix == "kws":
        return text
    return _NAME.sub(lambda m: f"{prefix.upper()}_" if m[1].isupper() else f"{prefix}_", text)


def licence() -> str:
    """The text that goes with the sources."""
    return (FIRMWARE.parent / "LICENSE").read_text(encoding="utf-8")
