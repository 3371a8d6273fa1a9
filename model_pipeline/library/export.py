"""Writes the folder of a library."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_pipeline.config import CompileConfig
from model_pipeline.ctext import c_string, guarded
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.files import kernels_header
from model_pipeline.folders import MARK, atomic_dir, check_replaceable
from model_pipeline.image import Part, check_together, image_header, image_source, tables_files
from model_pipeline.library.flavours import FLAVOURS, Description, flavour_files
from model_pipeline.library.sources import check_prefix, library_files, licence
from model_pipeline.native import FIRMWARE, built, host_compiler, run_compiler
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.together import part_of, plan_sources

KIND = "kws export --library"
# Bytes beside the plans of the models, which are as large as these are; with the longest prefix, as every name has it.
MAX_FILES, MAX_BYTES = 60, 230_000


@dataclass(frozen=True)
class LibraryResult:
    """What was written. ``constant_bytes``: the plans' weights and tables in flash, ``look_bytes``: the second looks';
    ``state_bytes``: of a state, on a 64-bit computer, None where no compiler tells it; ``macs`` of an inference of all
    models; ``bytes``: of all files."""

    folder: str
    flavour: str
    prefix: str
    files: list[str]
    bytes: int
    models: list[str]
    labels: list[str]
    arena_bytes: int
    state_bytes: int | None
    constant_bytes: int
    look_bytes: int
    macs: int
    macs_per_second: int


def export_library(
    models: Sequence[Path],
    out: Path,
    flavour: str,
    prefix: str = "kws",
    *,
    streaming: int | None = None,
    choice: CompileConfig | None = None,
    progress: ProgressCallback | None = None,
) -> LibraryResult:
    """Writes one folder that builds where it lies, whole or not at all.

    Args:
        models: folders with ``model.tflite`` and ``model.json``; several share one front end.
        flavour: one of `FLAVOURS`.
        prefix: of every global name, type, macro and file.
        streaming, choice: as for `model_pipeline.export.export`, for all models; None: as their manifests say.

    Raises:
        KwsError: no such flavour, a bad prefix, models that cannot share a front end, a folder that is somebody else's,
            or a library larger than it may be.
    """
    report = progress or silent
    if flavour not in FLAVOURS:
        raise KwsError(f"no library flavour {flavour!r}", hint=f"flavours: {', '.join(FLAVOURS)}, esphome")
    check_prefix(prefix)
    out = Path(out)
    check_replaceable(out, KIND, sources=models)
    report(0, 2, "compiling")
    parts = [part_of(Path(model), n, len(models), streaming=streaming, choice=choice) for n, model in enumerate(models)]
    check_together(parts)
    generated = {
        "kws_image.h": image_header(parts, whole_windows=False),
        "kws_image.c": image_source(parts, whole_windows=False),
        **tables_files(parts, "kws_frontend_tables"),
        "kws_nn_kernels.h": kernels_header(FIRMWARE),
    }
    for name, text in plan_sources(parts).items():
        generated[name] = text
    report(1, 2, "writing")
    sources = library_files(parts, generated, prefix)
    sources[f"{prefix}.h"] = public_header(parts, prefix)
    about = Description(
        prefix=prefix,
        models=[part.manifest.name for part in parts],
        labels=[label for part in parts for label in part.manifest.labels],
        arena_bytes=sum(part.program.arena_bytes for part in parts),
        state_bytes=state_bytes(sources, prefix),
        constant_bytes=sum(part.program.constant_bytes for part in parts),
        look_bytes=sum(part.manifest.look.constant_bytes for part in parts if part.manifest.look),
        macs=sum(part.program.macs for part in parts),
        macs_per_second=round(sum(_macs_per_second(part) for part in parts)),
        hop_ms=parts[0].manifest.frontend.hop_ms,
        data=[_data(part) for part in parts],
    )
    files = {f"src/{name}": text for name, text in sources.items()}
    files |= flavour_files(flavour, about, sorted(sources))
    files["LICENSE"] = licence()
    size = sum(len(text.encode()) for text in files.values())
    ours = size - sum(len(files[f"src/{_plan_file(part, prefix)}"].encode()) for part in parts)
    if len(files) + 1 > MAX_FILES or ours > MAX_BYTES:
        raise KwsError(
            f"the library would have {len(files)} files, of {ours:,} bytes beside the models; at most {MAX_FILES} and "
            f"{MAX_BYTES:,}",
            hint="a shorter --prefix, or fewer models in one library",
        )
    with atomic_dir(out, KIND, sources=models) as folder:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    report(2, 2, "done")
    return LibraryResult(
        folder=str(out),
        flavour=flavour,
        prefix=prefix,
        files=sorted([*files, MARK]),
        bytes=size,
        models=about.models,
        labels=about.labels,
        arena_bytes=about.arena_bytes,
        state_bytes=about.state_bytes,
        constant_bytes=about.constant_bytes,
        look_bytes=about.look_bytes,
        macs=about.macs,
        macs_per_second=about.macs_per_second,
    )


def state_bytes(sources: Mapping[str, str], prefix: str) -> int | None:
    """``sizeof`` a state, as this computer's compiler says, asked once for each content of the headers; None without
    one."""
    ask = f"""#include <stdio.h>
#include "{prefix}.h"
int main(void) {{ return printf("%zu", sizeof({prefix}_t)) < 0; }}
"""
    files = {**{name: text for name, text in sources.items() if name.endswith(".h")}, "ask.c": ask}
    try:
        compiler = host_compiler()
    except MissingTool:
        return None

    def make(answer: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="kws-") as place:
            folder = Path(place)
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8")
            run_compiler([compiler, str(folder / "ask.c"), "-o", str(folder / "ask")], "the size of a state")
            said = subprocess.run([folder / "ask"], capture_output=True, text=True, check=True).stdout
        answer.write_text(said, encoding="utf-8")

    return int(built("library/state.txt", (compiler, sorted(files.items())), [], make).read_text(encoding="utf-8"))


def _plan_file(part: Part, prefix: str) -> str:
    return f"{part.prefix}.c" if prefix == "kws" else f"{prefix}_{part.prefix.removeprefix('kws_')}.c"


def public_header(parts: Sequence[Part], prefix: str) -> str:
    """``<prefix>.h``: the five functions, by their prefix, for the image's one type of state."""
    upper, frontend = prefix.upper(), parts[0].manifest.frontend
    labels = [label for part in parts for label in part.manifest.labels]
    lines = [
        "/* Keyword spotting: init, feed, reset, scores. All state is the caller's, who may have several. */",
        f'#include "{prefix}_image.h"',
        "",
        f"#define {upper}_SAMPLE_RATE {frontend.sample_rate}",
        f"#define {upper}_HOP_SAMPLES {frontend.hop_samples}",
        f"#define {upper}_NUM_LABELS {len(parts[0].manifest.labels)} /* of the first model */",
        f"#define {upper}_LABELS {c_string(chr(10).join(labels))} /* of all models, separated by newlines */",
        "",
        f"typedef {prefix}_state_t {prefix}_t;",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "/* Once for each state, before anything else: 0, or -1 if the sources do not belong together. */",
        f"static inline int {prefix}_init({prefix}_t *k) {{",
        f"  return {prefix}_stream_init(&k->stream, &{prefix}_image);",
        "}",
        "/* Any number of 16-bit samples, 16 kHz, one channel. on_word(user, word), which may be NULL, is called for",
        " * each word that they complete. Returns how many there were. */",
        f"static inline int {prefix}_feed({prefix}_t *k, const int16_t *pcm, size_t n, {prefix}_on_word_t *on_word,",
        "                              void *user) {",
        f"  return {prefix}_stream_feed(&k->stream, pcm, n, on_word, user);",
        "}",
        "/* As if nothing had been heard yet. */",
        f"static inline void {prefix}_reset({prefix}_t *k) {{ {prefix}_stream_reset(&k->stream); }}",
        "/* The first model's posteriors at its last result, one for each label, 255 is 1 - 1/256. */",
        f"static inline const uint8_t *{prefix}_scores(const {prefix}_t *k) {{",
        f"  return {prefix}_stream_scores(&k->stream, 0);",
        "}",
        "#ifdef __cplusplus",
        "}",
        "#endif",
    ]
    return guarded(f"{upper}_H", lines)


def _macs_per_second(part: Part) -> float:
    frames = part.program.step_frames or part.manifest.detector.stride_hops
    return part.program.macs * 1000 / (frames * part.manifest.frontend.hop_ms)


def _data(part: Part) -> str:
    data = part.manifest.training_data
    source, terms = data.get("name") or data.get("source") or "not recorded", data.get("licence") or "not recorded"
    return f"{part.manifest.name}: trained on {source}; licence of that data: {terms}"
