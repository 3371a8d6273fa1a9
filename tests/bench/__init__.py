"""Whole models on the emulated Cortex-M4, counted in guest instructions."""
