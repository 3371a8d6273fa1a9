"""What a training writes down of each epoch: ``log.csv``, and the same for TensorBoard in ``tensorboard/``."""

from __future__ import annotations

import shutil
from pathlib import Path

import tensorflow as tf

from model_pipeline.files import write_text

_HEADER = "epoch,loss,validation_accuracy,validation_loss,learning_rate,seconds\n"


class Journal:
    """The log of one training, which goes on where ``lines`` ends."""

    def __init__(self, folder: Path, lines: list[str]) -> None:
        self.folder, self.lines = folder, lines
        self.board = folder / "tensorboard"
        if not lines:  # what lies there is another training's
            shutil.rmtree(self.board, ignore_errors=True)
        self._writer = tf.summary.create_file_writer(str(self.board))

    def epoch(
        self,
        number: int,
        *,
        loss: float,
        accuracy: float,
        validation_loss: float,
        learning_rate: float,
        seconds: float,
        steps: int,
    ) -> None:
        """Adds epoch ``number`` (from 1) of ``steps`` steps in ``seconds``."""
        self.lines.append(f"{number},{loss:.5f},{accuracy:.5f},{validation_loss:.5f},{learning_rate:.3g},{seconds:.1f}")
        write_text(self.folder / "log.csv", _HEADER + "".join(f"{line}\n" for line in self.lines))
        with self._writer.as_default(step=number):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("validation accuracy", accuracy)
            tf.summary.scalar("validation loss", validation_loss)
            tf.summary.scalar("learning rate", learning_rate)
            tf.summary.scalar("steps per second", steps / max(seconds, 1e-6))
        self._writer.flush()
