"""Parts: what is written beside its place, under a name that tells who works on it; and what killed calls left."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import os
import platform
import re
import shutil
import time
from pathlib import Path

_NAME_BYTES = 100  # of a name, in that of its part: file systems take 255
_ENDING_CHARACTERS = 20
_COUNT = itertools.count()
_STALE_S = 86400  # a part whose maker can't be asked is left behind after so long
# What `part_name` puts behind a name; and what older versions put there, which does not tell who works on it.
_PART = re.compile(
    r"(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<started>\d+)\.[0-9a-f]+\.(part|old)(\..*)?"
    r"|[a-z0-9_]{8}\.(part|old)|\d+\.\d+\.part(\..*)?"
)
_ANY_PART = re.compile(r"\.([0-9a-f]{8}-\d+-\d+\.[0-9a-f]+\.(part|old)|\d+\.\d+\.part)(\.[^.]*)?$")


def part_name(name: str, ending: str) -> str:
    """A name for what is not yet (or no longer) ``name``, which tells who works on it."""
    return f".{_short(name)}.{_owner()}.{next(_COUNT):x}{ending[:_ENDING_CHARACTERS]}"


def is_part(name: str) -> bool:
    """Whether ``name`` is what `part_name` gives."""
    return name.startswith(".") and _ANY_PART.search(name) is not None


def left_behind(target: Path) -> list[Path]:
    """Parts of ``target``, new and old, of calls that were killed."""
    name = _short(target.name)
    left = []
    try:
        with os.scandir(target.parent) as entries:
            for entry in entries:
                mine = entry.name.startswith(f".{name}.")
                found = _PART.fullmatch(entry.name[len(name) + 2 :]) if mine else None
                if found and _is_stale(found, entry):
                    left.append(Path(entry.path))
    except OSError:  # whoever writes there will say why
        pass
    return left


def sweep(target: Path) -> None:
    """Removes what calls left behind of ``target`` that were killed."""
    for path in left_behind(target):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                path.unlink()


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_NAME_BYTES])


@functools.cache
def _machine() -> str:
    """8 hex digits for the system whose process numbers ours belong to: others may write the same folder."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii"))
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]


def _owner() -> str:
    return f"{_machine()}-{os.getpid()}-{_started(os.getpid())}"


def _started(process: int) -> int:
    """When ``process`` began, in the system's ticks; 0 where that is not told, -1 if there is no such process."""
    try:
        # proc(5): the 22nd value; the second is a name in parentheses that may hold anything.
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[19])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return -1
    except (OSError, ValueError, IndexError):
        return 0
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return -1
    except OSError:
        pass
    return 0


def _is_stale(found: re.Match[str], entry: os.DirEntry[str]) -> bool:
    if found["machine"] == _machine():
        return _started(int(found["process"])) != int(found["started"])
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _STALE_S
    except OSError:
        return False
