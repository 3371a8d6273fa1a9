"""What a candidate costs, before any training: its firmware is built with random weights and run in QEMU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from host_tools.boards import load_board
from host_tools.image import build as builder
from host_tools.measure import m4, realtime
from model_pipeline import record
from model_pipeline.child import Worker
from model_pipeline.compiler import compile_model
from model_pipeline.config import Config
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.export import export
from model_pipeline.files import read_bytes, read_json, sha256_tree, write_json
from model_pipeline.native import CODE, cache_dir, project_file
from model_pipeline.outcomes import Untrained
from model_pipeline.strict import Strict

# All that decides what a network of a given shape costs.
_SOURCES = ("firmware", "boards", "model_pipeline/compiler", "model_pipeline/models", "model_pipeline/features")


def sources_hash() -> str:
    """Of what decides what a network costs."""
    return sha256_tree([project_file(source) for source in _SOURCES], CODE)


@dataclass(frozen=True)
class Limits:
    """The most that a candidate may take; 0: no limit but the board's own budgets and its time."""

    macs: int = 0
    ram: int = 0
    flash: int = 0

    def excess(self, values: dict[str, float]) -> dict[str, float]:
        """For each of ``values`` that has a limit the share by which it is exceeded; at most 0 where it is kept."""
        limits: dict[str, float] = {**asdict(self), "load": 1.0}
        return {name: value / limits[name] - 1.0 for name, value in values.items() if limits.get(name)}


class NetworkCost(Strict):
    """What the firmware takes with a candidate in it.

    Attributes:
        macs: of the whole window.
        flash, ram: bytes of the image, from the linker: all that `kws build` counts.
        inference: instructions of one run of the engine.
        per_second: instructions of a second of sound: front end, inferences and detector.
        load: share of the board's time (`realtime.Verdict`).
    """

    macs: int
    flash: int
    ram: int
    inference: int
    per_second: int
    load: float

    def figures(self) -> dict[str, record.Figure | None]:
        """For a record, by the names that `kws runs` has for them."""
        return record.exactly(
            macs=self.macs,
            flash=self.flash,
            ram=self.ram,
            inference_instructions=self.inference,
            instructions_per_second=self.per_second,
            load=self.load,
        )


class Infeasible(Exception):
    """A candidate that breaks a limit. ``excess``: by what share of the limit, by name."""

    def __init__(self, reason: str, excess: dict[str, float]) -> None:
        super().__init__(reason)
        self.excess = excess


def check_ahead(board: str) -> None:
    """
    Raises:
        MissingTool: no cross compiler or no QEMU.
        KwsError: no such board, or one without a clock.
    """
    if load_board(board).kws.clock is None:
        raise KwsError(f"{board} has no clock to keep up with", hint="kws boards lists those that have")
    if tool := m4.missing_tool():
        raise MissingTool(f"{tool} is not in PATH, so costs can't be measured", hint="make setup")


def cost_of(
    model: Path,
    generated: Path,
    config: Config,
    board: str,
    build: Path,
    early: Callable[[dict[str, float]], None] = lambda values: None,
) -> NetworkCost:
    """What the int8 model in folder ``model`` costs, packed as ``config.compile`` says: its firmware is built and run.

    Args:
        generated: the folder that is made of it (`export`).
        build: where it is built.
        early: is told MACs and, as ``ram`` and ``flash``, bytes of arena and constants before there is firmware.

    Raises:
        Infeasible: the compiler refuses it, or it is too large for the board.
    """
    try:
        program = compile_model(read_bytes(model / "model.tflite"), **config.compile.model_dump())
    except KwsError as error:  # more constants than compile.max_constants, for one
        raise Infeasible(f"the compiler refuses it: {error}", {"compiler": 1.0}) from error
    early({"macs": program.macs, "ram": program.arena_bytes, "flash": program.constant_bytes})
    export(model, generated, streaming=config.hop_frames, choice=config.compile)
    try:
        image = builder.build(board, generated, "aot", build)
    except KwsError as error:
        if error.exit_code != 1:  # anything but an image over the board's budget
            raise
        raise Infeasible(str(error), {"board": 1.0}) from error
    verdict = realtime.check(board, generated, elf=Path(image.elf))
    assert verdict is not None
    return NetworkCost(
        macs=program.macs,
        flash=image.flash_total,
        ram=image.ram_total,
        inference=verdict.inference_instructions,
        per_second=round(verdict.instructions_per_hop * 1000 / verdict.hop_ms),
        load=verdict.load,
    )


class Costs:
    """Costs of candidates on one board, kept by architecture across searches."""

    def __init__(self, board: str, limits: Limits, worker: Worker, work: Path) -> None:
        """
        Raises:
            KwsError: as `check_ahead`.
        """
        self.board, self.limits, self.worker, self.work = board, limits, worker, work
        check_ahead(board)
        self._sources = sources_hash()

    def __call__(self, config: Config, folder: Path) -> NetworkCost:
        """Measures the network of ``config``, whose TOML is ``folder``/config.toml.

        Raises:
            Infeasible: a limit is broken; what can be known earlier is looked at before the firmware is built.
        """
        frames, needed = config.frames, config.train.shape.frames
        if needed > frames:
            raise Infeasible(f"needs {needed} frames, the window has {frames}", {"frames": needed / frames - 1})
        if config.hop_frames and frames % config.hop_frames:
            raise Infeasible(f"{config.hop_frames} frames do not divide the window of {frames}", {"streaming": 1.0})
        path = cache_dir() / "search" / f"{self._key(config)}.json"
        try:
            cost = NetworkCost.model_validate(read_json(path))
        except (FileNotFoundError, KwsError, ValidationError):
            cost = self._measure(config, folder)  # not measured yet
            write_json(path, cost.model_dump())
        self._check(cost.model_dump())
        return cost

    def _measure(self, config: Config, folder: Path) -> NetworkCost:
        model, generated = folder / "untrained", folder / "firmware_model"
        self.worker.call({"do": "network", "config": str(folder / "config.toml"), "out": str(model)}, Untrained)
        return cost_of(model, generated, config, self.board, self.work / "build" / self.board, self._check)

    def _check(self, values: dict[str, float]) -> None:
        excess = self.limits.excess(values)
        broken = [f"{name} {values[name]:,}" for name, share in excess.items() if share > 0]
        if broken:
            raise Infeasible(f"over the limit: {', '.join(broken)}", excess)

    def _key(self, config: Config) -> str:
        """What a network costs has nothing to do with how it was trained."""
        parts = {
            "frontend": config.frontend.model_dump(mode="json"),
            "shape": config.train.shape.model_dump(mode="json"),
            "labels": config.labels,
            "detector": config.detector.model_dump(mode="json"),
            "compile": config.compile.model_dump(mode="json"),
            "streaming": config.hop_frames,
            "board": self.board,
            "sources": self._sources,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]
