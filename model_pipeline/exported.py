"""A generated folder (``kws export``) as those see it who build, run and judge its firmware: by ``plan.json``.

Standard library alone, so that PlatformIO's own Python can read it too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_pipeline.errors import KwsError
from model_pipeline.files import read_json

PLAN_FILE = "plan.json"
CONSTANT_PREFIX = "aot_c"  # of a plan's weights and tables, which are static: in its C and in the ELF file
FORMAT = 1
_MOST = 1 << 48  # of any number: multiply-accumulates of the largest network there may be


@dataclass(frozen=True)
class Exported:
    """What ``plan.json`` says.

    Attributes:
        macs: multiply-accumulates of one inference.
        arena_bytes, constant_bytes: of the compiled plan.
        step_frames: feature frames that one inference takes; 0: the whole window.
        stride_hops: hops between two results of the detector.
        kernels: of firmware/core/nn, for which the plan was compiled (`files.kernels_hash`).
        tflm_arena_bytes: what TensorFlow Lite Micro's interpreter used on the host.
        models: how many there are; of several, numbers of a front end or a step are those of the first model that
            hears with the image's first front end, and sums those of all.
    """

    name: str
    model_sha256: str
    sample_rate: int
    window_samples: int
    hop_samples: int
    fft_size: int
    channels: int
    stride_hops: int
    step_frames: int
    macs: int
    arena_bytes: int
    constant_bytes: int
    kernels: str
    tflm_arena_bytes: int
    models: int = 1

    @property
    def model_hash(self) -> str:
        """The first 16 hex digits of the model's SHA-256, as the firmware reports it."""
        return self.model_sha256[:16]

    @property
    def hop_ms(self) -> float:
        """Time between two feature frames."""
        return 1000 * self.hop_samples / self.sample_rate

    @property
    def hops(self) -> int:
        """Hops that one inference serves."""
        return self.step_frames or self.stride_hops

    @classmethod
    def there(cls, folder: Path) -> bool:
        """Whether ``folder`` is one of ``kws export``."""
        return (Path(folder) / PLAN_FILE).is_file()

    @classmethod
    def open(cls, folder: Path) -> Exported:
        """Reads the folder's plan.

        Raises:
            KwsError: it is not one of ``kws export``, or its plan is of another version.
        """
        path = Path(folder) / PLAN_FILE
        try:
            values = read_json(path, hint="kws export MODEL --out DIR")
        except FileNotFoundError as error:
            raise KwsError(
                f"{folder} is not an exported model ({PLAN_FILE} is missing)", hint="kws export MODEL --out DIR"
            ) from error
        types = {field.name: {"int": int, "str": str}[str(field.type)] for field in dataclasses.fields(cls)}
        values.setdefault("models", 1)
        if values.pop("format", None) != FORMAT or values.keys() != types.keys():
            raise KwsError(f"{path} is of another version of kws", hint="kws export MODEL --out DIR")
        for key, kind in types.items():
            if type(values[key]) is not kind or (kind is int and not 0 <= values[key] <= _MOST):
                raise KwsError(f"{path}: {key} is {values[key]!r}", hint="kws export MODEL --out DIR")
        return cls(**values)

    def to_json(self) -> dict[str, Any]:
        """As ``plan.json`` holds it."""
        return {"format": FORMAT, **dataclasses.asdict(self)}
