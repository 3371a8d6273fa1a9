"""Resource variables become tensors that keep their value, and CALL_ONCE their value after a reset.

A variable is known by the name that VAR_HANDLE gives it. Without CALL_ONCE its bytes are zero (its zero point), as in
TensorFlow Lite Micro.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from model_pipeline.compiler.ir import DTYPES, Graph, Operator, Tensor
from model_pipeline.errors import KwsError


def bind_variables(graphs: list[Graph], operators: list[Operator]) -> list[Operator]:
    """READ_VARIABLE reads the variable's tensor and ASSIGN_VARIABLE writes it; VAR_HANDLE and CALL_ONCE are gone.

    Raises:
        KwsError: a variable of changing type or size, or an initial value that is not a constant.
    """
    if not any(operator.name in _KINDS for operator in operators):
        return operators
    initial = _initial_values(graphs, operators)
    handles: dict[int, str] = {}
    variables: dict[str, Tensor] = {}
    bound = []
    for operator in operators:
        if operator.name == "VAR_HANDLE":
            handles[id(operator.outputs[0])] = _name(operator)
        elif operator.name == "READ_VARIABLE":
            _arity(operator, 1, 1)
            tensor = _variable(operator, handles, variables, operator.outputs[0], initial)
            bound.append(replace(operator, inputs=[tensor]))
        elif operator.name == "ASSIGN_VARIABLE":
            _arity(operator, 2, 0)
            value = operator.inputs[1]
            assert value is not None
            tensor = _variable(operator, handles, variables, value, initial)
            bound.append(replace(operator, inputs=[value], outputs=[tensor]))
        elif operator.name != "CALL_ONCE":
            bound.append(operator)
    return bound


_KINDS = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}


def _arity(operator: Operator, inputs: int, outputs: int) -> None:
    if len(operator.inputs) != inputs or None in operator.inputs or len(operator.outputs) != outputs:
        raise operator.error(f"{inputs} inputs and {outputs} outputs are expected")


def _name(operator: Operator) -> str:
    if operator.options is None or operator.options_type != 111 or len(operator.outputs) != 1:
        raise operator.error("its options are missing or of another operator")
    return f"{operator.options.text(0)}/{operator.options.text(1)}"


def _variable(
    operator: Operator,
    handles: dict[int, str],
    variables: dict[str, Tensor],
    value: Tensor,
    initial: dict[str, np.ndarray],
) -> Tensor:
    """The tensor of the variable that input 0 names; ``value`` is what is read from it or written into it."""
    name = handles.get(id(operator.inputs[0]))
    if name is None:
        raise operator.error("its variable comes from no VAR_HANDLE")
    if value.type not in DTYPES:
        raise operator.error(f"a variable of type {value.type} is not known")
    found = variables.get(name)
    if found is None:
        found = variables[name] = replace(
            value, index=-1, name=f"variable {name}", data=None, keeps=True, initial=initial.get(name)
        )
        given = found.initial
        if given is not None and (given.size != found.size or given.dtype != DTYPES[found.type]):
            raise operator.error(f"the initial value of {name!r} has {given.size} values where {found.size} are used")
    if (found.type, found.size) != (value.type, value.size):
        raise operator.error(f"{value.type} {list(value.shape)} where {name!r} is {found.type} {list(found.shape)}")
    return found


def _initial_values(graphs: list[Graph], operators: list[Operator]) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for operator in operators:
        if operator.name != "CALL_ONCE":
            continue
        if operator.options is None or operator.options_type != 103:
            raise operator.error("its options are missing or of another operator")
        number = operator.options.integer(0)
        if not 1 <= number < len(graphs):
            raise operator.error(f"it calls subgraph {number} of {len(graphs)}")
        handles: dict[int, str] = {}
        for step in graphs[number].operators:
            if step.name == "VAR_HANDLE":
                handles[id(step.outputs[0])] = _name(step)
            elif step.name == "ASSIGN_VARIABLE":
                _arity(step, 2, 0)
                name, value = handles.get(id(step.inputs[0])), step.inputs[1]
                if name is None or value is None or value.data is None:
                    raise KwsError(f"in subgraph {number}, {step.place}: only constants are known as initial values")
                values[name] = value.data
            else:
                raise KwsError(f"in subgraph {number}, {step.place}: not known in a subgraph that is called once")
    return values
