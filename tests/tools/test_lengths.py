"""How long things may be: a file about 400 lines, a function seven arguments, or it has a reason, which is here."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from model_pipeline.native import ROOT

MOST_LINES, MOST_ARGUMENTS = 450, 7
ROOMS = ("host_tools", "model_pipeline", "firmware/app", "firmware/core", "firmware/engines", "firmware/ports")
LONG: dict[str, str] = {}
MANY = {
    "model_pipeline/evaluate.py evaluate": "a step: what it reads, and by name what a caller may ask for besides",
    "model_pipeline/train.py train": "a step: what it reads and writes, and by name what search and study bring along",
}


def _functions(source: str) -> Iterator[tuple[str, int]]:
    """The functions of a module and how many arguments each takes, but for ``self`` and ``cls``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            a = node.args
            names = [argument.arg for argument in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
            yield node.name, len([name for name in names if name not in ("self", "cls")])


def _modules() -> Iterator[tuple[str, Path]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*")):
            if path.suffix in (".py", ".c", ".h", ".cc", ".S"):
                yield str(path.relative_to(ROOT)), path


def test_arguments_are_counted_of_every_kind() -> None:
    source = "class A:\n def f(self, a, /, b, *c, d=1, **e): ...\nasync def g(): ..."
    assert sorted(_functions(source)) == [("f", 3), ("g", 0)]


def test_a_long_file_has_a_reason() -> None:
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in _modules()}
    long = {name for name, count in lines.items() if count > MOST_LINES}
    assert long - LONG.keys() == set(), f"more than {MOST_LINES} lines: find the seam, or give the reason here"
    short = {name for name in LONG if lines.get(name, 0) < MOST_LINES - 100}
    assert short == set(), "these are short now: take them off the list"


def test_a_function_with_many_arguments_has_a_reason() -> None:
    """But for verbs: their arguments are the command line's options."""
    many = {
        f"{name} {function}"
        for name, path in _modules()
        if path.suffix == ".py" and not name.startswith(("host_tools/verbs/", "host_tools/options/"))
        for function, count in _functions(path.read_text(encoding="utf-8"))
        if count > MOST_ARGUMENTS
    }
    assert many - MANY.keys() == set(), "bundle what travels together in a frozen dataclass, or give the reason here"
    assert MANY.keys() - many == set(), "these have fewer now: take them off the list"
