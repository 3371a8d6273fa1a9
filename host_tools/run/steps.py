"""Steps that are run only when something they depend on has changed; all that a run makes lies in one folder.

A step's key is a hash of its settings, of the contents that earlier steps made for it, of the sources that do its work
and of the versions of its tools. ``state.json`` holds the key each step was last finished with, and a hash of what it
made, so that a result that was edited or lost is made again. It is written after every step: a run that is stopped
goes on where it was. What a run began to make it notes in the folder's mark (`model_pipeline.folders`): it removes
nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import escape
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, TextIO

from pydantic import BaseModel, ConfigDict, ValidationError

from host_tools.report.results import StepRow
from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.files import held, read_json, sha256_tree, try_lock, write_json, write_text
from model_pipeline.folders import (
    check_claim,
    claim_dir,
    foreign_files,
    read_mark,
    refuse_overlap,
    remove_made,
    write_mark,
)
from model_pipeline.native import CODE
from model_pipeline.pipes import check_regular
from model_pipeline.progress import ProgressCallback, silent

STATE = "state.json"
KIND = "kws run"
StepBar = Callable[["Step", bool], contextlib.AbstractContextManager[ProgressCallback]]


@dataclass(frozen=True)
class Step:
    """One step. ``run(progress)`` makes ``outputs`` and returns facts for the report."""

    name: str
    title: str
    outputs: tuple[str, ...]  # files and folders, relative to the run's folder
    run: Callable[[ProgressCallback], BaseModel | Mapping[str, Any] | None]
    inputs: tuple[str, ...] = ()  # names of the steps whose outputs are read
    settings: object = None  # what of the configuration matters, as JSON
    sources: tuple[str, ...] = ()  # files and folders, relative to the project
    tools: tuple[str, ...] = ()  # Python packages whose version matters
    resumes: bool = False  # goes on from its own unfinished outputs, if it was begun with the same key


@dataclass
class StepDone:
    """What became of a step."""

    name: str
    title: str
    seconds: float
    reused: bool
    detail: dict[str, Any] = field(default_factory=dict)

    def row(self) -> StepRow:
        """For results.json."""
        return StepRow(name=self.name, title=self.title, seconds=self.seconds, reused=self.reused)


class Finished(BaseModel):
    """A step as ``state.json`` has it once it was finished.

    Attributes:
        key: its own then; ``hash``: of what it made, ``stamp``: of the names, sizes and times of that.
        seconds: that it took; ``finished``: when, in UTC.
        detail: what it returned.
    """

    model_config = ConfigDict(strict=True)

    key: str
    hash: str
    stamp: str
    seconds: float
    finished: str = ""
    detail: dict[str, Any]


class State(BaseModel):
    """``state.json``: the steps that are finished, and the keys of those that were begun since, by their names."""

    model_config = ConfigDict(strict=True)

    format: Literal[1]
    steps: dict[str, Finished]
    begun: dict[str, str]


class Run:
    """A run's folder. Use as a context: only one process may work in it.

    Args:
        fresh: a broken or foreign state is replaced instead of refused.
    """

    def __init__(self, folder: Path, root: Path = CODE, *, fresh: bool = False) -> None:
        self.folder = Path(folder)
        self.root = root
        self.fresh = fresh
        self._lock: TextIO | None = None
        self._made: list[Path] = []  # by this run before it claimed anything
        self._before_marks = False  # a run of then, whose state alone told what it made
        self._state = State(format=1, steps={}, begun={})

    def __enter__(self) -> Run:
        self._made = [path for path in (self.folder / ".lock", self.folder) if not os.path.lexists(path)]
        self._lock = lock_folder(self.folder)
        try:
            self._state = self._load()
            self._before_marks = bool(self._state.steps or self._state.begun) and not read_mark(self.folder)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        """Gives the folder free. Where nothing was claimed in it, it is as it was: somebody else's, mostly."""
        if self._lock:
            for path in self._made:  # before the lock is given up: see `lock_folder`
                with contextlib.suppress(OSError):
                    path.rmdir() if path == self.folder else path.unlink()
            self._lock.close()

    def claim(self, *names: str) -> None:
        """Notes in the folder that this run makes ``names``.

        Raises:
            KwsError: one is there that it did not make.
        """
        claim_dir(self.folder, KIND, names, ours=lambda _: self._before_marks)
        self._made = []

    def check_ahead(
        self, steps: Sequence[Step], sources: Sequence[Path | str] = (), *, beside: Sequence[str] = ()
    ) -> None:
        """What else would stop the run only when the turn of a step comes.

        Args:
            sources: what is read that no step makes.
            beside: what the run itself is going to claim.

        Raises:
            KwsError: an output is there that this run did not make, or overlaps one of ``sources``.
        """
        names = [*_names(steps), *beside]
        check_claim(self.folder, KIND, names, sources=sources, ours=lambda _: self._before_marks)
        for name in names:
            refuse_overlap(self.folder / name, sources)

    def execute(
        self,
        steps: Sequence[Step],
        *,
        fresh: bool = False,
        bar: StepBar | None = None,
        outcomes: list[StepDone] | None = None,
    ) -> list[StepDone]:
        """Runs the steps in order, each only if its key or its outputs changed (or ``fresh``).

        Args:
            bar: ``bar(step, reused)`` is a context that gives the step's progress callback.
            outcomes: the list to fill and return, for a step that wants to know what was before it.
        """
        outcomes = [] if outcomes is None else outcomes
        hashes: dict[str, str] = {}
        for step in steps:
            key = self.key(step, hashes)
            known = self._state.steps.get(step.name)
            if not fresh and known and known.key == key and self._unchanged(step, known):
                with (bar or _silent)(step, True):
                    outcomes.append(StepDone(step.name, step.title, known.seconds, True, known.detail))
                if self._before_marks:
                    self.claim(*_names([step]))
                    self._note(step)
                hashes[step.name] = known.hash
                continue
            self._begin(step, key, fresh)
            started = time.monotonic()
            try:
                with (bar or _silent)(step, False) as progress:
                    found = step.run(progress)
            except BaseException:
                self._note(step)
                raise
            detail = found.model_dump(mode="json") if isinstance(found, BaseModel) else dict(found or {})
            seconds = round(time.monotonic() - started, 2)
            self._finish(step, key, seconds, detail)
            hashes[step.name] = self._state.steps[step.name].hash
            outcomes.append(StepDone(step.name, step.title, seconds, False, detail))
        return outcomes

    def key(self, step: Step, hashes: Mapping[str, str]) -> str:
        """The step's key. ``hashes``: of the outputs of earlier steps, by name."""
        missing = [source for source in step.sources if not (self.root / source).exists()]
        if missing:
            raise KwsError(f"the project lacks {', '.join(missing)}", hint="is the checkout whole?")
        parts = {
            "step": step.name,
            "settings": step.settings,
            "inputs": {name: hashes[name] for name in step.inputs},
            "sources": sha256_tree([self.root / source for source in step.sources], self.root),
            "tools": {tool: _version(tool) for tool in step.tools},
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()

    def forget(self, name: str) -> None:
        """Makes the next run do this step again."""
        if self._state.steps.pop(name, None):
            self._write()

    def _load(self) -> State:
        try:
            values = read_json(self.folder / STATE, hint="run again with --fresh")
        except FileNotFoundError:
            return self._state
        except KwsError:
            if self.fresh:
                return self._state
            raise
        try:
            return State.model_validate(values)
        except ValidationError:
            if self.fresh or isinstance(values.get("format"), int):
                return self._state  # of another version of kws: nothing in it can be relied on
        raise KwsError(f"{self.folder / STATE} is not a state of a run", hint="another folder by --out, or --fresh")

    def _write(self) -> None:
        write_json(self.folder / STATE, self._state.model_dump())

    def _begin(self, step: Step, key: str, fresh: bool) -> None:
        goes_on = step.resumes and not fresh and self._state.begun.get(step.name) == key
        self._state.steps.pop(step.name, None)
        self.claim(*_names([step]))
        if not goes_on:
            for output in step.outputs:
                noted = [n.removeprefix(f"{output}/") for n in self._noted() if n.startswith(f"{output}/")]
                if (self.folder / output).is_dir():
                    with held(self.folder / output):  # what a killed call had started in it has ended
                        pass
                remove_made(self.folder / output, ["**"] if self._before_marks else noted)
        self._state.begun[step.name] = key
        self._write()

    def _noted(self) -> list[str]:
        return read_mark(self.folder).get(KIND, [])

    def _note(self, step: Step) -> None:
        """Notes what the step has made and its folders do not say themselves, for it to be removed one day."""
        names = set(self._noted())
        for output in step.outputs:
            if (self.folder / output).is_dir():
                names = {name for name in names if not name.startswith(f"{output}/")}
                names |= {f"{output}/{escape(name)}" for name in foreign_files(self.folder / output)}
        write_mark(self.folder, {**read_mark(self.folder), KIND: sorted(names)})

    def _finish(self, step: Step, key: str, seconds: float, detail: dict[str, Any]) -> None:
        absent = [output for output in step.outputs if not (self.folder / output).exists()]
        if absent:
            raise RuntimeError(f"step {step.name} did not make {', '.join(absent)}")
        paths = [self.folder / output for output in step.outputs]
        self._note(step)
        self._state.begun.pop(step.name, None)
        self._state.steps[step.name] = Finished(
            key=key,
            hash=sha256_tree(paths, self.folder),
            stamp=_stamp(paths, self.folder),
            seconds=seconds,
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            detail=json.loads(json.dumps(detail, default=str)),
        )
        self._write()

    def _unchanged(self, step: Step, known: Finished) -> bool:
        paths = [self.folder / output for output in step.outputs]
        if not all(path.exists() for path in paths):
            return False
        # Names, sizes and times first: hashing a large data set at every run would be slow.
        stamp = _stamp(paths, self.folder)
        if stamp == known.stamp:
            return True
        if sha256_tree(paths, self.folder) != known.hash:
            return False
        known.stamp = stamp
        self._write()
        return True


def _names(steps: Sequence[Step]) -> list[str]:
    """What the steps make in the run's folder itself."""
    return sorted({output.partition("/")[0] for step in steps for output in step.outputs})


def lock_folder(folder: Path) -> TextIO:
    """Makes ``folder`` and keeps other processes out of it until the result is closed, at this one's end at the latest.

    Raises:
        KwsError: another process works in it, or it can't be written.
    """
    path = folder / ".lock"
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            check_regular(path)
            # Through a link, a file would be made out of the folder.
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            stream = os.fdopen(os.open(path, flags, 0o666), "r+")
            if not try_lock(stream):
                stream.close()
                raise KwsError(f"another kws run works in {folder}", hint="wait for it, or use another --out")
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(stream.fileno()), path.lstat()):
                    return stream
            stream.close()  # one who claimed nothing took it away in between
    except OSError as error:
        raise KwsError(f"can't write {folder}: {error.strerror}", hint="another folder by --out") from error


def folder_stamp(folder: Path) -> str:
    """A hash of names, sizes and times of all files in a folder, for folders that are not ours."""
    return _stamp([Path(folder)], Path(folder).parent)


def write_config(config: Config, path: Path) -> None:
    """The whole configuration as TOML, for child processes and as a record of the run."""
    values = config.model_dump(mode="json", exclude_none=True)  # TOML has no word for what is left to its default
    lines = [f"{key} = {toml_value(value)}" for key, value in values.items() if not isinstance(value, dict)]
    for section, content in values.items():
        if isinstance(content, dict):
            lines += ["", f"[{section}]"] + [f"{key} = {toml_value(value)}" for key, value in content.items()]
    text = "\n".join(lines) + "\n"
    # Left alone if equal, so that its time says when the configuration last changed.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def toml_key(key: str) -> str:
    """A key of TOML: in quotes where it has a space or an apostrophe, as a keyword may."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(toml_value(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{toml_key(key)} = {toml_value(v)}' for key, v in value.items())}}}"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=True)  # the two notations agree here
    if isinstance(value, int | float):
        return repr(value)
    raise TypeError(f"{type(value).__name__} has no TOML form here")


def _stamp(paths: Sequence[Path], root: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            status = file.stat()
            digest.update(f"{file.relative_to(root)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


@contextlib.contextmanager
def _silent(step: Step, reused: bool) -> Iterator[ProgressCallback]:
    yield silent
