"""The Cortex-M4 harness itself: input, output, counts, and that failures are noticed."""

import struct
from pathlib import Path

import numpy as np
import pytest

from tests.support.m4 import M4Error, requires_m4, run_on_m4

SMOKE = [Path(__file__).parent / "smoke_main.c"]


@requires_m4
def test_reads_writes_and_counts_exactly():
    values = np.random.default_rng(1).integers(-1000, 1000, 5001).astype(np.int16)
    result = run_on_m4(SMOKE, input=values.tobytes())
    total = int(values.sum())
    assert struct.unpack("<ii", result.output) == (total, int(total * 0.5))
    assert result.instructions == {"empty": 0, "five": 15}
    assert result.calls == {"empty": 3, "five": 3}
    assert 0 < result.stack < 1024
    assert result.ram >= 512


@requires_m4
@pytest.mark.parametrize(("value", "message"), [(666, "cursed"), (667, "fault"), (668, "ended with 1")])
def test_a_failure_is_an_error(value, message):
    with pytest.raises(M4Error, match=message):
        run_on_m4(SMOKE, input=struct.pack("<h", value))


@requires_m4
def test_a_compile_error_is_told(tmp_path):
    source = tmp_path / "broken.c"
    source.write_text("int main(void) { int unused; return 0; }\n")
    with pytest.raises(M4Error, match="unused"):
        run_on_m4([source])
