"""Export: the generated folder is complete, agrees with its model, and compiles with both engines."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from model_pipeline import export as export_module
from model_pipeline import native
from model_pipeline.compiler.host import KERNELS, kernel_sources
from model_pipeline.config import Config, DetectorConfig, FrontendConfig
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.export import _OLD_ARENA_FILE, FILES, c_string, export
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.folders import MARK
from model_pipeline.image import CORE, GENERATED, core_sources
from model_pipeline.manifest import Manifest, Quantization, detector_defaults, save_manifest
from model_pipeline.tflm import measure_arena
from tests.support.tflite_builder import Oracle, ds_cnn, lively_inputs

WRITTEN = FILES - {_OLD_ARENA_FILE}
STUBS = Path(__file__).parents[1] / "support" / "stubs"
ENGINES = native.FIRMWARE / "engines"
LABELS = Config().labels


@pytest.fixture(scope="module")
def tflite() -> bytes:
    return ds_cnn(3, channels=8, blocks=2)


def write_model(folder: Path, tflite: bytes, **changes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.tflite").write_bytes(tflite)
    values = {
        "name": "test",
        "model_sha256": hashlib.sha256(tflite).hexdigest(),
        "labels": LABELS,
        "frontend": FrontendConfig(),
        "window_frames": 49,
        "input": Quantization(scale=float(np.float32(26 / 255)), zero_point=-128, shape=[1, 49, 40, 1]),
        "output": Quantization(scale=1 / 256, zero_point=-128, shape=[1, 10]),
        "detector": detector_defaults(DetectorConfig(), 10, 20),
    }
    save_manifest(Manifest(**{**values, **changes}), folder / "model.json")
    return folder


@pytest.fixture(scope="module")
def generated(tmp_path_factory, tflite) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export(write_model(folder / "model", tflite), folder / "out")
    return folder / "out"


def build(out: Path, sources: list[Path], *flags: str) -> str:
    """Compiles C and C++ sources with all warnings into one program."""
    objects = []
    for source in sources:
        target = out / f"{source.stem}{len(objects)}.o"
        compiler = ["g++", "-std=c++17", "-fno-exceptions"] if source.suffix == ".cc" else ["gcc", "-std=c11"]
        command = [*compiler, "-Wall", "-Wextra", "-Werror", "-O1", *flags, "-c", str(source), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        objects.append(str(target))
    program = out / "program"
    done = subprocess.run(["g++", *flags, *objects, "-o", str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(program)


def test_writes_all_files_and_no_other(generated, tflite):
    assert {p.name for p in generated.iterdir()} == WRITTEN
    assert (generated / "model.tflite").read_bytes() == tflite


def test_the_c_array_is_the_model(generated, tflite, tmp_path):
    main = tmp_path / "main.cc"
    main.write_text(
        '#include <cstdio>\n#include <cstdint>\n#include "model_data.h"\n'
        "int main() { if (reinterpret_cast<uintptr_t>(kws_model_data) % 16) return 1;\n"
        "  fwrite(kws_model_data, 1, kws_model_data_len, stdout); return 0; }\n"
    )
    program = build(tmp_path, [main, generated / "model_data.cc"], f"-I{generated}")
    done = subprocess.run([program], capture_output=True)
    assert done.returncode == 0
    assert done.stdout == tflite


AOT_MAIN = """
#include <stdio.h>
#include <string.h>
#include "engine.h"
#include "kws_image.h"
#include "model_config.h"
static kws_state_t state;
int main(void) {
  static const signed char thresholds[KWS_NUM_LABELS] = {0};
  static const unsigned char levels[] = KWS_DET_THRESHOLDS;
  int labels = 1;
  (void)thresholds;
  for (const char *c = KWS_LABELS; *c; c++) labels += *c == '\\n';
  if (labels != KWS_NUM_LABELS || sizeof levels != KWS_NUM_LABELS) return 4;
  if (strcmp(kws_engine_info()->model_hash, KWS_MODEL_HASH)) return 5;
  if (kws_engine_load() != KWS_ENGINE_OK) return 7;
  const kws_engine_info_t *info = kws_engine_info();
  const kws_network_t *network = kws_image.models[0].network;
  if (kws_stream_init(&state.stream, &kws_image)) return 9;
  while (fread(network->input(state.network0), info->input_bytes, 1, stdin) == 1) {
    if (network->invoke(state.network0)) return 8;
    fwrite(network->output(state.network0), info->output_bytes, 1, stdout);
  }
  return 0;
}
"""


def test_the_aot_engine_equals_the_oracle_under_sanitizers(generated, tflite, tmp_path):
    main = tmp_path / "main.c"
    main.write_text(AOT_MAIN)
    sources = [main, ENGINES / "aot" / "engine_aot.c", *(generated / name for name in GENERATED)]
    sources += [*core_sources(), *kernel_sources()]
    flags = [f"-I{generated}", f"-I{ENGINES}", *(f"-I{k}" for k in (*CORE, *KERNELS))]
    flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = build(tmp_path, sources, *flags)
    inputs = lively_inputs(np.random.default_rng(5), 20, (1, 49, 40, 1))
    done = subprocess.run([program], input=inputs.tobytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    got = np.frombuffer(done.stdout, np.int8).reshape(20, 10)
    assert np.array_equal(got, Oracle(tflite).run(inputs, (1, 49, 40, 1)))
    assert len(np.unique(got, axis=0)) > 5


def test_engine_and_configuration_of_different_models_do_not_compile(generated, tflite, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(generated, other)
    text = (other / "model_config.h").read_text()
    real_id = hashlib.sha256(tflite).hexdigest()[:16]
    assert real_id in text
    (other / "model_config.h").write_text(text.replace(real_id, "0123456789abcdef"))
    includes = [f"-I{k}" for k in (other, ENGINES, *CORE)]
    command = ["gcc", "-std=c11", *includes, "-c", str(ENGINES / "aot" / "engine_aot.c")]
    done = subprocess.run([*command, "-o", str(tmp_path / "x.o")], capture_output=True, text=True)
    assert done.returncode != 0
    assert "different models" in done.stderr


TFLM_MAIN = """
#include <cstdio>
#include <cstring>
#include "engine.h"
#include "model_config.h"
#include "model_data.h"
#include "tensorflow/lite/c/common.h"
static int failures;
#define CHECK(x) do { if (!(x)) { failures++; printf("line %d: %s\\n", __LINE__, #x); } } while (0)
int main() {
  stub::State &s = stub::state;
  using namespace stub;
  s.input_bytes = KWS_INPUT_BYTES; s.output_bytes = KWS_OUTPUT_BYTES; s.input_zero_point = KWS_INPUT_ZERO_POINT;
  CHECK(kws_engine_invoke() == KWS_ENGINE_ESTATE);
  CHECK(kws_engine_input() == nullptr && kws_engine_output() == nullptr);
  s.schema_version = 4; CHECK(kws_engine_load() == KWS_ENGINE_ESCHEMA); s.schema_version = 3;
  s.operators_failing_from = 2; CHECK(kws_engine_load() == KWS_ENGINE_EOP); s.operators_failing_from = 1000;
  s.allocate_fails = true; CHECK(kws_engine_load() == KWS_ENGINE_EARENA); s.allocate_fails = false;
  s.type = kTfLiteUInt8; CHECK(kws_engine_load() == KWS_ENGINE_ESCHEMA); s.type = kTfLiteInt8;
  s.input_bytes--; CHECK(kws_engine_load() == KWS_ENGINE_ESCHEMA); s.input_bytes++;
  s.input_zero_point++; CHECK(kws_engine_load() == KWS_ENGINE_ESCHEMA); s.input_zero_point--;
  CHECK(kws_engine_invoke() == KWS_ENGINE_ESTATE);
  CHECK(kws_engine_load() == KWS_ENGINE_OK);
  CHECK(s.model == kws_model_data && s.arena_size == KWS_TFLM_ARENA_BYTES);
  CHECK(kws_engine_info()->arena_bytes == KWS_INPUT_BYTES + KWS_OUTPUT_BYTES);
  CHECK(!strcmp(kws_engine_info()->name, "tflm") && !strcmp(kws_engine_info()->model_hash, KWS_MODEL_HASH));
  memset(kws_engine_input(), 1, KWS_INPUT_BYTES);
  CHECK(kws_engine_invoke() == KWS_ENGINE_OK && s.invokes == 1 && kws_engine_output() != nullptr);
  s.invoke_fails = true; CHECK(kws_engine_invoke() == KWS_ENGINE_EINVOKE);
  kws_engine_reset(); CHECK(s.resets == 1);
  printf("%s\\n", s.names);
  return failures;
}
"""


@pytest.mark.parametrize("layout", ["tflite", "tflite::micro"])
def test_the_tflm_engine_compiles_and_tells_its_errors(generated, tmp_path, layout):
    main = tmp_path / "main.cc"
    main.write_text(TFLM_MAIN)
    sources = [main, ENGINES / "tflm" / "engine_tflm.cc", generated / "model_data.cc"]
    flags = [f"-I{generated}", f"-I{ENGINES}", f"-I{STUBS}", "-fsanitize=address,undefined"]
    program = build(tmp_path, sources, *flags, *(["-DKWS_STUB_MICRO"] if layout == "tflite::micro" else []))
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["Conv2D", "DepthwiseConv2D", "FullyConnected", "Mean", "Softmax"]


def test_a_tflite_alone_is_told_what_it_lacks(tflite, tmp_path):
    model = tmp_path / "net.tflite"
    model.write_bytes(tflite)
    with pytest.raises(KwsError, match=r"a folder with model\.tflite and model\.json") as caught:
        export(model, tmp_path / "out")
    assert "kws compile" in caught.value.hint


def test_the_measured_arena_is_enough_and_hardly_more(tflite):
    from tflite_micro.python.tflite_micro import runtime

    size = measure_arena(tflite)
    runtime.Interpreter.from_bytes(tflite, arena_size=size + 16)  # the interpreter aligns what it is given
    with pytest.raises(RuntimeError):
        runtime.Interpreter.from_bytes(tflite, arena_size=size - 256)


def test_the_recorded_arena_makes_tflite_micro_unnecessary(generated, tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.startswith("tflite_micro")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    export(generated, tmp_path / "again")
    assert all((tmp_path / "again" / n).read_bytes() == (generated / n).read_bytes() for n in WRITTEN)
    (tmp_path / "again" / PLAN_FILE).unlink()
    with pytest.raises(MissingTool, match="can't be measured"):
        export(tmp_path / "again", tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_the_record_of_another_model_is_not_used(generated, tmp_path, monkeypatch):
    folder = shutil.copytree(generated, tmp_path / "model")
    record = json.loads((folder / PLAN_FILE).read_text())
    (folder / PLAN_FILE).write_text(json.dumps({**record, "model_sha256": "0" * 64, "tflm_arena_bytes": 1}))
    monkeypatch.setattr(export_module, "measure_arena", lambda tflite: 4711)
    assert export(folder, tmp_path / "out").tflm_arena_bytes == 4711


def test_the_record_of_an_older_export_is_used(generated, tmp_path, monkeypatch):
    folder = shutil.copytree(generated, tmp_path / "model")
    sha = Exported.open(folder).model_sha256
    (folder / PLAN_FILE).unlink()
    (folder / _OLD_ARENA_FILE).write_text(json.dumps({"model_sha256": sha, "arena_bytes": 4720}))
    monkeypatch.setattr(export_module, "measure_arena", lambda tflite: pytest.fail("measured again"))
    assert export(folder, folder).tflm_arena_bytes == 4720
    assert Exported.open(folder).tflm_arena_bytes == 4720 and not (folder / _OLD_ARENA_FILE).exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"model_sha256": "MODEL", "tflm_arena_bytes": "many"}'])
def test_a_broken_record_is_told(generated, tmp_path, text):
    folder = shutil.copytree(generated, tmp_path / "model")
    sha = Exported.open(folder).model_sha256
    (folder / PLAN_FILE).write_text(text.replace("MODEL", sha))
    with pytest.raises(KwsError, match=r"plan\.json"):
        export(folder, tmp_path / "out")


def test_the_plan_says_what_the_headers_say(generated):
    plan = Exported.open(generated)
    text = "".join((generated / name).read_text() for name in ("model_config.h", "model_aot.h"))
    macros = dict(re.findall(r"^#define KWS_(\w+) (\S+)$", text, re.M))
    for macro, value in (
        ("SAMPLE_RATE", plan.sample_rate),
        ("WINDOW_SAMPLES", plan.window_samples),
        ("HOP_SAMPLES", plan.hop_samples),
        ("FFT_SIZE", plan.fft_size),
        ("CHANNELS", plan.channels),
        ("STRIDE_HOPS", plan.stride_hops),
        ("AOT_STEP_FRAMES", plan.step_frames),
        ("AOT_MACS", plan.macs),
        ("AOT_ARENA_BYTES", plan.arena_bytes),
        ("TFLM_ARENA_BYTES", plan.tflm_arena_bytes),
    ):
        assert int(macros[macro].rstrip("u")) == value, macro
    assert macros["MODEL_HASH"].strip('"') == plan.model_hash and macros["AOT_KERNELS"].strip('"') == plan.kernels
    assert plan.hops == plan.stride_hops and plan.hop_ms == 1000 * plan.hop_samples / plan.sample_rate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "another version"),
        ({"more": 1}, "another version"),
        ({"macs": "1"}, "macs is '1'"),
        ({"macs": True}, "macs is True"),
        ({"arena_bytes": -1}, "arena_bytes is -1"),
    ],
)
def test_a_plan_that_is_not_ours_is_refused(generated, tmp_path, change, message):
    values = json.loads((generated / PLAN_FILE).read_text())
    (tmp_path / PLAN_FILE).write_text(json.dumps(values | change))
    with pytest.raises(KwsError, match=message):
        Exported.open(tmp_path)


def test_the_plan_needs_the_standard_library_alone():
    code = "import sys, model_pipeline.exported; print([m for m in ('numpy', 'pydantic', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": Quantization(scale=0.1, zero_point=-128, shape=[1, 49, 40, 1])}, "input scale"),
        ({"input": Quantization(scale=float(np.float32(26 / 255)), zero_point=0, shape=[1, 49, 40, 1])}, "zero point"),
        ({"output": Quantization(scale=1 / 256, zero_point=-127, shape=[1, 10])}, "output"),
    ],
)
def test_a_manifest_of_another_quantisation_is_refused(tmp_path, tflite, changes, message):
    folder = write_model(tmp_path / "model", tflite, **changes)
    with pytest.raises(KwsError, match=message):
        export(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_not_replaced(tmp_path, tflite):
    folder = write_model(tmp_path / "model", tflite)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(KwsError, match=r"thesis\.tex"):
        export(folder, tmp_path / "out")
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_a_failure_leaves_the_old_folder(generated, tmp_path, monkeypatch):
    folder = shutil.copytree(generated, tmp_path / "model")
    before = {p.name: p.read_bytes() for p in folder.iterdir()}

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", stop)
    with pytest.raises(KeyboardInterrupt):
        export(folder, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("text", ["plain", 'quo"te\\', "a\nb", "??/trigraph", "naïve ж", "\x7f9"])
def test_c_strings_survive_the_compiler(tmp_path, text):
    source = tmp_path / "s.c"
    source.write_text(f"#include <stdio.h>\nint main(void) {{ fputs({c_string(text)}, stdout); return 0; }}\n")
    program = build(tmp_path, [source])
    assert subprocess.run([program], capture_output=True).stdout.decode() == text


def test_the_verb_exports_and_answers_in_json(tmp_path, tflite):
    from host_tools.cli import build_app

    folder = write_model(tmp_path / "model", tflite)
    done = CliRunner().invoke(build_app(), ["export", str(folder), "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert set(result["files"]) == WRITTEN
    assert result["aot_arena_bytes"] > 1960


def test_the_verb_compiles_and_keeps_other_files(tmp_path, tflite):
    from host_tools.cli import build_app

    (tmp_path / "m.tflite").write_bytes(tflite)
    app = build_app()
    done = CliRunner().invoke(app, ["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path / "plan"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["layers"][0]["operator"] == "CONV_2D"
    assert {p.name for p in (tmp_path / "plan").iterdir()} == {"model_aot.c", "model_aot.h", MARK}
    done = CliRunner().invoke(app, ["compile", str(tmp_path / "m.tflite"), "--out", str(tmp_path)])
    assert isinstance(done.exception, KwsError)
    assert (tmp_path / "m.tflite").exists()
