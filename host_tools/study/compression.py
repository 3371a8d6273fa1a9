"""The study itself: each network trained once, each int8 model heard once, each point built and measured once. What is
done stays done whatever ends the process; what was under way is done again, a training from its checkpoint."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_tools.records.find import listening_figures
from host_tools.run import order
from host_tools.run.steps import lock_folder, write_config
from host_tools.run.work import Job
from host_tools.search.cost import Infeasible, check_ahead, cost_of, sources_hash
from host_tools.study import page, results
from host_tools.study.hear import hear, negative_folders
from host_tools.study.points import BASE, SHARES, Network, Point, configuration, networks, of_point, points
from host_tools.study.results import STUDY, Compression
from model_pipeline import record
from model_pipeline.child import Worker
from model_pipeline.config import Config
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import KwsError
from model_pipeline.files import damaged, read_json, write_json
from model_pipeline.folders import claim_dir, foreign_files, remove_made
from model_pipeline.listening.results import Judged
from model_pipeline.manifest import load_manifest
from model_pipeline.outcomes import Quantized, ShortTraining, Trained
from model_pipeline.progress import ProgressCallback

KIND = "kws study"
# What lies in the folder of the study, and what in the folders of networks and points; a user's files among them stay.
_MADE = (
    *(STUDY, page.PAGE, page.PICTURES, record.RECORD, "data/**", "extra/**", "pool/**", "talk/**"),
    *("networks/**", "points/**", "build/**", ".lock"),
)
_IN_NETWORKS = ("*/config.toml", "*/*.toml", "*/heard-*.json", "*/failed.json", "*/train/**", "*/ptq/**", "*/qat/**")
_IN_POINTS = ("*/config.toml", "*/record.json", "*/firmware_model/**")
_BESIDE = ("data", "extra", "pool", "talk", "build")


@dataclass(frozen=True)
class Wish:
    """What a study shall have. ``epochs``: of a network, 0: the recipe's; ``minutes``: begin nothing after, 0:
    go on to the end; ``aware``: also quantisation-aware training; ``negative``: connected speech without keywords."""

    shares: tuple[float, ...] = SHARES
    epochs: int = 0
    minutes: float = 0.0
    aware: bool = True
    negative: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Step:
    """One piece of work. ``weight``: about how long it takes; ``done``: whether nothing is left to do."""

    title: str
    weight: float
    done: Callable[[], bool]
    run: Callable[[ProgressCallback], None]


def compress(
    config: Config, data: Path | None, out: Path, wish: Wish, progress: ProgressCallback, *, fresh: bool = False
) -> Compression:
    """Begins the study in folder ``out``, or goes on with it.

    Args:
        data: a data folder; None: it is made, or taken in, as the configuration says.
        fresh: what an earlier study left there is removed first.

    Returns:
        What is in ``study.json``.

    Raises:
        KwsError: no such data or board; ``out`` holds another study, or files that none made.
        MissingTool: no cross compiler or no QEMU.
    """
    check_ahead(config.board)
    read = [data] if data else []
    claim_dir(out, KIND, _MADE, sources=[*read, *wish.negative])
    with closing(lock_folder(out)):
        if fresh:
            _clear(out)
        if data is None:
            data = out / "data"
            if not data.is_dir():
                order.first(Job(config, out, 0, [])).run(progress)
        with Worker("model_pipeline.study", ["--data", str(data), "--out", str(out)]) as worker:
            study = _Study(config, data, out, wish, worker)
            study.begin()
            study.go_on(progress)
            return study.finish()


def _clear(out: Path) -> None:
    """
    Raises:
        KwsError: something lies there that no study made.
    """
    parts = {"networks": _IN_NETWORKS, "points": _IN_POINTS, **dict.fromkeys(_BESIDE, ("**",))}
    for name, made in parts.items():  # before anything is removed
        if others := foreign_files(out / name, made):
            raise KwsError(
                f"{out / name} holds {', '.join(others[:3])}, which no study made",
                hint="move it elsewhere, or another --out",
            )
    for name, made in parts.items():
        if (out / name).exists():
            remove_made(out / name, made)
    for path in (out / STUDY, out / page.PAGE, out / record.RECORD, *out.glob(page.PICTURES)):
        remove_made(path)


@dataclass
class _Study:
    config: Config
    data: Path
    out: Path
    wish: Wish
    worker: Worker
    started: float = field(default_factory=time.monotonic)
    spent: float = 0.0  # in earlier calls
    failed: dict[str, str] = field(default_factory=dict)  # points, and why

    def __post_init__(self) -> None:
        self.networks = networks(self.config, self.wish.shares)
        self.points = points(self.networks, aware=self.wish.aware)
        self.data_hash = Dataset.open(self.data, self.config.keywords, self.config.data).content_hash()
        self.sources = sources_hash()
        negative = [str(path.resolve()) for path in self.wish.negative]
        settings = {**self.config.model_dump(mode="json"), "data_hash": self.data_hash, "negative": negative}
        text = json.dumps({**settings, "study_epochs": self.wish.epochs}, sort_keys=True)
        self.key = hashlib.sha256(text.encode()).hexdigest()[:16]

    def begin(self) -> None:
        """
        Raises:
            KwsError: another study lies there.
        """
        before = results.read(self.out)
        if before and before.key != self.key:
            raise KwsError(
                f"the study in {self.out} was begun with another configuration, other data or other epochs",
                hint="the same options go on with it; another --out begins a new one, --fresh removes this one",
            )
        self.spent = before.seconds if before else 0.0
        self.write()

    def go_on(self, progress: ProgressCallback) -> None:
        """Does what is left, until the end or until the time is over."""
        steps = self._steps()
        whole, past, total = sum(step.weight for step in steps), 0.0, len(steps)
        for number, step in enumerate(steps):
            if step.done():
                past += step.weight
                continue
            minutes = (time.monotonic() - self.started) / 60
            if self.wish.minutes and minutes >= self.wish.minutes:
                return

            def part(
                done: int, of: int, text: str, past: float = past, step: _Step = step, left: int = total - number
            ) -> None:
                share = (past + step.weight * min(1.0, done / max(1, of))) / whole
                progress(min(999, int(1000 * share)), 1000, f"{step.title}: {text}; {left} of {total} steps left")

            part(0, 1, "")
            step.run(part)
            past += step.weight

    def finish(self) -> Compression:
        """Draws the page too."""
        found = self.write()
        page.write(found, self.out)
        figures = record.exactly(seconds=found.seconds)
        about = {"data_hash": self.data_hash, "board": self.config.board, "whole": not found.left, "key": self.key}
        made = record.new(
            "study", self.config.name, self.config.model_dump(mode="json"), figures, seconds=found.seconds, **about
        )
        record.write(made, self.out)
        return found

    def write(self) -> Compression:
        """Writes ``study.json`` with all points that are done."""
        rows = [results.studied(p, self.out / "points" / p.name, self.failed.get(p.name, "")) for p in self.points]
        found = Compression(
            name=self.config.name,
            board=self.config.board,
            data=str(self.data),
            key=self.key,
            epochs=self.wish.epochs or self.config.train.epochs,
            points=results.with_fronts([row for row in rows if row]),
            left=sum(row is None for row in rows),
            unheard="" if self.negative() else "the recipe has no connected speech; --negative names a folder of some",
            seconds=round(self.spent + time.monotonic() - self.started, 1),
        )
        write_json(self.out / STUDY, found.model_dump(mode="json"))
        return found

    def negative(self) -> list[Path]:
        """Folders of connected speech, as far as they are there now."""
        return negative_folders(self.config, self.out, self.wish.negative)

    # --- the steps

    def _steps(self) -> list[_Step]:
        steps = []
        for network in self.networks:
            steps.append(self._training(network))
            mine = [point for point in self.points if point.network == network]
            for model in dict.fromkeys(point.model for point in mine):
                some = [point for point in mine if point.model == model]
                steps += [self._quantizing(some[0]), self._hearing(some[0]), *(self._measuring(p) for p in some)]
        return steps

    def _of(self, network: Network) -> Path:
        return self.out / "networks" / network.name

    def _why_failed(self, network: Network) -> str:
        try:
            return str(read_json(self._of(network) / "failed.json")["why"])
        except (FileNotFoundError, KeyError):
            return ""

    def _teacher(self, network: Network) -> str | None:
        base = self.out / "networks" / BASE / "train"
        if network.way == "distilled":
            return str(base / "model.keras")
        if network.way != "base" and self.config.train.teacher_width:
            return str(base / "teacher" / "model.keras")
        return None

    def _training(self, network: Network) -> _Step:
        folder = self._of(network)
        config = configuration(self.config, network, self.wish.epochs)

        def done() -> bool:
            if why := self._why_failed(network):
                self.failed |= {p.name: why for p in self.points if p.network == network}
                return True
            try:
                values = read_json(folder / "train" / "train.json")
            except FileNotFoundError:
                return False
            with damaged(folder / "train" / "train.json", "--fresh begins the study anew"):
                trained = Trained.model_validate(values)
            return not trained.stopped and trained.epochs >= config.train.epochs

        def run(progress: ProgressCallback) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            write_config(config, folder / "config.toml")
            parent = self.out / "networks" / BASE / "train" if network.way == "pruned" else None
            job = {
                "do": "train",
                "config": str(folder / "config.toml"),
                "out": str(folder / "train"),
                "parent": parent and str(parent),
                "teacher": self._teacher(network),
            }
            found = self.worker.call(job, ShortTraining, progress, lambda _: True)
            if why := found.failed:
                if network.way == "base":
                    raise KwsError(f"the base: {why}", hint="a lower train.learning_rate", exit_code=1)
                write_json(folder / "failed.json", {"why": why})
                done()

        return _Step(network.name, 10.0 * config.train.epochs * network.share, done, run)

    def _quantizing(self, point: Point) -> _Step:
        folder = self._of(point.network)
        config = of_point(self.config, point, self.wish.epochs)

        def done() -> bool:
            return point.name in self.failed or (folder / point.quantization / "model.json").is_file()

        def run(progress: ProgressCallback) -> None:
            toml = folder / f"{point.quantization}.toml"
            write_config(config, toml)
            job = {
                "do": "quantize",
                "config": str(toml),
                "trained": str(folder / "train"),
                "out": str(folder / point.quantization),
                "teacher": self._teacher(point.network),
            }
            if point.network.way == "base" and self.config.train.teacher_width:
                job["teacher"] = str(folder / "train" / "teacher" / "model.keras")
            self.worker.call(job, Quantized, progress)

        weight = 15.0 * config.quantize.qat_epochs if point.quantization == "qat" else 8.0
        return _Step(point.model, weight, done, run)

    def _heard(self, point: Point) -> Path:
        return self._of(point.network) / f"heard-{point.quantization}.json"

    def _hearing(self, point: Point) -> _Step:
        def run(progress: ProgressCallback) -> None:
            model = self._of(point.network) / point.quantization
            found = hear(model, self.data, self.negative(), self.config, progress)
            write_json(self._heard(point), found.model_dump(mode="json"))

        def done() -> bool:
            return point.name in self.failed or self._heard(point).is_file()

        return _Step(f"{point.model} in a stream", 10.0, done, run)

    def _measuring(self, point: Point) -> _Step:
        folder = self.out / "points" / point.name

        def done() -> bool:
            try:
                return point.name in self.failed or record.read(folder).key == self._point_key(point)
            except FileNotFoundError:
                return False

        def run(progress: ProgressCallback) -> None:
            progress(0, 1, f"firmware for {self.config.board}, and a second of sound")
            self._measure(point, folder)
            self.write()

        return _Step(point.name, 8.0, done, run)

    def _point_key(self, point: Point) -> str:
        """What its figures depend on beside the study's key."""
        return f"{self.key}-{self.sources[:16]}"

    def _measure(self, point: Point, folder: Path) -> None:
        started, config = time.monotonic(), of_point(self.config, point, self.wish.epochs)
        network = self._of(point.network)
        folder.mkdir(parents=True, exist_ok=True)
        write_config(config, folder / "config.toml")
        model = network / point.quantization
        figures = self._known(point)
        try:
            build = self.out / "build" / config.board
            cost = cost_of(model, folder / "firmware_model", config, config.board, build)
        except Infeasible as broken:
            self.failed[point.name] = str(broken)
            return
        figures |= cost.figures()
        about: dict[str, Any] = {
            "seconds": round(time.monotonic() - started, 1),
            "data_hash": self.data_hash,
            "model_hash": load_manifest(model).model_hash,
            "board": config.board,
            "parent": str(self.out),
            "origin": point.text,
            "key": self._point_key(point),
        }
        record.write(record.new("point", point.name, config.model_dump(mode="json"), figures, **about), folder)

    def _known(self, point: Point) -> dict[str, record.Figure | None]:
        """What training, quantisation and listening found."""
        network = self._of(point.network)
        trained, quantized = record.read(network / "train"), record.read(network / point.quantization)
        with damaged(self._heard(point), "--fresh begins the study anew"):
            heard = Judged.model_validate(read_json(self._heard(point)))
        names = ("validation_accuracy", "parameters", "epochs", "loss")
        figures: dict[str, record.Figure | None] = {n: trained.figures[n] for n in names if n in trained.figures}
        both = ("int8_validation_accuracy", "model_bytes")
        figures |= {n: quantized.figures[n] for n in both if n in quantized.figures}
        return figures | listening_figures(heard)
