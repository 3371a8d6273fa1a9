"""The model compiler: an int8 .tflite becomes C with a static memory plan and a straight list of kernel calls.

Stages, each its own file: flatbuffer and reader (bytes to graph), ir (what stages hand over), ops/ (operator to
kernel call), passes/ (prune, fold, place), planner (offsets), compile (all of these), program (what they make), emitter
(C), host (runs it on this machine). See docs/compiler.md.
"""

from __future__ import annotations

from model_pipeline.compiler.compile import compile_model, constants_by_packing
from model_pipeline.compiler.emitter import emit
from model_pipeline.compiler.host import HostProgram, HostPrograms, load_host
from model_pipeline.compiler.program import Program

__all__ = ["HostProgram", "HostPrograms", "Program", "compile_model", "constants_by_packing", "emit", "load_host"]
