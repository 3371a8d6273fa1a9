"""Classes of libraries that are named where they are imported and not used before something is drawn with them."""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from typing import Any

# What typer's module for help imports at its top, although it draws with neither in our application: Markdown only
# where help is written in it, tracebacks only of errors that are typer's to show. They bring markdown-it and Pygments,
# a quarter of the time of `kws --help`.
UNUSED_BY_HELP = {"rich.markdown": "Markdown", "rich.traceback": "Traceback"}


class _Deferred(type):
    """A class in whose place ``module``'s own of the same name answers: to a call, and for each attribute."""

    module: str

    def real(cls) -> Any:
        return getattr(importlib.import_module(cls.module), cls.__name__)

    def __call__(cls, *arguments: Any, **settings: Any) -> Any:
        return cls.real()(*arguments, **settings)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):  # what Python looks for in any class, such as one in an annotation
            raise AttributeError(name)
        return getattr(cls.real(), name)


@contextlib.contextmanager
def classes(of: dict[str, str]) -> Iterator[None]:
    """``from module import class`` of these, in here, gives a class that imports its module when it is first used.

    Args:
        of: module to class. A module that is imported already stays as it is.
    """
    put = {}
    for module, name in of.items():
        if module not in sys.modules:
            put[module] = types.ModuleType(module)
            setattr(put[module], name, _Deferred(name, (), {"module": module}))
    sys.modules.update(put)
    try:
        yield
    finally:
        for module in put:
            del sys.modules[module]
