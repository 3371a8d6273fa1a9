"""What to expect of a model before any board is flashed: in a stream, at near words, and its cost on each board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from host_tools.measure import boards as costs
from host_tools.report.results import Expectation
from model_pipeline.config import Config
from model_pipeline.data import talk
from model_pipeline.data.dataset import read_description
from model_pipeline.data.sessions import Plan
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.listening.evaluate import Audio, evaluate_listening, open_heard
from model_pipeline.listening.near import evaluate_near
from model_pipeline.listening.results import CorpusFigures, Heard
from model_pipeline.manifest import load_manifest
from model_pipeline.progress import ProgressCallback

SNR_DB = 10.0  # of the sessions
# What a report calls those that training made; without a text on this machine they are words in a row.
SENTENCES, ROWS = "sentences by other voices", "words in a row by other voices"


def expect(
    config: Config, data: Path, model: Path, exported: Path, negative: Sequence[Path], progress: ProgressCallback
) -> Expectation:
    """Listens to the test split, to what nothing was trained or chosen on of the connected speech in ``negative``, and
    to rows of near words, says near words, builds for all boards."""
    heard = rows = None
    if config.measure.session_keywords:
        plan = Plan(limit=config.measure.session_keywords, takes=config.data.sayings)
        audio = Audio(data, snr_db=(SNR_DB,), plan=plan, negative=_unused(model, negative))
        found = evaluate_listening(model, audio, progress)
        heard = Heard(**{key: getattr(found, key) for key in Heard.model_fields})
        names = {folder.name: name for folder in negative if (name := _called(folder))}
        named = [row.model_copy(update={"name": names.get(row.name, row.name)}) for row in heard.corpora]
        heard = heard.model_copy(update={"corpora": named})
        rows = _rows(model, negative, progress)
    near = None
    if config.measure.near_takes:
        try:
            synth = config.synth
            said = data if config.data.source == "synth" and synth.near_words else None
            near = evaluate_near(model, synth.near_words, config.measure.near_takes, synth, progress, data=said)
        except MissingTool as error:
            progress(0, 1, str(error))
    return Expectation(streaming=heard, near=near, boards=costs.on_boards(exported, config.engine, progress), rows=rows)


def _rows(model: Path, negative: Sequence[Path], progress: ProgressCallback) -> CorpusFigures | None:
    """What fires where held-out voices say near words in a row, beside sentences of a text: by itself, as nobody talks
    so."""
    folder = next((f.parent / talk.ROWS for f in negative if _called(f)), None)
    if folder is None or not folder.is_dir():
        return None
    (found,) = evaluate_listening(model, Audio(negative=[folder]), progress, det=False).corpora
    return found.model_copy(update={"name": ROWS})


def _called(folder: Path) -> str:
    """What a folder of the sentences that training made is called; of another corpus ""."""
    made = read_description(folder.parent, "corpus.json")
    if made.get("source") != "talk":  # a corpus may lie beside a file of that name
        return ""
    return SENTENCES if made.get("read") else ROWS


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
