"""``kws mlperf``: its figures, its data sets, and devices that answer whatever they like."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tools.cli import main
from host_tools.image.build import Variant, build
from host_tools.mlperf import device as devices
from host_tools.mlperf import scripts
from host_tools.mlperf.device import Device
from host_tools.mlperf.inputs import TRUTH, as_the_model_takes, samples
from host_tools.mlperf.scripts import Accuracy, accuracy, area, performance, printed
from model_pipeline.errors import DeviceError, KwsError
from model_pipeline.mlperf import compiled, write_plan
from tests.support.eembc import PROFILE, Expected
from tests.support.firmware_images import kept_folder, private_copy
from tests.support.kws01_inputs import official_inputs
from tests.support.tflite_builder import ds_cnn

# ---- figures


@settings(max_examples=60)
@given(st.integers(2, 5), st.integers(0, 1 << 30), st.integers(1, 4))
def test_the_area_is_the_share_of_pairs_in_order(classes: int, seed: int, levels: int):
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(0, classes, 20)])
    scores = rng.integers(0, levels + 1, (len(truth), classes)) / 8 + (0 if levels > 1 else 0.125)
    rows = scores / np.where(scores.sum(axis=1, keepdims=True) > 0, scores.sum(axis=1, keepdims=True), 1)
    each = []
    for label in range(classes):
        its, others = rows[truth == label, label], rows[truth != label, label]
        pairs = [(a > b) + 0.5 * (a == b) for a in its for b in others]
        each.append(np.mean(pairs))
    assert area(scores, truth) == pytest.approx(np.mean(each))


def test_there_is_no_area_of_a_part_that_lacks_a_class():
    assert area(np.eye(3), np.array([0, 1, 1])) is None
    assert area(np.ones((3, 1)), np.array([0, 0, 0])) is None
    assert area(np.eye(3), np.array([0, 1, 2])) == 1.0


def test_what_is_printed_of_each_int8(shared_data: Path):
    program = compiled((shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes())
    values = np.arange(-128, 128, dtype=np.int8)
    got = printed(program, values[:, None])[:, 0].tolist()
    assert got == [(step * 1000) // 256 for step in range(256)]  # its scale is 1/256: all values stay apart
    assert len(set(got)) == 256


# ---- data sets


def _dataset(folder: Path, count: int = 12, size: int = 8, truth: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"tst_{n:06d}_word_{n % 12}.bin" for n in range(count)]
    for n, name in enumerate(names):
        (folder / name).write_bytes(bytes([n % 256]) * size)
    if truth:
        lines = [f"{name}, 12, {11 - n % 12}\n" for n, name in enumerate(names)]
        (folder / TRUTH).write_text("".join(reversed(lines)))
    return folder


def test_the_order_and_the_classes_are_those_of_the_list(tmp_path: Path):
    found = samples(_dataset(tmp_path / "set"))
    assert [s.path.name[:10] for s in found][:2] == ["tst_000011", "tst_000010"]
    assert [s.label for s in found] == list(range(12))
    _dataset(tmp_path / "all" / "kws01")
    assert len(samples(tmp_path / "all")) == 12


def test_without_a_list_the_names_tell(tmp_path: Path):
    found = samples(_dataset(tmp_path, truth=False))
    assert [s.label for s in found] == list(range(12))


@pytest.mark.parametrize(
    "line",
    [
        "../../etc/passwd.bin,12,1",
        "/etc/x.bin,12,1",
        "a.bin,12",
        "a.bin,12,-1",
        "a.bin,12,9999",
        "a.txt,12,1",
        "\x1b[2J,12,1",
    ],
)
def test_a_list_that_names_something_else_is_refused(tmp_path: Path, line: str):
    (tmp_path / TRUTH).write_text(line + "\n")
    with pytest.raises(KwsError) as error:
        samples(tmp_path)
    assert "\x1b" not in str(error.value)


def test_a_folder_without_inputs_is_refused(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(KwsError) as error:
            samples(folder)
        assert "energyrunner" in error.value.hint
    (tmp_path / "tst_0_word.bin").write_bytes(b"1")
    with pytest.raises(KwsError, match="its class"):
        samples(tmp_path)


# ---- devices


class Port:
    """A port to a device in this process: ``answer(command)`` gives the lines before m-ready, or bytes as they are."""

    def __init__(self, answer: Callable[[str], list[str] | bytes]) -> None:
        self.answer = answer
        self.timeout = 0.0
        self.out = b""
        self.command = b""

    @property
    def in_waiting(self) -> int:
        return len(self.out)

    def write(self, data: bytes) -> None:
        self.command += data
        while b"%" in self.command:
            command, _, self.command = self.command.partition(b"%")
            got = self.answer(command.decode())
            self.out += got if isinstance(got, bytes) else "".join(f"{line}\r\n" for line in [*got, "m-ready"]).encode()

    def read(self, most: int) -> bytes:
        data, self.out = self.out[:most], self.out[most:]
        return data

    def close(self) -> None:
        pass


def _device(answer: Callable[[str], list[str] | bytes], patience: float = 0.3) -> Device:
    return Device(Port(answer), "it", patience_s=patience)


def _good(laps: tuple[object, object] = (1000, 21000), results: str = "0.100,0.900") -> Callable[[str], list[str]]:
    inner = Expected(8)

    def answer(command: str) -> list[str]:
        inner.lines.clear()
        inner.feed(command.encode() + b"%")
        times = iter(laps)
        lines = [f"m-lap-us-{next(times)}" if line == "m-lap-us-#" else line for line in inner.lines[:-1]]
        return [f"m-results-[{results}]" if line == "m-results" else line for line in lines]

    return answer


INPUTS = np.arange(40, dtype=np.uint8).reshape(5, 8)


def test_a_good_device():
    device = _device(_good())
    who = device.identify()
    assert (who.name, who.profile, who.model) == ("micro-kws", PROFILE, "kws01")
    assert accuracy(device, INPUTS, [1, 1, 0, 1, 1]) == Accuracy(5, 4, 0.8, pytest.approx(0.5), False, None, None)
    speed = performance(device, INPUTS, seconds=0.02)
    assert speed.throughput == pytest.approx(11 / 0.02) or len(speed.windows) == 5
    assert all(window.microseconds == 20000 and window.iterations >= 10 for window in speed.windows)


def test_windows_grow_until_they_are_long_enough():
    asked: list[int] = []

    def answer(command: str) -> list[str]:
        count = int(command.split()[1]) if command.startswith("infer") else 1
        asked.append(count) if command.startswith("infer") else None
        took = count * 900 if count > 10 else count * 1000  # faster in the long run
        return _good((5, 5 + took))(command) if not command.startswith("infer") else [
            f"m-warmup-start-{command.split()[2]}", "m-warmup-done", f"m-infer-start-{count}", "m-lap-us-5",
            f"m-lap-us-{5 + took}", "m-infer-done", "m-results-[0.5,0.5]",
        ]  # fmt: skip

    inner = _good()

    def whole(command: str) -> list[str]:
        return answer(command) if command.startswith("infer") else inner(command)

    speed = performance(_device(whole), INPUTS, seconds=1.0)
    assert all(window.microseconds >= 1_000_000 for window in speed.windows)
    assert asked[:3] == [10, 1030, 1145] and len(set(asked[3:])) == 1
    assert speed.throughput == pytest.approx(1e6 / 900)


def _odd(**changes: list[str] | bytes) -> Callable[[str], list[str] | bytes]:
    """A good device but for the commands that begin so."""
    good = _good()

    def answer(command: str) -> list[str] | bytes:
        replies = [reply for start, reply in changes.items() if command.startswith(start)]
        return replies[0] if replies else good(command)

    return answer


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": b"\x00\xff" * 3000}, "line without end"),
        ({"name": b"m-name-dut-[x]\r\n" * 100}, "answer without end"),
        ({"name": ["m-name-dut-[x]", "m-name-dut-[y]"]}, "does not answer"),
        ({"name": b"\x00"}, "does not answer"),
        ({"profile": ["m-model-[kws01]"]}, "another answer"),
        ({"profile": ["e-[Unknown command: profile]"]}, "refuses 'profile'"),
        ({"db load": ["m-[Expecting 9 bytes]"]}, "another answer"),
        ({"db load": ["e-[\x1b[2J\x07]"]}, "refuses"),
        ({"db 0": []}, "another answer"),
        ({"infer": ["m-results-[0.1,0.2]"]}, "another answer"),
        ({"infer": []}, "another answer than nothing"),
        ({"infer": b"m-warmup"}, "no answer to 'infer'"),
    ],
)  # fmt: skip
def test_a_device_that_answers_something_else(changes: dict, words: str):
    device = _device(_odd(**changes))
    with pytest.raises(DeviceError, match=words) as error:
        device.identify()
        device.load(bytes(8))
        device.infer(1, 0)
    assert error.value.exit_code == 4
    assert not any(ord(c) < 32 for c in str(error.value))


@pytest.mark.parametrize(
    "results",
    ["", "nan", "1e400", "0.1,", "0.5;0.5", ",".join(["0.100"] * 65), "0." + "1" * 50, "0.1]x[0.2", "0x1,0.1"],
)
def test_results_that_are_none(results: str):
    device = _device(_good(results=results))
    device.load(bytes(8))
    with pytest.raises(DeviceError, match="another answer"):
        device.infer(1, 0)


@pytest.mark.parametrize(
    ("laps", "words"), [((7, 7), "stood still"), ((8, 7), "clock went"), ((1, "9" * 30), "another")]
)
def test_a_clock_that_is_none(laps: tuple, words: str):
    with pytest.raises(DeviceError, match=words):
        performance(_device(_good(laps)), INPUTS, seconds=1.0)


def test_a_window_that_would_take_days_is_not_begun(monkeypatch: pytest.MonkeyPatch):
    """A device whose clock hardly moves asks for millions of inferences, and could then be waited for that long."""
    monkeypatch.setattr(scripts, "_LONGEST_S", 1e-9)
    with pytest.raises(DeviceError, match=r"by its clock a window of 10 s would take [\d,]+ hours here"):
        performance(_device(_good((1, 2))), INPUTS, seconds=10.0)


def test_energy_mode_has_no_times_to_measure():
    reply = ["m-warmup-start-{}", "m-warmup-done", "m-infer-start-{}", "m-infer-done", "m-results-[0.200,0.800]"]
    good = _good()

    def answer(command: str) -> list[str]:
        if not command.startswith("infer"):
            return good(command)
        _, count, warm_up = command.split()
        return [reply[0].format(warm_up), reply[1], reply[2].format(count), *reply[3:]]

    assert accuracy(_device(answer), INPUTS, [1] * 5).top1 == 1
    with pytest.raises(DeviceError, match="on a pin"):
        performance(_device(answer), INPUTS, seconds=0.1)


def test_a_class_that_the_device_has_not():
    with pytest.raises(KwsError, match="class 2"):
        accuracy(_device(_good()), INPUTS, [0, 1, 2, 0, 1])


def test_a_device_that_says_less_after_more():
    count = iter([2, 3])

    def answer(command: str) -> list[str]:
        return good(next(count))(command) if command.startswith("infer") else base(command)

    base = _good()

    def good(values: int) -> Callable[[str], list[str]]:
        fixed = ["m-warmup-start-0", "m-warmup-done", "m-infer-start-1", "m-lap-us-1", "m-lap-us-2", "m-infer-done"]
        return lambda _: [*fixed, f"m-results-[{','.join(['0.1'] * values)}]"]

    with pytest.raises(DeviceError, match="3 values after 2"):
        accuracy(_device(answer), INPUTS[:2], [0, 1])


# ---- the verb


def kws(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["mlperf", *map(str, arguments)])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    path.write_bytes(ds_cnn(3, channels=8, blocks=1, labels=12))
    return path


def test_all_1000_official_inputs(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The whole of it on this computer: a build, both scripts, and each answer equal to the plan's."""
    model = shared_data / "mlperf_tiny" / "kws_ref_model.tflite"
    folder = shared_data / "mlperf_tiny" / "kws01_inputs"
    code = kws("--board", "host", "-m", model, "-d", folder, "--features", "mfcc", "--seconds", 0.2, "--json")
    found = json.loads(capsys.readouterr().out)
    assert code == 0 and found["clock"] == "process" and found["device"]["model"] == "kws01"
    assert found["accuracy"]["inputs"] == found["accuracy"]["compared"] == 1000
    assert found["accuracy"]["different"] == 0
    assert found["accuracy"]["top1"] == pytest.approx(0.911, abs=0.0015) and found["accuracy"]["meets_target"]
    assert 0.99 < found["accuracy"]["auc"] < 1
    assert [window["microseconds"] >= 200_000 for window in found["performance"]["windows"]] == [True] * 5


@pytest.fixture(scope="module")
def kws01(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kws01")
    write_plan((shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes(), folder / "model", "kws01")
    with kept_folder("firmware-mlperf-host-fast") as kept:
        return private_copy(build("host", folder / "model", out=kept, variant=Variant("mlperf")), folder)


def test_bytes_of_another_layout_are_told(shared_data: Path, kws01: Path, capsys: pytest.CaptureFixture[str]):
    folder = shared_data / "mlperf_tiny" / "kws01_inputs"
    assert kws("--board", "host", "--elf", kws01, "-d", folder, "--only", "accuracy", "--limit", 60) == 0
    heard = capsys.readouterr()
    assert "top-1" in heard.out and "--features mfcc" in heard.err and "not met" in heard.out


def test_another_model_on_the_device_is_a_failed_check(
    shared_data: Path, kws01: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tflite = bytearray((shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes())
    constants = [t.data for t in compiled(bytes(tflite)).graph.tensors if t.data is not None]
    at = tflite.find(max(constants, key=lambda data: data.nbytes).tobytes())
    assert at > 0
    for i in range(0, 1000, 10):
        tflite[at + i] ^= 0x40
    other = tmp_path / "other.tflite"
    other.write_bytes(tflite)
    folder = shared_data / "mlperf_tiny" / "kws01_inputs"
    arguments = ["--board", "host", "--elf", kws01, "-m", other, "-d", folder, "--features", "mfcc"]
    assert kws(*arguments, "--only", "accuracy", "--limit", 20) == 1
    heard = capsys.readouterr()
    assert "are not the compiled plan's" in heard.err and "top-1" in heard.out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-d", "{data}"], 2, "either --port URL or --board ID"),
        (["-d", "{data}", "--board", "host", "--port", "x"], 2, "either --port URL or --board ID"),
        (["-d", "{data}", "--board", "host"], 2, "which model"),
        (["-d", "{data}", "--board", "nothing", "-m", "{model}"], 2, "no board"),
        (["-d", "{data}", "--port", "/dev/nothing-here"], 4, "there is no port"),
        (["-d", "{data}", "--port", "x", "--elf", "y"], 2, "say for which board"),
        (["-d", "{data}", "--board", "host", "-m", "{model}"], 2, "of which the model takes 1960"),
        (["-d", "{data}", "--board", "host", "-m", "{data}/none.tflite"], 2, "can't read"),
        (["-d", "{data}/none", "--board", "host", "-m", "{model}"], 2, "can't read"),
        (["-d", "{data}", "--board", "host", "-m", "{model}", "--only", "energy"], 2, "no script"),
        (["-d", "{data}", "--board", "host", "-m", "{model}", "--features", "wav"], 2, "no features"),
        (["-d", "{data}", "--board", "host", "--features", "mfcc"], 2, "in its file"),
        (["-d", "{data}", "--board", "host", "-m", "{model}", "--features", "mfcc"], 2, "not 49 frames"),
        (["-d", "{data}", "--board", "host", "-m", "{data}/tst_000000_word_0.bin"], 2, ""),
    ],
)
def test_what_goes_wrong(
    arguments: list[str], code: int, words: str, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    data = _dataset(tmp_path / "set")
    filled = [argument.format(data=data, model=small) for argument in arguments]
    assert kws(*filled) == code
    heard = capsys.readouterr()
    assert words in heard.err.replace("\n", " ") and "Traceback" not in heard.err and not heard.out


def test_inputs_of_two_sizes(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = _dataset(tmp_path / "set")
    (data / "tst_000003_word_3.bin").write_bytes(b"1")
    assert kws("-d", data, "--board", "host", "-m", small) == 2
    assert "tst_000003_word_3.bin" in capsys.readouterr().err.replace("\n", "")


def test_firmware_that_is_not_mlperfs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    class Silent(Port):
        def __init__(self) -> None:
            super().__init__(lambda command: b"\x00\x8c\x01")

    monkeypatch.setattr(devices, "open_port", lambda url, baud: Silent())
    device = Device.open("/dev/it", patience_s=0.3)
    with pytest.raises(DeviceError) as error:
        device.identify()
    assert "does not answer" in str(error.value) and "kws build --app mlperf" in error.value.hint


def test_the_layout_of_the_shared_files_is_understood_by_the_model(shared_data: Path):
    from model_pipeline.compiler import load_host

    program = compiled((shared_data / "mlperf_tiny" / "kws_ref_model.tflite").read_bytes())
    _, raw, labels = official_inputs(shared_data, 200)
    right = np.mean(load_host(program).run(as_the_model_takes(raw, program)).argmax(axis=1) == labels)
    assert right > 0.85


# ---- models


@pytest.mark.parametrize(
    ("name", "words"),
    [("ad01_int8", "640 values"), ("simple_add_2inputs", "2 inputs"), ("mnist_lstm_int8", "keeps state")],
)
def test_models_that_are_not_the_benchmarks(shared_data: Path, name: str, words: str):
    (path,) = (shared_data / "models").glob(f"{name}*.tflite")
    with pytest.raises(KwsError, match=words):
        compiled(path.read_bytes())
