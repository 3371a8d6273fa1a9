"""The choice of packing: from the configuration by way of the manifest to the plan, and under a limit of constants."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from host_tools import cli
from host_tools.options import kernels
from model_pipeline.compiler import compile_model, constants_by_packing, load_host
from model_pipeline.compiler.ir import constant_bytes
from model_pipeline.config import CompileConfig, load_config
from model_pipeline.errors import KwsError
from model_pipeline.export import export
from model_pipeline.manifest import load_manifest
from tests.compiler.test_export import write_model
from tests.support.tflite_builder import ds_cnn, lively_inputs

TFLITE = ds_cnn(3, channels=16, blocks=3)
FAST = compile_model(TFLITE)
SIZES = constants_by_packing(TFLITE)


def test_speed_takes_most() -> None:
    assert SIZES["portable"] < SIZES["size"] < SIZES["speed"]


@settings(max_examples=10, deadline=None)
@given(st.integers(SIZES["size"], SIZES["speed"] + 100))
def test_a_limit_is_kept_and_used(limit: int) -> None:
    program = compile_model(TFLITE, max_constants=limit)
    free = limit - program.constant_bytes
    assert free >= 0
    for chosen, fast in zip(program.calls, FAST.calls, strict=True):
        if chosen.function != fast.function:
            assert constant_bytes([fast]) - constant_bytes([chosen]) > free
    assert limit < SIZES["speed"] or program.constant_bytes == SIZES["speed"]


def test_a_plan_of_both_packings_computes_the_same() -> None:
    mixed = compile_model(TFLITE, max_constants=(SIZES["size"] + SIZES["speed"]) // 2)
    names = " ".join(call.function for call in mixed.calls)
    assert re.search(r"kws_fast_(matrix|conv)8_", names) and re.search(r"kws_fast_(matrix|conv)16_", names)
    inputs = lively_inputs(np.random.default_rng(1), 5, (1, 49, 40, 1))
    assert (load_host(mixed).run(inputs) == load_host(compile_model(TFLITE, "portable")).run(inputs)).all()


def test_less_than_the_smallest_is_refused() -> None:
    with pytest.raises(KwsError, match=rf"take {SIZES['size']:,} bytes, 100 are allowed"):
        compile_model(TFLITE, max_constants=100)


def test_the_manifest_decides_and_an_option_is_remembered(tmp_path: Path) -> None:
    small = write_model(tmp_path / "small", TFLITE, compile=CompileConfig(packing="size"))
    result = export(small, tmp_path / "a")
    assert (result.packing, result.constant_bytes) == ("size", SIZES["size"])
    assert result.constant_bytes_by_packing == SIZES
    assert export(small, tmp_path / "b", choice=kernels.chosen(small, size=False)).constant_bytes == SIZES["speed"]
    assert load_manifest(tmp_path / "b").compile.packing == "speed"
    assert export(tmp_path / "b", tmp_path / "c").constant_bytes == SIZES["speed"]


def test_options_of_the_verbs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "m", TFLITE, compile=CompileConfig(packing="size"))
    other = tmp_path / "m" / "other.tflite"
    other.write_bytes(TFLITE)

    def compiled(*arguments: str) -> int:
        done = CliRunner().invoke(cli.build_app(), ["compile", *arguments, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)["constant_bytes"]

    assert compiled(str(model / "model.tflite")) == SIZES["size"]
    assert compiled(str(other)) == SIZES["speed"]  # the manifest is not about this one
    assert compiled(str(model / "model.tflite"), "--speed") == SIZES["speed"]
    assert compiled(str(model / "model.tflite"), "--portable") == SIZES["portable"]
    assert SIZES["size"] <= compiled(str(other), "--max-constants", "5K") <= 5 << 10 < SIZES["speed"]
    with pytest.raises(SystemExit) as ended:
        cli.main(["compile", str(other), "--max-constants", "6Q"])
    assert ended.value.code == 2 and "such as 40960 or 40K" in capfd.readouterr().err
    with pytest.raises(KwsError, match="--speed and --portable exclude"):
        kernels.chosen(other, size=False, portable=True)


def test_the_configuration_has_the_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[compile]\npacking = "size"\nmax_constants = 40960\n')
    assert load_config(file).compile == CompileConfig(packing="size", max_constants=40960)
    file.write_text('[compile]\npacking = "fast"\n')
    with pytest.raises(KwsError, match=r"compile\.packing"):
        load_config(file)
