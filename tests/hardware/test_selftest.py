"""``kws selftest`` on the firmware as a process."""

from __future__ import annotations

import json
import shutil

import pytest

from host_tools.check import selftest
from host_tools.check.device import Device, Reference
from host_tools.cli import main
from host_tools.image.build import DEFAULT_MODEL
from host_tools.image.emulate import start
from host_tools.link.codes import Command, ErrorCode
from host_tools.link.events import DeviceRefused, Refusal
from host_tools.link.session import Link
from model_pipeline.errors import CheckFailed, DeviceError

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not in PATH")


def _kws(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def url(built):
    """The host port, running."""
    with start("host", built("host")) as emulator:
        yield emulator.url


def test_all_checks_that_can_be_made_pass(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _kws("selftest", "--port", url, "--frames", "50", "--json") == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    states = {c["name"]: c["state"] for c in checks}
    assert list(states) == [check.__name__ for check in selftest.CHECKS]
    assert states["hello"] == states["soak"] == states["exact_stream"] == states["overload"] == "passed"
    assert states["keywords"] == states["watchdog"] == "skipped"


def test_a_failed_check_is_told_and_ends_in_1(url: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def wrong(device: Device) -> str:
        raise CheckFailed("2 and 2 is [5]")

    monkeypatch.setattr(selftest, "CHECKS", (wrong, selftest.hello))
    assert _kws("selftest", "--port", url) == 1
    out, err = capsys.readouterr()
    assert "2 and 2 is [5]" in out and "board" not in out.splitlines()[0]
    assert "1 of 2 checks failed: wrong" in err


def test_a_lost_answer_ends_it_and_what_was_found_is_told(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    def silent(device: Device) -> str:
        raise DeviceError("it never answered")

    monkeypatch.setattr(selftest, "CHECKS", (selftest.hello, silent, selftest.overload))
    assert _kws("selftest", "--port", url, "--json") == 4
    out, err = capsys.readouterr()
    assert [(c["name"], c["state"]) for c in json.loads(out)["checks"]] == [("hello", "passed"), ("silent", "failed")]
    assert "it never answered" in err


def test_a_refused_check_does_not_end_it(url: str, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    def refused(device: Device) -> str:
        raise DeviceRefused("it", Refusal(Command.INFER_FEATURES, ErrorCode.UNSUPPORTED, 1, "not here"))

    monkeypatch.setattr(selftest, "CHECKS", (refused, selftest.hello))
    assert _kws("selftest", "--port", url, "--json") == 1
    assert [c["state"] for c in json.loads(capsys.readouterr().out)["checks"]] == ["failed", "passed"]


def test_a_device_that_gives_other_numbers_fails(built) -> None:

    with start("host", built("host")) as emulator, Link.open(emulator.url) as link:
        reference = Reference(DEFAULT_MODEL)
        right = reference.infer
        reference.infer = lambda windows: right(windows) + 1  # type: ignore[method-assign]
        with pytest.raises(CheckFailed, match="window 0: the device gives"):
            selftest.exact_inference(Device(link, reference, windows=1))
        reference.model_hash = "0" * 16
        with pytest.raises(CheckFailed, match="not checked: the device runs model"):
            selftest.exact_inference(Device(link, reference, windows=1))
