"""What a detector is chosen on, or a second look learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_pipeline.data.sessions import Plan


@dataclass(frozen=True)
class Material:
    """Recordings: a data folder, for sessions by ``plan`` (None: as who listens has it) and for noise, and folders of
    connected speech or noise, ``negative``, in which no keyword is meant."""

    data: Path
    negative: Sequence[Path] = ()
    plan: Plan | None = None
