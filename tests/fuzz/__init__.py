"""``make fuzz``: damaged models, files and devices, and kills; small samples of it in tests/compiler/test_fuzz.py and
tests/tools/test_fuzz.py."""
