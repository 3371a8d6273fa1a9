"""The model in WebAssembly gives what the native build gives, bit for bit: features, posteriors and words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from host_tools.web import folder, wasm
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.export import export
from model_pipeline.features import Frontend
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.native import ROOT
from tests.support import node, page, spoken

HERE = Path(__file__).resolve().parent
DEFAULT = ROOT / "firmware" / "model"


@pytest.fixture(scope="module", autouse=True)
def _compiler() -> None:
    try:
        wasm.compiler()
    except MissingTool as error:
        pytest.skip(f"{error}: run `make setup`")


@pytest.fixture(scope="module")
def speech() -> NDArray[np.int16]:
    """Words of flite with quiet between them."""
    quiet = np.random.default_rng(1).standard_normal(8000).astype(np.int16)
    try:
        words = [spoken.say(word, voice) for voice in spoken.VOICES for word in ("yes", "no", "up", "down", "go")]
        return np.concatenate([part for word in words for part in (word, quiet)])
    except FileNotFoundError:
        pytest.skip("flite is not in PATH: run `make setup`")


def minutes(speech: NDArray[np.int16], count: float) -> NDArray[np.int16]:
    """Speech at many levels in noise at many levels, full scale, silence, steps."""
    rng = np.random.default_rng(20)
    total, parts, size = int(count * 60 * 16000), [], 0
    while size < total:
        gain, noise = 10 ** rng.uniform(-2.5, 0.9), 10 ** rng.uniform(0, 3.5)
        kind = rng.integers(8)
        part = speech * gain + rng.standard_normal(len(speech)) * noise
        if kind == 0:
            part = rng.integers(-32768, 32768, 16000 * 2)
        elif kind == 1:
            part = np.zeros(16000 * 3)
        elif kind == 2:
            part = np.repeat(rng.choice([-32768, 32767], 400), 80)
        parts.append(np.clip(np.rint(part), -32768, 32767).astype(np.int16))
        size += len(part)
    return np.concatenate(parts)[:total]


def compare(model: Path, audio: NDArray[np.int16], folder_: Path) -> dict:
    """Runs both and asserts that they are equal; what the page's engine said."""
    about = folder.about(model)
    (folder_ / "kws.json").write_text(json.dumps(about))
    (folder_ / "model.wasm").write_bytes(wasm.module(model))
    audio.tofile(folder_ / "audio.raw")
    files = [folder_ / name for name in ("model.wasm", "kws.json", "audio.raw", "features.raw", "scores.raw")]
    said = node.run(HERE / "engine.mjs", *files)
    native = Recogniser(model, 1, wide=False)
    features = Frontend(native.manifest.frontend).process(audio)
    assert np.array_equal(np.fromfile(files[3], np.uint16).reshape(-1, features.shape[1]), features)
    track = native.track(audio, about["stride_hops"])  # type: ignore[arg-type]
    scores = (track.outputs.astype(np.int16) + 128).astype(np.uint8)
    assert np.array_equal(np.fromfile(files[4], np.uint8).reshape(-1, scores.shape[1]), scores)
    assert said["positions"] == list(track.positions)
    found = track.detect(native.manifest.detector)
    assert said["words"] == [[d.position, d.label, d.score] for d in found]
    assert said["again"], "after a reset it is as if nothing had been heard"
    assert said["by_features"], "a board's features lead to what they lead to here"
    assert said["refused"] == 5
    return said


def test_five_minutes_of_the_default_model(speech: NDArray[np.int16], tmp_path: Path) -> None:
    said = compare(DEFAULT, minutes(speech, 5), tmp_path)
    assert len(said["positions"]) > 3700 and said["words"]


def test_a_minute_by_a_detector_without_a_second_look(speech: NDArray[np.int16], tmp_path: Path) -> None:
    said = compare(page.plain_model(tmp_path / "model"), minutes(speech, 1), tmp_path)
    assert len(said["words"]) > 5 and said["strict"] != said["words"]


def test_a_minute_of_the_tiny_model(speech: NDArray[np.int16], tmp_path: Path) -> None:
    assert compare(ROOT / "firmware" / "tiny", minutes(speech, 1), tmp_path)["positions"]


def test_a_minute_of_a_streaming_model(speech: NDArray[np.int16], tmp_path: Path) -> None:
    export(DEFAULT, tmp_path / "model", streaming=1)
    assert compare(tmp_path / "model", minutes(speech, 1), tmp_path)["positions"]


def test_the_page_is_small(tmp_path: Path) -> None:
    sizes = folder.write(DEFAULT, tmp_path / "page")
    assert sizes == {path.name: path.stat().st_size for path in (tmp_path / "page").iterdir() if path.name[0] != "."}
    assert sum(sizes.values()) < 300_000
    assert sum(size for name, size in sizes.items() if name != folder.MODULE_FILE) < 150_000


def test_what_was_not_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KwsError, match=r"plan\.json is missing"):
        folder.files(tmp_path)
