"""The bench of host_tools.measure.m4 for tests::

from target.m4 import run_on_m4, requires_m4

@requires_m4
def test_doubles():
    result = run_on_m4([HERE / "double_main.c"], input=b"...")
    assert result.output == ...
    assert result.per_call("double") < 100
"""

from __future__ import annotations

import pytest

from host_tools.measure.m4 import M4Error, M4Result, build_for_m4, missing_tool, run_on_m4

__all__ = ["M4Error", "M4Result", "build_for_m4", "missing_tool", "requires_m4", "run_on_m4"]


def requires_m4(function):
    """Marks a test as `qemu` and skips it where compiler or emulator is missing."""
    skip = pytest.mark.skipif(missing_tool() is not None, reason=f"{missing_tool()} is not installed")
    return pytest.mark.qemu(skip(function))
