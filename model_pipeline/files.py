"""Files that are either whole or absent: everything is written beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from model_pipeline.errors import KwsError


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``target``; it replaces ``target`` when the block ends without an error,
    and is removed otherwise (Ctrl-C included).

    Raises:
        KwsError: the disk is full or the folder can't be written.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise _disk_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_dir(target: Path) -> Iterator[Path]:
    """As `atomic_path`, for a folder: the old one stays until the new one is whole."""
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
    except OSError as error:
        raise _disk_error(error, target) from error
    try:
        temporary.chmod(0o755)
        yield temporary
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
            os.replace(target, old / "old")
            os.replace(temporary, target)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(temporary, target)
    except OSError as error:
        raise _disk_error(error, target) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, data: bytes) -> None:
    """Writes ``data`` whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_json(target: Path, value: Any) -> None:
    """Writes ``value`` as indented JSON, whole or not at all."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def sha256_file(path: Path) -> str:
    """The file's SHA-256 as 64 hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_tree(paths: Iterable[Path], root: Path) -> str:
    """One hash over names (relative to ``root``) and contents of files; folders are walked."""
    digest = hashlib.sha256()
    files: set[Path] = set()
    for path in paths:
        if path.is_dir():
            files.update(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        else:
            files.add(path)
    for path in sorted(files):
        digest.update(f"{path.relative_to(root)}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


@functools.cache
def kernels_hash(firmware: Path) -> str:
    """16 hex digits over the kernels of the folder ``firmware``. A plan that was compiled for others could compute
    something else."""
    return sha256_tree([firmware / "core" / "nn"], firmware)[:16]


def _disk_error(error: OSError, target: Path) -> KwsError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return KwsError(f"the disk is full: {target} was not written", hint="free some space and run again")
    return KwsError(f"can't write {target}: {error.strerror or error}")
