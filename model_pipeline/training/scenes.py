"""Training examples as a device hears them: a word, connected speech or noise in the window that ends a scene, after
whatever came in the seconds before it (`CONTEXT`), in a room, in noise, at some level.

A clip by itself, from a fresh front end, is only one of the ways in which a model meets a word. In a stream the front
end's noise estimate has long settled, another word was said just before, and the word ends anywhere in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from model_pipeline.config import ScenesConfig
from model_pipeline.data.audio import SAMPLE_RATE, as_pcm
from model_pipeline.training.clips import Speech

CONTEXT = 3 * SAMPLE_RATE  # before the window, for a front end that settles
BRIEF = SAMPLE_RATE  # before the window, for one that forgets: what a room may still sound of
NONE = -1  # no hard label: a word cut by the window's edge, or a pause in speech
_MARGIN = SAMPLE_RATE // 4  # of its clip left around a word, as in sessions
_FADE = SAMPLE_RATE // 50
_FRAME = SAMPLE_RATE // 50
_CROSS = SAMPLE_RATE // 100
_JOINED = -4  # in a plan
_LONGEST_RESPONSE = SAMPLE_RATE // 2

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Sounds:
    """What a corpus gives: recordings int16 [m] each, how often it is drawn beside others of its kind, and whether it
    is sure that no keyword is said in it."""

    recordings: Sequence[NDArray[np.int16]]
    weight: float = 1.0
    sure: bool = True
    # Ends of windows in which a network heard a keyword: sample numbers of all recordings joined.
    spots: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True)
class Surroundings:
    """What words are said among: sources of noise, of connected speech without keywords, and of rooms' impulse
    responses, float32 [m] each at 16 kHz (`response`). The latter two may be empty."""

    noise: Sequence[Sounds]
    connected: Sequence[Sounds] = ()
    rooms: Sequence[Sequence[Samples]] = ()


@dataclass(frozen=True)
class Scene:
    """float32 [`Scenes.length`] in int16 units; the front end is reset at sample ``start``; ``label`` or `NONE`;
    ``sure``: there is no keyword in the window, whatever a teacher says."""

    samples: Samples
    start: int
    label: int
    sure: bool = False


class Scenes:
    """Draws scenes. ``unknown`` is the label of other words; silence is the one after it.

    Args:
        often: for each of ``speech.names``' numbers, how much more often than others it is drawn; None: as they are.
        context: samples before the window, at least `BRIEF`.
    """

    def __init__(
        self,
        speech: Speech,
        unknown: int,
        around: Surroundings,
        config: ScenesConfig,
        often: NDArray[np.float64] | None = None,
        context: int = CONTEXT,
    ) -> None:
        self.speech, self.unknown, self.config, self.context = speech, unknown, config, context
        self.window = int(speech.audio.shape[1])  # samples: as long as a clip
        self.length = self.context + self.window
        self._spans = speech.spans()
        least = self.length + SAMPLE_RATE
        self._noise = [[np.resize(n, max(len(n), least)) for n in s.recordings] for s in around.noise]
        self._noise_share = _shares([s.weight for s in around.noise])
        self._rooms, self._often = [list(r) for r in around.rooms if len(r)], often
        # A speed of at most 1.15 needs so much of a recording; short ones are joined.
        self._talk = [s for s in around.connected if sum(len(r) for r in s.recordings)]
        self._connected = [np.concatenate(list(s.recordings)) for s in self._talk]
        self._connected = [np.resize(j, max(len(j), 2 * self.length)) for j in self._connected]
        self._talk_share = _shares([s.weight for s in self._talk])
        self._only_hard = False
        self._takes = np.flatnonzero((speech.labels < unknown) & ~speech.synthetic)  # of keywords, by people
        self._look_at_spots()

    @property
    def hard_places(self) -> int:
        """How many places there are in which a network heard a keyword."""
        return sum(len(s.spots) for s in self._talk)

    def mine(self, find: Callable[[Sequence[Sounds]], Sequence[Sounds]]) -> None:
        """From now on all scenes are of the places that ``find`` gives the connected speech."""
        self._talk, self._only_hard = list(find(self._talk)), True
        self._look_at_spots()

    def _look_at_spots(self) -> None:
        # By the square root, so that hours of synthetic speech do not drown the few that people said.
        self._spot_share = _shares([s.weight * len(s.spots) ** 0.5 for s in self._talk])

    def plan(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """What ``count`` scenes are of, mixed: a clip's index, -1 for connected speech, -2 for silence, -3 for a place
        of connected speech in which a network heard a keyword, `_JOINED` for parts of two takes of keywords.

        Keywords that people said come in turn; other words are drawn with the square root of their clips' number, so
        that a word with few clips is heard too; words of a synthesiser clip by clip.
        """
        if self._only_hard:
            return np.full(count, -3, np.int64)
        c, s = self.config, self.speech
        word, synthetic = s.labels < self.unknown, s.synthetic
        shares = {
            "keywords": (c.keywords, np.flatnonzero(word & ~synthetic)),
            "synthetic keywords": (c.synthetic_keywords, np.flatnonzero(word & synthetic)),
            "unknown": (c.unknown, np.flatnonzero((s.labels == self.unknown) & ~synthetic)),
            "synthetic unknown": (c.synthetic_unknown, np.flatnonzero((s.labels == self.unknown) & synthetic)),
            "connected": (c.connected_speech if len(self._connected) else 0.0, np.array([-1])),
            "silence": (c.silence, np.array([-2])),
            "joined": (c.joined, np.full(min(1, len(self._takes)), _JOINED)),
        }
        given = {k: share for k, (share, index) in shares.items() if len(index)}
        total = sum(given.values())
        parts = []
        for kind, share in given.items():
            index, n = shares[kind][1], round(count * share / total)
            if kind == "unknown":
                weight = 1.0 / np.sqrt(np.bincount(s.names[index])[s.names[index]])
                weight *= 1.0 if self._often is None else self._often[s.names[index]]
                parts.append(rng.choice(index, n, p=weight / weight.sum()))
            else:
                turns = [rng.permutation(index) for _ in range(-(-n // len(index)))]
                parts.append(np.concatenate([np.zeros(0, np.int64), *turns])[:n])
        order = rng.permutation(np.concatenate(parts))
        return np.resize(order, count)

    def make(
        self, plan: Sequence[int] | NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Scenes of `plan`: int16 [n, length], where the front end starts [n], labels or `NONE` [n], and whether it is
        sure that there is no keyword in the window [n]."""
        audio = np.empty((len(plan), self.length), np.int16)
        starts, labels = np.empty(len(plan), np.int64), np.empty(len(plan), np.int64)
        sure = np.empty(len(plan), np.bool_)
        others = {-1: self._speech, -2: self._silence, -3: self._hard}
        for i, what in enumerate(plan):
            scene = others[int(what)](rng) if what in others else self._word(int(what), rng)
            audio[i] = as_pcm(scene.samples)
            starts[i], labels[i] = scene.start, scene.label
            sure[i] = scene.sure or scene.label == self.unknown + 1
        return audio, starts, labels, sure

    def _word(self, index: int, rng: np.random.Generator) -> Scene:
        if rng.random() < self.config.as_clip:
            return self._clip(index, rng)
        c = self.config
        track = np.zeros(self.length, np.float32)
        word, first, last, said = self._said(index, rng)
        gain = _db(rng.uniform(*c.speech_dbfs)) * 32768 / _rms(word[first:last])
        # A stream shows each word cut at both edges too.
        early = self.window / SAMPLE_RATE - 0.1
        after = rng.uniform(-0.5, early) if rng.random() < c.cut_words else rng.uniform(-0.03, 0.5)
        end = self.length - int(after * SAMPLE_RATE)
        begin = _place(track, word, first, last, end, gain)
        seen = (min(end, self.length) - max(begin, self.context)) / max(1, last - first)
        label = said if seen >= 0.92 else NONE
        level = gain * _rms(word[first:last])
        if rng.random() < c.word_before:
            other, a, b = self._spoken(int(rng.integers(len(self.speech.labels))), rng)
            until = begin - int(rng.uniform(0.15, 1.2) * SAMPLE_RATE)
            _place(track, other, a, b, until, level * _db(rng.uniform(-4, 4)) / _rms(other[a:b]))
            if until - self.context > 0.3 * (b - a):  # much of another word is in the window too
                label = NONE
        track = self._room(track, rng)
        track += self._bed(rng, level * _db(-rng.uniform(*c.stream_snr_db)))
        return Scene(track, self._start(rng), label, label == self.unknown)

    def _clip(self, index: int, rng: np.random.Generator) -> Scene:
        """A clip as it is, moved a little: what clip accuracy is measured on."""
        c = self.config
        track = np.zeros(self.length, np.float32)
        word, first, last, label = self._said(index, rng)
        gain = _db(rng.uniform(-10, 10))
        at = self.context + (self.window - len(word)) // 2 + int(rng.uniform(-0.1, 0.1) * SAMPLE_RATE)
        cut = max(0, self.context - at) if rng.random() < 0.6 else 0  # or it began before the window
        piece = word[cut : self.length - at] * gain
        track[at + cut : at + cut + len(piece)] = piece
        track = self._room(track, rng)
        if rng.random() < c.clip_noise:
            track += self._bed(rng, gain * _rms(word[first:last]) * _db(-rng.uniform(*c.clip_snr_db)))
        return Scene(track, self.context if rng.random() < 0.75 else 0, label, label == self.unknown)

    def _speech(self, rng: np.random.Generator) -> Scene:
        """Connected speech anywhere."""
        return self._talking(int(rng.choice(len(self._talk), p=self._talk_share)), None, rng)

    def _hard(self, rng: np.random.Generator) -> Scene:
        """Connected speech in which a network heard a keyword, moved a little."""
        which = int(rng.choice(len(self._talk), p=self._spot_share))
        spots = self._talk[which].spots
        at = int(spots[int(rng.integers(len(spots)))])
        return self._talking(which, at + int(rng.uniform(-0.15, 0.15) * SAMPLE_RATE), rng)

    def _talking(self, which: int, end: int | None, rng: np.random.Generator) -> Scene:
        """Connected speech whose window ends at ``end`` (None: anywhere): unknown, where there is enough of it."""
        speed = rng.uniform(0.87, 1.15)
        need = int(self.length * speed) + 2
        talk = self._connected[which]
        at = int(rng.integers(0, len(talk) - need)) if end is None else min(max(0, end - need), len(talk) - need)
        track = _resample(talk[at : at + need].astype(np.float32), speed)[: self.length]
        track *= _db(rng.uniform(-40, -14)) * 32768 / _rms(track)
        level = _rms(track)
        track = self._room(track, rng)
        if rng.random() < 0.6:
            track += self._bed(rng, level * _db(-rng.uniform(0, 35)))
        whole = self.window // _FRAME * _FRAME
        frames = np.sqrt(np.mean(track[self.context :][:whole].reshape(-1, _FRAME) ** 2, axis=1))
        spoken = np.mean(frames > 0.3 * level) > 0.3
        return Scene(track, self._start(rng), self.unknown if spoken else NONE, self._talk[which].sure)

    def _silence(self, rng: np.random.Generator) -> Scene:
        """Noise at any level; sometimes a word has just ended, or something clicks."""
        silence = self.unknown + 1
        if rng.random() < 0.05:
            return Scene(np.zeros(self.length, np.float32), self.context, silence)
        track = self._draw(rng)
        if rng.random() < 0.5:
            track *= _db(rng.uniform(-45, 6))
        else:
            track *= _db(rng.uniform(-75, -22)) * 32768 / _rms(track)
        if rng.random() < 0.25:
            track += self._draw(rng) * _db(rng.uniform(-30, 0))
        if rng.random() < 0.35:
            word, first, last = self._spoken(int(rng.integers(len(self.speech.labels))), rng)
            gain = min((_rms(track) + 2.0) * _db(rng.uniform(0, 30)), 6000.0) / _rms(word[first:last])
            end = self.context - int(rng.uniform(-0.05, 0.6) * SAMPLE_RATE)
            _place(track, word[: last + _FADE], first, last, end, gain)
            silence = NONE if end > self.context else silence
        if rng.random() < 0.1:
            at = int(rng.integers(self.context, self.length - 400))
            decay = np.exp(-np.arange(400) / rng.uniform(5, 100))
            track[at : at + 400] += rng.uniform(300, 8000) * decay * rng.standard_normal(400)
        return Scene(track, self._start(rng), silence)

    def _said(self, index: int, rng: np.random.Generator) -> tuple[Samples, int, int, int]:
        """What a scene of `plan` is of, with its first and last sample and its label."""
        if index == _JOINED:
            return *self._joined(rng), self.unknown
        return *self._spoken(index, rng), int(self.speech.labels[index])

    def _joined(self, rng: np.random.Generator) -> tuple[Samples, int, int]:
        """No word, as people and microphones of the takes sound: a take's end and then the beginning of any, or the
        beginning of one and the end of another word's. Takes are of keywords alone where nothing else was recorded,
        and then what sounds like one would be enough to be heard as a keyword."""
        one, other = (int(self._takes[i]) for i in rng.integers(0, len(self._takes), 2))
        (a, a0, a1), (b, b0, b1) = self._spoken(one, rng), self._spoken(other, rng)
        x, y = (int(first + rng.uniform(0.35, 0.65) * (last - first)) for first, last in ((a0, a1), (b0, b1)))
        head, tail = a[x:a1], b[b0:y]
        if self.speech.labels[one] != self.speech.labels[other] and rng.random() < 0.5:
            head, tail = a[a0:x], b[y:b1]
        before, after = a[max(0, a0 - _MARGIN) : a0], b[b1 : b1 + _MARGIN]
        word = _crossed(head, tail * np.float32(_rms(head) / _rms(tail)))
        first = len(before)
        return np.concatenate([before, word, after]), first, first + len(word)

    def _spoken(self, index: int, rng: np.random.Generator) -> tuple[Samples, int, int]:
        """A clip at another speed (and pitch), and its word's first and last sample."""
        speed = (1 + self.config.speed_percent / 100) ** rng.uniform(-1, 1)
        word = _resample(self.speech.audio[index].astype(np.float32), speed)
        first, last = (int(edge / speed) for edge in self._spans[index])
        return word, first, min(last, len(word))

    def _start(self, rng: np.random.Generator) -> int:
        """Where the front end was reset: at the scene's begin, a second before the window, or just now."""
        return (0, self.context - BRIEF, self.context)[int(rng.choice(3, p=(0.45, 0.35, 0.2)))]

    def _draw(self, rng: np.random.Generator) -> Samples:
        source = self._noise[int(rng.choice(len(self._noise), p=self._noise_share))]
        noise = source[int(rng.integers(len(source)))]
        at = int(rng.integers(0, len(noise) - self.length + 1))
        return noise[at : at + self.length].astype(np.float32)

    def _bed(self, rng: np.random.Generator, level: float) -> Samples:
        """Noise of an RMS of ``level``."""
        noise = self._draw(rng)
        return noise * np.float32(level / _rms(noise))

    def _room(self, track: Samples, rng: np.random.Generator) -> Samples:
        """Sometimes in a room: one whose response was measured, or a simulated one of exponentially falling noise after
        the direct sound."""
        if rng.random() >= self.config.room:
            return track
        if self._rooms and rng.random() < self.config.measured:
            source = self._rooms[int(rng.integers(len(self._rooms)))]
            wet = _convolved(track, source[int(rng.integers(len(source)))])[: self.length]
            return wet * np.float32(_rms(track) / _rms(wet))
        seconds = rng.uniform(0.08, 0.5)  # until 60 dB less
        n = int(0.7 * seconds * SAMPLE_RATE)
        tail = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / (seconds * SAMPLE_RATE))
        tail[: int(rng.uniform(0.001, 0.012) * SAMPLE_RATE)] = 0
        response = tail * (_db(-rng.uniform(0, 14)) / np.sqrt(np.sum(tail**2) + 1e-12))
        response[0] = 1
        first = self.context - BRIEF  # what is before is heard by the noise estimate alone
        wet = _convolved(track[first:], response.astype(np.float32))[: self.length - first]
        return np.concatenate([track[:first], wet])


def _crossed(a: Samples, b: Samples) -> Samples:
    """One after the other, with a short cross-fade."""
    n = min(_CROSS, len(a), len(b))
    rise = np.linspace(0, 1, n, dtype=np.float32)
    middle = a[len(a) - n :] * (1 - rise) + b[:n] * rise
    return np.concatenate([a[: len(a) - n], middle, b[n:]])


def _convolved(a: Samples, b: Samples) -> Samples:
    """Linear convolution, [len(a) + len(b) - 1]: scipy.signal.fftconvolve, whose module takes a second to import."""
    length = len(a) + len(b) - 1
    n = fft.next_fast_len(length, real=True)
    return fft.irfft(fft.rfft(a, n) * fft.rfft(b, n), n)[:length].astype(np.float32)


def response(samples: NDArray[np.int16]) -> Samples:
    """A measured impulse response as `Scenes` takes it: from its direct sound on, at most `_LONGEST_RESPONSE` samples,
    of energy 1."""
    x = samples.astype(np.float32)
    x = x[max(0, int(np.abs(x).argmax()) - 16) :][:_LONGEST_RESPONSE]
    x[-min(400, len(x)) :] *= np.linspace(1, 0, min(400, len(x)), dtype=np.float32)
    return x / np.float32(np.sqrt(np.sum(x**2)) + 1e-9)


def _shares(weights: Sequence[float]) -> NDArray[np.float64]:
    total = sum(weights)
    return np.array([w / total for w in weights]) if total else np.full(len(weights), 1 / max(1, len(weights)))


def _place(track: Samples, clip: Samples, first: int, last: int, end: int, gain: float) -> int:
    """Adds a clip's word, faded in and out in its margins, so that it ends at ``end``, which may lie before or behind
    all of the track; returns where it begins."""
    low, high = max(0, first - _MARGIN), min(len(clip), last + _MARGIN)
    piece = clip[low:high] * np.float32(gain)
    rise, fall = min(_FADE, first - low), min(_FADE, high - last)
    piece[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    piece[len(piece) - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    at = end - (last - low)
    cut, heard = max(0, -at), min(len(piece), len(track) - at)
    if heard > cut:
        track[at + cut : at + heard] += piece[cut:heard]
    return at + first - low


def _resample(samples: Samples, speed: float) -> Samples:
    places = np.arange(int(len(samples) / speed), dtype=np.float32) * np.float32(speed)
    return np.interp(places, np.arange(len(samples), dtype=np.float32), samples).astype(np.float32)


def _rms(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float32) ** 2) + 1.0)) if len(samples) else 1.0


def _db(db: float) -> float:
    return float(10.0 ** (db / 20.0))
