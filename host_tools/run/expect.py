"""What to expect of a model before any board is flashed: in a stream, at near words, and its cost on each board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from host_tools.measure import boards as costs
from model_pipeline.config import Config
from model_pipeline.data.sessions import Plan
from model_pipeline.errors import MissingTool
from model_pipeline.listening.evaluate import evaluate_streaming
from model_pipeline.listening.near import evaluate_near
from model_pipeline.progress import ProgressCallback

SNR_DB = 10.0  # of the sessions


def expect(config: Config, data: Path, model: Path, exported: Path, progress: ProgressCallback) -> dict[str, Any]:
    """``streaming`` (of `evaluate_streaming` on the test split; None if not asked for), ``near`` (of `evaluate_near`;
    None if not asked for or without a synthesiser) and ``boards`` (`costs.on_boards`)."""
    streaming = None
    if config.measure.session_keywords:
        plan = Plan(limit=config.measure.session_keywords)
        found = evaluate_streaming(model, data, snr_db=(SNR_DB,), plan=plan, progress=progress, det=False)
        streaming = {key: found[key] for key in ("split", "detector", "sessions", "speech", "corpora", "noise")}
    near = None
    if config.measure.near_takes:
        try:
            near = evaluate_near(model, config.synth.near_words, config.measure.near_takes, config.synth, progress)
        except MissingTool as error:
            progress(0, 1, str(error))
    return {"streaming": streaming, "near": near, "boards": costs.on_boards(exported, config.engine, progress)}
