"""Each check of host_tools.check.selftest at full length, on every place that is there.

A board: ``pytest -m hardware --port /dev/ttyACM0 tests/hardware`` (it must run the firmware of firmware/model).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host_tools.check import selftest
from host_tools.check.device import Device, Reference, Skipped
from host_tools.image.renode import path
from host_tools.link import stream
from host_tools.link.events import Detection
from model_pipeline.native import ROOT
from model_pipeline.rate import SAMPLE_RATE
from tests.support.spoken import spoken


def _check(check: Callable[[Device], str], dut: Device) -> str:
    try:
        return check(dut)
    except Skipped as reason:
        pytest.skip(str(reason))


def test_hello(dut: Device) -> None:
    assert dut.needs_reference().model_hash in _check(selftest.hello, dut)


def test_a_thousand_frames(dut: Device) -> None:
    assert _check(selftest.soak, dut).startswith("1000 frames")


def test_features_give_what_tflite_micro_gives(dut: Device) -> None:
    pytest.importorskip("tflite_micro")
    assert _check(selftest.exact_inference, dut) == "20 windows equal to TFLite Micro"


def test_sound_gives_what_the_host_gives(dut: Device) -> None:
    _check(selftest.exact_stream, dut)


@pytest.fixture(scope="session")
def recordings():
    """A stream with two keywords, and noise: of people where their recordings are, else of flite."""
    reference = Reference(ROOT / "firmware" / "model")
    people = ROOT.parent / "shared" / "data" / "speech_commands"
    if people.is_dir():
        return selftest.speech_and_noise(people, reference)
    if not shutil.which("flite"):
        pytest.skip("neither recordings of people nor flite are here")
    speech, _ = spoken(reference)
    return speech, (np.random.default_rng(7).standard_normal(3 * SAMPLE_RATE) * 300).astype(np.int16)


def test_keywords_are_detected(dut: Device, recordings) -> None:
    dut.speech, _ = recordings
    assert "2 detected" in _check(selftest.keywords, dut)


def test_renode_s_microphone_hears_a_keyword(dut: Device, recordings, tmp_path: Path) -> None:
    """PDM, its interrupt and its double buffer, with the recording that Renode's model plays."""
    emulator = getattr(dut, "emulator", None)
    if emulator is None or dut.info().board != "nano33ble_uart":
        pytest.skip("only Renode's nRF52840 has a microphone that plays a file")
    speech, _ = recordings
    recording = tmp_path / "speech.raw"
    recording.write_bytes(np.concatenate([np.zeros(8 * 160, np.int16), speech]).astype("<i2").tobytes())
    labels = dut.info().labels
    reference = dut.needs_reference()
    wanted = [label for _, label, _ in reference.listen(speech, reference.manifest.detector.stride_hops)[1]]
    emulator.monitor(f"sysbus.pdm SetInputFile {path(recording)}")
    heard: list[int] = []
    deadline = time.monotonic() + 120
    for event in stream.listen(dut.link):
        if isinstance(event, Detection):
            heard.append(event.label)
        if len(heard) == len(wanted) or time.monotonic() > deadline:
            break
    assert [labels[h] for h in heard] == [labels[w] for w in wanted]


def test_noise_is_not(dut: Device, recordings) -> None:
    _, dut.noise = recordings
    _check(selftest.silence_and_noise, dut)


def test_overload_loses_nothing_uncounted(dut: Device) -> None:
    _check(selftest.overload, dut)


def test_restart(dut: Device) -> None:
    _check(selftest.restart, dut)


def test_undefined_instruction(dut: Device) -> None:
    _check(selftest.undefined_instruction, dut)


def test_stack_overflow(dut: Device) -> None:
    _check(selftest.stack_overflow, dut)


def test_watchdog(dut: Device) -> None:
    _check(selftest.watchdog, dut)


def test_a_device_lives_through_all_ends_in_one_session(dut: Device) -> None:
    """A fault, a hang and an overflow one after the other, and after them inferences are still exact."""
    for check in (selftest.undefined_instruction, selftest.watchdog, selftest.stack_overflow, selftest.restart):
        _check(check, dut)
    dut.windows = 2
    _check(selftest.exact_inference, dut)
