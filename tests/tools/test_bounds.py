"""What a file says is data: every number and text within what the firmware can hold, refused with its key at load."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from host_tools.boards import boards_dir, load_board
from host_tools.cli import main
from host_tools.flash.uploaders import Job
from host_tools.report import card
from host_tools.report.results import read_results
from model_pipeline.data.dataset import read_description
from model_pipeline.errors import KwsError
from model_pipeline.export import recorded_arena
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.files import read_json
from model_pipeline.limits import LIMITS
from model_pipeline.manifest import load_manifest

SHIPPED = Path(__file__).resolve().parents[2] / "firmware" / "model"
DEEP = '{"a": ' * 100_000 + "1" + "}" * 100_000
DAMAGED = {
    "deep": DEEP.encode(),
    "cut": b'{"format": 1, "na',
    "empty": b"",
    "no object": b"[1, 2]",
    "bytes": b"\xff\xfe\x00",
    "half a character": b'{"name": "\\ud800"}',
    "NaN": b'{"x": NaN}',
    "1e300": b'{"format": 1e300}',
    "no key": b"{}",
    "a long number": b'{"x": ' + b"9" * 10_000 + b"}",
}


def set_key(values: Any, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        values = values[part]
    values[last] = value


@pytest.fixture
def model(tmp_path: Path) -> Path:
    for name in ("model.json", "model.tflite"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


WRONG = [
    ("labels", []),
    ("labels", ["yes"] * 10),
    ("labels.3", ""),
    ("labels.3", "n\0o"),
    ("labels.3", "n\no"),
    ("labels.3", "x" * 5000),
    ("labels.3", "\u202eno"),
    ("labels.3", "\x1b[2J"),
    ("name", "a\nb"),
    ("name", ""),
    ("name", "x" * 65),
    ("detector.thresholds.0", 256),
    ("detector.thresholds.0", -1),
    ("detector.window", LIMITS["WINDOW"] + 1),
    ("detector.min_count", LIMITS["MIN_COUNT"] + 1),
    ("detector.min_count", 0),
    ("detector.refractory_samples", LIMITS["REFRACTORY_SAMPLES"] + 1),
    ("detector.refractory_samples", 1e300),
    ("detector.stride_hops", LIMITS["STRIDE_HOPS"] + 1),
    ("detector.stride_hops", 0),
    ("window_frames", LIMITS["FRAMES"] + 1),
    ("streaming", 1 << 40),
    ("input.scale", 0),
    ("input.scale", 1e300),
    ("input.shape.1", 1 << 40),
    ("frontend.channels", LIMITS["CHANNELS"] + 1),
    ("training_data.scenes", [1]),
    ("training_data.scenes", {"corpora": "abc"}),
    ("training_data.scenes", {"corpora": ["a"]}),
    ("training_data.scenes", {"corpora": [{"name": "talk", "training": 0.5}]}),
    ("training_data.scenes", {"corpora": [{"name": "\x1b[31m", "training": 0.5, "calibration": 0.5}]}),
    ("training_data.scenes", {"corpora": [{"name": "talk", "training": 0.9, "calibration": 0.9}]}),
    ("training_data.extra", "synth"),
    ("training_data.extra", {"source": [1]}),
    ("accuracy.calibration", {"corpora": {"name": "talk"}}),
]


@pytest.mark.parametrize(("key", "value"), WRONG)
def test_a_manifest_beyond_what_c_holds_is_refused_with_its_key(model: Path, key: str, value: Any) -> None:
    values = json.loads((model / "model.json").read_text(encoding="utf-8"))
    place = values
    for part in key.split(".")[:-1]:
        place = place[part]
    last = key.split(".")[-1]
    place[int(last) if last.isdigit() else last] = value
    (model / "model.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(KwsError) as refused:
        load_manifest(model)
    assert key.split(".")[0] in str(refused.value) or "labels" in str(refused.value)
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value)


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_one_line(tmp_path: Path, what: str) -> None:
    for name, read in (
        ("model.json", load_manifest),
        ("results.json", read_results),
        (PLAN_FILE, Exported.open),
    ):
        (tmp_path / name).write_bytes(DAMAGED[what])
        with pytest.raises(KwsError, match=name.replace(".", r"\.")) as refused:
            read(tmp_path)  # type: ignore[operator]
        assert "Traceback" not in str(refused.value)
    (tmp_path / "dataset.json").write_bytes(DAMAGED[what])
    if what not in ("no key", "1e300"):
        with pytest.raises(KwsError, match=r"dataset\.json"):
            read_description(tmp_path)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"x": "y" * 1000}))
    with pytest.raises(KwsError, match="more than 100 bytes"):
        read_json(tmp_path / "x.json", most=100)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "none.json")


@pytest.mark.parametrize("arena", ["1e300", "-1", '"x"', "null", "[1]", "99999999999"])
def test_an_arena_that_no_board_has_is_not_believed(model: Path, arena: str) -> None:
    manifest = load_manifest(model)
    (model / "arena.json").write_text(f'{{"model_sha256": "{manifest.model_sha256}", "arena_bytes": {arena}}}')
    try:
        assert recorded_arena(model, manifest) is None
    except KwsError as error:
        assert "arena" in str(error)


@pytest.mark.parametrize("missing", ["accuracy", "ticks", "cost", "labels", "link", "response_ms"])
def test_results_that_lack_something_are_one_line(
    tmp_path: Path, missing: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole: dict[str, Any] = {"device": {}, "confusion": [], "accuracy": {}, "ticks": {}, "cost": {}, "labels": []}
    whole |= {"link": {}, "response_ms": {}, "clips": []}
    del whole[missing]
    (tmp_path / "results.json").write_text(json.dumps(whole))
    with pytest.raises(SystemExit) as ended:
        main(["report", str(tmp_path)])
    text = capfd.readouterr().err
    assert ended.value.code == 2 and "Traceback" not in text and "results" in text


def test_a_card_shows_hostile_text_as_text(model: Path) -> None:
    hostile = "x|y`z`<script>[a](javascript:b)\n# head *b* &amp; ![i](u)\x1b[2J"
    manifest = load_manifest(model)
    changes = {
        "name": hostile,
        "labels": [hostile, *manifest.labels[1:]],
        "training_data": {**manifest.training_data, "splits": {}, "name": hostile, "licence": hostile},
    }
    whole = card.render(manifest.model_copy(update=changes), [])
    front, _, text = whole.removeprefix("---\n").partition("\n---\n")
    # The front matter is JSON's strings, which YAML reads as they are: one line each, nothing raw.
    assert "\x1b" not in front and not any(line.startswith(("#", "---")) for line in front.splitlines())
    assert "<script>" not in text.replace("\\<script\\>", "") and "](javascript" not in text and "\x1b" not in text
    assert "\n# head" not in text and "](u)" not in text
    heads = [line for line in text.splitlines() if line.startswith("# ")]
    assert len(heads) == 1
    for line in text.splitlines():  # a table's rows have as many cells as its head
        if line.startswith("| what |"):
            assert line.replace("\\|", "").count("|") == 4


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        ({"streaming": {"speech": {"hours": "x"}}}, "manifest"),
        ({"testing": {"correct": []}}, "manifest"),
        ({"near": {"takes": 1, "fired": 5, "keywords": [{}], "near": []}}, "manifest"),
        ({"other_speech": {"per_hour": None}}, "manifest"),
    ],
)
def test_a_card_of_damaged_figures_is_one_line(
    model: Path, accuracy: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = json.loads((model / "model.json").read_text(encoding="utf-8"))
    values["accuracy"] = accuracy
    (model / "model.json").write_text(json.dumps(values))
    monkeypatch.setattr(card.Exported, "there", lambda folder: True)
    monkeypatch.setattr(card.costs, "on_boards", lambda *_, **__: [])
    with pytest.raises(KwsError, match=words):
        card.card(model)


BOARD = [
    ("kws.upload.0.transport", "swd; exec touch /tmp/x"),
    ("kws.upload.0.interface", "../../evil"),
    ("kws.upload.0.interface", "stlink; shutdown"),
    ("kws.upload.0.interface", "a/../b"),
    ("kws.upload.0.target", "../x"),
    ("kws.upload.0.target", "stm32f4x.cfg -c shutdown"),
    ("kws.upload.0.target", "-x"),
    ("kws.upload.0.method", "sh"),
    ("kws.emulators.qemu.machine", "netduinoplus2,firmware=/etc/passwd"),
    ("kws.emulators.renode.script", "../../evil.resc"),
    ("kws.emulators.renode.script", "x;y.resc"),
    ("kws.emulators.renode.uart", "sysbus.usart2; include @/x"),
    ("kws.memory.flash_bytes", 1 << 40),
    ("kws.cpu", "cortex-m4 -o /tmp/x"),
    ("kws.serial.tx", "PA2; x"),
    ("name", "a\x1b[2J"),
]


@pytest.mark.parametrize(("key", "value"), BOARD)
def test_a_board_file_is_data(tmp_path: Path, key: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = json.loads((boards_dir() / "disco_f407vg.json").read_text(encoding="utf-8"))
    place = values
    for part in key.split(".")[:-1]:
        place = place[int(part) if part.isdigit() else part]
    place[key.split(".")[-1]] = value
    (tmp_path / "mine.json").write_text(json.dumps(values))
    monkeypatch.setenv("KWS_BOARDS_DIR", str(tmp_path))
    with pytest.raises(KwsError) as refused:
        load_board("mine")
    assert key.split(".")[-1] in str(refused.value)


@pytest.mark.parametrize("board", ["../mine", "/abs/mine", "", "a b", "x\ny"])
def test_a_board_is_named_not_a_path(tmp_path: Path, board: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(boards_dir() / "disco_f407vg.json", tmp_path / "mine.json")
    (tmp_path / "boards").mkdir()
    monkeypatch.setenv("KWS_BOARDS_DIR", str(tmp_path / "boards"))
    with pytest.raises(KwsError, match="no board"):
        load_board(board)


@pytest.mark.parametrize("probe", ["x; exec y", "-x", "a b", "[exec]", "$x"])
def test_a_probes_serial_number_is_no_command(probe: str) -> None:
    with pytest.raises(KwsError, match="serial number"):
        Job(Path("x.elf"), 0, probe=probe)
