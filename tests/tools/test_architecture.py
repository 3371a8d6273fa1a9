"""Nothing in a lower room imports a higher one: the table of docs/architecture.md, held against every module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from model_pipeline.native import ROOT
from tests import conftest

PACKAGES = ("host_tools", "model_pipeline")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
}


def _table() -> list[tuple[list[str], set[str]]]:
    """The rows from the lowest on: rooms, and the packages that only they may import."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = text[text.index("## Imports") :]
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \|([^|]*)\|$", section, re.M)[1:]
    return [(re.findall(r"`([\w.]+)`", rooms), set(re.findall(r"`(\w+)`", only))) for rooms, only in rows]


TABLE = _table()
ROOMS = {room: number for number, (rooms, _) in enumerate(TABLE) for room in rooms}
RARE = set().union(*(only for _, only in TABLE))
WITH_TENSORFLOW = {room for rooms, only in TABLE if "tensorflow" in only for room in rooms}


def _room(module: str) -> str:
    parts = module.split(".")
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    found = next((name for name in names if name in ROOMS), None)
    if found in PACKAGES and found != module:  # the package's own file has a row; its modules need theirs
        found = None
    assert found or module in PACKAGES, f"{module} has no row in the table of docs/architecture.md"
    return found or module


def _imports(path: Path) -> set[str]:
    """Everything that is imported, inside functions too: modules of the project as such, else the top package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inside or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name if name.split(".")[0] in PACKAGES else name.split(".")[0] for name in found}


def test_the_table_is_whole() -> None:
    rooms = [room for names, _ in TABLE for room in names]
    assert len(TABLE) > 15 and len(rooms) == len(set(rooms))
    assert set(rooms) <= MODULES.keys(), "the table names rooms that are there"


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_its_row_may(module: str) -> None:
    if module == "model_pipeline":
        return
    mine = _room(module)
    for name in _imports(MODULES[module]):
        if name.split(".")[0] in PACKAGES:
            other = _room(name)
            assert other == mine or ROOMS[other] < ROOMS[mine], f"{module} imports {name}, which is not below it"
            assert not (module.startswith("host_tools") and other in WITH_TENSORFLOW), f"{module} imports {name}"
        elif name in RARE:
            assert name in TABLE[ROOMS[mine]][1], f"{module} imports {name}: not in its row"


def test_no_two_modules_import_each_other() -> None:
    """No circles, inside a room either."""
    imports = {name: _imports(path) & MODULES.keys() - {name} for name, path in MODULES.items()}
    left = dict(imports)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"these import each other, or lead to such: {sorted(left)}"


def test_what_takes_longest_is_begun_first() -> None:
    """`make test` orders files by a list in conftest, which would not notice another name."""
    named = conftest.LONGEST.split()
    assert len(named) == len(set(named)) and all((ROOT / "tests" / f"{name}.py").is_file() for name in named)
