"""What to expect of a model before any board is flashed: in a stream, at near words, and its cost on each board."""

from __future__ import annotations

from pathlib import Path

from host_tools.measure import boards as costs
from model_pipeline.config import Config
from model_pipeline.data.sessions import Plan
from model_pipeline.errors import MissingTool
from model_pipeline.listening.evaluate import Audio, evaluate_streaming
from model_pipeline.listening.near import evaluate_near
from model_pipeline.listening.results import Heard, Near
from model_pipeline.progress import ProgressCallback
from model_pipeline.strict import Strict

SNR_DB = 10.0  # of the sessions


class Expectation(Strict):
    """``streaming``: over long audio of the test split, None if not asked for; ``near``: None if not asked for or
    without a synthesiser."""

    streaming: Heard | None
    near: Near | None
    boards: list[costs.BoardCost]


def expect(config: Config, data: Path, model: Path, exported: Path, progress: ProgressCallback) -> Expectation:
    """Listens to the test split, says near words, builds for all boards."""
    heard = None
    if config.measure.session_keywords:
        plan = Plan(limit=config.measure.session_keywords)
        audio = Audio(data, snr_db=(SNR_DB,), plan=plan)
        found = evaluate_streaming(model, audio, progress, det=False)
        heard = Heard(**{key: getattr(found, key) for key in Heard.model_fields})
    near = None
    if config.measure.near_takes:
        try:
            near = evaluate_near(model, config.synth.near_words, config.measure.near_takes, config.synth, progress)
        except MissingTool as error:
            progress(0, 1, str(error))
    return Expectation(streaming=heard, near=near, boards=costs.on_boards(exported, config.engine, progress))
