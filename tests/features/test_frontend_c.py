"""How the front end is fed: chunks, batches, resets, bad tables; and the C source under sanitizers."""

from __future__ import annotations

import ctypes
import itertools
import platform
import shutil
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pipeline.config import FrontendConfig
from model_pipeline.features import Frontend, clip_features, frontend, quantize, tables_c
from model_pipeline.features.tables import log1p_f32, tables
from model_pipeline.manifest import FEATURE_STEP, feature_quantization, input_scale
from model_pipeline.native import FIRMWARE
from tests.features.test_frontend import compose

TIES = FrontendConfig(window_ms=20, channels=41, lower_hz=20, noise_reduction=False)
HERE = Path(__file__).parent
CORE = FIRMWARE / "core" / "frontend"
CONFIG = FrontendConfig()
SAMPLES = compose([("noise", 11, 9000, 1), ("tone", 14, 5000, 2), ("uniform", 4, 3000, 3)])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=30))
def test_chunks_do_not_matter(cuts):
    whole = Frontend(CONFIG).process(SAMPLES)
    edges = [0, *np.minimum(np.cumsum(cuts, dtype=int), len(SAMPLES)).tolist(), len(SAMPLES)]
    stream = Frontend(CONFIG)
    parts = [stream.process(SAMPLES[a:b]) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_one_sample_at_a_time():
    stream = Frontend(CONFIG)
    parts = [stream.process(SAMPLES[i : i + 1]) for i in range(2000)]
    assert [len(p) for p in parts].index(1) == CONFIG.window_samples - 1
    np.testing.assert_array_equal(np.concatenate(parts), Frontend(CONFIG).process(SAMPLES[:2000]))


def test_reset_forgets_everything():
    stream = Frontend(CONFIG)
    first = stream.process(SAMPLES[:5001])
    assert (stream.process(SAMPLES[:5001])[: len(first)] != first).any()
    stream.reset()
    np.testing.assert_array_equal(stream.process(SAMPLES[:5001]), first)


@pytest.mark.parametrize("count", [0, 1, 3, 100])
def test_clips_are_independent(count):
    clips = np.random.default_rng(count).normal(0, 2000, (count, 3000)).astype(np.int16)
    features = clip_features(CONFIG, clips)
    assert features.shape == (count, CONFIG.frames(3000), CONFIG.channels)
    assert features.dtype == np.uint16
    for clip, got in zip(clips, features, strict=True):
        np.testing.assert_array_equal(got, Frontend(CONFIG).process(clip))


KINDS = st.sampled_from(["uniform", "noise", "tone", "zero", "lowest", "sparse"])


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([CONFIG, TIES, FrontendConfig(window_ms=64, channels=64), FrontendConfig(window_ms=16, hop_ms=8)]),
    st.lists(st.tuples(KINDS, st.integers(0, 15), st.integers(0, 3000), st.integers(0, 99)), min_size=1, max_size=70),
)
def test_many_clips_at_once_are_what_each_is(config, pieces):
    """On this machine's vectors, whose lanes are clips of any kind beside each other, and one by one where few."""
    clips = np.stack(
        [compose([(kind, bits, n, seed), (kind, 15 - bits, 3000 - n, seed)]) for kind, bits, n, seed in pieces]
    )
    for clip, got in zip(clips, clip_features(config, clips), strict=True):
        np.testing.assert_array_equal(got, Frontend(config).process(clip))


def test_clips_shorter_than_a_window_give_no_frames():
    assert clip_features(CONFIG, np.zeros((5, 479), np.int16)).shape == (5, 0, 40)
    assert clip_features(CONFIG, np.zeros((5, 480), np.int16)).shape == (5, 1, 40)


def test_clips_from_a_slice_with_gaps():
    clips = np.random.default_rng(5).normal(0, 2000, (40, 6000)).astype(np.int16)
    strided = clips[::2, ::2]
    np.testing.assert_array_equal(clip_features(CONFIG, strided), clip_features(CONFIG, strided.copy()))


def test_frontends_in_threads_do_not_meet():
    expected = Frontend(CONFIG).process(SAMPLES)
    wrong = []

    def work() -> None:
        for _ in range(20):
            if (Frontend(CONFIG).process(SAMPLES) != expected).any():
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("samples", [np.zeros(100), np.zeros(100, np.float32), np.zeros((2, 100), np.int16)])
def test_wrong_arrays_are_refused(samples):
    with pytest.raises(ValueError, match="int16 samples"):
        Frontend(CONFIG).process(samples)
    with pytest.raises(ValueError, match="int16 samples"):
        clip_features(CONFIG, samples.reshape(-1))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.005, 0.5), st.integers(-128, 127))
def test_quantize_is_the_manifests_rule(scale, zero_point):
    features = np.arange(0, 65536, 7, dtype=np.uint16).reshape(1, -1)
    multiplier, shift = feature_quantization(scale)
    exact = ((features.astype(np.int64) * multiplier + (1 << (shift - 1))) >> shift) + zero_point
    got = quantize(features, scale, zero_point)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, np.clip(exact, -128, 127))
    # And that rule is a rounded division, but for the multiplier's own rounding.
    real = features * FEATURE_STEP / scale + zero_point
    inside = np.abs(real) < 127
    assert np.abs(got - real)[inside].max(initial=0) < 0.5 + 0.5 * 65535 / 65536 + 0.01


def test_quantize_spans_the_default_input():
    scale = input_scale(CONFIG)
    assert quantize(np.array([0, 65535], np.uint16), scale).tolist() == [-128, 127]


@pytest.mark.parametrize(
    "change",
    [
        {"fft_size": 128},
        {"fft_size": 2048},
        {"window_samples": 0},
        {"window_samples": 513},
        {"window_samples": 472},
        {"hop_samples": 0},
        {"hop_samples": 8},
        {"snr_shift": 0},
        {"snr_shift": 32},
        {"hop_samples": 481},
        {"num_channels": 0},
        {"num_channels": 65},
        {"first_bin": 0},
        {"first_bin": 6},
        {"end_bin": 257},
    ],
)
def test_init_refuses_tables_that_contradict_themselves(change):
    library = frontend._library()
    state = ctypes.create_string_buffer(library.kws_fe_state_size())
    structure, keep = frontend._c_tables(CONFIG)
    # Padding, so that a wrong channel count reads no memory but ours.
    widths = np.zeros(4096, np.uint16)
    widths[: len(keep.widths)] = keep.widths
    copy = type(structure).from_buffer_copy(structure)
    copy.widths = widths.ctypes.data
    assert library.kws_fe_init(state, ctypes.byref(copy)) == 0
    for name, value in change.items():
        setattr(copy, name, value)
    assert library.kws_fe_init(state, ctypes.byref(copy)) == -1


def build(folder: Path, name: str, sources: list[Path], flags: list[str]) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        pytest.skip("no C compiler")
    out = folder / name
    command = [compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", *flags, f"-I{CORE}"]
    done = subprocess.run([*command, *map(str, sources), "-o", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize(
    "config",
    [
        FrontendConfig(hop_ms=10),
        FrontendConfig(window_ms=64, hop_ms=64, channels=64, lower_hz=0, upper_hz=8000),
        FrontendConfig(window_ms=10, hop_ms=5, channels=64, pcan=False),
        TIES,
    ],
    ids=["stock", "1024", "256", "ties"],
)
def test_sanitized_build_with_the_emitted_tables(config, tmp_path):
    """The C table file, in a state of just its size, fed by odd chunks, under ASan and UBSan."""
    emitted = tmp_path / "frontend_tables.c"
    emitted.write_text(tables_c(config))
    size = tables(config).fft_size
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags += [f"-DKWS_FE_MAX_FFT={size}", f"-DKWS_FE_MAX_CHANNELS={config.channels}"]
    driver = build(tmp_path, "driver", [HERE / "frontend_driver.c", emitted, CORE / "kws_frontend.c"], flags)
    pieces = [(k, b, 1500, i) for i, (k, b) in enumerate([("uniform", 15), ("sparse", 2), ("lowest", 0), ("noise", 9)])]
    samples = compose([*pieces, ("zero", 0, 2000, 0), ("tone", 15, 3000, 9)])
    done = subprocess.run([driver], input=struct.pack("<I", 7) + samples.tobytes(), capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    got = np.frombuffer(done.stdout, np.uint16).reshape(-1, config.channels)
    np.testing.assert_array_equal(got, Frontend(config).process(samples))


def test_a_bin_with_both_weights_rounded_up_is_tested_above():
    assert len(tables(TIES).ties) == 2


def test_emitted_tables_refuse_a_state_that_is_too_small(tmp_path):
    emitted = tmp_path / "frontend_tables.c"
    emitted.write_text(tables_c(CONFIG))
    command = ["cc", "-c", f"-I{CORE}", "-DKWS_FE_MAX_FFT=256", str(emitted), "-o", str(tmp_path / "t.o")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode
    assert "KWS_FE_MAX_FFT=512" in done.stderr


def test_square_roots(tmp_path):
    """root() around every number below 2^32 where its result changes, and at a million places up to 2^52."""
    flags = ["-O2", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    done = subprocess.run([build(tmp_path, "root", [HERE / "frontend_root.c"], flags)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 wrong" in done.stdout


def test_log1p_is_that_of_fdlibm():
    """glibc's log1pf is fdlibm's before 2.41; the reference computes its mel scale with it."""
    name, version = platform.libc_ver()
    if name != "glibc" or tuple(map(int, version.split("."))) >= (2, 41):
        pytest.skip("this C library has another log1pf")
    log1pf = ctypes.CDLL("libm.so.6").log1pf
    log1pf.restype, log1pf.argtypes = ctypes.c_float, [ctypes.c_float]
    hz = np.concatenate([np.arange(0, 8001, 1), np.random.default_rng(0).uniform(1, 8000, 5000)])
    for x in (hz / 700).astype(np.float32):
        assert log1p_f32(x) == log1pf(float(x)), x
