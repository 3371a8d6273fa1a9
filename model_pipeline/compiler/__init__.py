"""The model compiler: an int8 .tflite becomes C with a static memory plan and a straight list of kernel calls.

Stages, each its own file: flatbuffer and reader (bytes to graph), ir (what stages hand over), ops/ (operator to
kernel call), passes/ (prune, fold, place), planner (offsets), emitter (C), host (runs the result on this machine).
See docs/compiler.md.
"""

from __future__ import annotations

from model_pipeline.compiler.host import HostProgram, HostPrograms
from model_pipeline.compiler.program import Program, compile_model, constants_by_packing

__all__ = ["HostProgram", "HostPrograms", "Program", "compile_model", "constants_by_packing"]
