"""Damaged files and devices through the real command line: each call ends in time, within its memory, with an exit code
of ours and at most a few lines of text, none of them a traceback.

    python -m tests.fuzz.lines --cases 1000

Each case is a process of its own (a fork of one that has imported kws), which calls `host_tools.cli.main` with the
words that a user would type.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import soundfile

from host_tools import cli, ui
from host_tools.link.codes import Command
from host_tools.link.frames import Frame
from model_pipeline.native import ROOT
from tests.fuzz.files import damaged
from tests.support import fake_edge_impulse
from tests.support.fake_device import FakeFirmware, listening

SECONDS = 150  # of a case: kws itself gives a device up to a minute for a stream's end
MEMORY = 6 << 30  # bytes of addresses; the front end and TFLite Micro map much that they never touch
_CODES = {0, 1, 2, 3, 4}
_LINES = 200  # of text: a help page or a table has fewer
_MESSAGES = 20_000  # of `kws monitor`, which prints what a device says: a line or more for each of its messages
_MODEL = ROOT / "firmware" / "model"
_WORDS = ("yes", "no")


def _model(folder: Path) -> Path:
    (folder / "m").mkdir()
    for name in ("model.json", "model.tflite"):
        shutil.copy(_MODEL / name, folder / "m" / name)
    return folder / "m"


def _data(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for word in _WORDS:
        (folder / "d" / word).mkdir(parents=True)
        for speaker in "abc":
            samples = (0.1 * rng.standard_normal(16000)).astype(np.float32)
            soundfile.write(folder / "d" / word / f"{speaker}_nohash_0.wav", samples, 16000, subtype="PCM_16")
    return folder / "d"


@contextmanager
def _manifest(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    model = _model(folder)
    (model / "model.json").write_bytes(damaged((model / "model.json").read_bytes(), chance))
    yield chance.choice([["export", str(model), "--out", str(folder / "out")], ["compile", str(model)]])


@contextmanager
def _network(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    model = _model(folder)
    (model / "model.tflite").write_bytes(damaged((model / "model.tflite").read_bytes(), chance))
    yield ["compile", str(model / "model.tflite")]


@contextmanager
def _configuration(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    seeds = sorted((ROOT / "model_pipeline" / "configs").glob("*.toml"))
    path = folder / "kws.toml"
    path.write_bytes(damaged(chance.choice(seeds).read_bytes(), chance))
    data = str(_data(folder))
    yield ["data", "info", data, "--config", str(path)]


@contextmanager
def _list(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    data = _data(folder)
    names = "".join(f"{path.relative_to(data).as_posix()}\n" for path in sorted(data.rglob("*.wav"))[:2])
    (data / chance.choice(["testing_list.txt", "validation_list.txt"])).write_bytes(damaged(names.encode(), chance))
    info = ["data", "info", str(data), "--config", "plain"]
    yield chance.choice([info, ["data", "import", str(data), "--out", str(folder / "out")]])


@contextmanager
def _labels(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    data = _data(folder)
    entries = [
        {"path": path.relative_to(data).as_posix(), "category": "training", "label": {"type": "label", "label": "yes"}}
        for path in sorted(data.rglob("*.wav"))
    ]
    (data / "info.labels").write_bytes(damaged(json.dumps({"version": 1, "files": entries}).encode(), chance))
    yield ["data", "import", str(data), "--out", str(folder / "out")]


@contextmanager
def _sound(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    data = _data(folder)
    path = chance.choice(sorted(data.rglob("*.wav")))
    head, rest = path.read_bytes()[:64], path.read_bytes()[64:]
    path.write_bytes(damaged(head, chance) + rest)
    yield ["data", "import", str(data), "--out", str(folder / "out")]


@contextmanager
def _results(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    whole = {
        "device": {"board": "x"}, "confusion": [[1, 0], [0, 1]], "accuracy": {"correct": 2, "total": 2},
        "ticks": {"name": "cycles", "per_second": 1000}, "cost": {}, "labels": ["yes", "no"],
        "link": {"lost": 0, "repeated": 0}, "response_ms": {}, "clips": [],
    }  # fmt: skip
    (folder / "results.json").write_bytes(damaged(json.dumps(whole).encode(), chance))
    yield ["report", str(folder)]


class Hostile(FakeFirmware):
    """A device whose replies are damaged: their contents in frames that are right, frames that are not, too many of
    them, or none."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.at = 0
        self.kind = chance.choice(["content", "frame", "flood", "info", "mute", "sound"])

    def _out(self, kind: int, payload: bytes) -> bytes:
        if self.kind == "content" and kind not in (0x80, 0x82) and self.chance.random() < 0.5:
            payload = damaged(payload or b"\0", self.chance)[:500]
        if self.kind == "mute" and self.chance.random() < 0.2:
            return b""
        encoded = super()._out(kind, payload)
        if self.kind == "frame" and self.chance.random() < 0.3:
            encoded = damaged(encoded, self.chance)
        if self.kind == "flood" and self.chance.random() < 0.3:
            more = [(self.chance.choice([0x85, 0x86, 0x87, 0x8B, 0x90]), self.chance.randbytes(60)) for _ in range(200)]
            encoded += b"".join(super(Hostile, self)._out(*one) for one in more)
        return encoded

    def _act(self, frame: Frame) -> bytes:
        if self.kind == "info" and frame.type == Command.INFO:
            field = struct.pack("<BB", self.chance.randrange(16), 4) + self.chance.randbytes(4)
            return b"".join(self._out(0x83, field) for _ in range(self.chance.choice([1, 3, 300])))
        if self.kind == "sound" and frame.type == Command.STREAM_START:
            return super()._act(frame) + b"".join(self._sound() for _ in range(self.chance.choice([1, 20, 300])))
        return super()._act(frame)

    def _sound(self) -> bytes:
        """An AUDIO event: a position, what was dropped, a coding, a step, a predictor, a number of samples, samples."""
        chance = self.chance
        self.at = chance.choice([self.at + 100, self.at, chance.randrange(1 << 32), self.at + 50 * 16000]) % (1 << 32)
        count = chance.choice([100, 0, 1, 65535, chance.randrange(400)])
        head = struct.pack(
            "<IIBBhH", self.at, chance.randrange(1 << 32), chance.choice([0, 1, 1, 7]), chance.randrange(256),
            chance.randrange(-32768, 32768), count,
        )  # fmt: skip
        detection = struct.pack("<IBB", self.at, chance.choice([0, 1, 200]), 255)
        sound = head + chance.randbytes(chance.choice([2 * count, (count + 1) // 2, 7]))[:480]
        return self._out(0x90, sound) + self._out(0x86, detection)


@contextmanager
def _device(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    sound = folder / "x.wav"
    soundfile.write(sound, np.zeros(16000, np.float32), 16000, subtype="PCM_16")
    with listening(Hostile(chance)) as port:
        words: list[list[str]] = [
            ["bench", "--port", port],
            ["devices", "--port", port],
            ["stream", "--wav", str(sound), "--port", port],
            ["selftest", "--port", port],
            ["monitor", "--port", port, "--seconds", "1"],
            ["monitor", "--port", port, "--seconds", "1", "--dump-audio", str(folder / "heard.wav")],
            ["live", "--port", port, "--seconds", "1", "--json", "--keep-detections", str(folder / "kept")],
            ["live", "--port", port, "--seconds", "1", "--dump-audio", str(folder / "heard.wav")],
            ["live", "--port", port, "--wav", str(sound), "--fast", "--keep-detections", str(folder / "kept")],
        ]
        yield chance.choice(words)


@contextmanager
def _wake_word(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    values = {
        "type": "micro", "wake_word": "okay", "author": "somebody", "website": "https://example.org", "version": 2,
        "model": "m.tflite", "trained_languages": ["en"],
        "micro": {"probability_cutoff": 0.9, "sliding_window_size": 5, "feature_step_size": 10},
    }  # fmt: skip
    shutil.copy(_MODEL / "model.tflite", folder / "m.tflite")
    (folder / "m.json").write_bytes(damaged(json.dumps(values).encode(), chance))
    yield ["import", str(folder / "m.json"), "--out", str(folder / "out")]


@contextmanager
def _studio(folder: Path, chance: random.Random) -> Iterator[list[str]]:
    """A server in Edge Impulse's place of which every third answer is damaged."""
    with fake_edge_impulse.running() as server:
        sound = next(iter(sorted(_data(folder).rglob("*.wav")))).read_bytes()
        names = [
            "yes.1.wav",
            "../../evil",
            "\x1b]52;c;x\x07",
            "a" * 400,
            "\u202e.wav",
            "x_nohash_9999999999999.wav",
            "",
        ]
        for category in ("training", "testing"):
            for word in (*_WORDS, chance.choice(names)):
                server.add(chance.choice(names), category, word, sound)
        server.damage = lambda body: damaged(body, chance) if chance.random() < 0.3 else body
        os.environ.update(server.environment)  # of the fork too
        try:
            yield chance.choice(
                [
                    ["edgeimpulse", "download", "--out", str(folder / "out"), "--jobs", "1"],
                    ["edgeimpulse", "upload", str(folder / "d"), "--jobs", "1"],
                    ["edgeimpulse", "model", "--out", str(folder / "out")],
                ]
            )
        finally:
            for name in server.environment:
                os.environ.pop(name, None)


KINDS: dict[str, Callable[[Path, random.Random], AbstractContextManager[list[str]]]] = {
    "manifests": _manifest,
    "models": _network,
    "configurations": _configuration,
    "lists": _list,
    "labels": _labels,
    "sounds": _sound,
    "results": _results,
    "devices": _device,
    "wake words": _wake_word,
    "studio": _studio,
}


def attempt(kind: str, seed: str) -> tuple[int, str]:
    """One case: the exit code, and what is wrong with it ("": nothing)."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="kws-lines-") as name, KINDS[kind](Path(name), chance) as words:
        said = Path(name) / "said"
        process = os.fork()
        if not process:
            _call(words, said)
        began = time.monotonic()
        while (ended := os.waitpid(process, os.WNOHANG))[0] == 0:
            if time.monotonic() - began > SECONDS:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return -1, f"{' '.join(words)}: no end within {SECONDS} s"
            time.sleep(0.005)
        code, text = os.waitstatus_to_exitcode(ended[1]), said.read_text(encoding="utf-8", errors="replace")
    what = f"{' '.join(words)}: exit code {code}: {text[-600:]!r}"
    lines = _MESSAGES if words[0] == "monitor" else _LINES
    bad = code not in _CODES or "Traceback" in text or text.count("\n") > lines
    bad |= any(ord(c) < 32 and c not in "\n\r\t" for c in text) or (code != 0 and not text.strip())
    return code, what if bad else ""


def _call(words: list[str], said: Path) -> None:
    code = 99
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        handle = os.open(said, os.O_WRONLY | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        # pytest has put its own in their places
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        os.chdir(said.parent)
        try:
            cli.main(words)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            import traceback

            traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _import_all() -> None:
    """What the verbs import only when they run: once, before the forks."""
    import model_pipeline.data.importer
    import model_pipeline.export  # noqa: F401

    cli.build_app()


def run(cases: int, seed: int = 0, kinds: list[str] | None = None) -> tuple[dict[str, dict[int, int]], list[str]]:
    """How often each kind ended with which exit code, and the failures."""
    codes: dict[str, dict[int, int]] = {}
    failures = []
    chosen = kinds or list(KINDS)
    _import_all()
    with ui.progress(f"{cases:,} calls of kws") as progress:
        for number in range(cases):
            kind = chosen[number % len(chosen)]
            code, wrong = attempt(kind, f"{seed} {number}")
            codes.setdefault(kind, {})[code] = codes.setdefault(kind, {}).get(code, 0) + 1
            if wrong:
                failures.append(f"{kind} {number}: {wrong}")
            progress(number + 1, cases, f"{len(failures)} failures")
    return codes, failures


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.lines", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", choices=list(KINDS), action="append")
    a = parser.parse_args()
    began = time.monotonic()
    codes, failures = run(a.cases, a.seed, a.kind)
    for line in failures[:20]:
        print(line)
    for kind, found in codes.items():
        print(f"{kind}: {sum(found.values()):,} calls, exit codes {dict(sorted(found.items()))}")
    print(f"{len(failures)} failures, {time.monotonic() - began:.0f} s")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
