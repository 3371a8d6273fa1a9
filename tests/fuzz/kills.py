"""Kills at random moments: what is killed is run again and must come out as if it never had been.

    python -m tests.fuzz.kills run --kills 100
    python -m tests.fuzz.kills train --kills 100

``run``: a run of four quick steps (a real import, one that resumes, one that makes a folder whole, a report). ``train``
and ``quantize``: the commands themselves on a data set of a second, each kill at a random moment of the time that an
undisturbed call takes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile

from host_tools.run.steps import Run, Step
from model_pipeline.data.importer import import_folder
from model_pipeline.files import is_part, sha256_tree, write_json, write_text
from model_pipeline.folders import atomic_dir, claim_dir
from model_pipeline.native import ROOT
from model_pipeline.progress import ProgressCallback
from tests.support import tiny_data

_KINDS = ("run", "train", "quantize")
_PARTS = 30  # files that the resuming step writes


@dataclass
class Outcome:
    """How many were killed before they ended, and what came out wrong."""

    killed: int = 0
    ended: int = 0
    wrong: list[str] = field(default_factory=list)


def quick_run(source: Path, folder: Path) -> None:
    """The run of ``run``."""

    def import_(progress: ProgressCallback) -> None:
        import_folder(source, folder / "data", progress)

    def resume(progress: ProgressCallback) -> None:
        claim_dir(folder / "train", "kws train", ["part-*.txt"])
        for number in range(_PARTS):
            path = folder / "train" / f"part-{number}.txt"
            if not path.exists():
                write_text(path, f"{number}\n" * 1000)

    def model(progress: ProgressCallback) -> None:
        with atomic_dir(folder / "model", "kws quantize", sources=[folder / "train"]) as made:
            for name in ("model.tflite", "model.json"):
                write_text(made / name, name * 1000)

    def report(progress: ProgressCallback) -> None:
        write_json(folder / "results.json", {"parts": len(list((folder / "train").glob("part-*.txt")))})

    with Run(folder) as state:
        state.execute(
            [
                Step("import", "import", ("data",), import_),
                Step("train", "train", ("train",), resume, inputs=("import",), resumes=True),
                Step("quantize", "quantize", ("model",), model, inputs=("train",)),
                Step("report", "report", ("results.json",), report, inputs=("train", "quantize")),
            ]
        )


def kills(start: Callable[[Path], int], check: Callable[[Path], str], count: int, seed: int, say: bool) -> Outcome:
    """Starts, kills after a random part of the time that an undisturbed call takes, runs again to the end and checks.

    Args:
        start: begins the work in a folder and gives the process.
        check: a hash of what came out.
    """
    chance, outcome = random.Random(seed), Outcome()
    with tempfile.TemporaryDirectory(prefix="kws-kills-") as name:
        work = Path(name)
        began = time.monotonic()
        _end(start(work / "whole"))
        seconds = time.monotonic() - began
        wanted = check(work / "whole")
        for number in range(count):
            folder = work / "killed"
            process = start(folder)
            time.sleep(chance.uniform(0, seconds))
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            outcome.killed += int(_wait(process) != 0)
            code = _end(start(folder))
            found = check(folder) if not code else f"exit code {code}"
            left = [p.name for p in [*work.iterdir(), *folder.rglob("*")] if is_part(p.name)]
            if found != wanted or left:
                outcome.wrong.append(f"kill {number}: {'differs' if found != wanted else ''} {found[:20]} {left}")
            outcome.ended += not code
            shutil.rmtree(folder, ignore_errors=True)
            if say and number % 10 == 9:
                print(f"{number + 1} kills, {len(outcome.wrong)} wrong", flush=True)
    return outcome


def forked(work: Callable[[Path], None]) -> Callable[[Path], int]:
    """``start`` for work of this process, without the time that imports take."""

    def start(folder: Path) -> int:
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            work(folder)
            code = 0
        finally:
            os._exit(code)

    return start


def commanded(*arguments: str) -> Callable[[Path], int]:
    """``start`` for a command; ``OUT`` in it is the folder."""

    def start(folder: Path) -> int:
        command = [sys.executable, *(a.replace("OUT", str(folder)) for a in arguments)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid

    return start


def tree(*names: str) -> Callable[[Path], str]:
    """``check``: a hash of these files and folders."""

    def check(folder: Path) -> str:
        paths = [folder / name for name in names]
        return sha256_tree([p for p in paths if p.exists()], folder) + str([p.name for p in paths if not p.exists()])

    return check


def weights(folder: Path) -> str:
    """``check`` of a training: a hash of the weights (the file around them tells the time)."""
    with zipfile.ZipFile(folder / "model.keras") as archive:
        return hashlib.sha256(archive.read("model.weights.h5")).hexdigest()


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _end(process: int) -> int:
    code = _wait(process)
    if code < 0:
        raise RuntimeError(f"ended by signal {-code}")
    return code


def quick(count: int, seed: int = 1, say: bool = False) -> Outcome:
    """``count`` kills of the quick run."""
    with tempfile.TemporaryDirectory(prefix="kws-kills-") as name:
        source, rng = Path(name), np.random.default_rng(1)
        for word in ("yes", "no"):
            (source / word).mkdir()
            for i in range(4):
                samples = (0.1 * rng.standard_normal(16000)).astype(np.float32)
                soundfile.write(source / word / f"s{i}_nohash_0.wav", samples, 16000, subtype="PCM_16")
        check = tree("data", "train", "model", "results.json")
        return kills(forked(lambda folder: quick_run(source, folder)), check, count, seed, say)


def _commands(kind: str, count: int, seed: int) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="kws-kills-") as name:
        data = tiny_data.make(Path(name) / "data", speakers=10)
        shared = ["--config", "demo", "--data", str(data)]
        for setting in ('keywords=["rise","fall"]', "train.epochs=3", "train.batch=10", "train.quantization=ptq"):
            shared += ["--set", setting]
        train = ["-m", "model_pipeline.train", *shared, "--out"]
        if kind == "train":
            return kills(commanded(*train, "OUT"), weights, count, seed, True)
        trained = Path(name) / "trained"
        _end(commanded(*train, str(trained))(trained))
        quantize = ["-m", "model_pipeline.quantize", *shared, "--trained", str(trained), "--out", "OUT"]
        return kills(commanded(*quantize), tree("model.tflite"), count, seed, True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.kills", description=__doc__)
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    began = time.monotonic()
    outcome = quick(a.kills, a.seed, True) if a.kind == "run" else _commands(a.kind, a.kills, a.seed)
    for line in outcome.wrong[:20]:
        print(line)
    print(
        f"{a.kind}: {outcome.killed} of {a.kills} killed before their end, {outcome.ended} rerun to the end, "
        f"{len(outcome.wrong)} wrong, {time.monotonic() - began:.0f} s"
    )
    sys.exit(1 if outcome.wrong else 0)


if __name__ == "__main__":
    main()
