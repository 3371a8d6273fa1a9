"""Damaged lists, configurations, states, marks and labels: each is used or refused with one line, in bounded time.

python -m tests.fuzz.files --cases 20000
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from host_tools.run.steps import Run, Step
from model_pipeline.config import CONFIGS, load_config
from model_pipeline.data import sources
from model_pipeline.data.dataset import read_description
from model_pipeline.data.split import Splitter
from model_pipeline.errors import KwsError
from model_pipeline.files import write_text
from model_pipeline.folders import MARK, atomic_dir, foreign_files

SECONDS = 10  # of a case, on a busy machine
MEMORY = 4 << 30  # bytes of the process
_NAMES = [f"{word}/{who}_nohash_{n}.wav" for word in ("yes", "hey robot") for who in ("anna", "zoë") for n in range(3)]
_PIECES = [b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\\", b"../", b"/", b"\r\n", b"\n", b"[", b"{", b'"', b"\xe9"]
_PIECES += [b"\\ud800", b"1e999"]


def _list(folder: Path, content: bytes) -> None:
    (folder / "testing_list.txt").write_bytes(content)
    splitter = Splitter(folder, _NAMES)
    if not any(splitter(name) == "testing" for name in _NAMES) and splitter.use["testing"].lines:
        raise AssertionError("a list that names nothing was taken")


def _config(folder: Path, content: bytes) -> None:
    (folder / "kws.toml").write_bytes(content)
    load_config(folder)


def _state(folder: Path, content: bytes) -> None:
    run = folder / "run"

    def go(fresh: bool) -> None:
        with Run(run, folder, fresh=fresh) as state:
            step = Step("s", "s", ("out",), lambda progress: write_text(run / "out" / "x", "x"))
            state.execute([step], fresh=fresh)

    go(False)
    (run / "state.json").write_bytes(content)
    try:
        go(False)
    except KwsError:
        go(True)  # gets out of any
    if (run / "out" / "x").read_text(encoding="utf-8") != "x":
        raise AssertionError("the step was not done")


def _mark(folder: Path, content: bytes) -> None:
    target = folder / "made"
    if not target.exists():
        with atomic_dir(target, "kws fuzz") as made:
            write_text(made / "ours", "ours")
        write_text(target / "mine", "mine")
    (target / MARK).write_bytes(content)
    foreign_files(target)
    try:
        with atomic_dir(target, "kws fuzz") as made:
            write_text(made / "ours", "ours")
    except KwsError:
        if not (target / "mine").exists():
            raise AssertionError("a refused folder lost a file") from None
        raise
    # Only a mark that names the file, by itself or by a pattern, gives it away.
    if not any(c in content for c in (b"mine", b"*", b"?", b"m", b"[")):
        raise AssertionError("a folder with a foreign file was replaced")


def _labels(folder: Path, content: bytes) -> None:
    (folder / "training").mkdir(exist_ok=True)
    (folder / "training" / "yes.1.wav").touch()
    (folder / "info.labels").write_bytes(content)
    for clip in sources.find(folder).clips:
        if not (folder / clip.path).resolve().is_relative_to(folder.resolve()):
            raise AssertionError(f"{clip.path} leaves the folder")


def _description(folder: Path, content: bytes) -> None:
    (folder / "dataset.json").write_bytes(content)
    read_description(folder)


def _seeds() -> dict[str, tuple[Callable[[Path, bytes], None], list[bytes]]]:
    state = {"key": "a" * 64, "hash": "b" * 64, "stamp": "c", "seconds": 1.5, "detail": {}, "finished": "2026"}
    label = {"type": "label", "label": "yes"}
    entry = {"path": "training/yes.1.wav", "category": "training", "label": label}
    return {
        "lists": (_list, ["\n".join(_NAMES[:4]).encode(), b"./yes/anna_nohash_0.wav\r\nYES\\zo\xc3\xab_nohash_1"]),
        "configurations": (_config, [path.read_bytes() for path in sorted(CONFIGS.glob("*.toml"))]),
        "states": (_state, [json.dumps({"format": 1, "steps": {"s": state}, "begun": {"t": "k"}}).encode()]),
        "marks": (_mark, [json.dumps({"format": 1, "made": {"kws fuzz": ["ours", "deep/**"]}}).encode()]),
        "labels": (_labels, [json.dumps({"version": 1, "files": [entry, {**entry, "label": "no"}]}).encode()]),
        "descriptions": (_description, [json.dumps({"source": "import", "keywords": ["yes"], "clips": 3}).encode()]),
    }


def damaged(content: bytes, chance: random.Random) -> bytes:
    """``content`` with one to four changes."""
    value = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(value) + 1)
        match chance.randrange(6):
            case 0:
                value[at:at] = chance.choice(_PIECES) * chance.choice([1, 1, 1, 3, 2000])
            case 1:
                del value[at : at + chance.choice([1, 1, 4, 100])]
            case 2 if at < len(value):
                value[at] = chance.randrange(256)
            case 3:
                value[at:at] = value[at : at + chance.randrange(60)]
            case 4:
                del value[at:]
            case _:
                digits = [i for i, c in enumerate(value) if 48 <= c < 58]
                if digits:
                    place = chance.choice(digits)
                    value[place : place + 1] = chance.choice([b"-1", b"1e400", b"99999999999", b"0", b"null", b'""'])
    return bytes(value)


class TooLong(BaseException):
    """A case took more than its time."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong


def run(cases: int, seed: int = 0) -> tuple[dict[str, list[int]], list[str]]:
    """Cases and refusals of each kind, and the failures."""
    counts: dict[str, list[int]] = {}
    failures = []
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, _too_long)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, before[1]))
    seeds = _seeds()
    try:
        for number in range(cases):
            kind = list(seeds)[number % len(seeds)]
            use, contents = seeds[kind]
            chance = random.Random(f"{seed} {number}")
            content = damaged(chance.choice(contents), chance)
            counts.setdefault(kind, [0, 0])[0] += 1
            with tempfile.TemporaryDirectory(prefix="kws-fuzz-") as name:
                signal.alarm(SECONDS)
                try:
                    use(Path(name), content)
                except KwsError as error:
                    counts[kind][1] += 1
                    if not str(error) or len(str(error)) > 20000:
                        failures.append(f"{kind} {number}: no line to read")
                except (Exception, TooLong) as error:
                    failures.append(f"{kind} {number}: {type(error).__name__}: {str(error)[:200]} {content[:200]!r}")
                finally:
                    signal.alarm(0)
    finally:
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, before)
    return counts, failures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.files", description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    began = time.monotonic()
    counts, failures = run(a.cases, a.seed)
    for line in failures[:20]:
        print(line)
    for kind, (count, refused) in counts.items():
        print(f"{kind}: {count:,} cases, {refused:,} refused")
    print(f"{len(failures)} failures, {time.monotonic() - began:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
