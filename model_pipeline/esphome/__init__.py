"""A word of a model of ours as a model for ESPHome (microWakeWord): a stateful .tflite and its manifest.

ESPHome's ``micro_wake_word`` computes 40 features every 10 ms by the stock micro front end, hands them to a network
that keeps its past in variables, and takes one probability, uint8.
"""

from model_pipeline.esphome.export import EsphomeResult, check_front_end, export_esphome, make, write
from model_pipeline.esphome.manifest import Measured, cutoff_of
from model_pipeline.esphome.network import stateful
from model_pipeline.esphome.writer import MAX_VARIABLES, OPERATORS

__all__ = [
    "MAX_VARIABLES",
    "OPERATORS",
    "EsphomeResult",
    "Measured",
    "check_front_end",
    "cutoff_of",
    "export_esphome",
    "make",
    "stateful",
    "write",
]
