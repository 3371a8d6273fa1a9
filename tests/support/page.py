"""kws web's page in Debian's Chromium, with a WAV file as its microphone."""

from __future__ import annotations

import contextlib
import shutil
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host_tools.check.device import Reference
from model_pipeline.export import export
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.manifest import load_manifest, save_manifest
from model_pipeline.native import FIRMWARE
from tests.support.spoken import RATE, VOICES, many, say

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WAIT_S = 300  # a busy computer is slow


def write_wav(path: Path, samples: NDArray[np.int16]) -> Path:
    """16 kHz mono."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def plain_model(folder: Path) -> Path:
    """The shipped network, exported with a detector that takes synthetic voices' words: without a second look, which
    was learnt on people's."""
    shipped = FIRMWARE / "model"
    source = folder / "plain"
    source.mkdir(parents=True)
    manifest = load_manifest(shipped)
    thresholds = [140 if label in manifest.keywords else 0 for label in manifest.labels]
    detector = manifest.detector.model_copy(update={"window": 6, "min_count": 1, "thresholds": thresholds})
    shutil.copy2(shipped / "model.tflite", source)
    save_manifest(manifest.model_copy(update={"detector": detector, "look": None}), source / "model.json")
    export(source, folder / "exported")
    return folder / "exported"


def ten_words(model: Path) -> tuple[NDArray[np.int16], list[tuple[int, str]]]:
    """Ten words of flite's with quiet about each, and where the model hears them: (position, word).

    Raises:
        LookupError: it does not hear as many.
    """
    recogniser = Recogniser(model, 1)
    manifest = recogniser.manifest
    quiet = (np.random.default_rng(1).standard_normal(RATE) * 10).astype(np.int16)
    speech, labels, heard = quiet, [], []
    for voice in VOICES:
        for label, word in enumerate(manifest.keywords):
            longer = np.concatenate([speech, say(word, voice), quiet])
            found = recogniser.track(longer).detect(manifest.detector)
            if [d.label for d in found] == [*labels, label]:
                speech, labels = longer, [*labels, label]
                heard = [(d.position, manifest.labels[d.label]) for d in found]
                if len(labels) == 10:
                    return speech, heard
    raise LookupError(f"the model hears {len(labels)} of flite's words")


def ten_of_people(model: Path, data: Path) -> tuple[NDArray[np.int16], list[tuple[int, str]]]:
    """As `ten_words`, of people's test clips in the data folder."""
    speech, _ = many(Reference(model), 10, data)
    recogniser = Recogniser(model, 1)
    found = recogniser.track(speech).detect(recogniser.manifest.detector)
    return speech, [(d.position, recogniser.manifest.labels[d.label]) for d in found]


def program() -> str:
    """Chromium; the test is skipped where there is none."""
    pytest.importorskip("playwright", reason="the package playwright is not installed: run `make test`")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        pytest.skip("no Chromium in PATH: run `make test`")
    return found


@contextlib.contextmanager
def driver() -> Iterator[Playwright]:
    """Playwright; one at a time in a process."""
    program()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@contextlib.contextmanager
def browser(playwright: Playwright, arguments: Sequence[str] = ()) -> Iterator[Browser]:
    """Chromium without a window."""
    # As root, as in containers, its sandbox does not start.
    chromium = playwright.chromium.launch(
        executable_path=program(), args=[*arguments, "--mute-audio"], chromium_sandbox=False
    )
    try:
        yield chromium
    finally:
        chromium.close()


def microphone(wav: Path | None) -> list[str]:
    """Chromium's arguments for a microphone that plays a file again and again, and that pages may use."""
    play = [f"--use-file-for-fake-audio-capture={wav}"] if wav else []
    return ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", *play]


class Opened:
    """A page that is open, with what it said and asked for."""

    def __init__(self, browser: Browser, url: str, *, scripts: Sequence[str] = (), **settings: Any) -> None:
        self.context = browser.new_context(accept_downloads=True, **settings)
        self.page = self.context.new_page()
        self.page.set_default_timeout(1000 * WAIT_S)
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.addresses.append(request.url))
        for script in scripts:
            self.page.add_init_script(script)
        self.page.goto(url)
        self.page.wait_for_selector("body[data-ready=yes]")

    def text(self, selector: str) -> str:
        """What is seen there."""
        return " ".join(self.page.inner_text(selector).split())

    def wait(self, condition: str, argument: Any = None) -> None:
        """Until a JavaScript expression is true."""
        self.page.wait_for_function(condition, arg=argument)

    def connected(self) -> None:
        """Waits for the board."""
        self.page.wait_for_selector("body[data-board=open]")

    def words(self, side: str) -> list[tuple[int, str]]:
        """Words (position, word) that ``here`` or ``there`` has said, the oldest first."""
        rows = self.page.eval_on_selector_all(
            "#words tr",
            "(rows, side) => rows.filter(r => r.querySelector('.' + side).textContent)"
            ".map(r => [Number(r.dataset.position), r.dataset.word])",
            side,
        )
        return sorted((position, word) for position, word in rows)

    def heard(self, side: str, count: int) -> list[tuple[int, str]]:
        """As `words`, once there are ``count``."""
        self.wait(
            "([side, count]) => [...document.querySelectorAll('#words .' + side)]"
            ".filter(cell => cell.textContent).length >= count",
            [side, count],
        )
        return self.words(side)

    def listen_to(self, wav: Path) -> None:
        """Gives the page a file."""
        self.page.set_input_files("#wav", wav)

    def close(self) -> None:
        """Ends it."""
        self.context.close()
