"""Makes the generated folder of docs/architecture.md from ``model.tflite`` and ``model.json``."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from model_pipeline.compiler import Program, compile_model, constants_by_packing, emit
from model_pipeline.compiler.emitter import float_bits
from model_pipeline.compiler.ops import known_operators
from model_pipeline.compiler.program import LayerRow
from model_pipeline.compiler.reader import read_model
from model_pipeline.config import CompileConfig, Packing
from model_pipeline.ctext import braces, c_string, guarded
from model_pipeline.errors import KwsError
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.files import kernels_hash, read_bytes, read_json, stamp_kernels
from model_pipeline.folders import MARK, atomic_dir, check_replaceable, real_path
from model_pipeline.image import Part, image_header, image_source, look_arrays, tables_files
from model_pipeline.limits import ARENA_BYTES
from model_pipeline.manifest import Look, Manifest, feature_quantization, load_manifest, save_manifest
from model_pipeline.native import FIRMWARE
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.tflm import measure_arena

_OLD_ARENA_FILE = "tflm_arena.json"  # of folders that were exported before there was a plan.json
KIND = "kws export"
FILES = {
    "model.tflite", "model.json", "model_config.h", "frontend_tables.c", "model_data.h", "model_data.cc",
    "model_resolver.h", "model_aot.c", "model_aot.h", "kws_image.c", "kws_image.h", PLAN_FILE, _OLD_ARENA_FILE, MARK,
}  # fmt: skip


class Generated(CompileConfig):
    """What an export made, with how constants were packed. ``streaming``: feature frames of a hop, 0: the whole window;
    ``layers``: as `Program.layers` has them."""

    folder: str
    files: list[str]
    model_hash: str
    tflm_arena_bytes: int
    aot_arena_bytes: int
    aot_arena_lower_bound: int
    streaming: int
    macs: int
    constant_bytes: int
    constant_bytes_by_packing: dict[Packing, int]
    layers: list[LayerRow]


def export(
    model_dir: Path,
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    streaming: int | None = None,
    choice: CompileConfig | None = None,
) -> Generated:
    """Writes the generated folder ``out``, whole or not at all.

    The arena that TensorFlow Lite Micro needs is measured by its interpreter and recorded in ``plan.json``; a folder
    that has this file (every generated one does) is exported without ``tflite_micro``.

    Args:
        model_dir: holds ``model.tflite`` and ``model.json``.
        streaming: 0: the engine takes the whole window at each inference; else feature frames of a hop that divide
            the window: it takes only those and keeps what it needs of the others (docs/streaming-plan.md).
        choice: how constants are packed.

    Both as the manifest says where they are None; the exported manifest says what was chosen.

    Raises:
        KwsError: manifest and model disagree, or the model can't be compiled.
        MissingTool: the arena was never measured and ``tflite_micro`` is not installed.
    """
    report = progress or silent
    model_dir, out = Path(model_dir), Path(out)
    # A generated folder may be made anew out of itself.
    sources = [] if real_path(model_dir) == real_path(out) else [model_dir]
    check_replaceable(out, KIND, sources=sources, ours=_ours)
    report(0, 4, "reading the model")
    manifest = load_manifest(model_dir)
    tflite = read_bytes(model_dir / "model.tflite")
    choice = choice or manifest.compile
    streaming = manifest.streaming if streaming is None else streaming
    program = compile_model(tflite, **choice.model_dump())
    check_agreement(manifest, program)
    if streaming:
        if not 1 <= streaming < manifest.window_frames or manifest.window_frames % streaming:
            known = [str(n) for n in range(1, manifest.window_frames) if manifest.window_frames % n == 0]
            raise KwsError(
                f"a hop of {streaming} frames does not divide the model's window of {manifest.window_frames}",
                hint=f"possible: {', '.join(known)}",
            )
        program = compile_model(tflite, **choice.model_dump(), hop=streaming, frames=manifest.window_frames)
    report(1, 4, "measuring the arena")
    arena = recorded_arena(model_dir, manifest) or measure_arena(tflite)
    report(2, 4, "writing sources")
    stamp_kernels(FIRMWARE)
    parts = [Part(manifest, program, "kws_aot", "model_aot.h")]
    texts = {
        "model_config.h": config_header(manifest, arena),
        **tables_files(parts, "frontend_tables"),
        "model_data.h": data_header(manifest),
        "model_data.cc": data_source(tflite),
        "model_resolver.h": resolver_header(tflite, manifest),
        PLAN_FILE: json.dumps(plan_of(manifest, program, arena).to_json(), indent=2) + "\n",
        "kws_image.h": image_header(parts),
        "kws_image.c": image_source(parts),
        **emit(program),
    }
    with atomic_dir(out, KIND, sources=sources, ours=_ours) as folder:
        shutil.copyfile(model_dir / "model.tflite", folder / "model.tflite")
        save_manifest(manifest.model_copy(update={"compile": choice, "streaming": streaming}), folder / "model.json")
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        report(3, 4, "in place")
    report(4, 4, "done")
    return Generated(
        folder=str(out),
        files=sorted([*texts, "model.tflite", "model.json", MARK]),
        model_hash=manifest.model_hash,
        tflm_arena_bytes=arena,
        aot_arena_bytes=program.arena_bytes,
        aot_arena_lower_bound=program.plan.lower_bound,
        streaming=streaming,
        **choice.model_dump(),
        macs=program.macs,
        constant_bytes=program.constant_bytes,
        constant_bytes_by_packing=constants_by_packing(tflite, streaming, manifest.window_frames),
        layers=program.layers(),
    )


def plan_of(manifest: Manifest, program: Program, tflm_arena_bytes: int, **changes: Any) -> Exported:
    """What ``plan.json`` says of a model; ``changes``: what is otherwise with it among others."""
    frontend = manifest.frontend
    values = {
        "name": manifest.name,
        "model_sha256": manifest.model_sha256,
        "sample_rate": frontend.sample_rate,
        "window_samples": frontend.window_samples,
        "hop_samples": frontend.hop_samples,
        "fft_size": frontend.fft_size,
        "channels": frontend.channels,
        "stride_hops": manifest.detector.stride_hops,
        "step_frames": program.step_frames,
        "macs": program.macs,
        "arena_bytes": program.arena_bytes,
        "constant_bytes": program.constant_bytes,
        "kernels": kernels_hash(FIRMWARE),
        "tflm_arena_bytes": tflm_arena_bytes,
    }
    return Exported(**{**values, **changes})


def _ours(folder: Path) -> bool:
    """A generated folder of before there were marks."""
    names = {p.name for p in folder.iterdir()}
    return "model_config.h" in names and names <= FILES


def check_agreement(manifest: Manifest, program: Program) -> None:
    """
    Raises:
        KwsError: model and manifest disagree, or the firmware has no use for such an input or output.
    """
    if not program.single:
        ends = f"{len(program.graph.inputs)} inputs and {len(program.graph.outputs)} outputs"
        raise KwsError(
            f"the model has {ends}; the firmware takes models with one of each",
            hint="kws compile makes C of it, with a function for each",
        )
    for what, said, tensor in (
        ("input", manifest.input, program.input),
        ("output", manifest.output, program.output),
    ):
        posterior = what == "output" and tensor.type == "UINT8" and tensor.zero_point == 0
        if tensor.type != "INT8" and not posterior:
            raise KwsError(
                f"the model's {what} is {tensor.type}; the firmware takes models with int8 input and output",
                hint="convert with inference_input_type and inference_output_type int8",
            )
        found = (float_bits(tensor.scale), tensor.zero_point, list(tensor.shape))
        if (float_bits(said.scale), said.zero_point, list(said.shape)) != found:
            raise KwsError(
                f"model.json says {what} scale {said.scale}, zero point {said.zero_point}, shape {said.shape}; "
                f"model.tflite has {float(tensor.scale)}, {tensor.zero_point}, {list(tensor.shape)}",
                hint="quantize again",
            )


def recorded_arena(model_dir: Path, manifest: Manifest) -> int | None:
    """The bytes that an earlier measurement of this very model found, None where there is none."""
    path = Path(model_dir) / PLAN_FILE
    key = "tflm_arena_bytes"
    if not path.exists():
        path, key = Path(model_dir) / _OLD_ARENA_FILE, "arena_bytes"
    if not path.exists():
        return None
    try:
        record = read_json(path, hint=f"remove {path}")
        if record["model_sha256"] == manifest.model_sha256 and 0 < int(record[key]) <= ARENA_BYTES:
            return int(record[key])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise KwsError(f"can't read {path}: {error!r}", hint=f"remove {path}") from error
    return None  # of another model


def config_header(manifest: Manifest, tflm_arena_bytes: int) -> str:
    """``model_config.h``: all macros of docs/architecture.md."""
    return guarded_config(config_macros(manifest, tflm_arena_bytes))


def config_macros(manifest: Manifest, tflm_arena_bytes: int) -> dict[str, str | int]:
    """The macros of ``model_config.h``, without their prefix."""
    frontend, detector = manifest.frontend, manifest.detector
    multiplier, shift = feature_quantization(manifest.input.scale, manifest.feature_shift)
    return {
        "MODEL_NAME": c_string(manifest.name),
        "MODEL_HASH": c_string(manifest.model_hash),
        "MODEL_ID": f"0x{manifest.model_hash}ull",
        "NUM_MODELS": 1,
        "NUM_LABELS": len(manifest.labels),
        "LABELS": c_string("\n".join(manifest.labels)),
        "SAMPLE_RATE": frontend.sample_rate,
        "WINDOW_SAMPLES": frontend.window_samples,
        "HOP_SAMPLES": frontend.hop_samples,
        "FFT_SIZE": frontend.fft_size,
        "CHANNELS": frontend.channels,
        "WINDOW_FRAMES": manifest.window_frames,
        "INPUT_BYTES": manifest.window_frames * frontend.channels,
        "OUTPUT_BYTES": len(manifest.labels),
        "INPUT_ZERO_POINT": f"({manifest.input.zero_point})",
        "INPUT_SCALE_BITS": float_bits(manifest.input.scale),
        "FEATURE_MULTIPLIER": multiplier,
        "FEATURE_SHIFT": shift,
        "DET_WINDOW": detector.window,
        "DET_MIN_COUNT": detector.min_count,
        "DET_REST": detector.rest,
        "DET_REFRACTORY": f"{detector.refractory_samples}u",
        "DET_THRESHOLDS": braces(detector.thresholds),
        **_look_macros(manifest.look),
        "STRIDE_HOPS": detector.stride_hops,
        "TFLM_ARENA_BYTES": f"{tflm_arena_bytes}u",
    }


def guarded_config(macros: dict[str, str | int]) -> str:
    """``model_config.h`` of these macros."""
    lines = [f"#define KWS_{name} {value}" for name, value in macros.items()]
    note = "/* MODEL_ID: the hash as a number; INPUT_SCALE_BITS: float32, as its bits. */"
    return guarded("KWS_MODEL_CONFIG_H", [note, *lines])


_LOOK_NUMBERS = ("steps", "hidden", "shift", "out_shift", "frames", "out_bias")


def _look_macros(look: Look | None) -> dict[str, str | int]:
    if not look:
        return {}
    numbers = {f"LOOK_{key.upper()}": getattr(look, key) for key in _LOOK_NUMBERS}
    return numbers | {f"LOOK_{name.upper()}": braces(values) for name, values in look_arrays(look).items()}


def data_header(manifest: Manifest) -> str:
    """``model_data.h``."""
    lines = [
        f"#define KWS_MODEL_DATA_ID 0x{manifest.model_hash}ull",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "extern const unsigned char kws_model_data[]; /* aligned to 16 */",
        "extern const unsigned int kws_model_data_len;",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    ]
    return guarded("KWS_MODEL_DATA_H", lines)


def data_source(tflite: bytes) -> str:
    """``model_data.cc``: the file as an array for TensorFlow Lite Micro."""
    rows = [", ".join(f"0x{b:02x}" for b in tflite[i : i + 19]) for i in range(0, len(tflite), 19)]
    lines = [
        "/* Generated by kws export; do not edit. */",
        '#include "model_data.h"',
        "",
        "alignas(16) extern const unsigned char kws_model_data[] = {",
        *(f"  {row}," for row in rows),
        "};",
        f"extern const unsigned int kws_model_data_len = {len(tflite)};",
        "",
    ]
    return "\n".join(lines)


def resolver_header(tflite: bytes, manifest: Manifest) -> str:
    """``model_resolver.h``: the operators of all subgraphs, no more."""
    known = known_operators()
    methods: list[str] = []
    graphs = read_model(tflite)
    if any(tensor.type != "INT8" for tensor in [*graphs[0].inputs, *graphs[0].outputs]):
        # The plan begins and ends at the int8 inside (compiler/passes/edges.py); the interpreter does not.
        return guarded(
            "KWS_MODEL_RESOLVER_H",
            [
                '#error "engine tflm takes models with int8 input and output; use engine aot, or convert with '
                'inference_input_type and inference_output_type int8"'
            ],
        )
    for graph in graphs:
        for operator in graph.operators:
            if operator.code not in known:
                raise operator.error("no resolver method is known for this operator")
            if known[operator.code].resolver not in methods:
                methods.append(known[operator.code].resolver)
    methods.sort()
    lines = [
        '#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"',
        "",
        f"#define KWS_RESOLVER_MODEL_ID 0x{manifest.model_hash}ull",
        "",
        "// Older trees have their names in tflite and outside, newer ones in tflite::micro: found in either.",
        "namespace tflite {",
        "namespace micro {}",
        "}  // namespace tflite",
        "namespace kws_tflm {",
        "using namespace tflite;",
        "using namespace tflite::micro;",
        "",
        f"using OpResolver = MicroMutableOpResolver<{len(methods)}>;",
        "",
        "// Adds the model's operators; false if one fails.",
        "inline bool add_operators(OpResolver *resolver) {",
        "  return " + " &&\n         ".join(f"resolver->{method}() == kTfLiteOk" for method in methods) + ";",
        "}",
        "",
        "}  // namespace kws_tflm",
    ]
    return guarded("KWS_MODEL_RESOLVER_H", lines)
