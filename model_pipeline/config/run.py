"""The configuration of a run as a whole."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from model_pipeline.config.device import CompileConfig, DetectorConfig, MeasureConfig
from model_pipeline.config.federated import FederateConfig
from model_pipeline.config.moved import with_moved_keys
from model_pipeline.config.speech import STOCK_FRONTEND, DataConfig, FrontendConfig, SynthConfig, TalkConfig, Word
from model_pipeline.config.training import (
    AugmentConfig,
    DevicesConfig,
    MineConfig,
    QuantizeConfig,
    ScenesConfig,
    TrainConfig,
)
from model_pipeline.rate import CLIP_MS
from model_pipeline.strict import Strict

UNKNOWN = "unknown"
SILENCE = "silence"


class Config(Strict):
    """One run. See model_pipeline/configs/*.toml for commented examples."""

    name: str = Field("demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")
    keywords: list[Word] = Field(
        ["yes", "no", "up", "down", "left", "right", "stop", "go"], min_length=1, max_length=28
    )
    board: str = "disco_f407vg"
    engine: Literal["aot", "tflm"] = "aot"
    # Engine aot: 0, each inference takes the whole window; n, it computes only what n new feature frames change
    # (n divides the window; docs/streaming-plan.md).
    hop_frames: int = Field(0, ge=0)
    # The keywords become wake words of ESPHome's micro_wake_word too (`kws new --esphome`): with its front end, a
    # result each hop_frames, and a detector that it can have.
    esphome: bool = False
    frontend: FrontendConfig = FrontendConfig()
    synth: SynthConfig = SynthConfig()
    talk: TalkConfig = TalkConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    devices: DevicesConfig = DevicesConfig()
    scenes: ScenesConfig = ScenesConfig()
    mine: MineConfig = MineConfig()
    federate: FederateConfig = FederateConfig()
    detector: DetectorConfig = DetectorConfig()
    compile: CompileConfig = CompileConfig()
    measure: MeasureConfig = MeasureConfig()

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return with_moved_keys(values) if isinstance(values, dict) else values

    def recipe(self) -> dict[str, Any]:
        """What of [train] and [augment] the float network depends on, as JSON values."""
        train = self.train.model_dump(mode="json", exclude=set() if self.train.base else {"base", "base_share"})
        return train | self.augment.model_dump(mode="json")

    def of_clips(self) -> Config:
        """The recipe without what takes all recordings in one place: scenes, their teacher, mining, data beside the
        main one, and what is drawn from the examples' shares. Front end, network, augmentation, quantisation stay."""
        return self.model_copy(
            update={
                "scenes": ScenesConfig(),
                "mine": MineConfig(),
                "data": self.data.model_copy(update={"extra": ""}),
                "train": self.train.model_copy(update={"teacher_width": 0.0, "balance": 0.0, "distrust": 0.0}),
                "quantize": self.quantize.model_copy(update={"lean": 0.0}),
            }
        )

    @model_validator(mode="after")
    def _plain(self) -> Config:
        if (self.augment.level_db or self.augment.colour_db) and self.frontend.settles:
            raise ValueError(
                "augment.level_db and augment.colour_db need frontend.noise_reduction = false and frontend.pcan = false"
            )
        return self

    @model_validator(mode="after")
    def _as_esphome(self) -> Config:
        if not self.esphome:
            return self
        if self.frontend != STOCK_FRONTEND:
            raise ValueError(
                f"esphome: [frontend] is hop_ms = {STOCK_FRONTEND.hop_ms}, and all else left to its default"
            )
        if not self.hop_frames:
            raise ValueError("esphome: hop_frames is how many frames a step takes, such as 2")
        if self.detector.look or (self.detector.min_count > 1 and not self.detector.rate):
            raise ValueError("esphome: its detector has detector.look = 0 and detector.min_count = 1")
        return self

    @model_validator(mode="after")
    def _whole_hops(self) -> Config:
        if self.data.clip_ms != CLIP_MS and self.data.clip_ms % self.frontend.hop_ms:
            raise ValueError(
                f"data.clip_ms = {self.data.clip_ms} is not a whole number of hops of {self.frontend.hop_ms} ms"
            )
        return self

    @field_validator("keywords")
    @classmethod
    def _distinct(cls, words: list[str]) -> list[str]:
        if len(set(words)) != len(words):
            raise ValueError("a keyword is given twice")
        reserved = {UNKNOWN, SILENCE} & set(words)
        if reserved:
            raise ValueError(f"{', '.join(sorted(reserved))} is a label of every model, not a keyword")
        return words

    @property
    def frames(self) -> int:
        """Feature frames of the network's window: those of a clip."""
        return self.frontend.frames(self.data.clip_samples)

    @property
    def labels(self) -> list[str]:
        """The model's outputs in order: the keywords, then unknown, then silence."""
        return [*self.keywords, UNKNOWN, SILENCE]
