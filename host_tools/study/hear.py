"""False accepts and misses of a study's models: on what thresholds are chosen on, never on what is reported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from model_pipeline.config import Config
from model_pipeline.data import connected as negatives
from model_pipeline.data.corpora import Recording, corpus_of
from model_pipeline.data.dataset import Dataset
from model_pipeline.data.sessions import Plan
from model_pipeline.data.transcripts import Sayings
from model_pipeline.listening.corpus import Listener
from model_pipeline.listening.evaluate import judge
from model_pipeline.listening.recogniser import Recogniser
from model_pipeline.listening.results import Judged
from model_pipeline.manifest import Manifest
from model_pipeline.progress import ProgressCallback

SNR_DB = 10.0  # of the words in noise
_WORDS = 200  # where [measure] asks for none


def negative_folders(config: Config, out: Path, more: Sequence[Path] = ()) -> list[Path]:
    """Folders of connected speech without keywords: those of [scenes], the sentences by voices that training has not
    heard (made in ``out``/talk when the base was trained), and ``more``."""
    found = [Path(c.folder) for c in config.scenes.corpora if c.kind == "speech" and c.folder != "talk"]
    talk = (Path(config.talk.folder) if config.talk.folder else out / "talk") / "validation"
    return [*found, *([talk] if talk.is_dir() else []), *more]


def hear(model: Path, data: Path, folders: Sequence[Path], config: Config, progress: ProgressCallback) -> Judged:
    """An int8 model with the recipe's detector in a stream: validation words in noise, connected speech, noise.

    Of a corpus that training knows its calibration part is heard, of another one all; one without such a part is left
    out.

    Raises:
        KwsError: a folder is not there, or holds no recordings.
    """
    recogniser = Recogniser(model)
    manifest = recogniser.manifest
    dataset = Dataset.open(data, manifest.keywords, config.data)
    listener = Listener(recogniser, manifest.detector.stride_hops, progress)
    stretches = []
    for folder in folders:
        name, recordings = _to_choose_on(folder, manifest)
        if recordings:
            audio = listener.read([r.path for r in recordings])
            stretches.append(negatives.join(name, audio, [r.path.name for r in recordings]))
    keywords = sum(clip.label < dataset.unknown for clip in dataset.clips("validation"))
    words = min(config.measure.session_keywords or _WORDS, keywords)
    listener.expect(2.5 * words + 600 + sum(stretch.seconds for stretch in stretches))
    if keywords:
        listener.generated(dataset, "validation", (SNR_DB,), Plan(limit=words))
    for stretch in stretches:
        listener.speech(stretch)
    return judge(listener.corpus, manifest.detector, det=False)


def _to_choose_on(folder: Path, manifest: Manifest) -> tuple[str, list[Recording]]:
    trained = (manifest.training_data.get("scenes") or {}).get("corpora") or []
    corpus = corpus_of(folder, trained)
    known = any(entry["name"] == corpus.name for entry in trained)
    sayings = Sayings(manifest.keywords) if corpus.transcribed else None
    return corpus.name, corpus.without("calibration" if known else None, sayings)[0]
