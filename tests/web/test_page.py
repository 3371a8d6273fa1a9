"""The page in Chromium: words by its microphone, a board by Web Serial and by the server, and what goes wrong."""

from __future__ import annotations

import contextlib
import os
import time
import wave
from collections.abc import Callable, Iterator
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from host_tools.image import emulate
from host_tools.link.session import Link
from host_tools.web import folder, server, wasm
from host_tools.web.server import Board
from model_pipeline.errors import DeviceError, MissingTool
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE, ROOT
from tests.support import page as pages
from tests.support.fake_device import FakeFirmware, listening
from tests.support.firmware_images import image, private_copy

HERE = Path(__file__).resolve().parent
SERIAL = (HERE / "serial.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.plain_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def thresholds(model: Path) -> list[int]:
    return load_manifest(model).detector.thresholds


@pytest.fixture(scope="module")
def files(model: Path) -> dict[str, bytes]:
    pages.program()
    pytest.importorskip("websockets", reason="the package websockets is not installed: run `make setup`")
    try:
        return folder.files(model)
    except MissingTool as error:
        pytest.skip(f"{error}: run `make setup`")


@pytest.fixture(scope="module")
def ten(model: Path) -> tuple[NDArray[np.int16], list[tuple[int, str]]]:
    """Ten words, and where the model hears them: (position, word)."""
    try:
        return pages.ten_words(model)
    except FileNotFoundError:
        pytest.skip("flite is not in PATH: run `make setup`")


@pytest.fixture(scope="module")
def wav(ten: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write_wav(tmp_path_factory.mktemp("sound") / "ten.wav", ten[0])


@pytest.fixture(scope="module")
def playwright(files: dict[str, bytes]) -> Iterator[Any]:
    with pages.driver() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright: Any, wav: Path) -> Iterator[Any]:
    with pages.browser(playwright, pages.microphone(wav)) as browser:
        yield browser


Open = Callable[..., pages.Opened]


@pytest.fixture
def opened(chromium: Any, files: dict[str, bytes]) -> Iterator[Open]:
    """Opens the page of a server with ``board``; at the end nothing may have gone wrong or come from elsewhere."""
    with contextlib.ExitStack() as stack:

        def open_(board: Board | None = None, *, browser: Any = None, **settings: Any) -> pages.Opened:
            url = stack.enter_context(server.serving(files, board))
            page = pages.Opened(browser or chromium, url, **settings)
            stack.callback(check, page, url)
            return page

        def check(page: pages.Opened, url: str) -> None:
            page.close()
            assert page.errors == []
            own = (url, url.replace("http", "ws"), f"blob:{url}")
            assert page.addresses and all(address.startswith(own) for address in page.addresses)

        yield open_


@pytest.fixture(scope="module")
def host_elf(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return private_copy(image("host", model=model), tmp_path_factory.mktemp("host"))


@pytest.fixture
def host(host_elf: Path) -> Iterator[Board]:
    with emulate.start("host", host_elf) as emulator:
        yield Board("the firmware here", emulator.url, 500_000, False, emulator.check)


# ---- by itself


def test_the_microphone_makes_words_appear(opened: Open, ten: Any) -> None:
    """Through Chromium's and the page's resampling. The file is played again and again, from any place."""
    page = opened()
    page.page.keyboard.press("m")
    spoken = [word for _, word in ten[1]]
    page.heard("here", 6)
    words = [word for _, word in page.words("here")]
    # What stands in both, in this order; the beginning may lie in the middle of a word.
    same = SequenceMatcher(None, words, spoken * 2, autojunk=False).get_matching_blocks()
    assert sum(block.size for block in same) >= len(words) - 1, (words, spoken)
    assert page.text("#word") in spoken
    assert "dB" in page.text("#level-text") and "this page alone" in page.text("#verdict")
    page.page.keyboard.press("m")
    page.page.wait_for_selector("#microphone[aria-pressed=false]")


def test_a_file_gives_what_the_computer_hears_and_can_be_saved(
    opened: Open, ten: Any, wav: Path, tmp_path: Path
) -> None:
    page = opened()
    page.listen_to(wav)
    page.page.wait_for_selector("#file[aria-pressed=true]")
    page.page.wait_for_selector("#file[aria-pressed=false]")
    assert page.heard("here", 10) == ten[1]
    with page.page.expect_download() as download:
        page.page.keyboard.press("s")
    download.value.save_as(tmp_path / "heard.wav")
    with wave.open(str(tmp_path / "heard.wav")) as saved:
        assert (saved.getframerate(), saved.getnchannels(), saved.getsampwidth()) == (16000, 1, 2)
        assert saved.readframes(saved.getnframes()) == ten[0].tobytes()
    page.listen_to(ROOT / "README.md")
    page.page.wait_for_selector("text=This file is not a WAV file.")


def test_thresholds_are_the_models_until_moved(opened: Open, thresholds: list[int]) -> None:
    page = opened()
    sliders = page.page.locator("#labels input[type=range]")
    values = [int(slider.input_value()) for slider in sliders.all()]
    assert values == thresholds[: len(values)] and len(values) == 8
    sliders.first.focus()
    page.page.keyboard.press("End")
    assert sliders.first.input_value() == "255" and "100 %" in page.text("#labels")
    page.page.click("#reset-thresholds")
    assert int(sliders.first.input_value()) == values[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(opened: Open, scheme: str) -> None:
    page = opened(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True, is_mobile=True)
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    back = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, back[4:-1].split(","))) < 200) is (scheme == "dark")
    unnamed = page.page.eval_on_selector_all(
        "button, input:not([hidden]), meter",
        "all => all.filter(e => !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).length",
    )
    assert unnamed == 0


def test_the_projector_has_the_word_alone(opened: Open, wav: Path) -> None:
    page = opened(viewport={"width": 1280, "height": 720})
    page.page.keyboard.press("p")
    page.listen_to(wav)
    page.heard("here", 1)
    assert page.page.is_visible("#word") and not page.page.is_visible("#labels")
    assert page.page.eval_on_selector("#word", "e => parseFloat(getComputedStyle(e).fontSize)") > 150
    page.page.keyboard.press("p")
    assert page.page.is_visible("#labels")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NotAllowedError", "The microphone is not allowed for this page."),
        ("NotFoundError", "This computer has no microphone."),
        ("NotReadableError", "The microphone can't be opened: another program has it."),
    ],
)
def test_what_is_wrong_with_a_microphone_is_a_sentence(opened: Open, name: str, words: str) -> None:
    refuse = f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('no', '{name}') }}"
    page = opened(scripts=[refuse])
    page.page.click("#microphone")
    page.page.wait_for_selector(f"text={words}")
    assert page.page.get_attribute("#microphone", "aria-pressed") == "false"


WEBKIT = "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 "


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        (f"{WEBKIT} Safari/605.1.15", "Safari"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "This Firefox"),
    ],
    ids=["Safari", "Firefox"],
)
def test_without_web_serial_it_says_what_to_do(opened: Open, agent: str, name: str) -> None:
    page = opened(user_agent=agent, scripts=["delete Navigator.prototype.serial"])
    said = page.text("#board-state")
    assert said.startswith(f"{name} has no Web Serial") and "kws web --port" in said
    assert page.page.is_disabled("#serial")


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Windows NT 10.0", "Device Manager"),
        ("Macintosh; Intel Mac OS X", "/dev/cu."),
        ("X11; Linux x86_64", "dialout"),
    ],
)
def test_help_for_the_system_where_no_port_is_chosen(opened: Open, agent: str, words: str) -> None:
    platform = "Object.defineProperty(navigator, 'userAgentData', { value: undefined })"
    page = opened(user_agent=f"Mozilla/5.0 ({agent}) Chrome/150", scripts=[SERIAL, platform])
    page.page.evaluate("navigator.serial.chosen = false")
    page.page.click("#serial")
    page.page.wait_for_selector("#help:not([hidden])")
    assert words in page.text("#help")


# ---- with a board


def equal(page: pages.Opened, words: int) -> None:
    """Both sides have said the same, bit for bit."""
    page.page.wait_for_selector(f"#verdict:has-text('{words} words')")
    assert "agree, bit for bit" in page.text("#verdict")
    assert page.page.locator("#words .differs").count() == 0


def _free_again(url: str) -> Link:
    """The device, as soon as the server has let go of it: the page knows of its end first."""
    for _ in range(100):
        try:
            return Link.open(url, 60)
        except DeviceError as error:
            if "in use" not in str(error):
                raise
            time.sleep(0.1)
    raise AssertionError(f"{url} is held ten seconds after the page has left it")


@pytest.mark.qemu
def test_ten_words_on_the_emulated_board_by_web_serial(
    opened: Open, ten: Any, wav: Path, thresholds: list[int], model: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """And a slider reaches it."""
    elf = private_copy(image("disco_f407vg", model=model), tmp_path_factory.mktemp("disco"))
    with emulate.start("disco_f407vg", elf) as emulator:
        page = opened(Board("disco", emulator.url, 500_000, False, emulator.check), scripts=[SERIAL])
        page.connected()
        page.page.click("#disconnect")
        page.page.click("#serial")
        page.connected()
        assert page.page.evaluate("navigator.serial.opened[0].baudRate") == 500_000
        assert page.text("#board-state").startswith("disco_f407vg, firmware")
        page.listen_to(wav)
        assert page.heard("there", 10) == ten[1]
        assert page.words("here") == ten[1]
        equal(page, 10)
        assert "instructions a second" in page.text("#figures")
        slider = page.page.locator("#labels input[type=range]").nth(2)
        slider.focus()
        page.page.keyboard.press("Home")
        page.wait("() => !document.querySelector('#messages').children.length")
        page.page.wait_for_timeout(1000)
        page.page.click("#disconnect")
        page.page.wait_for_selector("body[data-board=closed]")
        with _free_again(emulator.url) as link:
            detector = link.info().detector
        assert detector and detector.thresholds[2] == 1
        assert list(detector.thresholds[:2]) == thresholds[:2]


def test_the_board_by_the_server_hears_the_same(opened: Open, ten: Any, wav: Path, host: Board) -> None:
    page = opened(host)
    page.connected()
    page.listen_to(wav)
    assert page.heard("there", 10) == ten[1]
    equal(page, 10)
    assert "0 lost, 0 damaged" in page.text("#figures")


@pytest.mark.qemu
def test_people_are_heard_by_the_shipped_model_and_its_second_look(
    chromium: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Here and on the emulated board."""
    people = ROOT.parent / "shared/data/speech_commands"
    if not people.is_dir():
        pytest.skip("no recordings of people in ../shared/data")
    shipped = FIRMWARE / "model"
    speech, heard = pages.ten_of_people(shipped, people)
    assert load_manifest(shipped).look and len({word for _, word in heard}) > 5
    wav = pages.write_wav(tmp_path_factory.mktemp("people") / "ten.wav", speech)
    elf = private_copy(image("disco_f407vg"), tmp_path_factory.mktemp("shipped"))
    with emulate.start("disco_f407vg", elf) as emulator:
        board = Board("disco", emulator.url, 500_000, False, emulator.check)
        with server.serving(folder.files(shipped), board) as url:
            page = pages.Opened(chromium, url)
            page.connected()
            page.listen_to(wav)
            assert page.heard("there", 10) == heard
            assert page.words("here") == heard
            equal(page, 10)
            assert page.errors == []
            page.close()


@pytest.mark.parametrize("compact", [False, True], ids=["int16", "adpcm"])
def test_the_boards_own_microphone(
    opened: Open, ten: Any, host_elf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compact: bool
) -> None:
    ten[0].tofile(tmp_path / "sound.raw")
    monkeypatch.setitem(os.environ, "KWS_HOST_MICROPHONE", str(tmp_path / "sound.raw"))
    with emulate.start("host", host_elf) as emulator:
        page = opened(Board("host", emulator.url, 500_000, compact, emulator.check))
        page.connected()
        page.page.click("#board-microphone")
        assert page.heard("there", 5)[:5] == ten[1][:5]
        assert page.heard("here", 5)[:5] == ten[1][:5]
        page.page.click("#board-microphone")
        page.page.wait_for_selector("#board-microphone[aria-pressed=false]")
        assert "agree, bit for bit" in page.text("#verdict")
        with page.page.expect_download() as download:
            page.page.click("#save")
        download.value.save_as(tmp_path / "heard.wav")
        with wave.open(str(tmp_path / "heard.wav")) as saved:
            heard = np.frombuffer(saved.readframes(saved.getnframes()), "<i2")
        assert len(heard) > 5 * 16000
        wanted = ten[0][: len(heard)].astype(int)
        error = heard[: len(wanted)].astype(int) - wanted
        assert not error.any() or (compact and np.sqrt(np.mean(error**2)) < 0.2 * np.sqrt(np.mean(wanted**2)))


def test_framing_errors_and_unplugging(opened: Open, wav: Path, host: Board) -> None:
    page = opened(host, scripts=[SERIAL])
    page.connected()
    page.page.click("#disconnect")
    page.page.click("#serial")
    page.connected()
    page.listen_to(wav)
    page.heard("there", 1)
    for name in ("FramingError", "BreakError", "BufferOverrunError"):
        page.page.evaluate(f"navigator.serial.port.fail('{name}')")
    page.heard("there", 2)
    page.page.wait_for_selector("text=3 framing errors")
    assert page.page.locator("#words .differs").count() == 0
    page.page.evaluate("navigator.serial.port.unplug()")
    page.page.wait_for_selector("text=The board was unplugged.")
    page.page.wait_for_selector("body[data-board=waiting]")
    page.page.evaluate("navigator.serial.port.plug()")
    page.connected()
    page.listen_to(wav)
    page.heard("there", 2)
    assert "agree, bit for bit" in page.text("#verdict")


def test_a_port_in_use_is_a_sentence(opened: Open) -> None:
    page = opened(scripts=[SERIAL])
    page.page.evaluate("navigator.serial.busy = true")
    page.page.click("#serial")
    page.page.wait_for_selector("text=The port can't be opened: another program has it")
    page.page.click("#disconnect")
    page.page.wait_for_selector("body[data-board=closed]")


class Hostile(FakeFirmware):
    """Says markup wherever a device may say text."""

    def _info(self) -> bytes:
        markup = b"<img src=x onerror=alert(1)>"
        names = b"\n".join([b"<b>yes</b>", markup, b"unknown", b"silence"])
        said, fields = super()._info(), []
        while said:
            end = 2 + said[1]
            fields.append(said[:end])
            said = said[end:]
        kept = [field for field in fields if field[0] not in (2, 5)]
        return b"".join([*kept, bytes([5, len(names)]) + names, bytes([2, len(markup)]) + markup])

    def _act(self, frame: Any) -> bytes:
        said = super()._act(frame)
        return said + self._out(0x87, b"\3<script>alert(1)</script>\x1b[2J") if frame.type == 2 else said


def test_a_devices_text_is_never_markup(opened: Open) -> None:
    with listening(Hostile()) as url:
        page = opened(Board("<i>fake</i>", url, 500_000, False))
        page.connected()
        page.page.wait_for_selector("text=The board says: <script>alert(1)</script>\\x1b[2J")
        assert "<img src=x onerror=alert(1)>, firmware" in page.text("#board-state")
        assert page.page.locator("img, i, b, #messages script").count() == 0
        page.page.click("#board-microphone")  # another model than the page's: nothing is compared
        page.page.wait_for_function("() => /another model/.test(document.querySelector('#verdict').textContent)")


def test_a_board_without_a_microphone_says_so(opened: Open, host: Board) -> None:
    page = opened(host)
    page.connected()
    page.page.click("#board-microphone")
    page.page.wait_for_selector("text=This board has no microphone that its firmware can use.")
    page.page.wait_for_selector("#board-microphone[aria-pressed=false]")


def test_the_module_is_what_the_page_loads(files: dict[str, bytes], model: Path) -> None:
    assert files[folder.MODULE_FILE] == wasm.module(model)
