"""What to expect of a model before any board is flashed: in a stream, at near words, and its cost on each board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from host_tools.measure import boards as costs
from host_tools.report.results import Expectation
from model_pipeline.config import Config
from model_pipeline.data.sessions import Plan
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.listening.evaluate import Audio, evaluate_listening, open_heard
from model_pipeline.listening.near import evaluate_near
from model_pipeline.listening.results import Heard
from model_pipeline.manifest import load_manifest
from model_pipeline.progress import ProgressCallback

SNR_DB = 10.0  # of the sessions
SENTENCES = "sentences by other voices"  # what a report calls those that training made


def expect(
    config: Config, data: Path, model: Path, exported: Path, negative: Sequence[Path], progress: ProgressCallback
) -> Expectation:
    """Listens to the test split and to what nothing was trained or chosen on of the connected speech in ``negative``,
    says near words, builds for all boards."""
    heard = None
    if config.measure.session_keywords:
        plan = Plan(limit=config.measure.session_keywords, takes=config.data.sayings)
        audio = Audio(data, snr_db=(SNR_DB,), plan=plan, negative=_unused(model, negative))
        found = evaluate_listening(model, audio, progress)
        heard = Heard(**{key: getattr(found, key) for key in Heard.model_fields})
        names = {"validation": SENTENCES}
        named = [row.model_copy(update={"name": names.get(row.name, row.name)}) for row in heard.corpora]
        heard = heard.model_copy(update={"corpora": named})
    near = None
    if config.measure.near_takes:
        try:
            synth = config.synth
            said = data if config.data.source == "synth" and synth.near_words else None
            near = evaluate_near(model, synth.near_words, config.measure.near_takes, synth, progress, data=said)
        except MissingTool as error:
            progress(0, 1, str(error))
    return Expectation(streaming=heard, near=near, boards=costs.on_boards(exported, config.engine, progress))


def _unused(model: Path, folders: Sequence[Path]) -> list[Path]:
    """The folders of which something is left that neither training nor calibration has heard."""
    manifest, found = load_manifest(model), []
    for folder in folders:
        try:
            open_heard(folder, manifest)
        except KwsError:  # all of it was used; what can't be read was named by the training
            continue
        found.append(folder)
    return found
