"""``kws export --library``: a model and what runs it as one folder for somebody else's firmware."""

from model_pipeline.library.export import LibraryResult, export_library
from model_pipeline.library.flavours import FLAVOURS

__all__ = ["FLAVOURS", "LibraryResult", "export_library"]
