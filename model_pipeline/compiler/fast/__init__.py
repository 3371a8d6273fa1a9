"""Chooses kernels for cores with the DSP extension, layer by layer, and packs their constants (firmware/core/nn/fast)."""

from model_pipeline.compiler.fast.select import accelerate

__all__ = ["accelerate"]
