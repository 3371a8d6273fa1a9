"""A compiled plan against TensorFlow Lite Micro on this machine, layer by layer; and engines on devices against it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from host_tools.link import stream
from host_tools.link.session import Link
from host_tools.measure.metrics import tick_unit
from model_pipeline.compiler import Program, compile_model, load_host
from model_pipeline.compiler.ir import DTYPES
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.strict import Strict
from model_pipeline.tflm import Interpreter


class Difference(Strict):
    """Where a plan first left TensorFlow Lite Micro: ``element`` counts from 0 in the flattened layer."""

    input: int
    operator: str
    element: int
    differing: int
    size: int
    ours: int
    theirs: int
    text: str  # for people, in one line


class Comparison(Strict):
    """A plan against TensorFlow Lite Micro: what was compared, and where they first differ. ``hop``: of a streaming
    plan, whose outputs alone were compared; else 0."""

    model_hash: str
    tflite_micro: str
    hop: int
    inputs: int
    layers: int
    values: int
    equal: bool
    first_difference: Difference | None


class ComparedDevice(Strict):
    """A firmware's outputs against TensorFlow Lite Micro's here. ``ticks``: of an inference, mean, in ``unit``."""

    port: str
    board: str
    engine: str
    firmware: str
    unit: str
    ticks: float
    equal: bool
    first_difference: Difference | None


class DeviceComparison(Strict):
    """``speedup``: the second device's ticks by the first one's, where both are of one unit."""

    model_hash: str
    tflite_micro: str
    inputs: int
    values: int
    equal: bool
    first_difference: Difference | None
    devices: list[ComparedDevice]
    speedup: float | None


def run_as(reference: Interpreter, program: Program, given: np.ndarray) -> list[np.ndarray]:
    """The values of the plan's outputs; ``given``: what its inputs take, their bytes one after the other. What is
    float32 outside of the plan is made of it here, which loses nothing."""
    block, at = np.ascontiguousarray(given).reshape(-1).view(np.int8), 0
    outside = {id(inside): tensor for edge, tensor, inside in program.moved if edge == "input"}
    inputs = []
    for tensor in program.graph.inputs:
        values = block[at : at + tensor.bytes].view(DTYPES[tensor.type]).reshape(tensor.shape)
        at += tensor.bytes
        if id(tensor) in outside:
            values = tensor.scale * (values.astype(np.int32) - tensor.zero_point).astype(np.float32)
            values = values.reshape(outside[id(tensor)].shape)
        inputs.append(values)
    reference.run(*inputs)
    inside = {id(tensor) for edge, _, tensor in program.moved if edge == "output"}
    return [
        reference.tensor(tensor.index) if id(tensor) in inside else reference.output(number)
        for number, tensor in enumerate(program.graph.outputs)
    ]


def compare(
    tflite: bytes, program: Program, inputs: np.ndarray, *, progress: ProgressCallback | None = None
) -> Comparison:
    """All layers of the window's plan ``program``, on each of int8 ``inputs`` [n, input bytes] in turn."""
    reference = Interpreter(tflite, keep=True)
    host = load_host(program)
    report = progress or silent
    values = 0
    first: Difference | None = None
    compared = [n for n, call in enumerate(program.calls) if call.outputs and call.outputs[0].index >= 0]
    for number, given in enumerate(inputs):
        report(number, len(inputs), "comparing")
        outputs = run_as(reference, program, given)
        layers, ours = host.traced(given)
        for call in compared:
            theirs = reference.tensor(program.calls[call].outputs[0].index)
            values += theirs.size
            first = _difference(number, program.calls[call].operator.place, layers[call].reshape(-1), theirs)
            if first:
                break
        if first is None:
            # What no layer's trace shows: that the outputs are where the plan says.
            at = 0
            for tensor, output in zip(program.graph.outputs, outputs, strict=True):
                part = ours.view(np.int8)[at : at + tensor.bytes].view(DTYPES[tensor.type])
                at += tensor.bytes
                first = first or _difference(number, f"the model's output {tensor.name!r}", part, output)
        if first:
            break
    report(len(inputs), len(inputs), "done")
    return Comparison(
        model_hash=program.model_hash,
        tflite_micro=reference.version,
        hop=0,
        inputs=len(inputs),
        layers=len(compared),
        values=values,
        equal=first is None,
        first_difference=first,
    )


def compare_streaming(
    tflite: bytes, program: Program, steps: int, seed: int = 1, progress: ProgressCallback | None = None
) -> Comparison:
    """A streaming plan on random frames against TensorFlow Lite Micro on the windows that they make.

    Args:
        program: compiled with a hop.
        steps: calls after the warm-up.
    """
    reference = Interpreter(tflite, keep=True)
    window = compile_model(tflite)
    assert program.streaming is not None
    report = progress or silent
    plan = program.streaming
    hop = plan.hop
    frame_bytes = window.input.bytes // plan.window
    calls = plan.warm_up - 1 + steps
    sound = np.random.default_rng(seed).integers(-128, 128, (calls * hop, frame_bytes)).astype(np.int8)
    outputs = load_host(program).run(sound.reshape(calls, -1))
    first: Difference | None = None
    for call in range(plan.warm_up - 1, calls):
        report(call, calls, "comparing")
        end = (call + 1) * hop
        reference.run(sound[end - plan.window : end].reshape(window.input.shape))
        theirs = reference.output()
        first = _difference(call, "the streaming plan's output", outputs[call], theirs)
        if first:
            break
    report(calls, calls, "done")
    return Comparison(
        model_hash=program.model_hash,
        tflite_micro=reference.version,
        hop=hop,
        inputs=steps,
        layers=1,
        values=steps * program.output.bytes,
        equal=first is None,
        first_difference=first,
    )


def _difference(number: int, place: str, ours: np.ndarray, theirs: np.ndarray) -> Difference | None:
    if ours.size != theirs.size:
        raise KwsError(f"{place} has {ours.size} values in our plan and {theirs.size} in TensorFlow Lite Micro")
    wrong = np.flatnonzero(ours != theirs)
    if not wrong.size:
        return None
    at, mine, right = int(wrong[0]), int(ours[wrong[0]]), int(theirs[wrong[0]])
    text = f"{wrong.size} of {ours.size} values differ, the first is {at}: {mine} instead of {right}"
    return Difference(
        input=number,
        operator=place,
        element=at,
        differing=int(wrong.size),
        size=int(ours.size),
        ours=mine,
        theirs=right,
        text=f"input {number}, {place}: {text}",
    )


def compare_devices(
    tflite: bytes, inputs: np.ndarray, links: Sequence[Link], progress: ProgressCallback | None = None
) -> DeviceComparison:
    """The engine of the firmware behind each link on each of int8 ``inputs`` [n, input bytes], past its front end.

    Raises:
        KwsError: a firmware has another model.
        DeviceError: a device refuses, or goes away.
    """
    model_hash = hashlib.sha256(tflite).hexdigest()[:16]
    infos = []
    for link in links:
        info = link.info()
        if info.model_hash != model_hash:
            raise KwsError(
                f"the firmware on {link.name} holds model {info.model_hash}, not {model_hash}",
                hint="kws build and kws flash with this model first",
            )
        infos.append(info)
    reference = Interpreter(tflite, keep=True)
    shape = compile_model(tflite).input.shape
    report = progress or silent
    ticks: list[list[int]] = [[] for _ in links]
    firsts: list[Difference | None] = [None for _ in links]
    values = 0
    for number, given in enumerate(inputs):
        report(number, len(inputs), "comparing")
        reference.run(given.reshape(shape))
        theirs = reference.output()
        for n, link in enumerate(links):
            result = stream.infer(link, given)
            ticks[n].append(result.inference_ticks)
            values += theirs.size
            place = f"{infos[n].engine} on {link.name}"
            firsts[n] = firsts[n] or _difference(number, place, np.array(result.output, np.int8), theirs)
    report(len(inputs), len(inputs), "done")
    devices = [
        ComparedDevice(
            port=link.name,
            board=info.board,
            engine=info.engine,
            firmware=info.firmware,
            unit=tick_unit(info).name,
            ticks=float(np.mean(counted)),
            equal=first is None,
            first_difference=first,
        )
        for link, info, counted, first in zip(links, infos, ticks, firsts, strict=True)
    ]
    alike = len(devices) == 2 and devices[0].unit == devices[1].unit and devices[0].ticks
    return DeviceComparison(
        model_hash=model_hash,
        tflite_micro=reference.version,
        inputs=len(inputs),
        values=values,
        equal=all(device.equal for device in devices),
        first_difference=next((device.first_difference for device in devices if not device.equal), None),
        devices=devices,
        speedup=devices[1].ticks / devices[0].ticks if alike else None,
    )
