"""The page's session with a device that misbehaves, by Node over TCP: no silent losses, errors are sentences."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import node
from tests.support.fake_device import LABELS, FakeFirmware, Faults, expected_output, listening

HERE = Path(__file__).resolve().parent
COUNT = 5000
SOUND = (np.arange(COUNT, dtype=np.int64) * 7919 % 65536 - 32768).astype("<i2").tobytes()


def talk(firmware: FakeFirmware, resend_ms: int = 100, hello_ms: int = 20000, done_ms: int = 60000) -> dict[str, Any]:
    with listening(firmware) as url:
        return node.run(HERE / "link.mjs", url.rpartition(":")[2], resend_ms, COUNT, hello_ms, done_ms)


def test_a_clean_line() -> None:
    firmware = FakeFirmware()
    said = talk(firmware, 20000)
    assert said["error"] is None and said["info"]["labels"] == list(LABELS)
    assert said["results"] == [expected_output(SOUND)]
    assert said["done"]["total"] == COUNT
    counters = said["counters"]
    assert counters["sent"] == len(firmware.acted) and counters["received"] > 5
    assert not any(counters[name] for name in ("resent", "naks", "timeouts", "lost", "repeated", "bad"))
    detector = struct.pack("<BBBBIB", 2, 1, 0, 0, 99, 4) + bytes([1, 2, 3, 4])
    assert (9, detector) in firmware.acted


@pytest.mark.parametrize("window", [1, 8, 40])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_sent_arrives_once_and_in_order(seed: int, window: int) -> None:
    """However the line to the device loses, repeats and damages frames."""
    firmware = FakeFirmware(Faults(drop_in=0.1, repeat_in=0.2, damage_in=0.1, seed=seed), window=window)
    said = talk(firmware, 30)
    assert said["error"] is None
    assert said["results"] == [expected_output(SOUND)]
    assert bytes(firmware.samples) == SOUND
    assert said["counters"]["resent"] > 0


def test_what_the_device_loses_is_counted() -> None:
    said = talk(FakeFirmware(Faults(drop_out=0.1, damage_out=0.1, seed=4)), 30, done_ms=2000)
    assert said["counters"]["lost"] > 0 and said["counters"]["bad"] > 0


@pytest.mark.parametrize(
    ("faults", "words", "retry"),
    [
        (Faults(protocol=2), "the firmware speaks link protocol 2, this page speaks 1.", False),
        (Faults(vanish_after=4), "The port went away.", True),
        (Faults(mute_after=4), "the device stopped answering (nothing acknowledged for 1 s).", True),
        (Faults(restart_after=6), "the device restarted in the middle of the session.", True),
    ],
    ids=["protocol", "vanish", "mute", "restart"],
)
def test_an_end_is_one_sentence(faults: Faults, words: str, retry: bool) -> None:
    said = talk(FakeFirmware(faults))
    assert said["error"].endswith(words) and said["retry"] is retry


class Other(FakeFirmware):
    """Somebody else's firmware."""

    def start(self) -> bytes:
        return b"\r\nArduino says hello\r\n"

    def feed(self, data: bytes) -> bytes:
        return b"what?\r\n"


class Wrong(FakeFirmware):
    """Says a size that no firmware of ours has."""

    def _info(self) -> bytes:
        return super()._info() + struct.pack("<BB8I", 6, 32, 44100, 480, 320, 40, 49, 1960, 4, 5)


def test_another_firmware_is_told_from_none() -> None:
    said = talk(Other(), hello_ms=1000)
    assert (
        "No micro-kws firmware answered" in said["error"] and "bytes came that are not frames of ours" in said["error"]
    )
    said = talk(FakeFirmware(Faults(mute_after=0)), hello_ms=1000)
    assert said["error"] == "No micro-kws firmware answered on the test's port within 1 s."


def test_what_no_firmware_of_ours_says_is_refused() -> None:
    said = talk(Wrong())
    assert said["error"].endswith("says what no firmware of ours says: sample_rate is 44100, not 16000 to 16000.")
    assert said["retry"] is False
