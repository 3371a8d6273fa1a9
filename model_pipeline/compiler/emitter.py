"""Writes a compiled plan as C11: constants in flash, a straight list of kernel calls, and all of its state in an arena
that is the caller's."""

from __future__ import annotations

import re
import struct

import numpy as np

from model_pipeline.compiler.ir import DTYPES, Call, Constant, Tensor
from model_pipeline.compiler.passes.place import kept_tensors
from model_pipeline.compiler.program import Program
from model_pipeline.ctext import braces, rows
from model_pipeline.exported import CONSTANT_PREFIX
from model_pipeline.files import KERNELS_HEADER, kernels_hash
from model_pipeline.native import FIRMWARE

CTYPES = {
    "INT8": "int8_t", "UINT8": "uint8_t", "INT16": "int16_t", "INT32": "int32_t", "INT64": "int64_t",
    "FLOAT32": "float", "BOOL": "uint8_t",
}  # fmt: skip


def emit(program: Program, prefix: str = "kws_aot", *, separate: bool = False) -> dict[str, str]:
    """The C sources ``model_aot.h`` and ``model_aot.c``, by file name.

    Args:
        prefix: of every global name, so that several models can be linked together (the source then includes
            ``<prefix>.h``).
        separate: an array for each memory instead of one arena, so that a sanitizer sees every overrun.
    """
    return {"model_aot.h": _header(program, prefix), "model_aot.c": _Source(program, prefix, separate).text()}


def _headers(calls: list[Call]) -> list[str]:
    fast = any(call.function.startswith("kws_fast_") for call in calls)
    return ["kws_nn.h", *(["kws_fast.h"] if fast else []), KERNELS_HEADER]


def float_bits(value: float | np.floating) -> str:
    """The bits of a float32 as a C literal: unlike a decimal number, the preprocessor can compare them."""
    return f"0x{struct.unpack('<I', struct.pack('<f', float(value)))[0]:08x}u"


def c_array(values: np.ndarray) -> list[str]:
    """The elements as lines of a brace list."""
    # INT32_MIN has no literal of its own type in C.
    return rows("-2147483647-1" if value == -(1 << 31) else value for value in values.reshape(-1).tolist())


def edge_names(tensors: list[Tensor]) -> list[str]:
    """Names of inputs or outputs as parts of C identifiers: letters, digits and _, each once."""
    names: list[str] = []
    for number, tensor in enumerate(tensors):
        name = re.sub(r"[^0-9a-z]+", "_", tensor.name.lower()).strip("_")[:48].strip("_") or str(number)
        while name in names:
            name = f"{name}_{number}"
        names.append(name)
    return names


def _edge_macros(tensor: Tensor, name: str) -> dict[str, str]:
    one = len(tensor.scales) == 1
    return {
        f"{name}_BYTES": f"{tensor.bytes}u",
        f"{name}_ZERO_POINT": f"({tensor.zero_point if one else 0})",
        f"{name}_SCALE_BITS": float_bits(tensor.scale if one else 0),
        f"{name}_TYPE": CTYPES[tensor.type],
    }


def _single_macros(program: Program) -> dict[str, str]:
    macros = {**_edge_macros(program.input, "INPUT"), **_edge_macros(program.output, "OUTPUT")}
    kinds = ("BYTES", "ZERO_POINT", "SCALE_BITS", "TYPE")
    return {name: macros[name] for kind in kinds for name in (f"INPUT_{kind}", f"OUTPUT_{kind}")}


def _many_macros(program: Program) -> dict[str, str]:
    """Those of models with several inputs or outputs: of each by its name, and the bytes of all."""
    macros = {}
    for what, tensors in (("INPUT", program.graph.inputs), ("OUTPUT", program.graph.outputs)):
        macros[f"{what}S"] = f"{len(tensors)}u"
        macros[f"{what}_BYTES"] = f"{sum(t.bytes for t in tensors)}u"
        for tensor, name in zip(tensors, edge_names(tensors), strict=True):
            macros |= _edge_macros(tensor, f"{what}_{name.upper()}")
    return macros


def _declarations(program: Program, prefix: str) -> list[str]:
    invoke = f"int {prefix}_invoke(void *memory); /* 0: in a compiled plan nothing can fail */"
    if program.single:
        return [
            f"int8_t *{prefix}_input(void *memory); /* may be overwritten by {prefix}_invoke() */",
            invoke,
            f"const int8_t *{prefix}_output(void *memory); /* valid until the input is written again */",
        ]
    graph = program.graph
    return [
        f"/* Inputs may be overwritten by {prefix}_invoke(); outputs are valid until an input is written again. */",
        *(f"int8_t *{prefix}_input_{name}(void *memory);" for name in edge_names(graph.inputs)),
        invoke,
        *(f"const int8_t *{prefix}_output_{name}(void *memory);" for name in edge_names(graph.outputs)),
        "/* For tools: all inputs from, and all outputs to, one block, in the model's order. */",
        f"void {prefix}_put(void *memory, const int8_t *inputs);",
        f"void {prefix}_take(void *memory, int8_t *outputs);",
    ]


def _header(program: Program, prefix: str) -> str:
    upper = prefix.upper()
    macros = {
        "MODEL_HASH": f'"{program.model_hash}"',
        "KERNELS": f'"{kernels_hash(FIRMWARE)}"',
        "KERNELS_ID": f"0x{kernels_hash(FIRMWARE)}ull",
        "MODEL_ID": f"0x{program.model_hash}ull",
        "ARENA_BYTES": f"{program.arena_bytes}u",
        "MACS": f"{program.macs}u",
        **(_single_macros(program) if program.single else _many_macros(program)),
        "STEP_FRAMES": f"{program.step_frames}u",
    }
    lines = [
        "/* Generated by kws compile; do not edit. */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "/* MODEL_ID: the hash as a number. *_SCALE_BITS: float32, as its bits. STEP_FRAMES: see engine.h.",
        " * *_TYPE: of the elements; the functions give their bytes, aligned for that type.",
        " * KERNELS, KERNELS_ID: of firmware/core/nn, whose packing of weights this code follows. */",
        *(
            f"/* The model's {edge} is float32; here it is what stands for it: scale * (value - zero point). */"
            for edge in dict.fromkeys(edge for edge, _, _ in program.moved)
        ),
        *(f"#define {upper}_{name} {value}" for name, value in macros.items()),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "/* `memory`: ARENA_BYTES of the caller's, aligned to 8; a plan keeps nothing elsewhere. Reset it first. */",
        *_declarations(program, prefix),
        f"void {prefix}_reset(void *memory); /* forgets streaming state */",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "#endif",
        "",
    ]
    return "\n".join(lines)


class _Source:
    def __init__(self, program: Program, prefix: str, separate: bool) -> None:
        self.program = program
        self.prefix = prefix
        self.separate = separate
        self.constants: list[str] = []
        self.names: dict[tuple[str, bytes], str] = {}

    def text(self) -> str:
        program, prefix = self.program, self.prefix
        calls = [line for number, call in enumerate(program.calls) for line in self._call(number, call)]
        reset = self._reset()  # before the constants are written: it may need some
        parts = [
            "/* Generated by kws compile; do not edit. */",
            '#include "model_aot.h"' if prefix == "kws_aot" else f'#include "{prefix}.h"',
            "",
            *(["#include <string.h>", ""] if kept_tensors(program.calls) or not program.single else []),
            *(f'#include "{name}"' for name in _headers(program.calls)),
            "",
            f"_Static_assert({prefix.upper()}_KERNELS_ID == KWS_NN_KERNELS,",
            '               "compiled for other kernels than these: export the model again");',
            "",
            "/* A hook after each call, for profiles and tests: called with its number, result and size. */",
            "#ifdef KWS_AOT_TRACE",
            "void KWS_AOT_TRACE(int call, const void *result, uint32_t bytes);",
            "#else",
            "#define KWS_AOT_TRACE(call, result, bytes) ((void)0)",
            "#endif",
            "",
            *self._memories(),
            *self.constants,
            *self._edges(),
            *self._function("void ", "reset", reset),
            *self._function("int ", "invoke", [*calls, "  return 0;"]),
        ]
        return "\n".join(parts)

    def _edges(self) -> list[str]:
        graph = self.program.graph
        if self.program.single:
            return [
                *self._function("int8_t *", "input", [f"  return {self._pointer(graph.inputs[0])};"]),
                *self._function("const int8_t *", "output", [f"  return {self._pointer(graph.outputs[0])};"]),
            ]
        lines: list[str] = []
        put, take, at = [], [], 0
        for tensor, name in zip(graph.inputs, edge_names(graph.inputs), strict=True):
            lines += self._function("int8_t *", f"input_{name}", [f"  return {self._pointer(tensor)};"])
            put.append(f"  memcpy({self._pointer(tensor)}, inputs + {at}, {tensor.bytes});")
            at += tensor.bytes
        at = 0
        for tensor, name in zip(graph.outputs, edge_names(graph.outputs), strict=True):
            lines += self._function("const int8_t *", f"output_{name}", [f"  return {self._pointer(tensor)};"])
            take.append(f"  memcpy(outputs + {at}, {self._pointer(tensor)}, {tensor.bytes});")
            at += tensor.bytes
        lines += self._function("void ", "put", put, "const int8_t *inputs")
        return [*lines, *self._function("void ", "take", take, "int8_t *outputs")]

    def _reset(self) -> list[str]:
        lines = []
        for number, tensor in enumerate(kept_tensors(self.program.calls)):
            values = tensor.initial
            if values is None:
                zero = tensor.zero_point if tensor.type in {"INT8", "UINT8"} and len(tensor.zero_points) == 1 else 0
                lines.append(f"  memset({self._pointer(tensor)}, {zero}, {tensor.bytes});")
            elif len(set(values.tobytes())) == 1:
                lines.append(f"  memset({self._pointer(tensor)}, {values.tobytes()[0]}, {tensor.bytes});")
            else:
                bits = values.reshape(-1).view(np.int8)
                name = self._constant(Constant(f"initial{number}", bits, "int8_t"))
                lines.append(f"  memcpy({self._pointer(tensor)}, {name}, {tensor.bytes});")
        return lines

    def _function(self, kind: str, name: str, body: list[str], more: str = "") -> list[str]:
        uses = [line for line in body if "arena + " in line]
        first = "  int8_t *const arena = memory;" if uses else "  (void)memory;"
        if uses and all(line.lstrip().startswith("KWS_AOT_TRACE(") for line in uses):
            first += "\n  (void)arena;"  # the trace is nothing in most builds
        arguments = ", ".join(["void *memory", *([more] if more else [])])
        return [f"{kind}{self.prefix}_{name}({arguments}) {{", first, *body, "}", ""]

    def _memories(self) -> list[str]:
        if not self.separate:
            return []
        memories = enumerate(self.program.placement.memories)
        return [*(f"static _Alignas(8) int8_t aot_m{n}[{m.size}];" for n, m in memories), ""]

    def _pointer(self, tensor: Tensor) -> str:
        if tensor.data is not None:
            return self._constant(Constant(f"tensor{tensor.index}", tensor.data, CTYPES[tensor.type]))
        placement = self.program.placement
        number = placement.memories.index(placement.of_tensor[id(tensor)])
        if not self.separate:
            return self._at(number, placement.offset(tensor))
        inside = placement.offset_in[id(tensor)]
        return self._at(number, 0) + (f" + {inside}" if inside else "")

    def _at(self, number: int, offset: int) -> str:
        return f"aot_m{number}" if self.separate else f"arena + {offset}"

    def _call(self, number: int, call: Call) -> list[str]:
        result = self._pointer(call.outputs[0])
        operator = call.operator
        trace = f"  KWS_AOT_TRACE({number}, {result}, {call.outputs[0].bytes}u);"
        if not call.function:
            return [f"  /* {number}: {operator.name}: nothing to do */", trace]
        sources, targets = ([self._pointer(t) for t in ts] for ts in (call.inputs, call.outputs))
        if call.many:
            if len(sources) > 1:
                sources = [f"(const void *const[]){{{', '.join(sources)}}}"]
            else:
                targets = [f"(void *const[]){{{', '.join(targets)}}}"]
        arguments = [f"&{self._params(number, call)}", *sources, *targets]
        if call.scratch:
            memory = self.program.placement.of_scratch[number]
            arguments.append(self._at(self.program.placement.memories.index(memory), memory.offset))
        shapes = f"{_shape(call.inputs[0])} -> {_shape(call.outputs[0])}"
        return [f"  /* {number}: {operator.name} {shapes} */", f"  {call.function}({', '.join(arguments)});", trace]

    def _params(self, number: int, call: Call) -> str:
        fields = []
        for name, value in call.params.items():
            if isinstance(value, Constant):
                constant = Constant(f"{number}_{value.name}", value.array, value.ctype)
                fields.append(f".{name} = {self._constant(constant)}")
            else:
                fields.append(f".{name} = {braces(value) if isinstance(value, list) else value}")
        name = f"aot_p{number}"
        self.constants += [f"static const {call.params_type} {name} = {{", *rows(fields, between=" "), "};", ""]
        return name

    def _constant(self, constant: Constant) -> str:
        """The name of an array, shared by constants of the same content."""
        key = (constant.ctype, constant.array.tobytes())
        if key not in self.names:
            name = self.names[key] = f"{CONSTANT_PREFIX}{constant.name}"
            size = constant.array.size
            self.constants += [f"static const {constant.ctype} {name}[{size}] = {{", *c_array(constant.array), "};", ""]
        return self.names[key]


def _shape(tensor: Tensor) -> str:
    kind = "" if tensor.type == "INT8" else f" {tensor.type}"
    return f"[{','.join(map(str, tensor.shape))}]{kind}" + ("" if tensor.type in DTYPES else " ?")
