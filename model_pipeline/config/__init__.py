"""The configuration of a run: one TOML file, checked before anything is started."""

from model_pipeline.config.device import CompileConfig, DetectorConfig, MeasureConfig, Packing
from model_pipeline.config.federated import FederateConfig
from model_pipeline.config.read import CONFIGS, PROJECT_FILE, explain, load_config, with_settings
from model_pipeline.config.run import SILENCE, UNKNOWN, Config
from model_pipeline.config.speech import (
    FORTUNES,
    STOCK_FRONTEND,
    DataConfig,
    FrontendConfig,
    SynthConfig,
    TalkConfig,
    Word,
)
from model_pipeline.config.training import (
    AugmentConfig,
    CorpusConfig,
    DevicesConfig,
    MineConfig,
    QuantizeConfig,
    ScenesConfig,
    ShapeConfig,
    TrainConfig,
)

__all__ = [
    "CONFIGS",
    "FORTUNES",
    "PROJECT_FILE",
    "SILENCE",
    "STOCK_FRONTEND",
    "UNKNOWN",
    "AugmentConfig",
    "CompileConfig",
    "Config",
    "CorpusConfig",
    "DataConfig",
    "DetectorConfig",
    "DevicesConfig",
    "FederateConfig",
    "FrontendConfig",
    "MeasureConfig",
    "MineConfig",
    "Packing",
    "QuantizeConfig",
    "ScenesConfig",
    "ShapeConfig",
    "SynthConfig",
    "TalkConfig",
    "TrainConfig",
    "Word",
    "explain",
    "load_config",
    "with_settings",
]
