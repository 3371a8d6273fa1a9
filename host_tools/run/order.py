"""The order of a run's steps, and on what each depends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from host_tools.measure.clips import host_engine
from host_tools.run.sources import sources
from host_tools.run.steps import Step, folder_stamp
from host_tools.run.work import PACED_CLIPS, Job, where
from model_pipeline.errors import KwsError

# What a build compiles; firmware/model is an input of its own.
_FIRMWARE = tuple(f"firmware/{part}" for part in ("app", "core", "engines", "platform", "ports"))


def first(job: Job) -> Step:
    """Speech: made, or taken in."""
    config = job.config
    settings: dict[str, Any] = {"keywords": config.keywords, "data": job.settings["data"]}
    if config.data.source != "synth":
        settings["stamp"] = folder_stamp(existing(config.data.folder, "data.folder"))
        reads = sources("model_pipeline.data.importer")
        return Step("import", "import speech", ("data",), job.take_in, settings=settings, sources=reads)
    settings |= {"synth": job.settings["synth"], "seed": config.train.seed}
    if config.data.recordings:
        settings["stamp"] = folder_stamp(existing(config.data.recordings, "data.recordings"))
    reads = sources("model_pipeline.data.synth")
    return Step("synth", "make speech", ("data",), job.synthesize, settings=settings, sources=reads)


def steps(job: Job) -> list[Step]:
    """All, in their order. What a step's ``sources`` are follows from what its modules import."""
    config, settings = job.config, job.settings
    begin = first(job)
    last = "calibrate" if config.detector.rate else "quantize"  # what makes the model that is used
    corpora = settings["scenes"]["corpora"]
    listened = {"session_keywords": config.measure.session_keywords, "corpora": corpora}
    second = Step(
        "look",
        "a second look at what it takes for words",
        ("looked",),
        job.look,
        inputs=(begin.name, "train", "quantize"),
        settings={
            "look": config.detector.look,
            "babble": config.scenes.babble > 0,
            "seed": config.train.seed,
            "corpora": corpora,
        },
        sources=sources("model_pipeline.listening.look"),
    )
    tuned = Step(
        "calibrate",
        f"a detector for {config.detector.rate:g} false accepts an hour",
        ("model",),
        job.calibrate,
        inputs=(begin.name, "train", "look" if config.detector.look else "quantize"),
        settings={
            "rate": config.detector.rate,
            "near_rate": config.detector.near_rate,
            **listened,
            **({"esphome": config.hop_frames} if config.esphome else {}),
        },
        sources=sources("model_pipeline.listening.calibrate"),
    )
    wake_words = Step(
        "esphome",
        "wake words for ESPHome, and their false accepts",
        ("esphome",),
        job.wake_words,
        inputs=(begin.name, "train", last),
        settings=listened,
        sources=sources("host_tools.run.esphome"),
        tools=("tflite-micro",),
    )
    return [
        begin,
        Step(
            "train",
            "train",
            ("train",),
            job.train,
            inputs=(begin.name,),
            settings={**job.speech, "train": config.recipe()},
            sources=(
                *sources("model_pipeline.train"),
                *(["model_pipeline/models/bases"] if config.train.base else []),
            ),
            tools=("tensorflow-cpu", "tensorflow", "keras"),
            resumes=True,
        ),
        Step(
            "quantize",
            "quantise to int8",
            (job.quantized,),
            job.quantize,
            inputs=(begin.name, "train"),
            settings={
                **job.speech,
                "train": config.recipe(),
                **{key: settings[key] for key in ("quantize", "detector", "name")},
            },
            sources=sources("model_pipeline.quantize"),
            tools=("tensorflow-cpu", "tensorflow", "keras", "tflite-micro"),
        ),
        *([second] if config.detector.rate and config.detector.look else []),
        *([tuned] if config.detector.rate else []),
        Step(
            "check",
            "check on this computer",
            ("check",),
            job.check,
            inputs=(begin.name, last),
            settings={"data": settings["data"], "engine": host_engine()},
            sources=sources("model_pipeline.evaluate"),
            tools=("tflite-micro",),
        ),
        Step(
            "export",
            "export for firmware",
            ("firmware_model",),
            job.export,
            inputs=(last,),
            settings={key: settings[key] for key in ("hop_frames", "compile")},
            sources=sources("model_pipeline.export"),
            tools=("tflite-micro",),
        ),
        Step(
            "expect",
            "what to expect: in a stream, at near words, on each board",
            ("expect",),
            job.expect,
            inputs=(begin.name, "train", last, "export"),
            settings={
                "synth": settings["synth"],
                "corpora": corpora,
                "takes": config.measure.near_takes,
                "session_keywords": config.measure.session_keywords,
                "engine": config.engine,
            },
            sources=(*sources("host_tools.run.expect"), *_FIRMWARE, "boards"),
        ),
        *([wake_words] if config.esphome else []),
        Step(
            "build",
            f"build firmware for {config.board}",
            ("build/firmware.elf", "build/build.json"),
            job.build,
            inputs=("export",),
            settings={"board": config.board, "engine": config.engine},
            sources=(*sources("host_tools.image.build"), *_FIRMWARE, f"boards/{config.board}.json"),
            tools=("platformio", "scons"),
        ),
        Step(
            "measure",
            f"stream {job.clips} clips to {where(config.board)}",
            ("measure",),
            job.measure,
            inputs=(begin.name, last, "build"),
            settings={"clips": job.clips, "paced": PACED_CLIPS, "board": config.board},
            sources=sources("host_tools.measure.clips", "host_tools.image.targets"),
            tools=("tflite-micro",),
        ),
        Step(
            "report",
            "write the report",
            ("results.json", "report.html"),
            job.report,
            inputs=("train", last, "check", "expect", "build", "measure"),
            settings=settings,
            sources=(*sources("host_tools.report.page"), "host_tools/templates", "host_tools/run/results.py"),
            tools=("matplotlib", "jinja2"),
        ),
    ]


def existing(folder: str, key: str) -> Path:
    """The folder that the configuration names under ``key``.

    Raises:
        KwsError: it is not there.
    """
    if not Path(folder).is_dir():
        raise KwsError(f"there is no data folder {folder or f'({key} is empty)'}", hint=f"{key} names it")
    return Path(folder)
