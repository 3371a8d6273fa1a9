"""What a verb is given to read, looked at before its work begins: a mistake is told at once, and not under a bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def check(*models: Path, data: Path | None = None, speech: Sequence[Path] = ()) -> None:
    """
    Args:
        models: model folders.
        data: a data folder.
        speech: folders of recordings.

    Raises:
        KwsError: one is not there, or is something else.
    """
    from model_pipeline.data.corpora import audio_files
    from model_pipeline.data.dataset import word_folders
    from model_pipeline.manifest import load_manifest

    for model in models:
        load_manifest(model)
    if data is not None:
        word_folders(data)
    for folder in speech:
        audio_files(folder)
