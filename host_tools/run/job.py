"""The steps of ``kws run``: from words to a measured firmware."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import platform
import shutil
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np

from host_tools.boards import load_board
from host_tools.image import build as builder
from host_tools.image import targets
from host_tools.link import stream
from host_tools.link.session import Link
from host_tools.report import page as report
from host_tools.run.steps import Outcome, ProgressCallback, Run, Step, StepBar, folder_stamp, write_config
from model_pipeline import child
from model_pipeline.config import Config, DataConfig
from model_pipeline.errors import CheckFailed, DeviceError, KwsError, MissingTool
from model_pipeline.files import write_json
from model_pipeline.manifest import load_manifest

PACED_CLIPS = 8  # streamed a second time at the pace of a microphone, for the response time
_ENGINE_NAMES = {"tflm": "TensorFlow Lite Micro", "aot": "our own kernels"}
_FEATURES = ("model_pipeline/features", "firmware/core/frontend")
_DATA = ("model_pipeline/data",)
_AUGMENT = ("model_pipeline/training/augment.py", "model_pipeline/training/augment.c")
_TRAIN = (
    "model_pipeline/training",
    "model_pipeline/models",
    "model_pipeline/manifest.py",
    *_FEATURES,
    *_DATA,
)
_PAGE = ("host_tools/templates", "host_tools/run/job.py")


def steps(config: Config, folder: Path, *, clips: int, done: list[Outcome]) -> list[Step]:
    """The steps of a run in ``folder``. ``done`` is filled by the caller while they run; the report lists it."""
    data, trained, model = folder / "data", folder / "train", folder / "model"
    generated, built, check = folder / "firmware_model", folder / "build", folder / "check"
    settings = config.model_dump(mode="json")
    speech = {key: settings[key] for key in ("keywords", "frontend", "data", "scenes", "train")}
    float_only = {**speech, "train": config.train.recipe()}

    def train(progress: ProgressCallback) -> dict[str, Any]:
        arguments = ["--config", str(folder / "config.toml"), "--data", str(data), "--out", str(trained)]
        return child.run_step("model_pipeline.train", arguments, progress)

    def quantize(progress: ProgressCallback) -> dict[str, Any]:
        arguments = ["--config", str(folder / "config.toml"), "--trained", str(trained)]
        arguments += ["--data", str(data), "--out", str(model)]
        return child.run_step("model_pipeline.quantize", arguments, progress)

    def evaluate(progress: ProgressCallback) -> dict[str, Any]:
        from model_pipeline.evaluate import evaluate as run

        result = run(model, data, engine=host_engine(), progress=progress, data_config=config.data)
        write_json(check / "check.json", result.model_dump(mode="json"))
        return result.share.correct()

    def export(progress: ProgressCallback) -> dict[str, Any]:
        from model_pipeline.export import export as run

        return run(model, generated, progress, streaming=config.streaming, choice=config.compile)

    def look_ahead(progress: ProgressCallback) -> None:
        from host_tools.run.expect import expect

        write_json(folder / "expect" / "expect.json", expect(config, data, model, generated, progress))

    def build(progress: ProgressCallback) -> None:
        builder.build(config.board, generated, engine=config.engine, out=built, progress=progress)

    def measure(progress: ProgressCallback) -> dict[str, Any]:
        with targets.emulated(config.board, built / "firmware.elf") as link:
            results = measure_model(link, model, data, clips, PACED_CLIPS, progress, config.data)
        results["where"] = where(config.board)
        write_json(folder / "measure" / "measure.json", results)
        return {"accuracy": results["accuracy"], "link": {k: results["link"][k] for k in ("lost", "repeated")}}

    def make_report(progress: ProgressCallback) -> None:
        progress(0, 1, "drawing")
        report.write_report(collect(config, folder, done), folder)

    source: dict[str, Any] = {"keywords": config.keywords, "data": settings["data"]}
    if config.data.source == "synth":
        source |= {"synth": settings["synth"], "seed": config.train.seed}
        if config.data.recordings:
            source["stamp"] = folder_stamp(_existing(config.data.recordings, "data.recordings"))
        first = Step(
            "synth",
            "make speech",
            ("data",),
            lambda progress: _synthesize(config, data, progress),
            settings=source,
            sources=_DATA,
        )
    else:
        source["stamp"] = folder_stamp(_existing(config.data.folder, "data.folder"))
        first = Step(
            "import",
            "import speech",
            ("data",),
            lambda progress: _import(config, data, progress),
            settings=source,
            sources=_DATA,
        )
    return [
        first,
        Step(
            "train",
            "train",
            ("train",),
            train,
            inputs=(first.name,),
            settings=float_only,
            sources=("model_pipeline/train.py", *_TRAIN),
            tools=("tensorflow-cpu", "tensorflow", "keras"),
            resumes=True,
        ),
        Step(
            "quantize",
            "quantise to int8",
            ("model",),
            quantize,
            inputs=(first.name, "train"),
            settings={**speech, "detector": settings["detector"], "name": config.name},
            sources=("model_pipeline/quantize.py", "model_pipeline/evaluate.py", *_TRAIN),
            tools=("tensorflow-cpu", "tensorflow", "keras", "tflite-micro"),
        ),
        Step(
            "check",
            "check on this computer",
            ("check",),
            evaluate,
            inputs=(first.name, "quantize"),
            settings={"data": settings["data"], "engine": host_engine()},
            sources=("model_pipeline/evaluate.py", *_AUGMENT, *_FEATURES, *_DATA),
            tools=("tflite-micro",),
        ),
        Step(
            "export",
            "export for firmware",
            ("firmware_model",),
            export,
            inputs=("quantize",),
            settings={key: settings[key] for key in ("streaming", "compile")},
            sources=("model_pipeline/export.py", "model_pipeline/compiler", "firmware/core/nn", *_FEATURES),
        ),
        Step(
            "expect",
            "what to expect: in a stream, at near words, on each board",
            ("expect",),
            look_ahead,
            inputs=(first.name, "quantize", "export"),
            settings={
                "synth": settings["synth"],
                "takes": config.measure.near_takes,
                "session_keywords": config.measure.session_keywords,
                "engine": config.engine,
            },
            sources=(
                *("firmware/app", "firmware/core", "firmware/engines", "firmware/ports", "boards"),
                *(
                    "model_pipeline/listening",
                    "host_tools/measure/boards.py",
                    "host_tools/measure/realtime.py",
                    *_FEATURES,
                    *_DATA,
                ),
            ),
        ),
        Step(
            "build",
            f"build firmware for {config.board}",
            ("build/firmware.elf", "build/build.json"),
            build,
            inputs=("export",),
            settings={"board": config.board, "engine": config.engine},
            sources=(
                *(f"firmware/{part}" for part in ("app", "core", "engines", "platform", "ports")),
                "platformio.ini",
                f"boards/{config.board}.json",
                "host_tools/image/build.py",
            ),
            tools=("platformio", "scons"),
        ),
        Step(
            "measure",
            f"stream {clips} clips to {where(config.board)}",
            ("measure",),
            measure,
            inputs=(first.name, "quantize", "build"),
            settings={"clips": clips, "paced": PACED_CLIPS, "board": config.board},
            sources=("host_tools/image/emulate.py", "host_tools/measure/metrics.py", "host_tools/link"),
        ),
        Step(
            "report",
            "write the report",
            ("results.json", "report.html"),
            make_report,
            inputs=("train", "quantize", "check", "expect", "build", "measure"),
            settings=settings,
            sources=("host_tools/report/page.py", "host_tools/report/pictures.py", *_PAGE),
            tools=("matplotlib", "jinja2"),
        ),
    ]


def run(
    config: Config, folder: Path, *, clips: int | None = None, fresh: bool = False, bar: StepBar | None = None
) -> dict[str, Any]:
    """Runs everything that is not done yet and returns the results.

    Returns:
        What is in results.json, with ``outcomes``: what each step took now.

    Raises:
        KwsError: the step that failed says what and why. A result that is wrong (frames lost, host and device at
            odds) is not raised here: see `verdict`.
    """
    check_ahead(config)
    with Run(folder) as state:
        write_config(config, folder / "config.toml")
        if fresh:
            shutil.rmtree(folder / "build", ignore_errors=True)  # PlatformIO's objects too
        done: list[Outcome] = []
        todo = steps(config, folder, clips=clips or config.measure.clips, done=done)
        state.execute(todo, fresh=fresh, bar=bar, outcomes=done)
        results = report.read_results(folder)
        if problems(results):
            state.forget("measure")  # a repetition shall measure, not repeat an old complaint
    results["outcomes"] = [{"name": o.name, "title": o.title, "seconds": o.seconds, "reused": o.reused} for o in done]
    return results


def check_ahead(config: Config) -> None:
    """What would fail only after minutes of training.

    Raises:
        KwsError: no such board, or it can't be emulated.
        MissingTool: no compiler or no emulator for it.
    """
    board = load_board(config.board)
    emulators = board.kws.emulators
    if emulators.qemu is None and emulators.process is None:
        raise KwsError(
            f"board {config.board} can't be emulated here, and kws run measures on an emulator",
            hint="kws build, kws flash and kws stream --port measure on the board itself",
        )
    needed = [("cc", "gcc")]
    if board.kws.family != "host":
        needed = [("arm-none-eabi-gcc", "gcc-arm-none-eabi"), ("qemu-system-arm", "qemu-system-arm")]
    for program, package in needed:
        if not shutil.which(program):
            raise MissingTool(f"{program} is not installed", hint=f"apt-get install {package}")


def problems(results: dict[str, Any]) -> list[str]:
    """What is wrong with a measurement; empty if it can be relied on."""
    found = []
    link = results["link"]
    if link["lost"] or link["repeated"]:
        found.append(f"{link['lost']} frames were lost and {link['repeated']} repeated on the link")
    agreement = results.get("agreement")
    if agreement and agreement["equal"] != agreement["compared"]:
        wrong = agreement["compared"] - agreement["equal"]
        found.append(f"{wrong} of {agreement['compared']} clips differ between host and device")
    return found


def verdict(results: dict[str, Any], where_to_look: Path | str) -> None:
    """
    Raises:
        CheckFailed: frames were lost, or host and device disagree.
    """
    found = problems(results)
    if found:
        raise CheckFailed("; ".join(found), hint=f"see {where_to_look}")


def measure_model(
    link: Link,
    model: Path,
    data: Path,
    clips: int,
    paced: int,
    progress: ProgressCallback | None,
    data_config: DataConfig | None = None,
) -> dict[str, Any]:
    """Streams ``clips`` test clips, and compares each answer with the model's on the host, value by value.

    Raises:
        DeviceError: the device runs another model.
    """
    manifest = load_manifest(model)
    info = link.info()
    if info.model_hash != manifest.model_hash:
        raise DeviceError(
            f"the device runs model {info.model_hash}, {model} is {manifest.model_hash}", hint="build and flash again"
        )
    dataset = stream.open_dataset(data, info.labels, data_config)
    chosen = stream.choose_clips(dataset, clips)
    results = stream.measure_clips(link, info, dataset, chosen, realtime=paced, progress=progress)
    stream.compare_outputs(results, host_outputs(model, dataset.audio(chosen)))
    return results


def host_engine() -> Literal["tflm", "aot"]:
    """What checks a model here: TensorFlow Lite Micro, or our own kernels where it has no wheel."""
    return "tflm" if importlib.util.find_spec("tflite_micro") else "aot"


def host_outputs(model: Path, audio: np.ndarray) -> np.ndarray:
    """The model's int8 outputs [n, labels] for int16 ``audio`` [n, samples], front end included."""
    from model_pipeline.evaluate import runner
    from model_pipeline.training.augment import model_input

    manifest = load_manifest(model)
    inputs = model_input(audio, manifest.frontend, manifest.window_frames)
    return runner((model / "model.tflite").read_bytes(), host_engine())(inputs)


def collect(config: Config, folder: Path, done: Sequence[Outcome]) -> dict[str, Any]:
    """results.json: the measurement, with what the other steps found."""
    from model_pipeline.evaluate import Evaluation

    results = _read(folder / "measure" / "measure.json")
    manifest = load_manifest(folder / "model")
    checked = Evaluation.model_validate(_read(folder / "check" / "check.json"))
    return {
        "format": 1,
        "name": config.name,
        "created": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "kws": metadata.version("micro-kws"),
        "computer": {"cpus": os.cpu_count(), "system": platform.platform(), "python": platform.python_version()},
        "config": config.model_dump(mode="json"),
        "steps": [{"name": o.name, "title": o.title, "seconds": o.seconds, "reused": o.reused} for o in done],
        "training": {**_read(folder / "train" / "train.json"), "history": _history(folder / "train" / "log.csv")},
        "model": manifest.model_dump(mode="json", exclude={"frontend"}),
        "host": {
            "engine": _ENGINE_NAMES[checked.engine],
            "accuracy": checked.share.correct(),
            "confusion": checked.confusion,
            "speakers": checked.speakers.model_dump(mode="json"),
        },
        "expect": _read(folder / "expect" / "expect.json"),
        "build": _read(folder / "build" / "build.json"),
        **results,
    }


def where(board: str) -> str:
    """Where the firmware of a board runs here."""
    return "this computer" if board == "host" else f"an emulated {board}"


def _existing(folder: str, key: str) -> Path:
    if not Path(folder).is_dir():
        raise KwsError(f"there is no data folder {folder or f'({key} is empty)'}", hint=f"{key} names it")
    return Path(folder)


def _synthesize(config: Config, out: Path, progress: ProgressCallback) -> Any:
    from model_pipeline.data.synth import synthesize

    return synthesize(config, out, progress)


def _import(config: Config, out: Path, progress: ProgressCallback) -> Any:
    from model_pipeline.data.importer import import_folder

    return import_folder(Path(config.data.folder), out, progress)


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _history(path: Path) -> list[dict[str, float]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream_:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream_)]
