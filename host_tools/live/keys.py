"""Single keys of the terminal, without waiting for any."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator

_NAMES = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}
_NAMES |= {key.replace("[", "O"): name for key, name in _NAMES.items()}  # of terminals in application mode


@contextlib.contextmanager
def keys() -> Iterator[Callable[[], list[str]]]:
    """A function that gives the keys pressed since it was last asked: characters, or up, down, left, right. Never any
    where standard input is not a terminal. Ctrl-C stays what it is."""
    if not sys.stdin.isatty() or sys.platform == "win32":
        yield list
        return
    import termios
    import tty

    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle, termios.TCSADRAIN)
        yield lambda: split(os.read(handle, 64).decode("utf-8", "replace")) if _waits(handle) else []
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _waits(handle: int) -> bool:
    return bool(select.select([handle], [], [], 0)[0])


def split(text: str) -> list[str]:
    """What a terminal sent, as keys; sequences that are none of ours are left out whole."""
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "\x1b":
            end = at + 2
            while end < len(text) and not ("@" <= text[end] <= "~"):
                end += 1
            name = _NAMES.get(text[at : end + 1])
            found += [name] if name else []
            at = end + 1
        else:
            found.append(text[at])
            at += 1
    return found
