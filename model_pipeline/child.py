"""Pipeline steps as child processes, so that no host tool ever holds TensorFlow.

`python -m model_pipeline.train --config … --data … --out … --progress` prints one JSON object a line on stdout:
``{"progress": [done, total, text]}`` as it goes, and last ``{"result": {…}}`` or
``{"error": text, "hint": text, "exit_code": n}``. `run_step` is the parent's half.

A child of many jobs (`serve`; the parent's half is `Worker`) reads each as a JSON object a line on stdin, answers it
so, and may ask in between: ``{"ask": {…}}``, whose answer is the next line on stdin.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError
from model_pipeline.files import of_surroundings
from model_pipeline.progress import ProgressCallback
from model_pipeline.text import LINES, shown, to_json

Kind = TypeVar("Kind", bound=BaseModel)  # of a step's or a job's result
_for_parent = False  # whether stdout is read by `run_step` or `Worker`


def parser(description: str, *paths: str, config: bool = True) -> argparse.ArgumentParser:
    """The arguments that every step has: ``--config``, one option a path, ``--progress``."""
    result = argparse.ArgumentParser(description=description)
    if config:
        result.add_argument("--config", required=True, help="TOML file, or the name of a built-in one")
        result.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as train.epochs=5")
    for name in paths:
        # Data may lie at a URL, which a Path would spoil.
        result.add_argument(f"--{name}", required=True, type=lambda text: text if "://" in text else Path(text))
    result.add_argument("--progress", action="store_true", help="one JSON object a line on stdout, for a parent")
    return result


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration that the arguments name.

    Raises:
        KwsError: see `load_config` and `with_settings`.
    """
    return with_settings(load_config(arguments.config), arguments.set)


def main(arguments: argparse.Namespace, step: Callable[[ProgressCallback | None], BaseModel]) -> int:
    """Runs ``step(progress)`` as a process and returns its exit code."""
    global _for_parent
    _for_parent = arguments.progress
    _end_by_sigterm()
    last = 0.0

    def plain(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 5:
            last = now
            print(f"{100 * done // max(1, total):3d} %  {shown(text)}", flush=True)

    try:
        result = step(_reporter() if arguments.progress else plain).model_dump(mode="json")
    except KwsError as error:
        _say_error(error)
        return error.exit_code
    except (OSError, MemoryError) as error:
        line = of_surroundings(error)
        if line is None:
            raise
        _say_error(line)
        return line.exit_code
    except KeyboardInterrupt:
        return 130
    if arguments.progress:
        _say({"result": result})
    else:
        print(to_json(result, indent=2))
    return 0


def run_step(module: str, arguments: Sequence[str], kind: type[Kind], progress: ProgressCallback | None = None) -> Kind:
    """Runs ``python -m module arguments --progress`` and gives its result, which is of this kind.

    Raises:
        KwsError: what the step raised, with its hint and exit code; or that it died, with its last line.
        KeyboardInterrupt: the child is asked to stop and waited for first.
    """
    process = _start(module, arguments)
    assert process.stdout is not None
    result: object = None
    failure: dict[str, Any] | None = None
    noise: list[str] = []
    try:
        for message in _messages(process.stdout, noise):
            if "progress" in message and progress:
                progress(*message["progress"])
            elif "result" in message:
                result = message["result"]
            elif "error" in message:
                failure = message
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    if failure:
        raise _error(failure)
    if code == 130:
        raise KeyboardInterrupt
    if code or result is None:
        raise _died(module, code, noise)
    return kind.model_validate(result)


class Worker:
    """A child process ``python -m module arguments`` that does job after job, started by the first. A context."""

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self.module, self.arguments = module, arguments
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            _stop(self._process)
            self._process = None

    def call(
        self,
        job: Mapping[str, object],
        kind: type[Kind],
        progress: ProgressCallback | None = None,
        answer: Callable[[dict[str, Any]], object] | None = None,
    ) -> Kind:
        """Has ``job`` done, whose result is of this kind; ``answer`` gives what the child asks for meanwhile.

        Raises:
            KwsError: what the job raised, with its hint and exit code; or that the child died, with its last line.
        """
        process = self._process = self._process or _start(self.module, self.arguments, stdin=subprocess.PIPE)
        noise: list[str] = []
        with contextlib.suppress(BrokenPipeError):  # it died; what it said last tells why
            self._send(job)
            assert process.stdout is not None
            for message in _messages(process.stdout, noise):
                if "progress" in message and progress:
                    progress(*message["progress"])
                elif "ask" in message and answer:
                    self._send(answer(message["ask"]))
                elif "result" in message:
                    return kind.model_validate(message["result"])
                elif "error" in message:
                    raise _error(message)
        self._process = None
        raise _died(self.module, process.wait(), noise)

    def _send(self, value: object) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()


Ask = Callable[[Mapping[str, object]], Any]  # the answer: JSON
Job = Callable[[dict[str, Any], ProgressCallback, Ask], BaseModel]


def serve(job: Job) -> int:
    """The half of `Worker` in the child: does ``job(values, progress, ask)`` for each line, until there is none."""
    global _for_parent
    _for_parent = True
    _end_by_sigterm()

    def ask(question: Mapping[str, object]) -> Any:
        _say({"ask": question})
        line = sys.stdin.readline()
        if not line:  # the parent is gone
            raise KeyboardInterrupt
        return json.loads(line)

    try:
        for line in sys.stdin:
            try:
                _say({"result": job(json.loads(line), _reporter(), ask).model_dump(mode="json")})
            except KwsError as error:
                _say_error(error)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


def _start(module: str, arguments: Sequence[str], stdin: int | None = None) -> subprocess.Popen[str]:
    # oneDNN makes training half as fast again; what it rounds otherwise is less than what threads do anyway.
    # The threads that make examples would else wait for those of BLAS, which are as many for each of them.
    ours = {"TF_CPP_MIN_LOG_LEVEL": "3", "OPENBLAS_NUM_THREADS": "1"}
    if (os.cpu_count() or 1) <= 2:
        # So small networks' operators are over before they are shared out: a step takes two thirds of the time.
        ours["TF_NUM_INTRAOP_THREADS"] = "1"
    environment = {**ours, **os.environ, "PYTHONUNBUFFERED": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
    # Its own session: Ctrl-C reaches it through us alone, once.
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments, "--progress"],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        preexec_fn=dying_with_us(),  # a training that nobody waits for would go on for hours, in a folder that is free
    )


def dying_with_us() -> Callable[[], None]:
    """For a child between fork and exec: SIGTERM when this process ends, even by SIGKILL (Linux's prctl,
    PR_SET_PDEATHSIG = 1; elsewhere it does nothing)."""
    parent, prctl = os.getpid(), None
    # Found before the fork: another thread may hold the loader's lock at it, for ever.
    with contextlib.suppress(OSError, AttributeError):
        prctl = ctypes.CDLL(None).prctl

    def call() -> None:
        if prctl:
            prctl(1, signal.SIGTERM)
            if os.getppid() != parent:  # it has ended already
                os._exit(1)

    return call


def start_family(command: Sequence[str], lock: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    """Starts a command whose whole family ends with it, when it is terminated or this process ends, even by SIGKILL.

    Args:
        lock: of `files.held`; nobody else has it before they all have ended.

    Raises:
        OSError: it can't be started.
    """
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).with_name("family.py")), *command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        pass_fds=(lock,),
        start_new_session=True,  # Ctrl-C reaches it through us alone
        preexec_fn=dying_with_us(),
    )


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=20)  # it may be writing its best model
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with contextlib.suppress(BrokenPipeError):  # what it never read
                stream.close()


def _error(message: dict[str, Any]) -> KwsError:
    return KwsError(message["error"], hint=message["hint"], exit_code=message["exit_code"])


def _died(module: str, code: int, noise: list[str]) -> KwsError:
    detail = next((line for line in reversed(noise) if line.strip()), f"exit code {code}")
    if code == -signal.SIGKILL:
        detail = "it was killed, most likely for want of memory"
    return KwsError(f"{module} failed: {detail}", exit_code=1)


def _end_by_sigterm() -> None:
    # A parent that goes away by SIGTERM or Ctrl-C must leave no trainer behind.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))


def _reporter() -> ProgressCallback:
    last = 0.0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.1 or done >= total:
            last = now
            _say({"progress": [done, total, text]})

    return progress


def error_line(error: KwsError) -> tuple[str, int]:
    """``error`` as whoever started this process wants it, and the file descriptor that it goes to."""
    if _for_parent:
        return json.dumps({"error": str(error), "hint": error.hint, "exit_code": error.exit_code}), 1
    hint = f" (try: {shown(error.hint)})" if error.hint else ""
    return f"error: {shown(error, LINES, lines=True)}{hint}", 2


def _say_error(error: KwsError) -> None:
    line, descriptor = error_line(error)
    print(line, file=sys.stdout if descriptor == 1 else sys.stderr, flush=True)


def _say(message: Mapping[str, object]) -> None:
    print(json.dumps(message, default=str), flush=True)


def _messages(stream: Iterable[str], noise: list[str]) -> Iterator[dict[str, Any]]:
    """What a child says; the last lines that are something else go into ``noise``."""
    for line in stream:
        message = _parse(line)
        if message is None:
            noise[:-20] = []
            noise.append(line.rstrip())
        else:
            yield message


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"'):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.keys() & {"progress", "ask", "result", "error"} else None
