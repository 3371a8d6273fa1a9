"""The base of everything that is read from or written to a file: unknown keys are refused, and nothing changes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer


class Strict(BaseModel):
    """A frozen record whose keys are all known."""

    # "nan" as a text would else be a number, though NaN is none in JSON (`model_pipeline.files.parse_json`).
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sparse(Strict):
    """One that is written without the keys of what is None."""

    @model_serializer(mode="wrap")
    def _there(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in write(self).items() if value is not None}
