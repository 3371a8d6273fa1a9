"""Whether a model keeps up with sound on a board: its instructions a hop, measured in QEMU, against the board's clock.

Instructions are exact and the same on every Cortex-M4 of ours; cycles are not known without the board. The ratio
between them is an assumption, and said wherever a share of time is shown.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from host_tools.boards import Board, board_ids, load_board
from host_tools.image.build import DEFAULT_MODEL, ROOT, build
from host_tools.image.emulate import start
from host_tools.link import stream
from host_tools.link.codes import MAX_SAMPLES
from host_tools.link.events import Result
from host_tools.link.session import Link
from host_tools.measure import metrics
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.exported import Exported
from model_pipeline.files import read_json, sha256_tree, write_json
from model_pipeline.native import cache_dir
from model_pipeline.progress import ProgressCallback
from model_pipeline.rate import SAMPLE_RATE

# Published runs of such models on a real Cortex-M4 against the same code's instructions: about 1.4 (flash wait states,
# taken branches, loads that the next instruction waits for).
CYCLES_PER_INSTRUCTION = 1.4
TIGHT = 0.8  # of the time; above it little is left for anything else
# Without QEMU: twice what the plain kernels take, front end as its limit.
_GUESS_PER_MAC, _GUESS_FRAME = 12, 60_000


@dataclass(frozen=True)
class Profile:
    """Instructions of a Cortex-M4. ``inference``: of one run of the engine, which serves ``hops`` hops; of several
    models, the longest that they take together, and how many hops that serves on average."""

    frontend_frame: float
    inference: float
    detector: float
    hops: float
    measured: bool
    note: str

    @property
    def per_hop(self) -> float:
        """All three, for one hop of sound."""
        return self.frontend_frame + (self.inference + self.detector) / self.hops


@dataclass(frozen=True)
class Verdict:
    """``load``: share of the time that the processor is busy, at most 1 if the model keeps up."""

    board: str
    core_hz: int
    hop_ms: float
    instructions_per_hop: int
    inference_instructions: int
    inference_ms: float
    load: float
    keeps_up: bool
    cycles_per_instruction: float
    measured: bool
    note: str

    def line(self) -> str:
        """For people."""
        word = "keeps up" if self.keeps_up else "does not keep up"
        tight = ", but little is left" if TIGHT < self.load <= 1 else ""
        return (
            f"real time: {word}{tight}: {100 * self.load:.1f} % of {self.core_hz / 1e6:g} MHz "
            f"({self.instructions_per_hop:,} instructions each {self.hop_ms:g} ms; an inference takes "
            f"{self.inference_ms:.1f} ms), at {self.cycles_per_instruction:g} cycles an instruction (assumed); "
            f"{self.note}"
        )


def judge(board: Board, profile: Profile, hop_ms: float) -> Verdict:
    """The profile against the board's clock.

    Raises:
        KwsError: the board has no clock (it is this computer).
    """
    if board.kws.clock is None:
        raise KwsError(f"board {board.id} has no clock to compare with")
    hz = board.kws.clock.core_hz
    cycles = profile.per_hop * CYCLES_PER_INSTRUCTION
    load = cycles / (hz * hop_ms / 1000)
    return Verdict(
        board=board.id,
        core_hz=hz,
        hop_ms=hop_ms,
        instructions_per_hop=round(profile.per_hop),
        inference_instructions=round(profile.inference),
        inference_ms=round(1000 * profile.inference * CYCLES_PER_INSTRUCTION / hz, 3),
        load=round(load, 5),
        keeps_up=load <= 1,
        cycles_per_instruction=CYCLES_PER_INSTRUCTION,
        measured=profile.measured,
        note=profile.note,
    )


def check(
    board: str,
    model: Path | None = None,
    engine: str = "aot",
    *,
    elf: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Verdict | None:
    """Whether ``model`` keeps up on ``board``; None for this computer.

    Args:
        elf: the board's firmware with this model, if it is built; used if it runs in QEMU.
    """
    target = load_board(board)
    if target.kws.clock is None:
        return None
    folder = Path(model or DEFAULT_MODEL)
    hop_ms = Exported.open(folder).hop_ms
    return judge(target, profile(target, folder, engine, elf=elf, progress=progress), hop_ms)


def refuse(verdict: Verdict) -> None:
    """Raises CheckFailed if the model does not keep up."""
    if not verdict.keeps_up:
        raise CheckFailed(
            f"the model does not keep up on {verdict.board}: {100 * verdict.load:.0f} % of the processor's time",
            hint="a smaller model, a longer stride, kws build --streaming HOP, or --force",
        )


def profile(
    board: Board,
    model: Path,
    engine: str = "aot",
    *,
    elf: Path | None = None,
    progress: ProgressCallback | None = None,
) -> Profile:
    """Measured once for each content of firmware and model, in QEMU's Cortex-M4; estimated where there is no QEMU."""
    if not shutil.which("qemu-system-arm") or not shutil.which("arm-none-eabi-gcc"):
        return estimate(model)
    key = sha256_tree([ROOT / "firmware"], ROOT)[:24] + sha256_tree([model], model)[:16]
    kept = cache_dir() / "realtime" / f"{key}-{engine}.json"
    try:
        return Profile(**read_json(kept))
    except (FileNotFoundError, KwsError, TypeError):
        pass  # not measured yet
    runner = board.id if board.kws.emulators.qemu else _board_in_qemu(board.kws.cpu)
    with tempfile.TemporaryDirectory(prefix="kws-") as folder:
        if elf is None or runner != board.id:
            elf = Path(build(runner, model, engine, folder, progress=progress).elf)
        found = measure(runner, elf, Exported.open(model).hops)
    write_json(kept, asdict(found))
    return found


def measure(board: str, elf: Path, hops: int) -> Profile:
    """Runs ``elf`` in QEMU over a second of sound.

    Raises:
        CheckFailed: its ticks are not instructions, or no results came.
    """
    with start(board, elf, kind="qemu") as emulator, Link.open(emulator.url, 30.0) as link:
        info = link.info()
        unit = metrics.tick_unit(info)
        if unit.name != "instructions":
            raise CheckFailed(f"QEMU does not count instructions: {unit.note}")
        link.reset_stream()
        samples = info.window_samples + (info.window_frames + 4 * hops) * info.hop_samples
        if info.parts:  # the last second of these, where each has had its first window
            samples = max(samples, 3 * SAMPLE_RATE)
        sound = np.random.default_rng(1).integers(-9000, 9000, samples, dtype=np.int16)
        blocks = _one_by_one(link, sound, math.gcd(info.window_samples, info.hop_samples))
        stride = 0 if info.parts else hops
        results = [e for e in stream.stream_continuous(link, blocks, stride=stride) if isinstance(e, Result)]
    if not results:
        raise CheckFailed("the firmware gave no results in QEMU")
    inference = max(r.inference_ticks for r in results)
    if info.parts:  # each at its own pace: what they took in all
        first = next(i for i, r in enumerate(results) if r.position > results[-1].position - SAMPLE_RATE)
        if first == 0:
            raise CheckFailed("the firmware gave too few results in QEMU")
        paced, frames = results[first:], (results[-1].position - results[first - 1].position) / info.hop_samples
        served = inference * frames / max(1, sum(r.inference_ticks for r in paced))
    else:
        paced, frames, served = results, sum(r.frontend_frames for r in results), float(hops)
    return Profile(
        frontend_frame=sum(r.frontend_ticks for r in paced) / frames,
        inference=inference,
        detector=max(r.detector_ticks for r in results),
        hops=served,
        measured=True,
        note="instructions measured in QEMU",
    )


def _one_by_one(link: Link, sound: np.ndarray, step: int) -> Iterator[np.ndarray]:
    """Blocks at whose ends every frame ends too, each after the device is done with the one before: the front end gets
    the same portions every time, so that its instructions are the same too."""
    size = max(n for n in range(1, MAX_SAMPLES + 1) if step % n == 0)
    for at in range(0, len(sound), size):
        yield sound[at : at + size]
        link.stats()


def estimate(model: Path) -> Profile:
    """From the model's multiply-accumulates, on the safe side."""
    plan = Exported.open(model)
    note = f"estimated at {_GUESS_PER_MAC} instructions a multiply-accumulate: install qemu-system-arm to measure"
    return Profile(_GUESS_FRAME, _GUESS_PER_MAC * plan.macs, 1000, plan.hops, False, note)


def _board_in_qemu(cpu: str) -> str:
    for name in board_ids():
        kws = load_board(name).kws
        if kws.emulators.qemu and kws.cpu == cpu:
            return name
    raise KwsError(f"no board with a {cpu} runs in QEMU")


def as_dict(verdict: Verdict | None) -> dict[str, Any] | None:
    """For JSON."""
    return asdict(verdict) if verdict else None
