"""The operators that the compiler knows: one module each, found by itself.

A module has ``CODE`` (enum BuiltinOperator), ``RESOLVER`` (the method of TFLite Micro's resolver, for export) and
``lower(operator) -> Call``, which checks everything its kernel relies on. Several operators may share a module; it
then has a list ``OPERATORS`` of (code, resolver method, lower).
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import NamedTuple

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.opcodes import operator_name


class Known(NamedTuple):
    """One supported operator."""

    resolver: str
    lower: Callable[[Operator], Call]


@functools.cache
def known_operators() -> dict[int, Known]:
    """All supported operators by their number."""
    table: dict[int, Known] = {}
    for info in pkgutil.iter_modules(__path__):
        if info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{__name__}.{info.name}")
        entries = getattr(module, "OPERATORS", None) or [(module.CODE, module.RESOLVER, module.lower)]
        for code, resolver, lower in entries:
            table[code] = Known(resolver, lower)
    return table


def check(operator: Operator) -> Known:
    """What is known of an operator.

    Raises:
        KwsError: nothing, or one of its tensors has no elements.
    """
    known = known_operators().get(operator.code)
    if known is None:
        names = ", ".join(sorted(operator_name(code) for code in known_operators()))
        error = operator.error("the compiler does not know this operator")
        error.hint = f"known: {names}; or build with the tflm engine"
        raise error
    for tensor in [*operator.inputs, *operator.outputs]:
        if tensor is not None and not tensor.size:
            raise operator.error(f"{tensor.name!r} has the impossible shape {list(tensor.shape)}")
    return known


def lower(operator: Operator) -> Call:
    """The kernel call for an operator.

    Raises:
        KwsError: an operator, type, shape or quantisation that the compiler does not know, with its place.
    """
    return check(operator).lower(operator)
