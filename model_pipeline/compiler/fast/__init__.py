"""Kernels for cores with the DSP extension (firmware/core/nn/fast): chosen layer by layer, constants packed."""

from model_pipeline.compiler.fast.layer import Goal
from model_pipeline.compiler.fast.select import accelerate

__all__ = ["Goal", "accelerate"]
