"""Kills at random moments: what is killed is begun again, and what comes out at last is as if nothing ever had been.

    python -m tests.fuzz.kills train --kills 100

``steps``: a run of four quick steps (a real import, one that resumes, one that makes a folder whole, a report).
``train``, ``quantize``, ``run``: the commands themselves, through their command lines, on words of a second or two.

Half of the kills come at a random moment of the processor time that an undisturbed call takes, half right before one of
its calls to the file system, drawn from all of them. A third of the kills hit ``kws`` alone, the others whatever it
started too, as when the power goes. Then the same call is made again in the same folder, and may be killed again
(``--ends``: how often it is not); where one comes to its end, all that is in the folder is compared with what
undisturbed calls made, and a new folder is begun. After each kill all that has its final name must be whole. What is
wrong is printed at once, and kept beside what undisturbed calls made (``--keep``).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import Any

_SUBREAPER = 36  # prctl(2): orphans become ours, so that none is left behind
_ENDS = 0.2  # of the calls after a kill are left alone; the others may be killed again
_POLL_S = 0.02
_TICK = os.sysconf("SC_CLK_TCK")
_ORPHANS_S = 60  # that what was started may go on after kws was killed, on a busy machine
_LONGEST_S = 1800  # of one call
_EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}


@dataclass(frozen=True)
class Target:
    """What is killed. ``work(folder)`` is called in a process of its own; ``check`` tells what came out, by parts."""

    work: Callable[[Path], None]
    check: Callable[[Path], dict[str, str]]
    whole: Callable[[Path], list[str]] = lambda folder: []  # what is broken in it


@dataclass
class KillsOutcome:
    """How many kills hit, how many calls came to their end, and what was wrong."""

    killed: int = 0
    by_time: int = 0
    alone: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)


def kills(
    target: Target,
    count: int,
    seed: int = 1,
    *,
    ends: float = _ENDS,
    say: bool = False,
    work: Path | None = None,
    keep: Path | None = None,
) -> KillsOutcome:
    """Kills ``count`` times; see above. With ``keep``, a folder that came out wrong is moved there.

    Raises:
        RuntimeError: undisturbed calls fail, or differ.
    """
    chance, outcome = random.Random(seed), KillsOutcome()

    def judge(wrong: list[str]) -> None:
        outcome.wrong += wrong
        for line in wrong if say else ():
            print(f"WRONG after {outcome.killed} kills: {line}", flush=True)
        if wrong and keep and folder.exists():
            shutil.copytree(folder, keep / f"wrong-{outcome.killed}", symlinks=True, dirs_exist_ok=True)

    with _folder(work) as place, _orphans():
        folder = place / "killed"
        wanted, seconds, calls = _undisturbed(target, folder, keep)
        if say:
            print(f"undisturbed: {seconds:.1f} s of processor time, {calls} calls to the file system", flush=True)
        history: list[str] = []
        while outcome.killed < count:
            if history and chance.random() < ends:
                call = _Call(target.work, folder, 0, False)
                outcome.ended += 1
                judge(_compared(wanted, folder, target, call, call.end(None), history))
                shutil.rmtree(folder, ignore_errors=True)
                history = []
            by_time, alone = chance.random() < 0.5, chance.random() < 1 / 3
            at = chance.uniform(0, seconds) if by_time else 1 + chance.randrange(calls)
            history.append(f"{'after' if by_time else 'call'} {at:.4g}{' alone' if alone else ''}")
            call = _Call(target.work, folder, 0 if by_time else int(at), alone)
            code = call.end(at if by_time else None)
            if code == -signal.SIGKILL:
                outcome.killed += 1
                outcome.by_time += by_time
                outcome.alone += alone
                judge([f"{broken}, after kills {history}" for broken in target.whole(folder)])
                if say and not outcome.killed % 10:
                    print(f"{outcome.killed} kills, {outcome.ended} ended, {len(outcome.wrong)} wrong", flush=True)
            else:
                outcome.ended += 1
                if not _reap(_ORPHANS_S):
                    judge([f"a process goes on {_ORPHANS_S} s after kws was killed, after kills {history}"])
                judge(_compared(wanted, folder, target, call, code, history))
                shutil.rmtree(folder, ignore_errors=True)
                history = []
        call = _Call(target.work, folder, 0, False)
        judge(_compared(wanted, folder, target, call, call.end(None), history))
        outcome.ended += 1
    return outcome


def _undisturbed(target: Target, folder: Path, keep: Path | None) -> tuple[dict[str, str], float, int]:
    """What comes out, the processor time, and the calls to the file system: of two calls, which must be equal."""
    found: list[dict[str, str]] = []
    for _ in range(2):
        call = _Call(target.work, folder, 0, False)
        if (code := call.end(None)) != 0:
            raise RuntimeError(f"an undisturbed call ended with {code}: {call.said}")
        found.append(target.check(folder))
        if keep:
            shutil.copytree(folder, keep / "undisturbed", symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(folder)
    if differ := _differences(*found):
        raise RuntimeError(f"undisturbed calls differ in {differ}")
    return found[0], call.seconds, call.calls


def _compared(
    wanted: dict[str, str], folder: Path, target: Target, call: _Call, code: int, history: list[str]
) -> list[str]:
    try:
        found = target.check(folder) if not code else {"exit code": f"{code}: {call.said}"}
    except (OSError, ValueError, KeyError) as error:
        found = {"check": f"{type(error).__name__}: {error}"}
    differ = _differences(wanted, found) if not code else found["exit code"]
    return [f"{differ}, after kills {history}"] if differ else []


def _differences(one: dict[str, str], other: dict[str, str]) -> str:
    parts = [part for part in sorted(one.keys() | other.keys()) if one.get(part) != other.get(part)]
    return "; ".join(f"{part}: {_where(one.get(part), other.get(part))}" for part in parts)[:2000]


def _where(one: str | None, other: str | None) -> str:
    """The first place where two texts differ: by lines, or by characters of a long line."""
    if one is None or other is None:
        return f"{(one or 'missing')[:80]!r} was, {(other or 'missing')[:80]!r} is"
    lines, others = one.split("\n"), other.split("\n")
    if len(lines) > 1 or len(others) > 1:
        gone, new = sorted(set(lines) - set(others)), sorted(set(others) - set(lines))
        return f"gone {gone[:8]}, new {new[:8]}"
    at = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin = max(0, at - 40)
    return f"at {at} {one[begin : at + 40]!r} was, {other[begin : at + 40]!r} is"


class _Call:
    """One call in a process of its own, that is killed before its ``at``-th call to the file system (0: not so)."""

    def __init__(self, work: Callable[[Path], None], folder: Path, at: int, alone: bool) -> None:
        self.alone = alone
        self.seconds = 0.0
        self._calls, self._told = RawValue("l", 0), RawValue("i", 0)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (of this call; closed with it)
        self.process = os.fork()
        if self.process:
            return
        code = 1
        try:
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(self._log.fileno(), 1)
            os.dup2(self._log.fileno(), 2)
            _count(str(folder), self._calls, self._told, at)
            work(folder)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    @property
    def calls(self) -> int:
        return int(self._calls.value)

    @property
    def said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-600:]

    def end(self, after: float | None) -> int:
        """Waits for the end, kills after that many seconds of processor time, and gives the exit code (-9: killed)."""
        began = time.monotonic()
        while True:
            ended = os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            self.seconds = max(self.seconds, _processor_time(self.process))
            if ended is not None:
                break
            if self._told.value or (after is not None and self.seconds >= after):
                self._kill()
                break
            if time.monotonic() - began > _LONGEST_S:
                self._kill()
                raise RuntimeError(f"no end within {_LONGEST_S} s: {self.said}")
            time.sleep(_POLL_S)
        code = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if not self.alone:
            _reap()
        return code

    def _kill(self) -> None:
        """All at once: first stopped, so that none sees another's end."""
        group = [self.process] if self.alone else [self.process, *_below(self.process)]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in group:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)


def _count(folder: str, calls: Any, told: Any, at: int) -> None:
    """Counts this process's calls to the file system below ``folder`` (and those of processes that it forks), and waits
    for its end before number ``at``."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in _EVENTS:
            path = arguments[0]
        elif event == "ctypes.call_function":  # renameat2, syncfs
            path = folder
        else:
            return
        if isinstance(path, bytes | os.PathLike):
            path = os.fsdecode(path)
        if isinstance(path, str) and (folder in path or not path.startswith("/")):
            calls.value += 1
            if at and calls.value == at:
                told.value = 1
                while True:  # until the other process kills
                    time.sleep(1)

    sys.addaudithook(hook)


def _below(process: int) -> list[int]:
    """All processes that ``process`` started, and theirs."""
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_below(child)]
    return found


def _processor_time(process: int) -> float:
    """Seconds of ``process`` and all that it started."""
    total = 0
    for one in [process, *_below(process)]:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{one}/stat").read_text(errors="replace").rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # proc(5): utime, stime, cutime, cstime
    return total / _TICK


def _reap(patience: float = 0) -> bool:
    """Waits this long for orphans that became ours, then kills them; False if any had to be."""
    until, patient = time.monotonic() + patience, True
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return patient
        if time.monotonic() >= until:
            patient = False
            for process in _below(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _orphans() -> Iterator[None]:
    prctl = ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _reap()
        prctl(_SUBREAPER, 0, 0, 0, 0)


@contextlib.contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given:
        given.mkdir(parents=True, exist_ok=True)
        yield given
    else:
        with tempfile.TemporaryDirectory(prefix="kws-kills-") as name:
            yield Path(name)


def main() -> None:
    """The command line."""
    from tests.fuzz import kill_targets

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=kill_targets.KINDS)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ends", type=float, default=_ENDS, help="of the calls after a kill, how many are left alone")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where what is wrong is kept")
    a = parser.parse_args()
    began = time.monotonic()
    with kill_targets.target(a.kind) as target:
        outcome = kills(target, a.kills, a.seed, ends=a.ends, say=True, keep=a.keep)
    print(
        f"{a.kind}: {outcome.killed} kills ({outcome.by_time} at a random moment, {outcome.killed - outcome.by_time} "
        f"before a call to the file system; {outcome.alone} of kws alone), {outcome.ended} calls came to their end, "
        f"{len(outcome.wrong)} wrong, {time.monotonic() - began:.0f} s"
    )
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
