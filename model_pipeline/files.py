"""Files that are either whole or absent: everything is written beside its place and renamed into it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import json
import math
import os
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from model_pipeline.errors import KwsError
from model_pipeline.parts import part_name, sweep
from model_pipeline.pipes import check_regular, read_upto
from model_pipeline.progress import ProgressCallback
from model_pipeline.text import shown

_SYNC_EACH = 64  # files; more are brought to the disk by one call
_PATIENCE_S = 60.0  # with what a call that was killed left at work
_POLL_S = 0.05
_LEVELS = 100  # of JSON; nothing of ours has a tenth


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Gives a temporary path beside ``target``; it replaces ``target`` when the block ends without an error, is on the
    disk then, and is removed otherwise (Ctrl-C included).

    Raises:
        KwsError: the disk is full, the file can't be written, or a folder, a pipe or a device is there.
    """
    target = Path(target)
    temporary = target.with_name(part_name(target.name, f".part{target.suffix}"))
    try:
        check_regular(target)  # /dev/null is not to be replaced, whoever may
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target)
        yield temporary
        fsync_path(temporary)
        os.replace(temporary, target)
        fsync_path(target.parent)
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        temporary.unlink(missing_ok=True)


def sync_tree(folder: Path) -> None:
    """Brings a folder with all its files to the disk."""
    files = [Path(place) / name for place, _, names in os.walk(folder) for name in names]
    if len(files) > _SYNC_EACH and _sync_file_system(folder):
        return
    for file in files:
        if not file.is_symlink():
            fsync_path(file)
    for place, _, _ in os.walk(folder):
        fsync_path(Path(place))


def fsync_path(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk; what can't be opened so is left to the system."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe is not waited for
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
    finally:
        os.close(handle)


def write_text(target: Path, text: str) -> None:
    """Writes ``text`` (UTF-8) whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(target: Path, data: bytes) -> None:
    """Writes ``data`` whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_json(target: Path, value: object) -> None:
    """Writes ``value`` as indented JSON, whole or not at all."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_bytes(path: Path, most: int = 256 << 20, hint: str = "") -> bytes:
    """All of a file from outside, such as a model, which has at most ``most`` bytes.

    Raises:
        KwsError: it can't be read, or is longer.
    """
    try:
        data = read_upto(path, most + 1)
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        raise KwsError(f"can't read {path}: {getattr(error, 'strerror', None) or error}", hint=hint) from error
    if len(data) > most:
        raise KwsError(f"{path} has more than {most:,} bytes", hint=hint)
    return data


def read_text(path: Path, most: int = 64 << 20, hint: str = "", errors: str = "strict") -> str:
    """All of a text from outside (UTF-8, with or without a byte order mark), of at most ``most`` bytes.

    Args:
        errors: as of `bytes.decode`.

    Raises:
        KwsError: it can't be read, is longer, or is not a text of that encoding.
    """
    try:
        return read_bytes(path, most, hint).decode("utf-8-sig", errors)
    except UnicodeError as error:
        raise KwsError(f"can't read {path}: it is not text in UTF-8", hint=hint) from error


def read_json(path: Path, hint: str = "", most: int = 64 << 20) -> dict[str, Any]:
    """The JSON object in ``path``, of which nothing is known yet but that it is one.

    Args:
        hint: what makes the file anew.
        most: bytes that such a file may have.

    Raises:
        FileNotFoundError: there is none.
        KwsError: it can't be read, is not JSON, too deep or too long, or does not hold an object.
    """
    path = Path(path)
    try:
        data = read_upto(path, most + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:  # a name with a NUL is a ValueError
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise KwsError(f"{path} is broken: {text}", hint=hint) from error
    return parse_json(data, path, hint, most)


def parse_json(data: bytes, what: object, hint: str = "", most: int = 64 << 20) -> dict[str, Any]:
    """The JSON object in ``data``, as `read_json` takes it.

    Args:
        what: where it comes from, for the message.

    Raises:
        KwsError: it is not JSON, too deep or too long, or does not hold an object.
    """
    try:
        if len(data) > most:
            raise ValueError(f"more than {most:,} bytes")
        value = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number, parse_float=_finite)
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        _check_levels(value)
        if b"\\u" in data:  # half a character can be written so, and then not be printed or sent
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise KwsError(f"{what} is broken: nested too deeply", hint=hint) from error
    except UnicodeError as error:
        raise KwsError(f"{what} is broken: it is not text in UTF-8", hint=hint) from error
    except ValueError as error:
        raise KwsError(f"{what} is broken: {error}", hint=hint) from error
    return value


_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


@contextlib.contextmanager
def damaged(what: object, hint: str = "", also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """For the reading of a file of ours that somebody may have changed: a key that is missing, or a value of another
    kind, is one line.

    Args:
        also: other errors that then come.

    Raises:
        KwsError: that line.
    """
    try:
        yield
    except KwsError:
        raise
    except tuple(_DAMAGE + also) as error:
        text = f"lacks {error.args[0]!r}" if isinstance(error, KeyError) and error.args else f"is damaged: {error}"
        raise KwsError(f"{what} {' '.join(text.split())[:500]}", hint=hint) from error


def check_archive(source: Path | IO[bytes], most: int) -> set[str]:
    """The names in a zip archive (``.keras``, ``.npz``) that unpacks to ``most`` bytes at the most.

    Raises:
        ValueError: it is larger, or a name is there twice, leaves the folder or is encrypted.
        OSError, zipfile.BadZipFile: it can't be read, or is none.
    """
    if isinstance(source, Path):
        check_regular(source)
    with zipfile.ZipFile(source) as archive:
        entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise ValueError("a name is there twice")
    for entry in entries:
        name = entry.filename
        if name.startswith("/") or "\\" in name or ":" in name or ".." in name.split("/") or entry.flag_bits & 1:
            raise ValueError(f"{name!r} is not the name of a part")
    if (size := sum(entry.file_size for entry in entries)) > most:
        raise ValueError(f"it unpacks to {size:,} bytes (at most {most:,})")
    return names


def _check_levels(value: Any) -> None:
    """What Python's reader takes, pydantic's writer need not: it gives up at 255 levels."""
    inner = [value]
    for _ in range(_LEVELS):
        inner = [
            below
            for one in inner
            for below in (one.values() if isinstance(one, dict) else one)
            if isinstance(below, dict | list)
        ]
        if not inner:
            return
    raise RecursionError


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):  # 1e999 is not infinite, but beyond what we count with
        raise ValueError(f"{text[:20]} is beyond the numbers of JSON")
    return value


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number of JSON")


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


KERNELS_HEADER = "kws_nn_kernels.h"


@functools.cache
def kernels_hash(firmware: Path) -> str:
    """16 hex digits over the kernels of the folder ``firmware``. A plan that was compiled for others could compute
    something else."""
    files = [path for path in (firmware / "core" / "nn").rglob("*") if path.is_file() and path.name != KERNELS_HEADER]
    return sha256_tree(files, firmware)[:16]


def kernels_header(firmware: Path) -> str:
    """The header by which the C compiler sees that a plan was compiled for the kernels beside it."""
    lines = (
        "/* Generated by kws export; do not edit. A plan is refused by the C compiler where this is not its own. */",
        "#ifndef KWS_NN_KERNELS_H",
        "#define KWS_NN_KERNELS_H",
        "",
        f"#define KWS_NN_KERNELS 0x{kernels_hash(firmware)}ull",
        "",
        "#endif",
    )
    return "\n".join(lines) + "\n"


def stamp_kernels(firmware: Path) -> None:
    """Writes `kernels_header` into the kernels' folder, if it is not there already."""
    path, text = firmware / "core" / "nn" / KERNELS_HEADER, kernels_header(firmware)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def disk_error(error: OSError, target: Path) -> KwsError:
    """The one line for what the system says of writing ``target``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return KwsError(f"the disk is full: {target} was not written", hint="free some space and run again")
    return KwsError(f"can't write {target}: {error.strerror or error}")


# What a file system, a folder or the computer itself refuses: not a fault of ours, however deep it comes up.
_NAMES = (
    *("EACCES", "EPERM", "EROFS", "ENAMETOOLONG", "ELOOP", "ENOTDIR", "EISDIR", "ENOSPC", "EDQUOT", "EIO"),
    *("EMFILE", "ENFILE", "ENOMEM", "EFBIG", "ESTALE"),
)
_SURROUNDINGS = {getattr(errno, name) for name in _NAMES if hasattr(errno, name)}


def of_surroundings(error: BaseException) -> KwsError | None:
    """The one line for an error that nobody caught and that is of the computer: a name that is too long, a folder that
    may not be looked into, no memory. None for anything else, which is a fault of ours."""
    if isinstance(error, MemoryError):
        return KwsError("there is not enough memory for that", hint="close other programs, or give it less at once")
    if isinstance(error, OSError) and error.errno in _SURROUNDINGS:
        where = f" ({shown(os.fsdecode(error.filename), 200)})" if isinstance(error.filename, str | bytes) else ""
        return KwsError(f"the system refuses it: {error.strerror or error}{where}")
    return None


def _sync_file_system(folder: Path) -> bool:
    """One call for many files (Linux); False where there is none."""
    call = getattr(ctypes.CDLL(None), "syncfs", None) if os.name == "posix" else None
    if call is None:
        return False
    handle = os.open(folder, os.O_RDONLY)
    try:
        return bool(call(handle) == 0)
    finally:
        os.close(handle)


@contextlib.contextmanager
def held(folder: Path, progress: ProgressCallback | None = None, patience: float = _PATIENCE_S) -> Iterator[int]:
    """Keeps others who hold ``folder`` out of it until the block is left, and waits for them first: what a killed call
    had started may end a moment later.

    Yields:
        The descriptor of the lock. It lasts until all who were given it (by ``pass_fds``) have closed it.

    Raises:
        KwsError: another one works there still, or there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        until = time.monotonic() + patience
        while not try_lock(handle):
            if time.monotonic() >= until:
                raise KwsError(f"another kws works in {folder}", hint="wait until it has ended, or give another --out")
            if progress:
                progress(0, 1, f"waiting for another kws in {folder}")
            time.sleep(_POLL_S)
        yield handle
    finally:
        os.close(handle)


def try_lock(stream: IO[Any] | int) -> bool:
    """Holds an open file or folder for this process until it is closed; False while another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows: one at a time is then up to the user
        return True
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
