"""Layers' costs and outputs as a firmware with profiling gives them: kws profile --port and kws compare --port."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from host_tools.check import layers as compare
from host_tools.image import emulate
from host_tools.image.build import Variant, build
from host_tools.link import stream
from host_tools.link.events import ProfileReply
from host_tools.link.frames import Frame
from host_tools.link.payloads import parse_event
from host_tools.link.session import Link
from host_tools.measure import layers as profile
from model_pipeline.compiler import compile_model
from model_pipeline.errors import DeviceError, KwsError
from model_pipeline.native import ROOT
from tests.support.firmware_images import kept_folder, private_copy, small_model

LABELS = ["yes", "no", "unknown", "silence"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated model folder."""
    return small_model(tmp_path_factory.mktemp("layers"), LABELS)


@pytest.fixture(scope="module")
def tflite(folder: Path) -> bytes:
    return (folder / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def elf(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of disco_f407vg, with profiling."""
    with kept_folder("firmware-profile") as kept:
        built = build("disco_f407vg", folder, "aot", kept, variant=Variant(profile=True))
        return private_copy(built, tmp_path_factory.mktemp("elf"))


@pytest.fixture
def url(elf: Path) -> Iterator[str]:
    with emulate.start("disco_f407vg", elf) as running:
        yield running.url


def kws(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "host_tools.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.qemu
def test_the_firmware_s_layers_are_those_of_the_plan_alone(url, tflite):
    """Instructions a layer by TIM2 inside the firmware, against the bare plan's; they add up to RESULT's."""
    program = compile_model(tflite)
    data = profile.load_inputs(None, program, 2)
    with Link.open(url, timeout=60) as link:
        assert link.profile() == []  # nothing was inferred yet
        result = profile.profile_device(program, data, link)
    alone = profile.profile(program, data)
    assert result.equal_to_host and result.unit == "instructions"
    calls = len(program.calls)
    for ours, theirs in zip(result.layers, alone.layers, strict=True):
        # Each call's hook is entered and left within its time. More would mean that the firmware is compiled otherwise.
        assert -20 <= ours.cost - theirs.cost <= 60 + 0.01 * theirs.cost, ours.name
    assert 0 < result.hook <= 100 * calls
    assert result.inference_ticks == pytest.approx(result.cost + result.hook)


@pytest.mark.qemu
def test_the_verbs_ask_the_port(elf, folder, tmp_path):
    """Two boards with one firmware: equal outputs, the same instructions, and a profile with a plot."""
    model = str(folder / "model.tflite")
    with emulate.start("disco_f407vg", elf) as one, emulate.start("disco_f407vg", elf) as two:
        done = kws("compare", model, "--port", one.url, "--port2", two.url, "--count", "3", "--json")
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["equal"] and result["values"] == 3 * 2 * len(LABELS)
        assert result["speedup"] == pytest.approx(1, rel=1e-3)
        assert [d["engine"] for d in result["devices"]] == ["aot", "aot"] and result["devices"][0]["ticks"] > 10_000
        done = kws("profile", model, "--port", one.url, "--plot", str(tmp_path / "p.svg"))
        assert done.returncode == 0, done.stderr
        assert "instructions an inference" in done.stdout and "of looking at each layer" in done.stdout
        assert (tmp_path / "p.svg").stat().st_size > 1000
        done = kws("profile", model, "--port", one.url, "--streaming", "7")
        assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.qemu
def test_compare_names_a_difference_and_refuses_another_model(url, tflite, monkeypatch):
    given = profile.load_inputs(None, compile_model(tflite), 2)
    real = compare.Interpreter.output

    def wrong(self: compare.Interpreter) -> np.ndarray:
        output = real(self).copy()
        output[2] ^= 1
        return output

    with Link.open(url, timeout=60) as link:
        monkeypatch.setattr(compare.Interpreter, "output", wrong)
        result = compare.compare_devices(tflite, given, [link])
        first = result.first_difference
        assert not result.equal and (first.input, first.element, first.differing) == (0, 2, 1)
        assert result.speedup is None
        with pytest.raises(KwsError, match="holds model"):
            compare.compare_devices(tflite + b"\0", given, [link])


@pytest.mark.qemu
def test_a_firmware_without_profiling_says_so(folder, tmp_path):
    with kept_folder("firmware-no-profile") as kept:
        image = private_copy(build("host", folder, "aot", kept), tmp_path)
    with emulate.start("host", image) as running, Link.open(running.url, timeout=60) as link:
        stream.infer(link, np.zeros(49 * 40, np.int8))
        with pytest.raises(DeviceError, match=r"not supported.*--profile"):
            link.profile()


def test_profile_needs_the_compiled_engine(folder, tmp_path):
    with pytest.raises(KwsError, match="can't be profiled"):
        build("disco_f407vg", folder, "tflm", tmp_path, variant=Variant(profile=True))


def test_long_profiles_come_in_parts():
    reply = parse_event(Frame(0x8F, 0, bytes([2, 0, 5, 0]) + b"\1\0\0\0\2\0\0\0"))
    assert reply == ProfileReply(2, 5, (1, 2))
    for payload in (b"\0", bytes([4, 0, 5, 0]) + bytes(8), bytes([0, 0, 1, 0]) + bytes(3)):
        with pytest.raises(ValueError, match="ProfileReply"):
            parse_event(Frame(0x8F, 0, payload))
