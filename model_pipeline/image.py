"""What the library's core (firmware/core/kws) listens for, as C: a constant image of one or several models, and the
type of a state that has room for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_pipeline.compiler import Program
from model_pipeline.config import FrontendConfig
from model_pipeline.ctext import braces, c_string, guarded, rows
from model_pipeline.errors import KwsError
from model_pipeline.manifest import Look, Manifest, feature_quantization
from model_pipeline.native import FIRMWARE

# Of the library's core, beside the kernels: where its sources and headers lie.
CORE = tuple(FIRMWARE / "core" / name for name in ("kws", "frontend", "detector"))
GENERATED = ("kws_image.c", "model_aot.c", "frontend_tables.c")  # of one model's folder, for the engine aot


def core_sources() -> list[Path]:
    """The C files of the library's core, without kernels and without generated ones."""
    return [path for folder in CORE for path in sorted(folder.glob("*.c"))]


@dataclass(frozen=True)
class Part:
    """One model of an image. ``prefix``: of its plan's names, whose header is ``header``."""

    manifest: Manifest
    program: Program
    prefix: str
    header: str


def check_together(parts: Sequence[Part]) -> None:
    """
    Raises:
        KwsError: these models can't be in one image.
    """
    if all(part.manifest.role == "voice" for part in parts):
        raise KwsError("no model that hears words is among them", hint="give a wake word's model too")
    if sum(len(part.manifest.labels) for part in parts) > 32:
        raise KwsError("the models have more than 32 labels together", hint="leave one out")


def ears(parts: Sequence[Part]) -> list[FrontendConfig]:
    """The front ends of these models, each once: that with the most channels first, else in the models' order."""
    found: list[FrontendConfig] = []
    for part in parts:
        if heard(part) not in found:
            found.append(heard(part))
    return sorted(found, key=lambda frontend: -frontend.channels)


def heard(part: Part) -> FrontendConfig:
    """Its front end, without what only its own quantisation knows."""
    return part.manifest.frontend.model_copy(update={"feature_max": 1.5})


def tables_files(parts: Sequence[Part], stem: str) -> dict[str, str]:
    """The front ends' tables: ``<stem>.c`` of the first, ``<stem>1.c`` of the next."""
    from model_pipeline.features import tables_c

    return {f"{stem}{n or ''}.c": tables_c(config, _tables(n)) for n, config in enumerate(ears(parts))}


def _tables(ear: int) -> str:
    return f"kws_frontend_tables{ear or ''}"


def step_frames(part: Part) -> int:
    """Frames that an invoke takes where it must see each frame once; 0: it takes the whole window."""
    return part.program.step_frames


def image_id(parts: Sequence[Part]) -> int:
    """A number for these models together; that of one model is its hash's."""
    return int(image_sha256(parts)[:16], 16)


def image_sha256(parts: Sequence[Part]) -> str:
    """The one model's, or that of the models' one after the other."""
    hashes = [part.manifest.model_sha256 for part in parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def image_header(parts: Sequence[Part], *, whole_windows: bool = True) -> str:
    """``kws_image.h``.

    Args:
        whole_windows: keep a window's frames even where the network takes steps, for `kws_stream_whole_window`.
    """
    inputs, more = sum(part.program.input.bytes for part in parts), len(ears(parts)) - 1
    lines = ['#include "kws_stream.h"', *(f'#include "{part.header}"' for part in parts), ""]
    lines += [
        f"#define KWS_IMAGE_MODELS {len(parts)}",
        f"#define KWS_IMAGE_ID 0x{image_id(parts):016x}ull",
        f"#define KWS_IMAGE_ARENA_BYTES {sum(part.program.arena_bytes for part in parts)}u",
        f"#define KWS_IMAGE_MACS {sum(part.program.macs for part in parts)}u",
        f"#define KWS_IMAGE_INPUT_BYTES {inputs}u",
        f"#define KWS_IMAGE_STEP_FRAMES {parts[0].program.step_frames}u",
        "",
        "typedef struct {",
        "  kws_stream_t stream; /* first */",
        "  kws_track_t track[KWS_IMAGE_MODELS];",
        *([f"  kws_ear_t more[{more}];"] if more else []),
    ]
    for n, part in enumerate(parts):
        lines.append(f"  KWS_STREAM_ALIGNED int8_t network{n}[{part.prefix.upper()}_ARENA_BYTES];")
    for n, part in enumerate(parts):
        lines.append(f"  int8_t window{n}[{_slots(part, whole_windows)} * {part.manifest.frontend.channels}];")
    lines += ["} kws_state_t;", "", "#ifdef __cplusplus", 'extern "C" {', "#endif"]
    lines += ["extern const kws_image_t kws_image;", "#ifdef __cplusplus", "}", "#endif"]
    return guarded("KWS_IMAGE_H", lines)


def image_source(parts: Sequence[Part], *, whole_windows: bool = True) -> str:
    """``kws_image.c``."""
    all_ears = ears(parts)
    lines = ["/* Generated by kws export; do not edit. */", '#include "kws_image.h"', ""]
    for frontend in all_ears:
        lines += [
            f"_Static_assert({frontend.fft_size} <= KWS_FE_MAX_FFT && {frontend.channels} <= KWS_FE_MAX_CHANNELS,",
            '               "the front end was built for less");',
        ]
    lines += ["", *(f"extern const kws_fe_tables_t {_tables(n)};" for n in range(len(all_ears))), ""]
    if len(all_ears) > 1:
        others = ", ".join(f"&{_tables(n)}" for n in range(1, len(all_ears)))
        lines += [f"static const kws_fe_tables_t *const more[] = {{{others}}};", ""]
    for n, part in enumerate(parts):
        manifest, upper = part.manifest, part.prefix.upper()
        taken = step_frames(part) or manifest.window_frames
        sizes = (("INPUT_BYTES", taken * manifest.frontend.channels), ("OUTPUT_BYTES", len(manifest.labels)))
        lines += [
            f"_Static_assert({upper}_MODEL_ID == 0x{manifest.model_hash}ull,",
            f'               "{part.header} and kws_image.c are of different models");',
            *(f'_Static_assert({upper}_{name} == {value}, "{name}");' for name, value in sizes),
        ]
        lines += [
            f"_Static_assert({len(manifest.labels)} <= KWS_DET_MAX_LABELS && "
            f'{detector_window(manifest)} <= KWS_DET_MAX_WINDOW, "detector");',
            "",
            f"static const char *const labels{n}[] = {{",
            *rows((c_string(label) for label in manifest.labels), between=" "),
            "};",
            f"static const kws_network_t network{n} = {{",
            *rows((f"{part.prefix}_{name}" for name in ("input", "invoke", "output", "reset")), between=" "),
            "};",
            *(_look(manifest.look, n) if manifest.look else ()),
            "",
        ]
    lines.append("static const kws_model_t models[] = {")
    for n, part in enumerate(parts):
        fields = _model(n, part, whole_windows, all_ears.index(heard(part)))
        lines += ["  {", *rows((f".{key} = {value}" for key, value in fields), indent="    ", between=" "), "  },"]
    rest = f", more, {len(all_ears) - 1}, offsetof(kws_state_t, more)" if len(all_ears) > 1 else ", NULL, 0, 0"
    lines += ["};", ""]
    lines += [f"const kws_image_t kws_image = {{&{_tables(0)}, models, {len(parts)}{rest}}};", ""]
    return "\n".join(lines)


def detector_window(manifest: Manifest) -> int:
    """Results that its detector keeps."""
    return max(manifest.detector.window, manifest.look.steps if manifest.look else 1)


def look_arrays(look: Look) -> dict[str, list[int]]:
    """The second look's arrays: ``weights``, ``bias``, ``out``."""
    weights, bias, out = look.arrays()
    return {"weights": weights.ravel().tolist(), "bias": bias.tolist(), "out": out.tolist()}


def _look(look: Look, n: int) -> list[str]:
    types = {"weights": "int8_t", "bias": "int32_t", "out": "int8_t"}
    lines: list[str] = []
    for name, values in look_arrays(look).items():
        lines += [f"static const {types[name]} look{n}_{name}[] = {{", *rows(values), "};"]
    fields: dict[str, object] = {
        key: getattr(look, key) for key in ("steps", "hidden", "shift", "out_shift", "frames", "out_bias")
    }
    fields |= {name: f"look{n}_{name}" for name in types}
    return [
        *lines,
        f"static const kws_look_t look{n} = {{",
        *rows((f".{key} = {value}" for key, value in fields.items()), between=" "),
        "};",
    ]


def _slots(part: Part, whole_windows: bool) -> int:
    frames, look = step_frames(part), part.manifest.look
    if not frames or whole_windows:
        return part.manifest.window_frames
    return max(frames, look.frames) if look else frames


def _model(n: int, part: Part, whole_windows: bool, ear: int) -> list[tuple[str, object]]:
    manifest, detector = part.manifest, part.manifest.detector
    multiplier, shift = feature_quantization(manifest.input.scale, manifest.feature_shift)
    fields: dict[str, object] = {
        "num_labels": len(manifest.labels),
        "window": detector.window,
        "min_count": detector.min_count,
        "rest": detector.rest,
        "refractory_samples": f"{detector.refractory_samples}u",
        "threshold": braces(detector.thresholds),
    }
    if manifest.look:
        fields["look"] = f"&look{n}"
    return [
        ("name", c_string(manifest.name)),
        ("labels", f"labels{n}"),
        ("network", f"&network{n}"),
        ("num_labels", len(manifest.labels)),
        ("window_frames", manifest.window_frames),
        ("step_frames", step_frames(part)),
        ("slots", _slots(part, whole_windows)),
        ("stride_frames", detector.stride_hops),
        ("ear", ear),
        ("role", "KWS_ROLE_VOICE" if manifest.role == "voice" else "KWS_ROLE_WORDS"),
        ("output_flip", "0x80" if part.program.output.type == "INT8" else "0"),
        ("input_zero_point", f"({manifest.input.zero_point})"),
        ("feature_shift", shift),
        ("feature_multiplier", f"{multiplier}u"),
        ("detector", "{" + ", ".join(f".{key} = {value}" for key, value in fields.items()) + "}"),
        ("track_at", f"offsetof(kws_state_t, track) + {n} * sizeof(kws_track_t)"),
        ("window_at", f"offsetof(kws_state_t, window{n})"),
        ("network_at", f"offsetof(kws_state_t, network{n})"),
    ]
