"""What a compiled model costs, layer by layer: guest instructions on the emulated Cortex-M4, this machine's time,
or ticks of a device's timer."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from host_tools.link import stream
from host_tools.link.session import Link
from host_tools.measure import m4
from host_tools.measure.metrics import tick_unit
from model_pipeline.compiler import Program, emit, load_host
from model_pipeline.compiler.host import KERNELS, kernel_objects, kernel_sources
from model_pipeline.compiler.ir import DTYPES
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.native import host_compiler, run_compiler
from model_pipeline.pipes import check_regular
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.strict import Strict

MAIN = m4.HERE / "model_main.c"
FLAGS = ("-O2",)  # as the firmware is built
Target = Literal["m4", "host"]
UNITS = {"m4": "instructions", "host": "ns"}


@dataclass(frozen=True)
class PlanCost:
    """What a plan takes.

    Attributes:
        outputs: int8 [n, output bytes].
        total: mean of one invoke, instructions (m4) or nanoseconds (host), undisturbed by counting calls.
        calls: the same for each call; they add up to ``total``. Empty if they were not asked for.
        flash: bytes of kernels, plan and constants, without what any program takes (m4 only, else 0).
        ram: static bytes in RAM: the arena and whatever kernels keep.
        stack: bytes used at most, with the little of the main program.
    """

    outputs: np.ndarray
    total: float
    calls: list[float]
    flash: int
    ram: int
    stack: int


def measure(
    program: Program,
    inputs: np.ndarray,
    target: Target = "m4",
    *,
    calls: bool = True,
    flags: Sequence[str] = FLAGS,
    timeout: float = 300.0,
    progress: ProgressCallback | None = None,
) -> PlanCost:
    """Runs a plan on ``inputs`` [n, ...] of the input's type, one after the other from a reset.

    The cost of looking at each call is the difference to a run that does not look; on the Cortex-M4, where it repeats
    exactly, every call bears an equal part, on the host, where it is mostly noise, one in proportion.

    Raises:
        MissingTool: no compiler for the target, or no emulator.
        M4Error: the program failed there.
    """
    report = progress or silent
    run = _on_m4 if target == "m4" else _on_host
    data = np.ascontiguousarray(inputs).view(np.int8).reshape(-1, program.input_bytes)
    steps = 2 + (target == "m4") if calls else 1 + (target == "m4")
    with tempfile.TemporaryDirectory(prefix="kws-profile-") as name:
        folder = Path(name)
        for file, text in emit(program).items():
            (folder / file).write_text(text, encoding="utf-8")
        report(0, steps, "the whole plan")
        plain = run(folder, data, list(flags), timeout)
        flash = ram = 0
        if target == "m4":
            report(1, steps, "an empty plan")
            empty = run(folder, data[:1], [*flags, "-DKWS_PROFILE_EMPTY"], timeout)
            flash, ram = plain.flash - empty.flash, plain.ram - empty.ram
        outputs = np.frombuffer(plain.output, np.int8).reshape(len(data), -1)
        each: list[float] = []
        if calls:
            report(steps - 1, steps, "call by call")
            count = len(program.calls)
            traced = run(
                folder, data, [*flags, f"-DKWS_PROFILE_CALLS={count}", "-DKWS_AOT_TRACE=kws_profile_trace"], timeout
            )
            sums = np.frombuffer(traced.output[-8 * count :], np.uint64) / len(data)
            looking = (sums.sum() - plain.total) / count if target == "m4" else 0.0
            scale = 1.0 if target == "m4" else plain.total / max(1.0, float(sums.sum()))
            each = [max(0.0, float(value - looking)) * scale for value in sums]
        report(steps, steps, "done")
    return PlanCost(outputs, plain.total, each, flash, ram, plain.stack)


@dataclass(frozen=True)
class _Run:
    output: bytes
    total: float
    flash: int = 0
    ram: int = 0
    stack: int = 0


def _on_m4(folder: Path, data: np.ndarray, flags: list[str], timeout: float) -> _Run:
    result = m4.run_on_m4(
        [MAIN, folder / "model_aot.c", *kernel_sources()],
        [folder, *KERNELS],
        flags,
        data.tobytes(),
        timeout=timeout,
        stack=8192,
    )
    return _Run(result.output, result.per_call("invoke"), result.flash, result.ram, result.stack)


def _on_host(folder: Path, data: np.ndarray, flags: list[str], timeout: float) -> _Run:
    compiler = host_compiler()
    binary = folder / "profile"
    command = [compiler, "-std=gnu11", *flags, f"-I{m4.HERE / 'host'}", f"-I{folder}", *(f"-I{k}" for k in KERNELS)]
    command += [str(MAIN), str(folder / "model_aot.c"), *kernel_objects(compiler, tuple(FLAGS)), "-o", str(binary)]
    run_compiler(command, f"{compiler} could not build the plan")
    try:
        ran = subprocess.run([str(binary)], input=data.tobytes(), capture_output=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"the plan ran longer than {timeout:.0f} s") from error
    if ran.returncode:
        raise CheckFailed(f"the plan ended with {ran.returncode} on this machine")
    return _Run(ran.stdout, int(ran.stderr) / len(data))


class LayerCost(Strict):
    """Of one call: shapes, MACs, bytes, ``cost`` in the profile's unit, cost of a MAC and share of all."""

    call: int
    operator: str
    name: str
    kernel: str
    input: list[int]
    output: list[int]
    macs: int
    weight_bytes: int
    activation_bytes: int
    cost: float
    per_mac: float | None
    share: float


class Profile(Strict):
    """What an inference costs (of a streaming plan, a hop of ``hop`` frames), layer by layer."""

    model_hash: str
    target: str
    unit: str
    hop: int
    runs: int
    cost: float
    macs: int
    per_mac: float | None
    arena_bytes: int
    equal_to_host: bool
    layers: list[LayerCost]


class PlanProfile(Profile):
    """Of the compiled plan alone, in an emulator or here; bytes as `PlanCost` has them."""

    flash_bytes: int
    ram_bytes: int
    stack_bytes: int


class DeviceProfile(Profile):
    """Of a firmware. ``inference_ticks``: as RESULT has them; ``hook``: of them, what looking at each call took."""

    port: str
    board: str
    unit_note: str
    inference_ticks: float
    hook: float


def profile(
    program: Program, inputs: np.ndarray, target: Target = "m4", progress: ProgressCallback | None = None
) -> PlanProfile:
    """What the plan costs on ``inputs`` [n, ...]; see `measure`."""
    cost = measure(program, inputs, target, progress=progress)
    return PlanProfile(
        model_hash=program.model_hash,
        target=target,
        unit=UNITS[target],
        hop=program.streaming.hop if program.streaming else 0,
        runs=len(cost.outputs),
        cost=cost.total,
        macs=program.macs,
        per_mac=cost.total / program.macs if program.macs else None,
        arena_bytes=program.arena_bytes,
        flash_bytes=cost.flash,
        ram_bytes=cost.ram,
        stack_bytes=cost.stack,
        equal_to_host=bool(np.array_equal(cost.outputs, load_host(program).run(inputs).view(np.int8))),
        layers=_rows(program, cost.calls, cost.total),
    )


def profile_device(
    program: Program, inputs: np.ndarray, link: Link, progress: ProgressCallback | None = None
) -> DeviceProfile:
    """As `profile`, measured by the timer of the firmware behind ``link``, which was built with profiling.

    Its costs leave out what looking at each call takes.

    Args:
        program: the plan that the firmware holds. A streaming plan's costs are those of one hop.
        inputs: [n, ...], whole windows (a multiple of the plan's input).

    Raises:
        KwsError: the firmware holds another model or another plan.
        DeviceError: it was built without profiling, refuses, or goes away.
    """
    info = link.info()
    if info.model_hash != program.model_hash:
        raise KwsError(
            f"the firmware on {link.name} holds model {info.model_hash}, not {program.model_hash}",
            hint="kws build --profile and kws flash with this model first",
        )
    if info.engine != "aot":
        raise KwsError(f"engine {info.engine} can't be profiled by layer", hint="kws compare --port gives its time")
    hops = program.streaming.window // program.streaming.hop if program.streaming else 1
    windows = np.ascontiguousarray(inputs).view(np.int8).reshape(-1, hops * program.input.bytes)
    report = progress or silent
    sums = np.zeros(len(program.calls))
    inference = 0
    equal = True
    for number, window in enumerate(windows):
        report(number, len(windows), "an inference")
        result = stream.infer(link, window)
        ticks = link.profile()
        if len(ticks) != len(sums) or info.arena_bytes != program.arena_bytes or info.macs != program.macs:
            raise KwsError(
                f"the firmware on {link.name} holds another plan of this model, or one of another version",
                hint="give --streaming, --size or --portable as it was built with, or build it anew",
            )
        sums += ticks
        inference += result.inference_ticks
        host = load_host(program).run(window.reshape(hops, -1))[-1]
        equal &= bool(np.array_equal(np.array(result.output, np.int8), host.view(np.int8)))
    report(len(windows), len(windows), "done")
    each = (sums / (len(windows) * hops)).tolist()
    total = sum(each)
    unit = tick_unit(info)
    return DeviceProfile(
        model_hash=program.model_hash,
        target="device",
        port=link.name,
        board=info.board,
        unit=unit.name,
        unit_note=unit.note,
        hop=program.streaming.hop if program.streaming else 0,
        runs=len(windows),
        cost=total,
        inference_ticks=inference / (len(windows) * hops),
        hook=inference / (len(windows) * hops) - total,
        macs=program.macs,
        per_mac=total / program.macs if program.macs else None,
        arena_bytes=program.arena_bytes,
        equal_to_host=equal,
        layers=_rows(program, each, total),
    )


def _rows(program: Program, calls: Sequence[float], total: float) -> list[LayerCost]:
    rows = []
    for row, call, amount in zip(program.layers(), program.calls, calls, strict=True):
        activations = sum(t.bytes for t in [*call.inputs, *call.outputs] if t.data is None)
        rows.append(
            LayerCost(
                call=row.call,
                operator=row.operator,
                name=row.name,
                kernel=row.kernel,
                input=row.input,
                output=row.output,
                macs=row.macs,
                weight_bytes=row.constant_bytes,
                activation_bytes=activations,
                cost=amount,
                per_mac=amount / row.macs if row.macs else None,
                share=amount / total if total else 0.0,
            )
        )
    return rows


def picture(result: Profile, target: Path) -> None:
    """A bar a layer, as .svg, .png or .pdf by the name of ``target``.

    Raises:
        KwsError: another ending.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from model_pipeline.files import atomic_path
    from model_pipeline.text import PICTURES

    if target.suffix not in (".svg", ".png", ".pdf"):
        raise KwsError(f"can't plot to {target.name}", hint="a name that ends in .svg, .png or .pdf")
    rows = [row for row in result.layers if row.cost > 0]
    with matplotlib.rc_context(PICTURES):
        figure = Figure(figsize=(8, 1.2 + 0.24 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        labels = [f"{row.operator} {'x'.join(map(str, row.output[1:]))}" for row in rows]
        axes.barh(range(len(rows)), [row.cost for row in rows], color="#3b6ea5")
        axes.set_yticks(range(len(rows)), labels, fontsize=7)
        axes.invert_yaxis()
        axes.set_xlabel(f"{result.unit}, {result.cost:,.0f} in all")
        axes.spines[["top", "right"]].set_visible(False)
        with atomic_path(target) as temporary:
            figure.savefig(temporary, format=target.suffix[1:])


def load_inputs(path: Path | None, program: Program, count: int, seed: int = 1) -> np.ndarray:
    """[n, elements of an input] of the input's type, from a .npy or a raw file, or ``count`` random ones.

    Raises:
        KwsError: the file can't be read, or is not a whole number of inputs.
    """
    many = len(program.graph.inputs) > 1  # then their bytes, one input after the other
    kind = np.dtype(np.int8) if many else DTYPES[program.input.type]
    size = program.input_bytes // kind.itemsize
    if path is None:
        limits = np.iinfo(kind)
        return np.random.default_rng(seed).integers(limits.min, limits.max + 1, (count, size)).astype(kind)
    try:
        check_regular(path)
        values = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.fromfile(path, kind)
    except (OSError, ValueError) as error:
        raise KwsError(f"can't read {path}: {error}") from error
    if values.dtype != kind or values.size == 0 or values.size % size:
        found = f"{path} holds {values.size} values of {values.dtype}"
        raise KwsError(f"{found}; {kind.name} and a multiple of {size} are needed")
    return values.reshape(-1, size)
