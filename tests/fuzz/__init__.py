"""Damaged models for the compiler: ``make fuzz``, and a small sample in tests/compiler/test_fuzz.py."""
