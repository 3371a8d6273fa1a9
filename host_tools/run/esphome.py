"""A run's keywords as wake words for ESPHome, each measured as the file that ESPHome gets."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from model_pipeline.data.sessions import Plan
from model_pipeline.errors import KwsError
from model_pipeline.esphome import EsphomeResult, Measured, make, write
from model_pipeline.folders import atomic_dir
from model_pipeline.listening.evaluate import Audio, evaluate_listening, open_heard
from model_pipeline.listening.material import Material
from model_pipeline.manifest import Manifest, load_manifest, save_manifest
from model_pipeline.microwakeword import import_model
from model_pipeline.progress import ProgressCallback
from model_pipeline.strict import Strict
from model_pipeline.words import folder_name

SNR_DB = 10.0  # of the sessions
KIND = "kws run"


class WakeWords(Strict):
    """What was written of each keyword."""

    wake_words: list[EsphomeResult]


def wake_words(
    model: Path, material: Material, out: Path, languages: Sequence[str], progress: ProgressCallback
) -> WakeWords:
    """Writes a folder for each of the model's keywords into ``out``, whole or not at all.

    Args:
        material: the test split of its data says the words in noise; of its connected speech that is listened to which
            neither training nor calibration has heard.
        languages: of the words, for the manifest.

    Raises:
        KwsError: ESPHome can't have the model.
    """
    source = load_manifest(model)
    done = []
    with atomic_dir(out, KIND, sources=[model]) as folder:
        for word in source.keywords:
            made = make(model, word=word, languages=languages)
            with tempfile.TemporaryDirectory(prefix="kws-esphome-") as name:
                written = write(made, Path(name) / "file", model, None)
                imported = Path(name) / "imported"
                import_model(Path(name) / "file" / f"{made.name}.json", imported)
                measured = _measure(imported, source, material, progress)
            written = write(made, folder / folder_name(word), model, measured)
            done.append(written.model_copy(update={"folder": str(out / folder_name(word))}))
    return WakeWords(wake_words=done)


def _measure(imported: Path, source: Manifest, material: Material, progress: ProgressCallback) -> Measured:
    """The file under its own cutoff and window, on the test split and on speech that was used for nothing."""
    manifest = load_manifest(imported)
    # What the model that it is made of has heard, so that only other speech is taken.
    known = {"training_data": source.training_data, "accuracy": source.accuracy, "labels": manifest.labels}
    save_manifest(manifest.model_copy(update=known), imported / "model.json")
    manifest = load_manifest(imported)
    unused = []
    for folder in material.negative:
        try:
            open_heard(folder, manifest)
        except KwsError:  # all of it was used
            continue
        unused.append(folder)
    plan = material.plan or Plan()
    audio = Audio(material.data, snr_db=(SNR_DB,), negative=unused, plan=plan)
    found = evaluate_listening(imported, audio, progress, det=False)
    session = found.sessions[f"{SNR_DB:g}"]
    noise = f"in noise of {SNR_DB:g} dB"
    rate, heard = session.false_accepts, f"other words of the test split {noise}"
    if found.speech:
        names = ", ".join(_called(folder) for folder in unused)
        rate, heard = found.speech.false_accepts, f"connected speech that nothing was chosen on: {names}"
    return Measured(
        false_accepts=rate,
        heard=heard,
        of_file=True,
        misses=session.misses,
        said=f"said by voices of the test split {noise}",
    )


def _called(folder: Path) -> str:
    """A corpus in words."""
    return "sentences of held-out synthetic voices" if folder.parent.name == "talk" else folder.name
