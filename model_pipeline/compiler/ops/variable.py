"""Resource variables. `passes.variables` has put the variable's tensor in place of its handle."""

from __future__ import annotations

from model_pipeline.compiler.ir import Call, Operator
from model_pipeline.compiler.ops.strided_slice import copy_call


def lower_copy(operator: Operator) -> Call:
    """READ_VARIABLE and ASSIGN_VARIABLE."""
    if len(operator.inputs) != 1 or len(operator.outputs) != 1 or operator.inputs[0] is None:
        raise operator.error("a resource variable is not possible here")
    return copy_call(operator, operator.inputs[0], operator.outputs[0])


def lower_bound(operator: Operator) -> Call:
    """VAR_HANDLE and CALL_ONCE leave no call behind; here they come only in a subgraph of their own."""
    raise operator.error("a resource variable is not possible here")


OPERATORS = [
    (129, "AddCallOnce", lower_bound),
    (142, "AddVarHandle", lower_bound),
    (143, "AddReadVariable", lower_copy),
    (144, "AddAssignVariable", lower_copy),
]
