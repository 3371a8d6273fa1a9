"""Long recordings with known keyword times: clips of a data folder at random gaps in noise.

Everything follows from the split's clips and a seed. The same words at the same times are used for every SNR, so that
figures at two SNRs differ by the noise alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from model_pipeline.data.audio import SAMPLE_RATE, as_pcm, read_audio, resample, to_int16, write_wav
from model_pipeline.data.dataset import Clip, Dataset, by_people
from model_pipeline.data.split import SPLITS, Split
from model_pipeline.errors import KwsError
from model_pipeline.files import atomic_path, read_json, write_json
from model_pipeline.folders import claim_dir

_FRAME, _STEP = 320, 80  # 20 ms of energy, every 5 ms
_RANGE_DB = 30.0  # a word is what lies at most so far below its loudest frame …
_FLOOR_DB = 8.0  # … and so far above the clip's own noise
_FEWEST = 8  # keywords of a session, where there are more noises than words for them
_PAUSE = SAMPLE_RATE * 150 // 1000  # within a word: the closure of a stop ("righ-t")
_BURST = SAMPLE_RATE * 30 // 1000  # shorter sounds beside the word are clicks
_MARGIN = SAMPLE_RATE * 250 // 1000  # of the clip left around the word: weak ends that `word_span` misses
_FADE = SAMPLE_RATE * 20 // 1000
_LEAD = SAMPLE_RATE * 3 // 2  # noise alone before the first word; the model's first window is full after 1 s


@dataclass(frozen=True)
class Event:
    """A spoken word. ``start`` and ``end`` are samples of the session, by `word_span`."""

    word: str
    start: int
    end: int
    clip: str = ""


@dataclass(frozen=True)
class Session:
    """A recording: int16 [n] at 16 kHz, and what is said in it in the order of time."""

    name: str
    samples: NDArray[np.int16]
    events: list[Event]
    about: dict[str, Any]

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE


@dataclass(frozen=True)
class Plan:
    """How sessions are made."""

    seed: int = 1
    keywords_each: int = 60  # of one session, at most; fewer, but eight, where there are not so many for each noise
    limit: int = 0  # of keywords in all, as even over the words as there are clips; 0: each clip once
    # Keywords that people said are said by them alone, each at least so often: their takes come again, in other noise.
    # 0: all clips alike.
    takes: int = 0
    unknown_share: float = 0.5  # other words for each keyword
    gap_s: tuple[float, float] = (0.4, 2.0)  # from the end of a word to the start of the next
    speech_dbfs: tuple[float, float] = (-32.0, -20.0)  # of a session's words, RMS while they sound


def _power(samples: NDArray[np.int16]) -> NDArray[np.float64]:
    """The mean square of frames of 20 ms, one every 5 ms, of the signal less its mean over 10 ms."""
    x = samples.astype(np.float64)
    x -= uniform_filter1d(x, 2 * _STEP, mode="constant")  # silence around the clip
    steps = np.square(x[: len(x) // _STEP * _STEP]).reshape(-1, _STEP).sum(axis=1)
    return sliding_window_view(steps, _FRAME // _STEP).sum(axis=1) / _FRAME


def word_span(samples: NDArray[np.int16]) -> tuple[int, int]:
    """First sample of the word in a clip, and the one behind its last, by energy.

    Energy is that of the signal less its mean over 10 ms (without rumble) in frames of 20 ms. The word holds the clip's
    loudest frame and reaches as far as frames lie at most 30 dB below it and 8 dB above the clip's quietest tenth,
    over pauses of up to 150 ms; sounds of under 30 ms beside it are left out.
    """
    if len(samples) < 2 * _FRAME:
        return 0, len(samples)
    level = 10 * np.log10(_power(samples) + 1e-3)
    peak = float(level.max())
    floor = float(np.partition(level, len(level) // 10)[len(level) // 10])
    limit = max(peak - _RANGE_DB, min(floor + _FLOOR_DB, peak - 6.0))
    active = np.flatnonzero(level >= limit)
    # Runs of active frames as [first, last] samples of their middles.
    breaks = np.flatnonzero(np.diff(active) > 1)
    firsts = active[np.concatenate([[0], breaks + 1])] * _STEP + _FRAME // 2
    lasts = active[np.concatenate([breaks, [len(active) - 1]])] * _STEP + _FRAME // 2
    loudest = int(level.argmax()) * _STEP + _FRAME // 2
    home = int(np.flatnonzero((firsts <= loudest) & (loudest <= lasts))[0])
    start, end = int(firsts[home]), int(lasts[home])
    for i in range(home - 1, -1, -1):
        if start - lasts[i] > _PAUSE:
            break
        if lasts[i] - firsts[i] >= _BURST:
            start = int(firsts[i])
    for i in range(home + 1, len(firsts)):
        if firsts[i] - end > _PAUSE:
            break
        if lasts[i] - firsts[i] >= _BURST:
            end = int(lasts[i])
    # A word that reaches into the first or last frame was cut there.
    start = 0 if start <= _FRAME // 2 else start - _STEP
    return start, len(samples) if end >= len(samples) - _FRAME // 2 - _STEP else end + _STEP


def generate(dataset: Dataset, split: Split, snr_db: float, plan: Plan | None = None) -> Iterator[Session]:
    """Sessions over the split's keyword clips, each clip once, at one SNR.

    The SNR is the RMS of each word while it sounds over that of the noise, in dB; the clip's own noise counts as
    speech. Each session has one of the split's noises (`Dataset.noise_part`), by turns, looped with a cross-fade.

    Raises:
        KwsError: the split has no keyword clips, or a file can't be read.
    """
    plan = plan or Plan()
    order, gaps = _script(dataset, split, plan)
    noises = dataset.noise_part(split)
    # Few words are said in all of the noises, and not sixty each in the first of them.
    keywords = sum(clip.label < dataset.unknown for clip in order)
    groups = _groups(order, dataset.unknown, _sizes(keywords, plan.keywords_each, len(noises)))
    for number, (first, last) in enumerate(groups):
        # Each session's own stream, so that none depends on how many there are before it.
        rng = np.random.default_rng([plan.seed, SPLITS.index(split), number, 2])
        which = number % len(noises)
        clips = order[first:last]
        samples, events = _mix(dataset, clips, gaps[first:last], noises[which], snr_db, plan, rng)
        about = {
            "split": split,
            "snr_db": snr_db,
            "noise": dataset.noise[which][0],
            "seed": plan.seed,
            "keywords": sum(c.label < dataset.unknown for c in clips),
        }
        yield Session(f"{split}_{number:02d}_{snr_db:g}dB", samples, events, about)


def loop(noise: NDArray[np.int16], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise without end: float32 [samples] of RMS 1, from a random place on, its ends cross-faded."""
    fade = min(SAMPLE_RATE // 20, len(noise) // 4)
    x = noise.astype(np.float32)
    ramp = np.sqrt(np.linspace(0, 1, fade, dtype=np.float32))
    body = x[: len(x) - fade].copy()
    body[:fade] = body[:fade] * ramp + x[len(x) - fade :] * ramp[::-1]
    body /= max(float(np.sqrt(np.mean(body**2))), 1e-6)
    start = int(rng.integers(0, len(body)))
    return np.resize(np.roll(body, -start), samples)


def write_sessions(sessions: Sequence[Session], out: Path) -> list[Path]:
    """Writes each as ``NAME.wav`` with its truth in ``NAME.json``; a wav without its json is none.

    Returns:
        The JSON files.

    Raises:
        KwsError: a file of such a name is there that was not written so.
    """
    paths = []
    claim_dir(out, "kws sessions make", [f"{s.name}{ending}" for s in sessions for ending in (".wav", ".json")])
    for session in sessions:
        with atomic_path(out / f"{session.name}.wav") as temporary:
            write_wav(temporary, session.samples)
        path = out / f"{session.name}.json"
        write_json(path, {**session.about, "events": [asdict(event) for event in session.events]})
        paths.append(path)
    return paths


def read_sessions(folder: Path, labels: Sequence[str]) -> list[Session]:
    """Reads what `write_sessions` wrote, or a user's own recordings with such a JSON beside each.

    Raises:
        KwsError: nothing there, a broken file, or an event beyond the recording's end.
    """
    found = []
    for path in sorted(p for p in Path(folder).glob("*.json") if not p.name.startswith(".")):
        audio = next((a for a in sorted(path.parent.glob(path.stem + ".*")) if a.suffix != ".json"), None)
        if audio is None:
            raise KwsError(f"{path} has no recording beside it", hint=f"{path.with_suffix('.wav').name} is expected")
        samples, rate = read_audio(audio)
        pcm = to_int16(resample(samples, rate))
        try:
            about = read_json(path)
            events = sorted((Event(**event) for event in about.pop("events")), key=lambda e: e.start)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise KwsError(
                f"{path} is not a session: {error}", hint='{"events": [{"word": "yes", "start": 16000, "end": 23000}]}'
            ) from error
        for event in events:
            if not (0 <= event.start < event.end <= len(pcm)):
                raise KwsError(
                    f"{path}: {event.word!r} at {event.start} to {event.end} lies outside {len(pcm)} samples"
                )
        found.append(Session(path.stem, pcm, events, about))
    if not found:
        raise KwsError(f"{folder} holds no sessions", hint="kws sessions make --data DIR --out DIR")
    if not any(event.word in labels for session in found for event in session.events):
        raise KwsError(f"no word in {folder} is a keyword of the model: {', '.join(labels)}")
    return found


def _script(dataset: Dataset, split: Split, plan: Plan) -> tuple[list[Clip], NDArray[np.float64]]:
    """The clips in the order in which they are said, and the pause before each in seconds."""
    rng = np.random.default_rng([plan.seed, SPLITS.index(split), 1])
    clips = dataset.clips(split)
    keywords = [c for c in clips if c.label < dataset.unknown]
    if plan.takes:
        keywords = _repeated(by_people(keywords), plan.takes)
    keywords = _limited(keywords, plan.limit, rng)
    if not keywords:
        raise KwsError(f"{dataset.folder} has no {split} clips of {', '.join(dataset.keywords)}")
    others = [c for c in clips if c.label == dataset.unknown]
    wanted = round(plan.unknown_share * len(keywords)) if others else 0
    # Each other word once before any comes again.
    others = [others[i] for _ in range(-(-wanted // max(1, len(others)))) for i in rng.permutation(len(others))]
    said = [*keywords, *others[:wanted]]
    said = [said[i] for i in rng.permutation(len(said))]
    return said, rng.uniform(*plan.gap_s, len(said))


def _repeated(clips: list[Clip], least: int) -> list[Clip]:
    """``clips``, and by turns again those of labels that have fewer than ``least``."""
    by_label: dict[int, list[Clip]] = {}
    for clip in clips:
        by_label.setdefault(clip.label, []).append(clip)
    again = [queue[i % len(queue)] for queue in by_label.values() for i in range(len(queue), least)]
    return [*clips, *again]


def _limited(clips: list[Clip], limit: int, rng: np.random.Generator) -> list[Clip]:
    """``limit`` of the clips by turns of their labels, drawn at random; all for 0."""
    if not limit or limit >= len(clips):
        return clips
    by_label: dict[int, list[Clip]] = {}
    for i in rng.permutation(len(clips)):
        by_label.setdefault(clips[i].label, []).append(clips[i])
    turns = [queue[n] for n in range(max(map(len, by_label.values()))) for queue in by_label.values() if n < len(queue)]
    return turns[:limit]


def _sizes(keywords: int, most: int, noises: int) -> list[int]:
    """How many keywords each session has: ``most``, or as many in each noise, where that is fewer and not too few."""
    each, rest = divmod(keywords, most)
    if (few := min(noises, keywords // _FEWEST)) > each + bool(rest):
        return [len(part) for part in np.array_split(np.arange(keywords), few)]
    return [most] * each + [rest] * bool(rest)


def _groups(order: Sequence[Clip], unknown: int, sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Where each session begins and ends in ``order``, by how many keywords each has."""
    at = np.flatnonzero([clip.label < unknown for clip in order])
    ends = [int(at[last - 1]) + 1 for last in np.cumsum(sizes)[:-1]] + [len(order)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _mix(
    dataset: Dataset,
    clips: Sequence[Clip],
    gaps: NDArray[np.float64],
    noise: NDArray[np.int16],
    snr_db: float,
    plan: Plan,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], list[Event]]:
    audio = dataset.audio(clips)
    placed: list[tuple[int, NDArray[np.float32]]] = []
    events = []
    end = _LEAD - SAMPLE_RATE // 2
    loudness = 10 ** (rng.uniform(*plan.speech_dbfs) / 20) * 32768
    for clip, samples, gap in zip(clips, audio, gaps, strict=True):
        first, last = word_span(samples)
        start = end + int(gap * SAMPLE_RATE)
        end = start + last - first
        events.append(Event(clip.word, start, end, clip.name))
        rms = float(np.sqrt(np.mean(samples[first:last].astype(np.float64) ** 2)))
        low, high = max(0, first - _MARGIN), min(len(samples), last + _MARGIN)
        piece = samples[low:high].astype(np.float32) * np.float32(loudness / max(rms, 1.0))
        # Faded in and out in the margin; a clip that was cut inside its word keeps its edge.
        _fade(piece[: min(_FADE, first - low)], up=True)
        _fade(piece[len(piece) - min(_FADE, high - last) :], up=False)
        placed.append((start - (first - low), piece))
    total = end + SAMPLE_RATE * 2
    mixed = loop(noise, total, rng) * np.float32(loudness * 10 ** (-snr_db / 20))
    for at, piece in placed:
        mixed[at : at + len(piece)] += piece
    # Peaks beyond full scale are rare at these levels; a recording would clip them just so.
    return as_pcm(mixed), events


def _fade(piece: NDArray[np.float32], *, up: bool) -> None:
    ramp = np.linspace(0, 1, len(piece), endpoint=False, dtype=np.float32)
    piece *= ramp if up else ramp[::-1]
