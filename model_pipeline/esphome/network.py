"""Our streaming plan (`compiler.streaming`) of one word as a stateful .tflite."""

from __future__ import annotations

from model_pipeline.compiler.ir import Graph
from model_pipeline.compiler.ops import check
from model_pipeline.compiler.passes.edges import trim
from model_pipeline.compiler.passes.fold import fold_shapes
from model_pipeline.compiler.passes.prune import prune
from model_pipeline.compiler.reader import read_model
from model_pipeline.compiler.streaming import stream
from model_pipeline.errors import KwsError
from model_pipeline.esphome.writer import Writer
from model_pipeline.tflm import schema


def stateful(tflite: bytes, hop: int, frames: int, label: int) -> tuple[bytes, int]:
    """The network as one that takes ``hop`` frames a step and keeps its past, and how many of its operators are
    computed over the whole window all the same.

    Args:
        tflite: a model of ours: int8 [1, frames, 40, 1] in, SOFTMAX out.
        label: of which the result is the probability, uint8 [1, 1].

    Raises:
        KwsError: it is of another kind, or needs an operator or more variables than ESPHome has.
    """
    graph = read_model(tflite)[0]
    trim(graph)
    operators = prune(graph)
    for operator in operators:
        check(operator)
    operators = fold_shapes(operators)
    last = operators[-1] if operators else None
    if last is None or last.name != "SOFTMAX" or last.outputs[0] is not graph.outputs[0] or last.inputs[0] is None:
        raise KwsError("the model does not end with a softmax", hint="a model that kws quantize made does")
    logits = last.inputs[0]
    cut = Graph(graph.name, graph.tensors, operators[:-1], graph.inputs, [logits])
    moved, items, streaming = stream(cut, operators[:-1], hop, frames)
    writer = Writer(tflite, schema())
    made = writer.write(moved, items, label)
    return made, len(streaming.obstacles)
