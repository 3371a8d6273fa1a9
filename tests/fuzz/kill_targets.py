"""What `tests.fuzz.kills` kills, and how it is judged."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from host_tools.run.steps import Run, Step
from model_pipeline import child
from model_pipeline.data.importer import import_folder
from model_pipeline.files import sha256_file, write_json, write_text
from model_pipeline.folders import atomic_dir, claim_dir
from model_pipeline.parts import is_part
from model_pipeline.progress import ProgressCallback
from tests.fuzz.kills import Target
from tests.support import tiny_data

KINDS = ("steps", "train", "quantize", "run")
_PARTS = 30  # files that the resuming step writes
# One thread: the same sums in the same order, so that weights can be compared bit by bit.
_ENVIRONMENT = dict.fromkeys(
    ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
)
_SETTINGS = {
    "train.architecture": "tcn",
    "train.shape.blocks": 1,
    "train.shape.front": 4,
    "train.shape.body": 8,
    "train.batch": 10,
    "train.epochs": 4,
    "train.quantization": "ptq",
}
_WORDS = ("rise", "fall")
_RUN = """
name = "killed"
keywords = ["yes", "stop"]
board = "host"
[synth]
clips_per_keyword = 8
unknown_clips = 8
engines = ["espeak-ng"]
[train]
architecture = "tcn"
epochs = 3
batch = 10
[train.shape]
blocks = 1
front = 4
body = 8
[quantize]
method = "ptq"
[measure]
clips = 2
near_takes = 0
session_keywords = 2
"""
# Tells the time, or how long something took.
_TIMES = {
    "seconds", "resumed_at", "model_sha256", "created", "made", "steps", "wall_seconds", "state", "computer",
    "data_folder",
}  # fmt: skip
_MEASURED = ("accuracy", "agreement", "labels", "model", "host", "config", "name", "kws")


def quick_run(source: Path, folder: Path) -> None:
    """The run of ``steps``."""

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
            for name in ("first.txt", "second.txt"):
                write_text(made / name, f"{name}\n" * 1000)

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


@contextlib.contextmanager
def target(kind: str) -> Iterator[Target]:
    """What of `KINDS` is killed."""
    with tempfile.TemporaryDirectory(prefix="kws-kills-") as name:
        place = Path(name)
        if kind == "steps":
            source = _noise(place / "source")
            yield Target(lambda folder: quick_run(source, folder), check_steps, broken)
            return
        os.environ.update(_ENVIRONMENT)
        _forked_children()
        if kind == "run":
            (place / "killed.toml").write_text(_RUN, encoding="utf-8")
            os.environ["PATH"] = _without_cross_compiler(place / "bin")
            command = ["run", "--config", str(place / "killed.toml"), "--out", "OUT", "--json"]
            yield Target(_command(command), check_run, broken)
            return
        data = tiny_data.make(place / "data", speakers=10, words=_WORDS)
        settings = {**_SETTINGS, "keywords": json.dumps(_WORDS)}
        # Not the demo's recipe, which may have scenes, a teacher and a base that this shape does not fit.
        (place / "plain.toml").write_text('name = "killed"\n', encoding="utf-8")
        shared = [
            "--config",
            str(place / "plain.toml"),
            "--data",
            str(data),
            *(word for key, value in settings.items() for word in ("--set", f"{key}={value}")),
        ]
        if kind == "train":
            yield Target(_command(["train", *shared, "--out", "OUT"]), check_training, broken)
            return
        trained = place / "trained"
        process = os.fork()  # this one is to be forked again and again: no TensorFlow is at work in it
        if not process:
            try:
                _command(["train", *shared, "--out", str(trained)])(place / "log")
            finally:
                os._exit(0)
        os.waitpid(process, 0)
        yield Target(
            _command(["quantize", str(trained), *shared, "--out", "OUT"]),
            lambda f: _listed(f) | _hashed(f, f),
            broken,
        )


def _noise(source: Path) -> Path:
    rng = np.random.default_rng(1)
    for word in ("yes", "no"):
        (source / word).mkdir(parents=True)
        for i in range(4):
            samples = (0.1 * rng.standard_normal(16000)).astype(np.float32)
            soundfile.write(source / word / f"s{i}_nohash_0.wav", samples, 16000, subtype="PCM_16")
    return source


def _command(words: Sequence[str]) -> Any:
    """``work`` of a Target: kws with ``words``; OUT is the folder."""
    from host_tools import cli

    def work(folder: Path) -> None:
        cli.main([str(folder) if word == "OUT" else word for word in words])

    return work


def _forked_children() -> None:
    """Steps of training come by fork out of this process, which has imported TensorFlow, instead of by exec: all else
    is as it is, and hundreds of calls take seconds each."""
    import model_pipeline.quantize
    import model_pipeline.train

    modules = {m.__name__: m for m in (model_pipeline.train, model_pipeline.quantize)}

    def start(module: str, arguments: Sequence[str], stdin: int | None = None) -> Any:
        read, write = os.pipe()
        sys.stdout.flush()
        die = child.dying_with_us()
        process = os.fork()
        if not process:
            code = 1
            try:
                os.setsid()
                die()
                os.close(read)
                os.dup2(write, 1)
                os.dup2(write, 2)
                sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
                sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
                code = modules[module].main([*arguments, "--progress"])
            finally:
                os._exit(code)
        os.close(write)
        return _Forked(process, read)

    child._start = start


class _Forked:
    """What `child` uses of a Popen."""

    stdin = None

    def __init__(self, process: int, read: int) -> None:
        self.pid, self.stdout = process, os.fdopen(read)
        self._code: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def send_signal(self, number: int) -> None:
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(9)


def _without_cross_compiler(folder: Path) -> str:
    """A PATH with all programs but those that would take minutes of each run: the costs on each board."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for program in Path(place).iterdir() if Path(place).is_dir() else ():
            if not program.name.startswith(("arm-none-eabi-", "qemu-")) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    return str(folder)


# --- what came out


def check_steps(folder: Path) -> dict[str, str]:
    """Of the quick run: all but the state, which tells times."""
    return _listed(folder) | {name: value for name, value in _hashed(folder, folder).items() if name != "state.json"}


def check_training(folder: Path) -> dict[str, str]:
    """Of a training: names, weights, the log and the summary without their times."""
    with zipfile.ZipFile(folder / "model.keras") as archive:
        weights = hashlib.sha256(archive.read("model.weights.h5")).hexdigest()
    with (folder / "log.csv").open(newline="") as stream:
        log = [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]
    summary = json.loads((folder / "train.json").read_text())
    kept = sha256_file(folder / "model.keras") == summary["model_sha256"]
    return _listed(folder) | {
        "weights": weights,
        "log": json.dumps(log),
        "summary": json.dumps(_timeless(summary), sort_keys=True),
        "model is the summary's": str(kept),
    }


def check_run(folder: Path) -> dict[str, str]:
    """Of a whole run: every file that tells no time, and of the others what does not."""
    results = json.loads((folder / "results.json").read_text())
    state = json.loads((folder / "state.json").read_text())
    made = [_hashed(folder / name, folder) for name in ("data", "model", "firmware_model")]
    return {
        **{f"train/{key}": value for key, value in check_training(folder / "train").items()},
        **_listed(folder),
        **{part: value for hashes in made for part, value in hashes.items()},
        "firmware": sha256_file(folder / "build" / "firmware.elf"),
        **{f"results/{key}": json.dumps(_timeless(results.get(key)), sort_keys=True) for key in _MEASURED},
        "clips": json.dumps([{k: c.get(k) for k in ("name", "predicted", "output")} for c in results["clips"]]),
        "expect": json.dumps(_timeless(json.loads((folder / "expect" / "expect.json").read_text())), sort_keys=True),
        "state": json.dumps([sorted(state["steps"]), state["begun"]]),
        "report": str((folder / "report.html").read_text().rstrip().endswith("</html>")),
    }  # fmt: skip


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def _listed(folder: Path) -> dict[str, str]:
    """All names; the event files of TensorBoard, one a call, count as one, and what PlatformIO keeps does not."""
    names = set()
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if ".pio" not in path.parts:
            names.add(name.partition("/events.out")[0])
    beside = sorted(p.name for p in folder.parent.iterdir() if p != folder)
    return {"names": "\n".join(sorted(names)), "beside": "\n".join(beside)}


def _hashed(folder: Path, root: Path) -> dict[str, str]:
    found = {str(p.relative_to(root)): sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    for path in folder.rglob("record.json"):  # tells when it was written
        found[str(path.relative_to(root))] = json.dumps(_timeless(json.loads(path.read_text())), sort_keys=True)
    return found


# --- after a kill


def broken(folder: Path) -> list[str]:
    """Files under their final names that are not whole. Empty but for a fault."""
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_dir() or ".pio" in parts or any(is_part(part) for part in parts):
            continue
        try:
            _must_be_whole(path)
        except FileNotFoundError:  # a step that goes on without kws removes it
            continue
        except Exception as error:
            found.append(f"{'/'.join(parts)} is broken ({type(error).__name__}: {error})")
    return found


def _must_be_whole(path: Path) -> None:
    match path.suffix:
        case ".json":
            json.loads(path.read_text(encoding="utf-8"))
        case ".keras" | ".npz":
            with zipfile.ZipFile(path) as archive:
                if archive.testzip():
                    raise ValueError("a member is damaged")
        case ".wav":
            soundfile.read(path)
        case ".csv" | ".txt" | ".toml":
            if not path.read_text(encoding="utf-8").endswith("\n"):
                raise ValueError("its last line is not whole")
        case ".tflite":
            manifest = path.with_name("model.json")
            if json.loads(manifest.read_text())["model_sha256"] != sha256_file(path):
                raise ValueError("it is not the manifest's")
        case ".elf":
            built = json.loads(path.with_name("build.json").read_text())
            if built.get("sha256") not in (None, sha256_file(path)):
                raise ValueError("it is not the one of build.json")
