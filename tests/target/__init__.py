"""Runs C code of tests on an emulated Cortex-M4 (see m4.py)."""
