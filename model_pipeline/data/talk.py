"""Synthetic connected speech: sentences in which no keyword is said, by all the voices that `synth` has.

Half are sentences of text files on this machine (Debian's ``fortunes`` has thousands), half are rows of everyday words
and of those near the keywords in sound, so that near words are heard among others, run together as people do. Nobody
talks so: two words in five are near a keyword, so an hour of rows says nothing of false accepts in an hour of
speech, and held-out rows lie by themselves. Without a text of the language all are rows. A voice speaks in the split in
which `synth` with the same ``[synth]`` settings hears it.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model_pipeline.config import FORTUNES, Config, TalkConfig
from model_pipeline.data.audio import SAMPLE_RATE, to_int16, write_wav
from model_pipeline.data.casting import cast_of, engine_shares, pick_voice
from model_pipeline.data.dataset import read_description
from model_pipeline.data.described import Talk
from model_pipeline.data.split import Split
from model_pipeline.data.transcripts import TABLE, Sayings, words_of
from model_pipeline.data.voices import Utterance, speak
from model_pipeline.errors import KwsError
from model_pipeline.files import read_text, write_json, write_text
from model_pipeline.folders import atomic_dir
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.words import COMMON_WORDS, NEAR_WORDS, OTHER_WORDS

_BATCH = 8
_HELD_ROWS = 0.2  # of the held-out sentences, of `TalkConfig.near_share` of those for training: texts are for counting
_FEWEST, _MOST = 4, 14  # words of a sentence
_LONGEST_S = 12.0
_PLAIN = re.compile(r"(?:[^\W\d_]|[' ,.!?;:\"-])+")
ROWS = "rows"  # the folder of those that are held out, where others are sentences of a text


@dataclass(frozen=True)
class _Line:
    folder: str
    path: str
    utterance: Utterance
    level: float


def synthesize_talk(config: Config, out: Path, progress: ProgressCallback | None = None) -> Talk:
    """Writes ``config.talk.sentences`` sentences to ``out``, whole or not at all: ``training/<voice>_nohash_<n>.wav``,
    by voices that are held out ``validation/…`` and, where a text was found, ``rows/…``, each with a table of what is
    said.

    Returns:
        What is in ``corpus.json``.

    Raises:
        MissingTool: no synthesiser. KwsError: an engine fails, or a user's text has no sentence.
    """
    report = progress or silent
    report(0, 1, "looking for sentences")
    c, rng = config.talk, np.random.default_rng([config.synth.seed, 11])
    texts = _texts(config, rng)
    if c.near_share < 1 and not texts.found and any(name != FORTUNES for name in c.text):
        raise KwsError(
            f"talk.text: fewer than two sentences without a keyword in {', '.join(texts.files)}",
            hint=f"sentences of {_FEWEST} to {_MOST} words, each with its mark (.!?), or another text",
        )
    cast = cast_of(config.synth)
    engines = engine_shares(config.synth.model_copy(update={"shares": {**config.synth.shares, **c.shares}}))
    lines: list[_Line] = []
    takes: Counter[str] = Counter()
    parts = _parts(c, texts.found)
    for part in parts:
        for _ in range(part.count):
            voice = pick_voice(cast[part.split], engines, rng)
            name = f"{part.folder}/{voice.speaker}_nohash_"
            text = texts.row(rng) if rng.random() < part.rows else texts.sentence(part.split)
            spoken = Utterance(voice, text, float(rng.uniform(0.75, 1.3)), float(rng.uniform(0.85, 1.35)))
            lines.append(_Line(part.folder, f"{name}{takes[name]}.wav", spoken, float(rng.uniform(-30, -14))))
            takes[name] += 1
    with atomic_dir(out, "kws data talk") as folder:
        for part in parts:
            (folder / part.folder).mkdir()
        seconds: dict[str, float] = {}
        done = 0
        with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
            try:
                for made in pool.map(lambda batch: _make(batch, folder), _batches(lines)):
                    seconds |= {name: seconds.get(name, 0.0) + made[name] for name in made}
                    done += _BATCH
                    report(min(done, len(lines)), len(lines), f"{len(lines)} sentences")
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        said = [line for line in lines if (folder / line.path).exists()]
        if len(said) < 0.9 * len(lines):
            raise KwsError(f"{len(lines) - len(said)} of {len(lines)} sentences could not be spoken")
        for part in parts:
            table = [f"{Path(s.path).name}\t{s.utterance.text}\n" for s in said if s.folder == part.folder]
            write_text(folder / part.folder / TABLE, "file\ttext\n" + "".join(table))
        description = Talk(
            settings=c.recipe(),
            synth=config.synth.model_dump(mode="json"),
            keywords=config.keywords,
            texts=texts.files,
            read=texts.read.total(),
            licence="made on this machine; no third party's recordings",
            sentences=dict(Counter(line.folder for line in said)),
            seconds={name: round(value) for name, value in seconds.items()},
        )
        write_json(folder / "corpus.json", description.model_dump(mode="json"))
    return description


def is_made(config: Config, folder: Path) -> bool:
    """Whether ``folder`` holds the talk of ``config``."""
    made = read_description(folder, "corpus.json") if folder.is_dir() else {}
    return (
        made.get("keywords") == config.keywords
        and made.get("settings") == config.talk.recipe()
        and made.get("texts") == [path.name for path in texts_of(config)]
        and config.synth.made(made.get("synth"))
    )


@dataclass(frozen=True)
class _Part:
    """A folder of sentences: ``rows``: the share that are words in a row."""

    folder: str
    split: Split
    count: int
    rows: float


def _parts(talk: TalkConfig, written: bool) -> list[_Part]:
    rows = talk.near_share if written else 1.0
    held = max(1, round(talk.sentences * talk.held_out))
    apart = round(_HELD_ROWS * rows * held) if rows < 1 else 0
    found = [
        _Part("training", "training", max(1, round(talk.sentences * (1 - talk.held_out))), rows),
        _Part("validation", "validation", held - apart, 0.0 if rows < 1 else 1.0),
    ]
    return [*found, *([_Part(ROWS, "validation", apart, 1.0)] if apart else [])]


@dataclass
class _Texts:
    """What is said: sentences of ``files`` without keywords, mixed, by the split that says them, and words for rows.
    ``read``: sentences that were said."""

    files: list[str]
    written: dict[Split, list[str]]
    near: list[str]
    common: list[str]
    read: Counter[Split] = field(default_factory=Counter)

    @property
    def found(self) -> bool:
        """Whether there are sentences for each split; what judges is not to be what was learnt."""
        return all(self.written.values())

    def sentence(self, split: Split) -> str:
        """The next one of the split; none twice before all were said."""
        own = self.written[split]
        self.read[split] += 1
        return own[(self.read[split] - 1) % len(own)]

    def row(self, rng: np.random.Generator) -> str:
        """Everyday words, and near ones among them."""
        count = int(rng.integers(5, 11))
        return " ".join(
            str(rng.choice(self.near if self.near and rng.random() < 0.4 else self.common)) for _ in range(count)
        )


def _texts(config: Config, rng: np.random.Generator) -> _Texts:
    files = texts_of(config)
    sayings = Sayings(config.keywords, config.synth.language)
    # More than are needed: some will have a keyword, and looking words up takes a while.
    read = {part.split: (1 - part.rows) * part.count for part in _parts(config.talk, written=True) if part.rows < 1}
    written = sorted({s for path in files for s in _sentences(read_text(path, errors="replace"))})
    written = [written[i] for i in rng.permutation(len(written))[: math.ceil(1.5 * sum(read.values()))]]
    near = [*config.synth.near_words, *(NEAR_WORDS if not config.synth.near_words else ()), *config.synth.more]
    near = [w for w in dict.fromkeys(near) if not w.startswith("[[")]
    common = list(dict.fromkeys([*COMMON_WORDS.read_text(encoding="utf-8").split(), *OTHER_WORDS]))
    sayings.learn([*written, *near, *common])
    written, near, common = ([s for s in some if not sayings.said(s)] for some in (written, near, common))
    cut = math.ceil(len(written) * read["training"] / sum(read.values())) if read else 0
    said: dict[Split, list[str]] = {"training": written[:cut], "validation": written[cut:]}
    return _Texts([path.name for path in files], said, near, common)


def texts_of(config: Config) -> list[Path]:
    """The text files of ``talk.text`` that are there; of Debian's ``fortunes`` those of the language, which are in a
    folder of it (``de``) for all but English.

    Raises:
        KwsError: one that a user named is not there, or there is no text in it.
    """
    language = config.synth.language.partition("-")[0]
    found: list[Path] = []
    for name in config.talk.text:
        place = Path(name) / language if name == FORTUNES and language != "en" else Path(name)
        texts = _text_files(place)
        if not texts and name != FORTUNES:
            raise KwsError(
                f"talk.text: there is no text {name}",
                hint='a file, or a folder of files without an ending or of .txt: text = ["book.txt"]',
            )
        found += texts
    return found


def _text_files(path: Path) -> list[Path]:
    """A file, or those of a folder that have an ending of a text, or none (as ``fortunes`` keeps them)."""
    if path.is_dir():
        return sorted(p for p in path.iterdir() if p.is_file() and p.suffix in ("", ".txt", ".fortunes"))
    return [path] if path.is_file() else []


def _sentences(text: str) -> list[str]:
    """Sentences of plain words, as they can be read out."""
    found = []
    for part in (p for whole in text.split("\n%\n") for p in re.split(r"(?<=[.!?;:])\s+|\n\s*\n|\t", whole)):
        plain = " ".join(part.split())
        words = words_of(plain)
        if _FEWEST <= len(words) <= _MOST and _PLAIN.fullmatch(plain):
            found.append(plain.strip(' "-'))
    return found


def _batches(lines: Sequence[_Line]) -> list[list[_Line]]:
    """Lines of one engine together, the slowest first, so that the cores end together."""
    by_engine: dict[str, list[_Line]] = {}
    for line in lines:
        by_engine.setdefault(line.utterance.voice.engine, []).append(line)
    order = sorted(by_engine.items(), key=lambda item: item[0] not in ("kokoro", "festival"))
    return [group[i : i + _BATCH] for _, group in order for i in range(0, len(group), _BATCH)]


def _make(lines: Sequence[_Line], folder: Path) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for line, samples in zip(lines, speak([line.utterance for line in lines]), strict=True):
        if samples is None or np.abs(samples).max(initial=0) < 1e-4:
            continue
        x = samples[: int(_LONGEST_S * SAMPLE_RATE)]
        x = x * (10 ** (line.level / 20) / np.sqrt(np.mean(np.square(x))))
        write_wav(folder / line.path, to_int16(x * min(1.0, 0.98 / np.abs(x).max())))
        seconds[line.folder] = seconds.get(line.folder, 0.0) + len(x) / SAMPLE_RATE
    return seconds
