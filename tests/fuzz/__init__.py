"""Damaged models for the compiler: ``make fuzz``, and a small sample in tests/test_fuzz.py."""
