"""The base of everything that is read from or written to a file: unknown keys are refused, and nothing changes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A frozen record whose keys are all known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
