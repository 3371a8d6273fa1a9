"""What a run of Flower is about, as text that travels to every client."""

from __future__ import annotations

from pathlib import Path

from model_pipeline.config import Config
from model_pipeline.strict import Strict


class Job(Strict):
    """A recipe and where it is learnt.

    Attributes:
        recipe: already `Config.of_clips`.
        data: the folder with the clips; on other machines a node's own ``data``.
        out: the server's folder.
        audio: int16 [n, samples] (.npy) of the training clips; empty: clients read ``data``.
        nodes: machines to wait for, each a client; 0: as many as there are groups of speakers in ``data``.
    """

    recipe: Config
    data: str
    out: str
    audio: str = ""
    nodes: int = 0

    @property
    def audio_path(self) -> Path | None:
        """Where ``audio`` is."""
        return Path(self.audio) if self.audio else None
