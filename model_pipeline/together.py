"""Several models in one image: the generated folder of docs/architecture.md for all of them together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from model_pipeline.compiler import compile_model, emit
from model_pipeline.config import CompileConfig
from model_pipeline.ctext import c_string
from model_pipeline.errors import KwsError
from model_pipeline.export import KIND, check_agreement, config_macros, guarded_config, plan_of
from model_pipeline.exported import PLAN_FILE, Exported
from model_pipeline.files import read_bytes, stamp_kernels
from model_pipeline.folders import atomic_dir, check_replaceable
from model_pipeline.image import (
    Part,
    check_together,
    ears,
    heard,
    image_header,
    image_sha256,
    image_source,
    tables_files,
)
from model_pipeline.manifest import load_manifest
from model_pipeline.native import FIRMWARE
from model_pipeline.progress import ProgressCallback, silent


def part_of(
    model: Path, number: int, count: int, *, streaming: int | None = None, choice: CompileConfig | None = None
) -> Part:
    """Model folder ``model`` as the ``number``-th of ``count`` in an image.

    Args:
        streaming, choice: as for `model_pipeline.export.export`; None: as its manifest says.

    Raises:
        KwsError: manifest and model disagree, or the model can't be compiled.
    """
    manifest = load_manifest(model)
    tflite = read_bytes(model / "model.tflite")
    options = (choice or manifest.compile).model_dump()
    hop = manifest.streaming if streaming is None else streaming
    program = compile_model(tflite, **options)
    check_agreement(manifest, program)
    if hop and not program.step_frames:
        program = compile_model(tflite, **options, hop=hop, frames=manifest.window_frames)
    prefix = "kws_aot" if count == 1 else f"kws_aot{number}"
    return Part(manifest, program, prefix, f"{prefix}.h")


def plan_sources(parts: Sequence[Part]) -> dict[str, str]:
    """Header and source of each part's plan, by file name."""
    files = {}
    for part in parts:
        made = emit(part.program, part.prefix)
        files[part.header] = made["model_aot.h"]
        files[f"{part.prefix}.c"] = made["model_aot.c"].replace('#include "model_aot.h"', f'#include "{part.header}"')
    return files


def export_together(
    models: Sequence[Path],
    out: Path,
    progress: ProgressCallback | None = None,
    *,
    streaming: int | None = None,
    choice: CompileConfig | None = None,
) -> Exported:
    """Writes the generated folder ``out`` of several models, whole or not at all. Engine aot runs it; models with the
    same front end share it.

    Raises:
        KwsError: a model that can't be compiled, models that can't be in one image, or a folder that is somebody
            else's.
    """
    report = progress or silent
    out = Path(out)
    check_replaceable(out, KIND, sources=models)
    parts = []
    for number, model in enumerate(models):
        report(number, len(models) + 1, model.name)
        parts.append(part_of(Path(model), number, len(models), streaming=streaming, choice=choice))
    check_together(parts)
    report(len(models), len(models) + 1, "writing sources")
    stamp_kernels(FIRMWARE)
    plan = _plan(parts)
    texts = {
        "model_config.h": _config(parts, plan),
        **tables_files(parts, "frontend_tables"),
        PLAN_FILE: json.dumps(plan.to_json(), indent=2) + "\n",
        "kws_image.h": image_header(parts, whole_windows=False),
        "kws_image.c": image_source(parts, whole_windows=False),
        **plan_sources(parts),
    }
    with atomic_dir(out, KIND, sources=models) as folder:
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    report(len(models) + 1, len(models) + 1, "done")
    return plan


def _lead(parts: Sequence[Part]) -> Part:
    """The first that hears with the first front end: what an image has one of, such as the hop, is its."""
    return next(part for part in parts if heard(part) == ears(parts)[0])


def _plan(parts: Sequence[Part]) -> Exported:
    lead = _lead(parts)
    return plan_of(
        lead.manifest,
        lead.program,
        0,
        models=len(parts),
        name=" + ".join(part.manifest.name for part in parts),
        model_sha256=image_sha256(parts),
        fft_size=max(part.manifest.frontend.fft_size for part in parts),
        macs=sum(part.program.macs for part in parts),
        arena_bytes=sum(part.program.arena_bytes for part in parts),
        constant_bytes=sum(part.program.constant_bytes for part in parts),
    )


def _config(parts: Sequence[Part], plan: Exported) -> str:
    labels = [label for part in parts for label in part.manifest.labels]
    thresholds = [str(value) for part in parts for value in part.manifest.detector.thresholds]
    return guarded_config(
        config_macros(_lead(parts).manifest, 0)
        | {
            "MODEL_NAME": c_string(plan.name),
            "MODEL_HASH": c_string(plan.model_hash),
            "MODEL_ID": f"0x{plan.model_hash}ull",
            "NUM_MODELS": len(parts),
            "NUM_LABELS": len(labels),
            "LABELS": c_string("\n".join(labels)),
            "OUTPUT_BYTES": len(labels),
            "DET_THRESHOLDS": "{" + ", ".join(thresholds) + "}",
        }
    )


def check_number(models: Sequence[Path]) -> None:
    """
    Raises:
        KwsError: the same folder twice.
    """
    seen = [Path(model).resolve() for model in models]
    for model, path in zip(models, seen, strict=True):
        if seen.count(path) > 1:
            raise KwsError(f"{model} is given twice", hint="each model once")
