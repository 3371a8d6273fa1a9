"""The front end for Python: the firmware's C source, its tables, and a readable twin of both (`twin`)."""

from model_pipeline.features.frontend import Frontend, clip_features, model_input, quantize
from model_pipeline.features.tables import tables, tables_c

__all__ = ["Frontend", "clip_features", "model_input", "quantize", "tables", "tables_c"]
