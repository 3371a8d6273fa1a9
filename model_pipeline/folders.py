"""Folders that steps make: whole or absent, and never in the place of what a user keeps.

A folder that a step made carries a mark, a file that says which kind of step made which files. One that is there
already is replaced only where the mark says that this kind of step made it and nothing else lies in it; everything
else is somebody's work and is refused before anything is written.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from glob import escape
from pathlib import Path

from model_pipeline.errors import KwsError
from model_pipeline.files import disk_error, fsync_path, read_json, sync_tree, write_json
from model_pipeline.parts import is_part, left_behind, part_name, sweep

MARK = ".kws-made.json"
_FORMAT = 1
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini"}  # made by file managers, never by a user
_NAMED = 3  # foreign files in a message


@contextlib.contextmanager
def atomic_dir(
    target: Path, kind: str, *, sources: Iterable[Path | str] = (), ours: Callable[[Path], bool] | None = None
) -> Iterator[Path]:
    """Gives a temporary folder beside ``target`` that takes its place when the block ends without an error, in one
    call of the system where it has one; the old folder stays until then. Both are on the disk when this returns.

    Args:
        kind: which command makes it, as in "kws data import"; the mark says so.
        sources: what the step reads. None of it may lie in ``target``, nor ``target`` in it.
        ours: whether an unmarked folder was made by this kind of step all the same, as one from before there were
            marks.

    Raises:
        KwsError: ``target`` holds what this kind of step did not make, or overlaps a source (both before the block),
            the disk is full, or it can't be written.
    """
    check_replaceable(target, kind, sources=sources, ours=ours)
    shown, target = Path(target), real_path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _restore(target)
        sweep(target)
        temporary = target.parent / part_name(target.name, ".part")
        temporary.mkdir()
    except OSError as error:
        raise disk_error(error, shown) from error
    try:
        yield temporary
        finish_dir(temporary, shown, kind, ours=ours)
    except OSError as error:
        raise disk_error(error, shown) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish_dir(stage: Path, target: Path, kind: str, *, ours: Callable[[Path], bool] | None = None) -> None:
    """Marks folder ``stage``, which lies beside ``target``, and puts it there; what was there then is gone.

    Raises:
        KwsError: ``target`` holds what this kind of step did not make, or it can't be written.
    """
    shown, target = Path(target), real_path(target)
    check_replaceable(shown, kind, ours=ours)  # what was right an hour ago may not be now
    try:
        write_mark(stage, {kind: _made(stage)})
        sync_tree(stage)
        _replace(stage, target)
    except OSError as error:
        raise disk_error(error, shown) from error
    shutil.rmtree(stage, ignore_errors=True)


@contextlib.contextmanager
def updated_dir(target: Path) -> Iterator[Path]:
    """Gives a copy of folder ``target``, with all that a user keeps there, that takes its place when the block ends
    without an error. What the block adds is marked as made by those who made the folder.

    Raises:
        KwsError: the disk is full, or it can't be written.
    """
    shown, target = Path(target), real_path(target)
    made = read_mark(target)
    old = set(_made(target))
    try:
        sweep(target)
        temporary = target.parent / part_name(target.name, ".part")
        shutil.copytree(target, temporary, symlinks=True)
    except OSError as error:
        raise disk_error(error, shown) from error
    try:
        yield temporary
        if made:
            added = set(_made(temporary)) - old
            write_mark(temporary, {kind: sorted({*names, *added}) for kind, names in made.items()})
        sync_tree(temporary)
        _replace(temporary, target)
    except OSError as error:
        raise disk_error(error, shown) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_replaceable(
    target: Path, kind: str, *, sources: Iterable[Path | str] = (), ours: Callable[[Path], bool] | None = None
) -> None:
    """What `atomic_dir` asks before its block, for steps that take long until then.

    Raises:
        KwsError: ``target`` holds what this kind of step did not make, or overlaps a source.
    """
    refuse_overlap(target, sources)
    shown, target = Path(target), real_path(target)
    if not target.exists():
        return
    if _ancestors(target)[0] in _ancestors(Path()):
        raise KwsError(
            f"{shown} is the folder that you are in, or holds it, and would be replaced",
            hint="give another --out, or call from another folder",
        )
    if not target.is_dir():
        raise KwsError(f"{shown} is a file", hint="give --out a folder")
    if not any(p.name not in _LITTER for p in target.iterdir()):
        return
    made = read_mark(target)
    if (not made or set(made) == {kind}) and ours and ours(target):
        return
    if set(made) != {kind}:
        there = _listed(sorted(p.name for p in target.iterdir()))
        by = f"was made by {', '.join(made)}, not by {kind}," if made else f"({there}) was not made by {kind}"
        raise KwsError(f"{shown} {by} and is not replaced", hint="give another --out, or remove it yourself")
    if others := foreign_files(target):
        raise KwsError(
            f"{shown} holds {_listed(others)}, which {kind} did not make, and is not replaced",
            hint="move it elsewhere, or give another --out",
        )


def claim_dir(
    folder: Path,
    kind: str,
    names: Sequence[str],
    *,
    sources: Iterable[Path | str] = (),
    ours: Callable[[Path], bool] | None = None,
) -> None:
    """Makes ``folder`` for a step that writes ``names`` into it and goes on from them; other files there stay.

    Args:
        names: patterns as of fnmatch; ``name/**`` is a folder with all that is in it.
        sources: what the step reads: ``folder`` may not lie in it.
        ours: as of `atomic_dir`.

    Raises:
        KwsError: something that this kind of step did not make has one of these names, or it can't be written.
    """
    check_claim(folder, kind, names, sources=sources, ours=ours)
    made = read_mark(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {**made, kind: sorted({*made.get(kind, ()), *names})}
        if wanted != made:
            write_mark(folder, wanted)
    except OSError as error:
        raise disk_error(error, folder) from error


def check_claim(
    folder: Path,
    kind: str,
    names: Sequence[str],
    *,
    sources: Iterable[Path | str] = (),
    ours: Callable[[Path], bool] | None = None,
) -> None:
    """What `claim_dir` asks; nothing is written.

    Raises:
        KwsError: something that this kind of step did not make has one of these names.
    """
    refuse_overlap(folder, sources, inside=False)
    made = read_mark(folder)
    if folder.exists() and not folder.is_dir():
        raise KwsError(f"{folder} is a file", hint="give --out a folder")
    if folder.is_dir() and not (ours and ours(folder)):
        before = made.get(kind, ())
        there = [(p.name, p.is_dir()) for p in sorted(folder.iterdir())]
        taken = [name for name, is_dir in there if _covered(name, names, is_dir) and not _covered(name, before, is_dir)]
        if taken:
            raise KwsError(
                f"{folder} holds {_listed(taken)}, which {kind} did not make and would overwrite",
                hint="give --out another folder",
            )


def refuse_overlap(out: Path, sources: Iterable[Path | str], *, inside: bool = True) -> None:
    """
    Raises:
        KwsError: one of ``sources`` (but for URLs and empty ones) is ``out``, holds it, or (``inside``) lies in it.
    """
    mine = _ancestors(out)
    for source in sources:
        if not str(source) or "://" in str(source):
            continue
        other = _ancestors(Path(source))
        if mine[0] == other[0]:
            raise KwsError(f"{out} is what is read ({source})", hint="give another --out")
        if other[0] in mine:
            raise KwsError(f"{out} lies in the folder {source}, which is read", hint="give an --out outside of it")
        if inside and mine[0] in other:
            raise KwsError(f"{source}, which is read, lies in the folder {out}", hint="give an --out outside of it")


def foreign_files(folder: Path, made: Collection[str] | None = None) -> list[str]:
    """Files of ``folder``, relative to it, that neither its mark nor ``made`` names. A folder that is none has none."""
    names = [*(made or ()), *(name for files in read_mark(folder).values() for name in files)]
    exact, patterns = set(names), [n for n in names if any(c in n for c in "*?[")]
    return [name for name in _files(folder) if escape(name) not in exact and not _covered(name, patterns)]


def read_mark(folder: Path) -> dict[str, list[str]]:
    """Which kinds of steps made which files of ``folder``; {} where there is no mark, or none that can be read."""
    try:
        value = read_json(folder / MARK)
    except (FileNotFoundError, KwsError):
        return {}
    made = value.get("made") if value.get("format") == _FORMAT else None
    if not isinstance(made, dict) or not all(_are_names(names) for names in made.values()):
        return {}
    return made


def write_mark(folder: Path, made: dict[str, list[str]]) -> None:
    """Says in ``folder`` which kinds of steps made which of its files."""
    write_json(folder / MARK, {"format": _FORMAT, "made": {kind: sorted(names) for kind, names in made.items()}})


def real_path(target: Path) -> Path:
    """Where ``target`` is without links: a link to a folder stays one, and what it points to is replaced."""
    return Path(os.path.realpath(target))


def remove_made(path: Path, made: Collection[str] | None = None) -> None:
    """Removes a file, or a folder with all that its mark and ``made`` name.

    Raises:
        KwsError: something else lies in the folder (then nothing is removed), or it can't be removed.
    """
    if path.is_dir() and not path.is_symlink() and (others := foreign_files(path, made)):
        raise KwsError(
            f"{path} holds {_listed(others)}, which no step made; it would be removed", hint="move it elsewhere"
        )
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise KwsError(f"can't remove the old {path}: {error.strerror}") from error


def _replace(temporary: Path, target: Path) -> None:
    """``temporary`` takes the place of ``target``; ``temporary`` may be what was there then."""
    if not target.exists():
        os.rename(temporary, target)
    elif not _exchange(temporary, target):
        # No call does both. What is kept beside it meanwhile comes back at the next call after a kill in between.
        old = target.parent / part_name(target.name, ".old")
        os.rename(target, old)
        try:
            os.rename(temporary, target)
        except OSError:
            os.rename(old, target)
            raise
        shutil.rmtree(old, ignore_errors=True)
    fsync_path(target.parent)


def _restore(target: Path) -> None:
    """What a kill between two renames left beside its place goes back to it."""
    if target.exists() or not target.parent.is_dir():
        return
    old = [p for p in left_behind(target) if p.suffix == ".old" and read_mark(p)]
    if old:
        os.rename(max(old, key=lambda p: p.stat().st_mtime), target)


def _exchange(one: Path, other: Path) -> bool:
    """Swaps two paths in one step; False where the system or the file system can't."""
    libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None
    a, b = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        call, arguments = getattr(libc, "renamex_np", None), (a, b, 2)  # RENAME_SWAP
    else:
        # AT_FDCWD = -100, RENAME_EXCHANGE = 2 (linux/fcntl.h, linux/fs.h)
        call, arguments = getattr(libc, "renameat2", None), (-100, a, -100, b, 2)  # type: ignore[assignment]
    return call is not None and call(*arguments) == 0


def _made(folder: Path) -> list[str]:
    """What the mark of a folder says of which all is ours."""
    return [escape(name) for name in _files(folder)]


def _files(folder: Path) -> list[str]:
    """All files and links below ``folder``, and its empty folders with ``/`` behind, but for our mark, litter, and
    parts of files that are not whole."""
    found = []
    for place, folders, files in os.walk(folder):
        relative = "" if Path(place) == folder else f"{Path(place).relative_to(folder).as_posix()}/"
        folders[:] = [name for name in folders if not is_part(name)]
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found += [
            relative + name
            for name in [*files, *links]
            if name not in _LITTER and not is_part(name) and relative + name != MARK
        ]
        found += [f"{relative}{name}/" for name in folders if name not in links and _is_empty(place, name)]
    return sorted(found)


def _is_empty(place: str, name: str) -> bool:
    with os.scandir(os.path.join(place, name)) as entries:
        return next(entries, None) is None


def _covered(name: str, patterns: Iterable[str], is_folder: bool = False) -> bool:
    whole = (f"{name}/" if is_folder else name).split("/")
    for pattern in patterns:
        if pattern.endswith("/**"):
            head = pattern.count("/")
            if len(whole) > head and fnmatchcase("/".join(whole[:head]), pattern[:-3]):
                return True
        elif pattern == "**" or (fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")):
            return True
    return False


def _ancestors(path: Path) -> list[tuple[int, int] | str]:
    """What is the same for two paths to one place, for ``path`` and each folder above it (a case-insensitive file
    system and links included)."""
    real = real_path(path)
    keys: list[tuple[int, int] | str] = []
    for place in (real, *real.parents):
        try:
            status = place.stat()
            keys.append((status.st_dev, status.st_ino))
        except OSError:
            keys.append(str(place))
    return keys


def _are_names(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
