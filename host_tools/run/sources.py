"""What the work of a step depends on: its module, all that this imports, and the C and data files that these name.

Found by reading, not by running, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

from model_pipeline.native import CODE, ROOT

PACKAGES = ("host_tools", "model_pipeline")
# Their change makes no result stale: how errors, bars and files look. What of the configuration matters is in a step's
# settings, and a configuration that means something else has another value there.
PLUMBING = frozenset(
    {
        "host_tools.ui",
        "model_pipeline.child",
        "model_pipeline.config",
        "model_pipeline.errors",
        "model_pipeline.files",
        "model_pipeline.folders",
        "model_pipeline.native",
        "model_pipeline.parts",
        "model_pipeline.progress",
        "model_pipeline.strict",
        "model_pipeline.text",
    }
)
_DATA = (".c", ".h", ".j2", ".ld", ".txt")
_GENERATED = ("firmware", "firmware/model", "build", ".cache")  # made by what is asked about, or holding it
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def sources(*modules: str, root: Path = CODE) -> tuple[str, ...]:
    """The files and folders, relative to ``root``, on which ``modules`` depend, `PLUMBING` left out.

    The ``__init__`` of a package counts only for what is taken from the package itself: those here only hand on. One
    that lists its modules (``pkgutil.iter_modules``) depends on them all.
    """
    found: set[str] = set()
    seen: set[str] = set()
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module in seen or module in PLUMBING:
            continue
        seen.add(module)
        path = _file(module, root)
        if path is None:
            raise ValueError(f"there is no module {module}")
        found.add(path.relative_to(root).as_posix())
        facts = _read(path, root)
        found |= facts.files
        for package, name in facts.imports:
            if name and _file(f"{package}.{name}", root):
                todo.append(f"{package}.{name}")
            elif _file(package, root):
                todo.append(package)
    return tuple(sorted(found))


class _Facts:
    """What one module imports (pairs of module and name) and which files it names."""

    def __init__(self) -> None:
        self.imports: set[tuple[str, str]] = set()
        self.files: set[str] = set()


@functools.cache
def _read(path: Path, root: Path) -> _Facts:
    facts = _Facts()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(node.left) for node in ast.walk(tree) if isinstance(node, ast.BinOp)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in PACKAGES:
            facts.imports |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            facts.imports |= {(alias.name, "") for alias in node.names if alias.name.split(".")[0] in PACKAGES}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(_DATA):
            if (path.parent / node.value).is_file():
                facts.files |= _with_includes(path.parent / node.value, root)
        elif isinstance(node, ast.BinOp) and id(node) not in inner and (place := _place(node)):
            project = ROOT if root == CODE else root  # a wheel carries firmware/ and boards/ elsewhere
            if place not in _GENERATED and (project / place).exists():
                facts.files.add((project / place).relative_to(root).as_posix())
        elif isinstance(node, ast.Attribute) and node.attr == "iter_modules" and path.name == "__init__.py":
            package = path.parent.relative_to(root).as_posix().replace("/", ".")
            facts.imports |= {(package, other.stem) for other in path.parent.glob("*.py")}
    return facts


def _file(module: str, root: Path) -> Path | None:
    path = root.joinpath(*module.split("."))
    for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


def _place(node: ast.expr) -> str:
    """``firmware/core/nn`` for ``FIRMWARE / "core" / "nn"``; nothing for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and isinstance(node.right, ast.Constant):
        left = _place(node.left)
        return f"{left}/{node.right.value!s}".removeprefix("./") if left else ""
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return {"FIRMWARE": "firmware", "ROOT": "."}.get(name, "")


def _with_includes(path: Path, root: Path) -> set[str]:
    """The C file and what it includes from its own folder."""
    found: set[str] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        name = file.relative_to(root).as_posix()
        if name in found:
            continue
        found.add(name)
        text = file.read_text(encoding="utf-8") if file.suffix in (".c", ".h") else ""
        todo += [file.parent / other for other in _INCLUDE.findall(text) if (file.parent / other).is_file()]
    return found
