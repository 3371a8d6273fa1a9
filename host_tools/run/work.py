"""What the steps of ``kws run`` do: from words to a measured firmware."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from host_tools.image import build as builder
from host_tools.image import targets
from host_tools.measure.clips import host_engine, measure_model
from host_tools.measure.results import ClipShare
from host_tools.report import page as report
from host_tools.run.results import collect, keep
from host_tools.run.steps import StepDone
from model_pipeline import child
from model_pipeline.config import Config
from model_pipeline.data.described import Imported, Synthesized
from model_pipeline.folders import MARK, atomic_dir
from model_pipeline.listening.results import Expected
from model_pipeline.manifest import DetectorDefaults
from model_pipeline.outcomes import Quantized, Trained
from model_pipeline.progress import ProgressCallback
from model_pipeline.strict import Strict

if TYPE_CHECKING:
    from host_tools.run.esphome import WakeWords
    from model_pipeline.export import Generated
    from model_pipeline.listening.material import Material

PACED_CLIPS = 8  # streamed a second time at the pace of a microphone, for the response time
_UNITS = 4  # of each member of a second look
_LOOKED_COUNTS = (2, 3)  # results in a row: one alone is surer of synthetic voices than of people
_RELAX = 10  # times that calibration may ask for twice the wanted rate: a run ends with a detector that hears something


class LookedAt(Strict):
    """What a second look has learnt from."""

    words: int
    hours: float
    corpora: list[str]


class Chosen(Strict):
    """A calibration: the wanted false accepts an hour, and what became of it."""

    wanted: float
    detector: DetectorDefaults
    expected: Expected


class Frames(Strict):
    """Of the link."""

    lost: int
    repeated: int


class Measured(Strict):
    """What a measurement comes to."""

    accuracy: ClipShare
    link: Frames


@dataclass(frozen=True)
class Job:
    """What the steps of a run in ``folder`` share. ``done`` is filled by the caller while they run; the report lists
    it."""

    config: Config
    folder: Path
    clips: int
    done: list[StepDone]

    @property
    def settings(self) -> dict[str, Any]:
        """The whole configuration as JSON has it."""
        return self.config.model_dump(mode="json")

    @property
    def speech(self) -> dict[str, Any]:
        """What of the configuration training hears."""
        return {key: self.settings[key] for key in ("keywords", "frontend", "data", "scenes", "talk")}

    @property
    def quantized(self) -> str:
        """The part of the folder with the int8 model as it is quantised: not yet calibrated, where it will be."""
        return "int8" if self.config.detector.rate else "model"

    @property
    def looked(self) -> str:
        """The part with the model that the detector is chosen for: with a second look, where there shall be one."""
        return "looked" if self.config.detector.look else self.quantized

    def within(self, name: str) -> Path:
        """A part of the run's folder."""
        return self.folder / name

    def arguments(self, **folders: str) -> list[str]:
        """Of a child process: the configuration, and parts of the folder by option."""
        found = ["--config", str(self.folder / "config.toml")]
        return found + [word for option, name in folders.items() for word in (f"--{option}", str(self.within(name)))]

    def synthesize(self, progress: ProgressCallback) -> Synthesized:
        from model_pipeline.data.synth import synthesize

        return synthesize(self.config, self.within("data"), progress)

    def take_in(self, progress: ProgressCallback) -> Imported:
        from model_pipeline.data.importer import import_folder

        return import_folder(
            Path(self.config.data.folder), self.within("data"), progress, clip_ms=self.config.data.clip_ms
        )

    def train(self, progress: ProgressCallback) -> Trained:
        return child.run_step("model_pipeline.train", self.arguments(data="data", out="train"), Trained, progress)

    def quantize(self, progress: ProgressCallback) -> Quantized:
        arguments = self.arguments(trained="train", data="data", out=self.quantized)
        return child.run_step("model_pipeline.quantize", arguments, Quantized, progress)

    def look(self, progress: ProgressCallback) -> LookedAt:
        from model_pipeline.data.sessions import Plan
        from model_pipeline.listening.look import LookShape, look
        from model_pipeline.listening.material import Material

        hidden = self.config.detector.look
        babble = self.config.scenes.babble > 0
        members, seed = max(1, hidden // _UNITS), self.config.train.seed
        shape = LookShape(hidden=hidden, members=members, seed=seed, babble=babble)
        negative = self.not_meant("training", "speech", "noise")
        with self.copied(self.quantized, "looked") as made:
            material = Material(self.within("data"), negative, Plan(seed=shape.seed, limit=1000))
            found = look(made, material, shape, progress)
        return LookedAt(words=found.words, hours=round(found.hours, 3), corpora=list(found.corpora))

    def _validation(self) -> Material:
        """What a detector is chosen by."""
        from model_pipeline.data.sessions import Plan
        from model_pipeline.listening.material import Material

        plan = Plan(limit=self.config.measure.session_keywords or 200, takes=self.config.data.sayings)
        return Material(self.within("data"), self.not_meant("validation", "speech"), plan)

    def calibrate(self, progress: ProgressCallback) -> Chosen:
        from model_pipeline.listening.calibrate import Wish, calibrate

        config, material = self.config, self._validation()
        near = config.detector.near_rate
        wish = Wish(config.detector.rate, relax=_RELAX, common=near > 0, near=near)
        if config.detector.look:
            wish = replace(wish, common=True, counts=_LOOKED_COUNTS)
        if config.esphome:  # there is a result each step, and its detector counts none in a row
            wish = replace(wish, strides=(config.hop_frames,), counts=(1,))
        with self.copied(self.looked, "model") as made:
            found = calibrate(made, material, wish, progress)
        return Chosen(wanted=config.detector.rate, detector=found.detector, expected=found.expected)

    def not_meant(self, split: str, *kinds: str) -> list[Path]:
        """The folders of the corpora of these kinds, and of that split of the sentences that training made."""
        found = [Path(c.folder) for c in self.config.scenes.corpora if c.kind in kinds and c.folder != "talk"]
        talk = self.within("train") / "talk" / split
        return [*found, *([talk] if talk.is_dir() else [])]

    @contextlib.contextmanager
    def copied(self, source: str, target: str) -> Iterator[Path]:
        """A model's folder as another part has it, for a new detector; the mark is of the folder that it lies in."""
        with atomic_dir(self.within(target), "kws quantize") as made:
            shutil.copytree(self.within(source), made, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MARK))
            yield made

    def check(self, progress: ProgressCallback) -> ClipShare:
        from model_pipeline.evaluate import evaluate

        data, model = self.within("data"), self.within("model")
        result = evaluate(model, data, engine=host_engine(), progress=progress, data_config=self.config.data)
        keep(self.within("check") / "check.json", result.model_dump(mode="json"))
        return ClipShare.model_validate(result.share.correct())

    def export(self, progress: ProgressCallback) -> Generated:
        from model_pipeline.export import export

        out, config = self.within("firmware_model"), self.config
        return export(self.within("model"), out, progress, streaming=config.hop_frames, choice=config.compile)

    def expect(self, progress: ProgressCallback) -> None:
        from host_tools.run.expect import expect

        data, model, exported = (self.within(name) for name in ("data", "model", "firmware_model"))
        found = expect(self.config, data, model, exported, self.not_meant("validation", "speech"), progress)
        keep(self.within("expect") / "expect.json", found.model_dump(mode="json"))

    def wake_words(self, progress: ProgressCallback) -> WakeWords:
        from host_tools.run.esphome import wake_words

        material = self._validation()
        languages = [self.config.synth.language] if self.config.data.source == "synth" else []
        return wake_words(self.within("model"), material, self.within("esphome"), languages, progress)

    def build(self, progress: ProgressCallback) -> None:
        config, out = self.config, self.within("build")
        builder.build(config.board, self.within("firmware_model"), engine=config.engine, out=out, progress=progress)

    def measure(self, progress: ProgressCallback) -> Measured:
        model, data, config = self.within("model"), self.within("data"), self.config
        with targets.emulated(config.board, self.within("build") / "firmware.elf") as link:
            measured = measure_model(link, model, data, self.clips, PACED_CLIPS, progress, config.data)
        results = {**measured.to_json(), "where": where(config.board)}
        keep(self.within("measure") / "measure.json", results)
        frames = Frames(lost=measured.link.lost, repeated=measured.link.repeated)
        return Measured(accuracy=measured.accuracy, link=frames)

    def report(self, progress: ProgressCallback) -> None:
        progress(0, 1, "drawing")
        report.write_report(collect(self.config, self.folder, self.done), self.folder)


def where(board: str) -> str:
    """Where the firmware of a board runs here."""
    return "this computer" if board == "host" else f"an emulated {board}"
