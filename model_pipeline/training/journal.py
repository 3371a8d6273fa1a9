"""What a training writes down of each epoch: ``log.csv``, and the same for TensorBoard in ``tensorboard/``."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from model_pipeline.files import write_text

_HEADER = "epoch,loss,validation_accuracy,validation_loss,learning_rate,seconds\n"


@dataclass(frozen=True)
class Epoch:
    """What epoch ``number`` (from 1) of ``steps`` steps gave: ``loss`` in training, the others on the validation
    clips; ``learning_rate``: at its end."""

    number: int
    loss: float
    accuracy: float
    validation_loss: float
    learning_rate: float
    seconds: float
    steps: int


class Journal:
    """The log of one training, which goes on where ``lines`` ends."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        self.folder, self.lines = folder, lines
        self.board = folder / "tensorboard"
        if self.board.is_symlink():  # nothing is written through a link out of the folder
            self.board.unlink()
        if not lines:  # what lies there is another training's
            shutil.rmtree(self.board, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(self.board))

    def add(self, e: Epoch) -> None:
        """Writes down what an epoch gave."""
        figures = f"{e.loss:.5f},{e.accuracy:.5f},{e.validation_loss:.5f},{e.learning_rate:.3g},{e.seconds:.1f}"
        self.lines.append(f"{e.number},{figures}")
        write_text(self.folder / "log.csv", _HEADER + "".join(f"{line}\n" for line in self.lines))
        with self._writer.as_default(step=e.number):
            tf.summary.scalar("loss", e.loss)
            tf.summary.scalar("validation accuracy", e.accuracy)
            tf.summary.scalar("validation loss", e.validation_loss)
            tf.summary.scalar("learning rate", e.learning_rate)
            tf.summary.scalar("steps per second", e.steps / max(e.seconds, 1e-6))
        self._writer.flush()
