"""Networks that take and give float32 are int8 inside: the plan begins and ends there.

What a leading QUANTIZE makes of an input becomes the input, what a trailing DEQUANTIZE reads the output. Their scales
and zero points say how to get from and to real numbers, as the two operators do.
"""

from __future__ import annotations

from model_pipeline.compiler.ir import Graph, Tensor
from model_pipeline.errors import KwsError


def trim(graph: Graph) -> list[tuple[str, Tensor, Tensor]]:
    """Moves the graph's edges inside.

    Returns:
        For each that moved: "input" or "output", the float32 tensor, and the one that took its place.

    Raises:
        KwsError: a float32 input that others than one QUANTIZE read.
    """
    moved = []
    for number, tensor in enumerate(graph.inputs):
        if tensor.type != "FLOAT32":
            continue
        readers = [op for op in graph.operators if any(t is tensor for t in op.inputs)]
        if len(readers) != 1 or readers[0].name != "QUANTIZE" or len(readers[0].outputs) != 1:
            others = next((op.place for op in readers if op.name != "QUANTIZE"), f"{len(readers)} operators")
            raise KwsError(
                f"the model's input {tensor.name!r} is FLOAT32 and read by {others}, not by one QUANTIZE",
                hint="quantise the whole network to int8 (full integer quantisation)",
            )
        graph.operators.remove(readers[0])
        graph.inputs[number] = readers[0].outputs[0]
        moved.append(("input", tensor, graph.inputs[number]))
    for number, tensor in enumerate(graph.outputs):
        writer = next((op for op in graph.operators if op.outputs and op.outputs[0] is tensor), None)
        if tensor.type != "FLOAT32" or writer is None or writer.name != "DEQUANTIZE" or len(writer.inputs) != 1:
            continue
        inside = writer.inputs[0]
        computed = any(t is inside for op in graph.operators for t in op.outputs)
        if inside is not None and computed:  # a model of one DEQUANTIZE keeps it
            graph.outputs[number] = inside
            moved.append(("output", tensor, inside))
    return moved
