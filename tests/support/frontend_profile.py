"""Prints the front end's guest instructions by stage: ``python -m tests.support.frontend_profile [flags]``."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model_pipeline.config import FrontendConfig
from model_pipeline.features import tables_c
from model_pipeline.native import FIRMWARE

from .m4 import M4Result, run_on_m4

CORE = FIRMWARE / "core" / "frontend"
MAIN = Path(__file__).parent / "frontend_main.c"
STOCK = FrontendConfig(hop_ms=10)


def run(
    config: FrontendConfig, samples: NDArray[np.int16], flags: tuple[str, ...] = ("-O2",), stages: bool = False
) -> tuple[NDArray[np.uint16], int, M4Result]:
    """Samples through the front end on the emulated board.

    Returns:
        features uint16 [frames, channels], bytes of kws_fe_state_t, and counts: regions "frame" and "samples", and
        one for each stage if ``stages``.
    """
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "frontend_tables.c"
        tables.write_text(tables_c(config))
        sources = [MAIN, tables] + ([] if stages else [CORE / "kws_frontend.c"])
        size = 1 << (config.window_samples - 1).bit_length()
        flags += (f"-DKWS_FE_MAX_FFT={size}", f"-DKWS_FE_MAX_CHANNELS={config.channels}")
        result = run_on_m4(sources, [CORE], (*flags, "-DSTAGES") if stages else flags, input=samples.tobytes())
    features = np.frombuffer(result.output[:-4], np.uint16).reshape(-1, config.channels)
    return features, int.from_bytes(result.output[-4:], "little"), replace(result, output=b"")


def speechlike(seconds: float, seed: int = 0) -> NDArray[np.int16]:
    """int16 samples at 16 kHz: gliding harmonics under a syllable rhythm, with noise; loud and quiet parts."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(16000 * seconds)) / 16000
    pitch = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * 0.7 * t)) / 16000
    voice = sum(np.sin(k * pitch) / k for k in range(1, 30))
    rhythm = np.clip(np.sin(2 * np.pi * 3 * t), 0, 1) * (1 + np.sin(2 * np.pi * 0.5 * t)) / 2
    return np.round(6000 * voice * rhythm + rng.normal(0, 20, len(t))).clip(-32768, 32767).astype(np.int16)


def main() -> None:
    flags = tuple(sys.argv[1:]) or ("-O2",)
    samples = speechlike(2.0)
    _, size, plain = run(STOCK, samples, flags)
    _, _, staged = run(STOCK, samples, flags, stages=True)
    print(f"stock configuration, 10 ms frames, gcc {' '.join(flags)}, QEMU Cortex-M4, guest instructions")
    names = [n for n in staged.instructions if n not in ("frame", "samples")]
    for name in names:
        print(f"  {name:24} {staged.per_call(name):9,.0f}")
    rest = plain.per_call("frame") - sum(staged.per_call(n) for n in names)
    print(f"  {'samples in, history':24} {rest:9,.0f}")
    print(f"  {'a frame in all':24} {plain.per_call('frame'):9,.0f}")
    print(f"state {size} bytes, stack at most {plain.stack} bytes of the whole program")


if __name__ == "__main__":
    main()
