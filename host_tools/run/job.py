"""``kws run``: everything that is not done yet, in a folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from host_tools.boards import load_board
from host_tools.image import build as builder
from host_tools.image import platformio
from host_tools.measure.clips import problems
from host_tools.report.results import Results, StepRow, read_results
from host_tools.run import order
from host_tools.run.order import existing
from host_tools.run.steps import Run, Step, StepBar, StepDone, write_config
from host_tools.run.work import Job
from model_pipeline.config import Config
from model_pipeline.data.audio import is_sound
from model_pipeline.data.talk import texts_of
from model_pipeline.errors import KwsError, MissingTool


@dataclass(frozen=True)
class Done:
    """A run that has come to its end: what is in results.json, and what each step took now."""

    results: Results
    outcomes: list[StepRow]


def steps(config: Config, folder: Path, *, clips: int, done: list[StepDone]) -> list[Step]:
    """The steps of a run in ``folder``; see `Job`."""
    return order.steps(Job(config, folder, clips, done))


def run(
    config: Config, folder: Path, *, clips: int | None = None, fresh: bool = False, bar: StepBar | None = None
) -> Done:
    """Runs everything that is not done yet.

    Raises:
        KwsError: the step that failed says what and why. A result that is wrong (frames lost, host and device at
            odds) is not raised here: see `verdict`.
    """
    check_ahead(config)
    data = config.data
    read = [data.folder if data.source == "folder" else data.recordings, *(c.folder for c in config.scenes.corpora)]
    read = [name for name in [*read, data.extra] if name not in ("synth", "talk")]  # these are made
    with Run(folder, fresh=fresh) as state:
        done: list[StepDone] = []
        todo = steps(config, folder, clips=clips or config.measure.clips, done=done)
        state.check_ahead(todo, read, beside=["config.toml"])
        builder.check_out(folder / "build")
        if data.source == "folder":
            from model_pipeline.data.importer import check_splits

            check_splits(existing(data.folder, "data.folder"), config.keywords)
        state.claim("config.toml")
        write_config(config, folder / "config.toml")
        if fresh:
            builder.clean(folder / "build")
        state.execute(todo, fresh=fresh, bar=bar, outcomes=done)
        results = read_results(folder)
        if problems(results):
            state.forget("measure")  # a repetition shall measure, not repeat an old complaint
    return Done(results, [outcome.row() for outcome in done])


def _has_takes(folder: str) -> bool:
    return bool(folder) and any(is_sound(path.name) for path in Path(folder).rglob("*"))


def check_ahead(config: Config) -> None:
    """What would fail only after minutes of training.

    Raises:
        KwsError: no such board, or it can't be emulated; no takes or texts where some are needed.
        MissingTool: no compiler or no emulator for it.
    """
    platformio.check_place()
    if config.detector.look and not (config.detector.rate and any(c.kind == "speech" for c in config.scenes.corpora)):
        raise KwsError(
            "detector.look needs detector.rate, and a corpus of connected speech to learn from",
            hint='set detector.rate=1, and have folder = "talk" or recordings under [[scenes.corpora]]',
        )
    if config.talk.sentences:
        texts_of(config)
    if config.data.personal and config.data.source == "synth" and not _has_takes(config.data.recordings):
        raise KwsError(
            f"data.personal: such a model learns from its speakers' takes, but {config.data.recordings!r} has none",
            hint=f"kws record {config.keywords[0]} --folder PROJECT --speaker me, ten takes of each word",
        )
    frames = config.frames
    if config.hop_frames and frames % config.hop_frames:
        raise KwsError(f"hop_frames = {config.hop_frames} does not divide the model's window of {frames} frames")
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
