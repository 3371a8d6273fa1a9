"""``make bench-words``: how well people are understood by projects of words that only synthesisers said in training.

Three projects, with 0, 5 and 20 takes a word by other people (as many as there are), and one with ten takes a word,
each word by the one person that it is for (`--only one`), are made by `kws new` and taken through the steps of
`kws run` up to the check on this computer. Then people's test clips are put to each, words in noise, and connected
speech that nothing was trained or chosen on. Nothing here is chosen by what comes out, but by `--only choosing`, one
person's other words. The base that a project begins with is made first, as the shipped one is but of data without these
words. A second run goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from host_tools import ui
from host_tools.run.bar import step_bar
from host_tools.run.job import steps
from host_tools.run.quality import with_quality
from host_tools.run.steps import Run, StepDone, write_config
from host_tools.words import project
from model_pipeline.child import run_step
from model_pipeline.config import Config, load_config, with_settings
from model_pipeline.data.importer import import_folder
from model_pipeline.data.split import read_list
from model_pipeline.errors import KwsError
from model_pipeline.evaluate import evaluate
from model_pipeline.files import write_json, write_text
from model_pipeline.folders import atomic_dir
from model_pipeline.listening.evaluate import Audio, evaluate_listening
from model_pipeline.listening.near import evaluate_near
from model_pipeline.native import ROOT
from model_pipeline.outcomes import Distilled

SHARED = ROOT.parent / "shared" / "data"
WORDS = {
    "a": ["yes", "no", "up", "down", "left", "right", "stop", "go"],
    "b": ["marvin", "seven", "house", "on", "off"],
    "c": ["amelia", "hadouken", "dracarys"],
    "one": ["hadouken", "dracarys"],
    "choosing": ["amelia", "trick_or_treat"],  # as "one", of other people: what --personal does was chosen by it
}
# Who says the words of "one" and "choosing", one person a word. The files do not tell. A network for speaker
# verification (GE2E, Wan and others, arXiv:1710.10467) does: takes of one word by one person of Speech Commands have a
# cosine of 0.70 in the middle, by two people 0.44 (0.58 for 95 %). Of each numbered series of `wake_words` the longest
# run of one voice is taken: each take is at 0.63 or more to the run's mean, the others of the series at 0.56 in the
# middle. The other numbers of "hadouken" are of ten voices or more. "amelia" has no numbers: its largest cluster (0.78
# or more; nine of ten others under 0.63).
SPEAKERS: dict[str, tuple[str, range | str]] = {
    "hadouken": ("hadouken__{:04}.ogg", range(50, 89)),
    "dracarys": ("dracarys__rpi-{:03}.ogg", range(58)),
    "trick_or_treat": ("trick_or_treat__phone-{:03}.ogg", range(52)),
    "amelia": (
        "amelia-{}-*.ogg",
        "00801684 03e92b43 0ba81ba8 0bd62cf7 0dfc8796 128b0bc7 17a74cef 21a379fa 24311115 "
        "248d6a2a 31e40c1a 3f85a19b 463a1c18 4f851715 5195dd53 55b6b7cc 5f93541c 7372badf "
        "7e97a60a 81719107 8e3c32d5 90317232 a0250c47 aa6630bc addfb1ee b6a57051 c0917aa2 "
        "c1c6fdb6 dc2a32aa de6814b1 e65ff49e ea6b72ca ec7e1ee8 eceeebfe eeee14b3 f2be99ad",
    ),
}
PERSONAL = ("one", "choosing")
ALIKE = {"choosing": ["data.clip_ms=1000"]}  # the recordings' length, where `kws new` chooses another
_ME = "me_nohash_"
OWN_TAKES = 10  # a speaker's first ones are the project's, the others are asked
# What settings were chosen by (docs/own-words.md): the base has not heard these either.
CHOSEN_BY = ["bed", "cat", "happy", "zero", "three", "five"]
TAKES = (0, 5, 20)
SPEECH = ("connected_speech/kathleen_arctic", "connected_speech/librispeech_train-clean-100_3spk_long")
LAST = "check"  # of the steps of `kws run`: a board adds nothing to what is measured here


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="make bench-words", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(WORDS), help="one of the projects")
    parser.add_argument("--takes", action="append", type=int, help="takes a word by people (0, 5, 20)")
    parser.add_argument("--quality", default="quick", help="as kws run --quality")
    parser.add_argument("--set", action="append", default=[], help="a setting of the projects, for ablations")
    parser.add_argument(
        "--base", help="what networks begin with, as train.base has it; else one is made that has not heard the words"
    )
    parser.add_argument("--work", type=Path, default=Path("build/bench_words"), help="where it goes on")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    rows = []
    try:
        if not (SHARED / "speech_commands").is_dir():
            raise KwsError(f"there are no recordings of people in {SHARED}")
        begin = arguments.base if arguments.base is not None else str(base(arguments.work))
        settings = [f"train.base={json.dumps(begin)}", *arguments.set]
        for name in arguments.only or sorted(set(WORDS) - {"choosing"}):
            for takes in (OWN_TAKES,) if name in PERSONAL else arguments.takes or TAKES:
                rows.append(bench(name, takes, arguments.quality, settings, arguments.work))
    except KwsError as error:
        ui.err.print(f"[red]{error}[/]")
        return error.exit_code
    if arguments.json:
        json.dump(rows, sys.stdout, indent=2)
        print()
    else:
        ui.out.print(table(rows))
    return 0


def base(work: Path) -> Path:
    """A base that has heard none of `WORDS` nor of `CHOSEN_BY`: by the recipe of the shipped one, made where it is not
    there yet."""
    out = work / "base.npz"
    if not out.is_file():
        words = json.dumps([*WORDS["a"], *WORDS["b"], *CHOSEN_BY])  # its data have none of (c)
        left_out = [f"keywords={words}", "scenes.keywords=0", "scenes.synthetic_keywords=0"]
        config = with_settings(load_config("base"), [*left_out, f"scenes.folder={work / 'base_examples'}"])
        write_config(config, work / "base.toml")
        with ui.progress("a base that has not heard the words") as progress:
            arguments = ["--config", str(work / "base.toml"), "--data", str(SHARED / "speech_commands")]
            run_step("model_pipeline.training.distill", [*arguments, "--out", str(out)], Distilled, progress)
    return out.resolve()


def bench(name: str, takes: int, quality: str, settings: list[str], work: Path) -> dict[str, Any]:
    """One project: made, trained and measured, or read where that was done."""
    # A project that an older `kws new` wrote would be measured as the recipe before.
    recipe = [quality, *settings, project.TEMPLATE.read_text(encoding="utf-8")]
    mark = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:8]
    folder = work / f"{name}{takes}_{quality}_{mark}"
    people = recordings(name, work)
    made = folder / "project"
    if not (made / "kws.toml").is_file():
        with ui.progress(f"{name}: kws new"):
            project.create(WORDS[name], made, personal=name in PERSONAL)
        given = give(people, made / project.RECORDINGS, WORDS[name], takes)
        write_json(folder / "given.json", given)
    config = with_quality(load_config(made), quality, [*settings, *ALIKE.get(name, [])])
    done: list[StepDone] = []
    with Run(folder / "run") as run:
        write_config(config, folder / "run" / "config.toml")
        todo = steps(config, folder / "run", clips=config.measure.clips, done=done)
        last = next(i for i, step in enumerate(todo) if step.name == LAST)
        run.execute(todo[: last + 1], bar=step_bar, outcomes=done)
    return {
        "project": name,
        "words": WORDS[name],
        "takes": json.loads((folder / "given.json").read_text(encoding="utf-8")),
        "quality": quality,
        "settings": settings,
        "seconds": {outcome.name: outcome.seconds for outcome in done},
        **measure(folder / "run" / "model", people, config),
    }


def measure(model: Path, people: Path, config: Config) -> dict[str, Any]:
    """Clips (every label weighs the same, and all clips), misses at 10 dB, false accepts an hour by corpus, and near
    words that fire, by voices that training has not heard."""
    with ui.progress("people's clips") as progress:
        clips = evaluate(model, people, engine="aot", progress=progress)
    corpora = [SHARED / part for part in SPEECH if (SHARED / part).is_dir()]
    with ui.progress("in a stream") as progress:
        stream = evaluate_listening(model, Audio(people, negative=corpora), progress, det=False)
    with ui.progress("near words") as progress:
        near = evaluate_near(model, config.synth.near_words, config.measure.near_takes, config.synth, progress)
    recall = {word: value for word, value in clips.recall.items() if value is not None}
    return {
        "balanced": float(np.mean(list(recall.values()))),
        "recall": recall,
        "clips": clips.share.correct(),
        "misses": next(iter(stream.sessions.values())).misses.model_dump(),
        "speech": {row.name: row.false_accepts.model_dump() for row in stream.corpora},
        "near": near.fired.model_dump(),
    }


def recordings(name: str, work: Path) -> Path:
    """A data folder of people for the project: Speech Commands, or the wake words in its layout."""
    if name not in ("c", *PERSONAL):
        return SHARED / "speech_commands"
    out = work / {"c": "wake_words", "one": "one_speaker"}.get(name, name)
    if not (out / "dataset.json").is_file():
        with atomic_dir(work / f"{out.name}_raw", "make bench-words") as raw:
            for path in sorted((SHARED / "wake_words").glob("*/*.ogg")):
                if into := _called(path, name):
                    (raw / into).parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, raw / into)
        import_folder(work / f"{out.name}_raw", out, name="wake words", licence="public domain; CC BY 4.0")
        # All are for reporting but the takes that a project is given.
        every = sorted(p.relative_to(out).as_posix() for p in out.glob("*/*.wav"))
        if name == "c":
            keep = {n for word in WORDS["c"] for n in [n for n in every if n.startswith(f"{word}/")][: max(TAKES)]}
        else:
            keep = {f"{word}/{_ME}{number}.wav" for word in WORDS[name] for number in range(OWN_TAKES)}
        write_text(out / "training_list.txt", "".join(f"{n}\n" for n in every if n in keep))
        write_text(out / "testing_list.txt", "".join(f"{n}\n" for n in every if n not in keep))
        write_text(out / "validation_list.txt", "")
    return out


def _called(path: Path, name: str) -> str:
    """What a recording of `wake_words` is called in a project's data, ``word/file``; "" where it has no place there."""
    words = [word for word in WORDS[name] if path.name.replace("-", "_").startswith(f"{word}_")]
    if not words or "not-wake" in path.parent.name:
        return f"other/{path.name}"
    word = words[0]
    if name == "c":
        return f"{word}/{path.name}"
    pattern, takes = SPEAKERS[word]
    each = takes.split() if isinstance(takes, str) else takes
    number = next((i for i, take in enumerate(each) if fnmatch(path.name, pattern.format(take))), None)
    return "" if number is None else f"{word}/{_ME}{number}.ogg"  # "": of other people


def give(people: Path, target: Path, words: list[str], takes: int) -> dict[str, int]:
    """Puts the first ``takes`` training clips of each word, by as many speakers as there are, into a project."""
    listed = sorted(read_list(people / "training_list.txt"))
    given = {}
    for word in words:
        mine = [n for n in listed if n.startswith(f"{word}/")]
        order = sorted(mine, key=lambda n: (sum(speaker(m) == speaker(n) for m in mine[: mine.index(n)]), n))
        for path in order[:takes]:
            target.joinpath(word).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(people / path, target / path)
        given[word] = min(takes, len(order))
    return given


def speaker(name: str) -> str:
    """Whose a clip is."""
    return Path(name).name.partition("_nohash_")[0]


def table(rows: list[dict[str, Any]]) -> Table:
    """A line a project."""
    found = Table(box=None, pad_edge=False)
    for title in (
        "project",
        "takes",
        "clips, balanced",
        "all clips",
        "missed at 10 dB",
        *map(os.path.basename, SPEECH),
        "near words",
    ):
        found.add_column(title, justify="left" if title == "project" else "right")
    for row in rows:
        found.add_row(
            f"({row['project']}) {' '.join(row['words'])}",
            "/".join(map(str, sorted(set(row["takes"].values())))),
            f"{100 * row['balanced']:.1f} %",
            f"{100 * row['clips']['value']:.1f} %",
            f"{100 * row['misses']['value']:.1f} %",
            *(f"{rate['per_hour']:.1f}/h" for rate in row["speech"].values()),
            f"{100 * row['near']['value']:.1f} %",
        )
    return found


if __name__ == "__main__":
    sys.exit(main())
