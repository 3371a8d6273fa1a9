"""kws live, monitor and record with the firmware itself: as a process of this computer, and in QEMU."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import shutil
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host_tools.check.device import Reference
from host_tools.image import emulate
from host_tools.link.codes import Command
from host_tools.link.frames import Frame
from host_tools.live.keep import AFTER, BEFORE
from model_pipeline.data.audio import read_clip, write_wav
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE, ROOT
from tests.live.test_keep import read
from tests.support import spoken
from tests.support.fake_device import FakeFirmware, Faults, listening
from tests.support.firmware_images import image, private_copy
from tests.support.terminal import shown
from tests.tools.test_cli import kws
from tests.tools.test_record import Card, room, say, whole

MODEL = FIRMWARE / "model"


@pytest.fixture(scope="module")
def host_elf(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(private_copy(image("host"), tmp_path_factory.mktemp("host")))


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A recording of ten words: by people where the data are, else by flite."""
    people = ROOT.parent / "shared/data/speech_commands"
    if not people.is_dir() and not shutil.which("flite"):
        pytest.skip("neither ../shared/data nor flite is here to speak")
    try:
        speech, words = spoken.many(Reference(MODEL), 10, people if people.is_dir() else None)
    except LookupError as error:
        if people.is_dir():
            raise
        pytest.skip(f"flite's voices: {error}")  # the shipped model is made for people
    path = tmp_path_factory.mktemp("ten") / "ten.wav"
    write_wav(path, speech)
    return path, words


def lines(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


def detected(out: str) -> list[str]:
    return [line["word"] for line in lines(out) if line["event"] == "Detection"]


def test_ten_words_are_heard_and_kept(
    host_elf: str, ten: tuple[Path, list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wav, words = ten
    command = ("live", "--board", "host", "--elf", host_elf, "--wav", str(wav), "--fast", "--json")
    keep = ("--dump-audio", str(tmp_path / "heard.wav"), "--keep-detections", str(tmp_path / "kept"))
    code, out, err = kws(*command, *keep, capfd=capfd)
    assert code == 0, err
    assert detected(out) == words
    summary = lines(out)[-1]
    assert summary["event"] == "Summary" and summary["detections"] == 10
    assert (summary["lost_samples"], summary["lost_frames"]) == (0, 0)
    samples = read(wav)
    assert np.array_equal(read(tmp_path / "heard.wav"), samples)
    found = [line for line in lines(out) if line["event"] == "Detection"]
    kept = sorted((tmp_path / "kept").rglob("*.wav"), key=lambda path: int(path.stem.rsplit("_", 1)[1]))
    assert [path.parent.name for path in kept] == words
    padded = np.concatenate([np.zeros(BEFORE, np.int16), samples, np.zeros(AFTER, np.int16)])
    for path, line in zip(kept, found, strict=True):
        assert np.array_equal(read(path), padded[line["position"] : line["position"] + BEFORE + AFTER])
        facts = json.loads(path.with_suffix(".json").read_text())
        assert facts["score"] == line["posterior"] and len(facts["posteriors"]) > 10


@pytest.mark.qemu
@pytest.mark.slow
def test_ten_words_on_the_emulated_board(
    ten: tuple[Path, list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    elf = str(private_copy(image("disco_f407vg"), tmp_path))
    wav, words = ten
    code, out, err = kws(
        "live", "--board", "disco_f407vg", "--elf", elf, "--wav", str(wav), "--fast", "--json", capfd=capfd
    )
    assert code == 0, err
    assert detected(out) == words and lines(out)[-1]["lost_frames"] == 0


def test_the_same_lines_from_stream_and_without_a_terminal(
    host_elf: str, ten: tuple[Path, list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    wav, words = ten
    base = ("--board", "host", "--elf", host_elf, "--wav", str(wav))
    code, out, _ = kws("stream", *base, "--json", "--threshold", f"{words[0]}=0", capfd=capfd)
    silenced = [word for word in words if word != words[0]]
    assert code == 0 and detected(out) == silenced  # a threshold of 0 never fires
    assert lines(out)[-1]["event"] == "Summary" and lines(out)[-2]["event"] == "StreamDone"
    code, out, _ = kws("live", *base, "--fast", capfd=capfd)
    assert code == 0 and [line.split()[2] for line in out.splitlines()[:-1]] == words
    assert out.splitlines()[-1].startswith("10 detections")


@pytest.mark.parametrize("columns", [80, 60])
def test_on_a_terminal(host_elf: str, ten: tuple[Path, list[str]], columns: int) -> None:
    wav, words = ten
    text = shown(["live", "--board", "host", "--elf", host_elf, "--wav", str(wav), "--fast"], columns)
    assert "threshold" in text and "instructions" not in text and all(word in text for word in words)
    assert "10 detections in" in text.rstrip().split("\n")[-1]


def test_keys_move_thresholds_and_save_them(host_elf: str, tmp_path: Path) -> None:
    """A terminal with somebody at it: from key to device and to model.json, and q ends it."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.json", "model.tflite", "model_config.h"):
        shutil.copy(MODEL / name, folder)
    before = load_manifest(folder).detector.thresholds
    write_wav(tmp_path / "quiet.wav", np.zeros(16000 * 60, np.int16))
    command = [
        "live",
        "--board",
        "host",
        "--elf",
        host_elf,
        "--wav",
        str(tmp_path / "quiet.wav"),
        "--model",
        str(folder),
    ]
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "xterm"}
    program = [sys.executable, "-m", "host_tools.cli", *command]
    with subprocess.Popen(program, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        said = bytearray()

        def until(text: str) -> None:
            deadline = time.monotonic() + 60
            while text.encode() not in said:
                assert time.monotonic() < deadline, said[-3000:].decode("utf-8", "replace")
                with contextlib.suppress(OSError):
                    said.extend(os.read(master, 65536))

        try:
            until("listening")
            os.write(master, b"\x1b[B\x1b[C")  # the second word, up
            until("moved on the device")
            os.write(master, b"p")
            time.sleep(0.2)
            os.write(master, b"ps")
            until("saved in")
            os.write(master, b"q")
            until("0 detections")
            process.wait(30)
        finally:
            process.kill()
            os.close(master)
    assert process.returncode == 0
    after = load_manifest(folder).detector.thresholds
    assert after == [before[0], before[1] + 4, *before[2:]]


def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: np.ndarray) -> None:
    """What the host port hears."""
    (tmp_path / "sound.raw").write_bytes(samples.astype("<i2").tobytes())
    monkeypatch.setenv("KWS_HOST_MICROPHONE", str(tmp_path / "sound.raw"))


def test_monitor_keeps_what_the_board_hears(
    host_elf: str,
    ten: tuple[Path, list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    wav, words = ten
    samples = read(wav)
    microphone(tmp_path, monkeypatch, samples)
    keep = ("--dump-audio", str(tmp_path / "heard.wav"), "--keep-detections", str(tmp_path / "kept"))
    with emulate.start("host", Path(host_elf)) as emulator:
        code, out, err = kws("monitor", "--port", emulator.url, "--seconds", "8", "--json", *keep, capfd=capfd)
    assert code == 0 and "lost" not in err, err
    assert detected(out) == words
    done = next(line for line in lines(out) if line["event"] == "StreamDone")
    heard = read(tmp_path / "heard.wav")
    assert len(heard) == done["total"] > len(samples) and np.array_equal(heard[: len(samples)], samples)
    assert len(list((tmp_path / "kept").rglob("*.json"))) == 10


def test_words_are_recorded_by_the_boards_microphone(
    host_elf: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kws.toml").write_text('name = "p"\nkeywords = ["hey_robot"]\n[data]\nrecordings = "recordings"\n')
    sound = room(12)
    for at in (1, 4, 7):
        say(sound, at, 0.5, 5000)
    microphone(tmp_path, monkeypatch, whole(sound))
    with emulate.start("host", Path(host_elf)) as emulator:
        base = ("record", "hey_robot", "--folder", str(tmp_path), "--port", emulator.url, "--json")
        code, out, err = kws(*base, "--count", "2", capfd=capfd)
    result = json.loads(out)
    assert code == 0 and len(result["kept"]) == 2 and result["lost_samples"] == 0, err
    clip, sent = read_clip(Path(result["kept"][0])), whole(sound)
    assert any(np.array_equal(sent[at : at + 16000], clip) for at in range(16000))  # the very samples


# ---- what can be wrong


class OldFirmware(FakeFirmware):
    """From before AUDIO and its flags."""

    def _act(self, frame: Frame) -> bytes:
        if frame.type == Command.STREAM_START and frame.payload[1] & ~7:
            return self._error(frame, 2)
        return super()._act(frame)


class Deaf(FakeFirmware):
    """A board without a microphone."""

    def _act(self, frame: Frame) -> bytes:
        if frame.type == Command.STREAM_START and frame.payload[1] & 4:
            return self._error(frame, 4)
        return super()._act(frame)


@contextlib.contextmanager
def stranger() -> Iterator[str]:
    """Another firmware, which prints text."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        over = threading.Event()

        def talk() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while not over.wait(0.05):
                    connection.sendall(b"Hello from Zephyr!\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
        over.set()
        thread.join()


BAD = [
    ([], 2, "one of --port"),
    (["--pc", "--board", "host"], 2, "one of --port"),
    (["--pc", "--mic", "--wav", "a.wav"], 2, "either --mic or --wav"),
    (["--pc", "--fast"], 2, "--fast is for --wav"),
    (["--pc", "--wav", "/nowhere.wav"], 2, "nowhere.wav"),
    (["--port", "/dev/ttyNOWHERE"], 4, "there is no port"),
    (["--board", "no_such_board", "--wav", "{wav}"], 2, "no_such_board"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD, ids=lambda value: str(value)[:30])
def test_bad_input_is_one_sentence(
    arguments: list[str], code: int, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "a.wav", np.zeros(16000, np.int16))
    one_sentence(["live", *(a.replace("{wav}", str(tmp_path / "a.wav")) for a in arguments)], code, text, capfd)


def one_sentence(arguments: list[str], code: int, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    found, out, err = kws(*arguments, capfd=capfd)
    errors = [line for line in err.splitlines() if "error:" in line]
    assert found == code and out == "" and len(errors) == 1 and text in errors[0] and "Traceback" not in err, err


@pytest.mark.parametrize(
    ("firmware", "text"),
    [(Deaf(), "no microphone"), (OldFirmware(), "from before audio"), (FakeFirmware(Faults(protocol=2)), "protocol 2")],
    ids=["no microphone", "old", "protocol"],
)
@pytest.mark.parametrize("verb", ["live", "monitor", "record"])
def test_another_device_than_was_thought(
    firmware: FakeFirmware, text: str, verb: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kws.toml").write_text('name = "p"\nkeywords = ["hey"]\n[data]\nrecordings = "recordings"\n')
    with listening(firmware) as url:
        more = {
            "live": ["--dump-audio", str(tmp_path / "a.wav")],
            "monitor": ["--dump-audio", str(tmp_path / "a.wav")],
            "record": ["hey", "--folder", str(tmp_path)],
        }[verb]
        found, _, err = kws(verb, *more, "--port", url, capfd=capfd)
    assert (
        found == 4
        and text in err
        and "Traceback" not in err
        and len([x for x in err.splitlines() if "error:" in x]) == 1
    )
    assert not (tmp_path / "a.wav").exists()


def test_another_firmware_behind_the_port(capfd: pytest.CaptureFixture[str]) -> None:
    with stranger() as url:
        one_sentence(["live", "--port", url], 4, "not frames of ours", capfd)


def test_a_port_that_is_in_use(host_elf: str, capfd: pytest.CaptureFixture[str]) -> None:
    with emulate.start("host", Path(host_elf)) as emulator:
        program = [sys.executable, "-m", "host_tools.cli", "monitor", "--port", emulator.url, "--json"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout and "HelloReply" in other.stdout.readline()
            one_sentence(["live", "--port", emulator.url], 4, "in use by another program", capfd)
            other.terminate()


def test_this_computer_without_a_microphone(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    one_sentence(["live", "--pc"], 3, "sounddevice is not installed", capfd)


def test_a_microphone_that_is_pulled_out(
    host_elf: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", Card(whole(room(2))).module)
    code, _, err = kws("live", "--board", "host", "--elf", host_elf, "--mic", capfd=capfd)
    assert code == 2 and "no microphone: device unplugged" in err
