"""Pipeline steps as child processes, so that no host tool ever holds TensorFlow.

`python -m model_pipeline.train --config … --data … --out … --progress` prints one JSON object a line on stdout:
``{"progress": [done, total, text]}`` as it goes, and last ``{"result": {…}}`` or
``{"error": text, "hint": text, "exit_code": n}``. `run_step` is the parent's half.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.errors import KwsError

ProgressCallback = Callable[[int, int, str], None]

_for_parent = False  # whether stdout is read by `run_step`


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


def main(arguments: argparse.Namespace, step: Callable[[ProgressCallback | None], dict[str, Any]]) -> int:
    """Runs ``step(progress)`` as a process and returns its exit code."""
    global _for_parent
    _for_parent = arguments.progress
    # A parent that goes away by SIGTERM or Ctrl-C must leave no trainer behind.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    last = 0.0

    def progress(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 0.1 or done >= total:
            last = now
            _say({"progress": [done, total, text]})

    def plain(done: int, total: int, text: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > 5:
            last = now
            print(f"{100 * done // max(1, total):3d} %  {text}", flush=True)

    try:
        result = step(progress if arguments.progress else plain)
    except KwsError as error:
        _complain(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    if arguments.progress:
        _say({"result": result})
    else:
        print(json.dumps(result, indent=2, default=str))
    return 0


def give_up(error: KwsError) -> None:
    """Ends this process at once with ``error``, from whichever thread: for what no exception can end."""
    _complain(error)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(error.exit_code)


def run_step(module: str, arguments: Sequence[str], progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Runs ``python -m module arguments --progress`` and gives its result.

    Raises:
        KwsError: what the step raised, with its hint and exit code; or that it died, with its last line.
        KeyboardInterrupt: the child is asked to stop and waited for first.
    """
    # oneDNN makes training half as fast again; what it rounds otherwise is less than what threads do anyway.
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONUNBUFFERED": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
    command = [sys.executable, "-m", module, *arguments, "--progress"]
    # Its own session: Ctrl-C reaches it through us alone, once.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )
    assert process.stdout is not None
    result: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    noise: list[str] = []
    try:
        for line in process.stdout:
            message = _parse(line)
            if message is None:
                noise = [*noise[-20:], line.rstrip()]
            elif "progress" in message and progress:
                progress(*message["progress"])
            elif "result" in message:
                result = message["result"]
            elif "error" in message:
                failure = message
        code = process.wait()
    except BaseException:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=20)  # it may be writing its best model
        process.kill()
        raise
    if failure:
        raise KwsError(failure["error"], hint=failure["hint"], exit_code=failure["exit_code"])
    if code == 130:
        raise KeyboardInterrupt
    if code or result is None:
        detail = next((line for line in reversed(noise) if line.strip()), f"exit code {code}")
        if code == -signal.SIGKILL:
            detail = "it was killed, most likely for want of memory"
        raise KwsError(f"{module} failed: {detail}", exit_code=1)
    return result


def _complain(error: KwsError) -> None:
    if _for_parent:
        _say({"error": str(error), "hint": error.hint, "exit_code": error.exit_code})
    else:
        print(f"error: {error}" + (f" (try: {error.hint})" if error.hint else ""), file=sys.stderr)


def _say(message: dict[str, Any]) -> None:
    print(json.dumps(message, default=str), flush=True)


def _parse(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"'):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.keys() & {"progress", "result", "error"} else None
