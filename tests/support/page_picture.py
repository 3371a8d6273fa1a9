"""``python -m tests.support.page_picture`` makes docs/page.png: kws web and the emulated board, with ten words."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

from host_tools.image import build as builder
from host_tools.image import emulate
from host_tools.web import folder, server
from host_tools.web.server import Board
from model_pipeline.native import ROOT
from tests.support import page as pages

TARGET = ROOT / "docs" / "page.png"
BOARD = "disco_f407vg"
COLOURS = 96  # enough for the picture, and a fifth of the bytes


def main(words: int = 10) -> None:
    """Writes the picture; takes half a minute, and longer on a busy computer."""
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        model = pages.plain_model(place)
        elf = Path(builder.build(BOARD, model, out=place / "build").elf)
        wav = pages.write_wav(place / "words.wav", pages.ten_words(model)[0])
        with emulate.start(BOARD, elf) as emulator, pages.driver() as playwright:
            board = Board(f"{BOARD}, emulated", emulator.url, 500_000, False, emulator.check)
            with server.serving(folder.files(model), board) as url, pages.browser(playwright) as browser:
                page = pages.Opened(browser, url, viewport={"width": 1060, "height": 960}, color_scheme="light")
                page.connected()
                page.listen_to(wav)
                page.heard("there", words)
                page.page.screenshot(path=place / "page.png")
                page.close()
        picture = Image.open(place / "page.png").convert("RGB")
        picture.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
