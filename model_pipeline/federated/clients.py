"""Who the clients are: the training clips of a data folder by speaker, or by groups of speakers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model_pipeline.config import Config, FederateConfig
from model_pipeline.data.dataset import Clip, Dataset
from model_pipeline.errors import KwsError
from model_pipeline.training.augment import Noise
from model_pipeline.training.clips import FeatureStream, Speech
from model_pipeline.training.sources import labelled


@dataclass(frozen=True)
class Client:
    """One client: its speakers, and where its clips are in the list that `split` was given: those that it learns from,
    and those ``held`` out of all rounds."""

    number: int
    speakers: tuple[str, ...]
    clips: tuple[int, ...]
    held: tuple[int, ...] = ()


def split(clips: Sequence[Clip], settings: FederateConfig, keywords: int) -> list[Client]:
    """Groups of ``speakers_per_client`` speakers, drawn by the seed. With ``keywords_per_client`` a client keeps its
    clips of the keywords (labels below ``keywords``) and of other words; of all that, ``held_out`` is set apart.

    Raises:
        KwsError: these are fewer than two clients.
    """
    places: dict[str, list[int]] = {}
    for place, clip in enumerate(clips):
        places.setdefault(clip.speaker, []).append(place)
    speakers = sorted(places)
    order = np.random.default_rng([settings.seed, 1]).permutation(len(speakers))
    each, clients = settings.speakers_per_client, list[Client]()
    for start in range(0, len(speakers), each):
        number, own = len(clients), sorted(speakers[i] for i in order[start : start + each])
        found = sorted(place for speaker in own for place in places[speaker])
        if 0 < settings.keywords_per_client < keywords:
            rng = np.random.default_rng([settings.seed, 2, number])
            wanted = set(rng.choice(keywords, settings.keywords_per_client, replace=False).tolist())
            found = [place for place in found if clips[place].label in wanted or clips[place].label >= keywords]
        rng = np.random.default_rng([settings.seed, 9, number])
        held = sorted(rng.permutation(found)[: int(settings.held_out * len(found))].tolist())
        kept = sorted(set(found) - set(held))
        clients.append(Client(number, tuple(own), tuple(kept), tuple(held)))
    if len(clients) < 2:
        raise KwsError(
            f"{len(speakers)} speakers in groups of {each} are {len(clients)} client",
            hint="fewer --speakers-per-client, or recordings of more people",
        )
    return clients


def chosen(clients: Sequence[int], settings: FederateConfig, number: int) -> list[int]:
    """The clients of round ``number`` (from 1), in order: always the same for one seed."""
    count = min(len(clients), max(2, round(settings.fraction * len(clients))))
    rng = np.random.default_rng([settings.seed, 3, number])
    return sorted(rng.choice(sorted(clients), count, replace=False).tolist())


class Household:
    """The clips of all clients that this process may stand for, and their examples as `kws train` makes them."""

    def __init__(self, config: Config, data: str | Path, audio: Path | None = None, whole: int | None = None) -> None:
        """
        Args:
            audio: int16 [n, samples] (.npy) of all training clips; None: they are read from ``data``.
            whole: all clips of ``data`` are this client's.
        """
        self.config = config
        self.dataset = Dataset.open(data, config.keywords, config.data, some=whole is not None)
        self.clips = self.dataset.clips("training")
        if whole is None:
            self.clients = {c.number: c for c in split(self.clips, config.federate, len(config.keywords))}
        else:
            own = tuple(sorted({clip.speaker for clip in self.clips}))
            self.clients = {whole: Client(whole, own, tuple(range(len(self.clips))))}
        self.noise = Noise(self.dataset.noise_part("training"), self.dataset.clip_samples)
        self.audio = np.load(audio, mmap_mode="r") if audio else None

    def speech(self, number: int) -> Speech:
        """The clips that a client learns from.

        Raises:
            KwsError: there is no such client here.
        """
        return self._speech(self._client(number).clips)

    def held(self, number: int) -> Speech:
        """The clips of a client that no round hears.

        Raises:
            KwsError: there is no such client here.
        """
        return self._speech(self._client(number).held)

    def _client(self, number: int) -> Client:
        if number not in self.clients:
            raise KwsError(f"there are {len(self.clients)} clients, and no number {number}")
        return self.clients[number]

    def _speech(self, of: Sequence[int]) -> Speech:
        places = list(of)
        clips = [self.clips[place] for place in places]
        audio = self.dataset.audio(clips) if self.audio is None else self.audio[places]
        return labelled(audio, [(False, clip) for clip in clips])

    def examples(self, number: int, round_number: int) -> tuple[np.ndarray, np.ndarray]:
        """What a client hears in a round: its clips of keywords, other words and silence in the recipe's shares, each
        augmented: int8 [n, frames, channels] and labels [n]."""
        return examples_of(self.speech(number), self.noise, self.config, (number, round_number))


def examples_of(speech: Speech, noise: Noise, config: Config, which: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """See `Household.examples`; ``which``: the numbers of client and round."""
    number, round_number = which
    c, unknown = config.train, len(config.keywords)
    rng = np.random.default_rng([config.federate.seed, 4, *which])
    mean = float((speech.labels < unknown).sum()) / unknown
    # Shares of a few clips: rounded up or down by chance, so that they hold over all clients together.
    others, silent = (int(mean * ratio + rng.random()) for ratio in (c.unknown_ratio, c.silence_ratio))
    if not mean:
        others = max(1, others)
    stream = FeatureStream(speech, noise, config, (others, silent), workers=1)
    # One number for both: the stream draws by it and the recipe's seed.
    parts = stream.make(round_number * 1_000_003 + number)
    if not parts:
        return np.zeros((0, 0, 0), np.int8), np.zeros(0, np.int64)
    x, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    return x, y
