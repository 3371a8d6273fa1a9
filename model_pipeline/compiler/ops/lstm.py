"""UNIDIRECTIONAL_SEQUENCE_LSTM with int8 activations and an int16 cell."""

from __future__ import annotations

import math

import numpy as np

from model_pipeline.compiler.ir import Call, Constant, Operator, Params, Tensor, check_quantized
from model_pipeline.compiler.ops import _common as c
from model_pipeline.compiler.quant import ACTIVATIONS, multiplier_of

CODE = 44
RESOLVER = "AddUnidirectionalSequenceLSTM"
GATES = ("input", "forget", "cell", "output")
# By the number of the operator's input; what none of TFLite Micro's LSTMs has.
ABSENT = {
    9: "peephole weights", 10: "peephole weights", 11: "peephole weights", 16: "a projection", 17: "a projection",
    20: "layer normalisation", 21: "layer normalisation", 22: "layer normalisation", 23: "layer normalisation",
}  # fmt: skip
HIDDEN, CELL = 18, 19
GATE_SCALE, ONE = 2.0**-12, 2.0**-15  # of a gate's sum and of its result


def lower(operator: Operator) -> Call:
    """Inputs: values [batch, time, channels] (or time first), weights and recurrent weights of four gates, their
    biases, hidden state and cell, both variables."""
    if len(operator.inputs) != 24 or len(operator.outputs) != 1:
        found = f"{len(operator.inputs)} inputs and {len(operator.outputs)} outputs"
        raise operator.error(f"{found}; 24 and 1 are expected")
    for number, what in ABSENT.items():
        if operator.inputs[number] is not None:
            raise operator.error(f"it has {what}, which the compiler does not know")
    options = c.options(operator, 71)
    if (activation := options.integer(0, "b")) != 4:
        name = ACTIVATIONS.get(activation, str(activation))
        raise operator.error(f"activation {name} is not known to the compiler; TANH is")
    source, target = c.quantized_pair(operator)
    hidden, cell = _state(operator, HIDDEN, "INT8"), _state(operator, CELL, "INT16")
    if len(source.shape) != 3:
        raise operator.error(f"input has shape {list(source.shape)}; three dimensions are expected")
    first, second, in_c = source.shape
    time_major = options.integer(3, "B") != 0
    steps, batches = (first, second) if time_major else (second, first)
    if hidden.size % batches or hidden.size != cell.size:
        raise operator.error(f"a state of {hidden.size} and a cell of {cell.size} values for {batches} batches")
    units = hidden.size // batches
    c.expect_shape(operator, target, (first, second, units))
    if (target.scale, target.zero_point) != (hidden.scale, hidden.zero_point):
        raise operator.error("output and hidden state differ in scale or zero point")
    gates: Params = {}
    for gate in range(4):
        gates |= _gate(operator, gate, source, hidden, units, in_c)
    fraction, exponent = math.frexp(float(cell.scale))
    if fraction != 0.5 or not -20 <= exponent - 1 <= -1 or cell.zero_point != 0:
        raise operator.error(f"the cell's scale {cell.scale:g} is not a power of two below 1, or its zero point not 0")
    shift = 12 + exponent - 1  # of the cell, to Q3.12
    clip = options.real(1)
    limit = int(max(-32768.0, min(32767.0, clip / float(cell.scale)))) if math.isfinite(clip) and clip > 0 else 0
    forget_m, forget_s = multiplier_of(operator, ONE * float(cell.scale) / float(cell.scale))
    input_m, input_s = multiplier_of(operator, ONE * ONE / float(cell.scale))
    hidden_m, hidden_s = multiplier_of(operator, ONE * ONE / float(hidden.scale))
    if max(forget_s, input_s, hidden_s) > 0:
        raise operator.error("impossible quantisation: the scale of the cell or the hidden state is too small")
    return Call(
        operator,
        "kws_nn_lstm",
        "kws_nn_lstm_t",
        {
            "batches": batches, "steps": steps, "in_c": in_c, "units": units,
            "in_batch": in_c if time_major else steps * in_c, "in_step": batches * in_c if time_major else in_c,
            "out_batch": units if time_major else steps * units,
            "out_step": batches * units if time_major else units,
            "in_zero_point": source.zero_point, "hidden_zero_point": hidden.zero_point,
            **gates,
            "forget_multiplier": forget_m, "forget_shift": forget_s,
            "input_multiplier": input_m, "input_shift": input_s,
            "hidden_multiplier": hidden_m, "hidden_shift": hidden_s,
            "cell_clip": limit,
            "tanh_multiplier": 3 << max(0, shift), "tanh_shift": max(0, -shift),
            "sigmoid": Constant("sigmoid", sigmoid_table(), "uint16_t"),
        },
        [source, hidden, cell],
        [target],
        macs=batches * steps * 4 * units * (in_c + units),
    )  # fmt: skip


def sigmoid_table() -> np.ndarray:
    """uint16 [256]: 65536 / (1 + e^-x) at x = i / 24, for interpolation by straight lines. As in TFLite Micro each
    point is raised by half of what the line lies below the curve, its second derivative / 16, and the last one is the
    end."""
    sigmoid = 1 / (1 + np.exp(-np.arange(256) / 24))
    bend = sigmoid * (1 - sigmoid) * (2 * sigmoid - 1) / 24**2
    table = np.round(65536 * (sigmoid + bend / 16)).astype(np.uint16)
    table[-1] = 65535
    return table


def _state(operator: Operator, number: int, kind: str) -> Tensor:
    tensor = c.given(operator, number)
    if not tensor.is_variable or tensor.data is not None:
        raise operator.error(f"input {number} ({tensor.name!r}) must be a variable")
    check_quantized(tensor, "state", operator, kind)
    tensor.keeps = True
    return tensor


def _gate(operator: Operator, gate: int, source: Tensor, hidden: Tensor, units: int, in_c: int) -> Params:
    """The fields of one gate. TFLite Micro has no scales of single channels here."""
    fields: Params = {}
    name = GATES[gate]
    bias = c.constant(operator, 12 + gate, ("INT32",))
    if bias.shape != (units,):
        raise operator.error(f"the bias of its {name} gate has shape {list(bias.shape)} for {units} units")
    for kind, number, given, width, prefix in (
        ("weights", 1 + gate, source, in_c, ""), ("recurrent", 5 + gate, hidden, units, "recurrent_"),
    ):  # fmt: skip
        values, tensor = c.constant(operator, number, ("INT8",)), c.given(operator, number)
        check_quantized(tensor, "weights", operator)
        if values.shape != (units, width) or tensor.zero_point != 0:
            raise operator.error(f"the {kind} of its {name} gate have shape {list(values.shape)}, or a zero point")
        c.check_accumulator(operator, values, bias if kind == "weights" else None, given.zero_point)
        pair = multiplier_of(operator, float(given.scale) * float(tensor.scale) / GATE_SCALE)
        if pair[1] > 8:
            raise operator.error(f"impossible quantisation: the {kind} of its {name} gate have too large a scale")
        fields[f"gates[{gate}].{kind}"] = Constant(f"{name}_{kind}", values, "int8_t")
        fields[f"gates[{gate}].{prefix}multiplier"], fields[f"gates[{gate}].{prefix}shift"] = pair
    fields[f"gates[{gate}].bias"] = Constant(f"{name}_bias", bias.astype(np.int32), "int32_t")
    return fields
