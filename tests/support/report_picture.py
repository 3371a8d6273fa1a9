"""The README's picture of a report: ``python -m tests.support.report_picture runs/demo`` writes docs/report.png.

Chromium draws the first screen of the run's report.html. The picture remembers how the page looked when it was made
(`look`); tests/tools/test_docs.py says when it no longer does.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

from host_tools.report import page
from host_tools.report.results import Results
from model_pipeline.files import atomic_path
from model_pipeline.native import ROOT

PICTURE = ROOT / "docs" / "report.png"
SIZE = (1120, 1000)
_KEY = b"kws-look"
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def look() -> str:
    """A hash of the page of always the same results, but for what matplotlib draws, whose versions differ."""
    from tests.tools.test_report import example

    html = re.sub(r"<svg.*?</svg>", "", page.render(Results.of(example())), flags=re.DOTALL)
    return hashlib.sha256(html.encode()).hexdigest()[:16]


def look_of(png: bytes) -> str:
    """What `look` gave when ``png`` was made; "" if it does not say.

    Raises:
        ValueError: not a PNG file.
    """
    for kind, data in _chunks(png):
        if kind == b"tEXt" and data.startswith(_KEY + b"\0"):
            return data.partition(b"\0")[2].decode("ascii")
    return ""


def stamped(png: bytes, stamp: str) -> bytes:
    """``png`` with ``stamp`` in it, and nothing else that is text."""
    text = _KEY + b"\0" + stamp.encode("ascii")
    chunks = [c for c in _chunks(png) if c[0] != b"tEXt"]
    return _SIGNATURE + b"".join(_packed(*c) for c in [chunks[0], (b"tEXt", text), *chunks[1:]])


def _chunks(png: bytes) -> list[tuple[bytes, bytes]]:
    if not png.startswith(_SIGNATURE):
        raise ValueError("not a PNG file")
    found, at = [], len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        found.append((png[at + 4 : at + 8], png[at + 8 : at + 8 + length]))
        at += 12 + length
    return found


def _packed(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main() -> None:
    """Draws the report of the run that is named."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo")
    chromium = shutil.which("chromium")
    if not chromium or not (run / "report.html").is_file():
        sys.exit(f"this needs chromium (apt-get install chromium) and {run}/report.html (make demo)")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--window-size={SIZE[0]},{SIZE[1]}", f"--screenshot={shot}"),
                (run / "report.html").resolve().as_uri(),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
        with atomic_path(PICTURE) as path:
            path.write_bytes(stamped(shot.read_bytes(), look()))
    print(PICTURE)


if __name__ == "__main__":
    main()
