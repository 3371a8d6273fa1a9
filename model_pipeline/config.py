"""The configuration of a run: one TOML file, checked before anything is started."""

from __future__ import annotations

import difflib
import logging
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from model_pipeline.errors import KwsError
from model_pipeline.strict import Strict
from model_pipeline.words import check_said

_LOG = logging.getLogger("kws")
CONFIGS = Path(__file__).resolve().parent / "configs"
PROJECT_FILE = "kws.toml"  # in a folder that `kws new` made
UNKNOWN = "unknown"
SILENCE = "silence"


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

    def frames(self, samples: int) -> int:
        """Frames that ``samples`` samples give after a reset."""
        return 0 if samples < self.window_samples else 1 + (samples - self.window_samples) // self.hop_samples


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
    # So many clips more of single words, keywords or others: for one that is said often and sounds like a keyword.
    more: dict[Word, Annotated[int, Field(ge=0, le=20000)]] = Field(default_factory=dict)
    # Those that are not installed are left out; kokoro and hibari come with micro-kws[voices].
    engines: list[Engine] = ["espeak-ng", "flite", "festival", "kokoro", "hibari", "piper"]
    # As espeak-ng names it: en, de, pt-br. flite, festival, kokoro and hibari speak English.
    language: str = Field("en", pattern=r"^[a-z]{2,3}(-[a-z0-9]+)*$")
    piper_voices: str = ""  # a folder of piper's voices (*.onnx with *.onnx.json), for micro-kws[piper]
    # How much of the speech an engine says, in proportion; those not named have a built-in share. Kokoro takes the most
    # time by far, a second for a word.
    shares: dict[Engine, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    seed: int = Field(1, ge=0)

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
    # Text files, or folders of them, whose sentences are read out; those that are missing are done without.
    text: list[str] = ["/usr/share/games/fortunes"]
    near_share: float = Field(0.5, ge=0, le=1)  # of the sentences: everyday words and near words in a row
    folder: str = ""  # where it is kept, for several trainings; empty: beside the trained network

    def recipe(self) -> dict[str, Any]:
        """What the speech depends on, as JSON values."""
        return self.model_dump(mode="json", exclude={"folder"})


class DataConfig(Strict):
    """Where the speech comes from."""

    source: Literal["synth", "folder"] = "synth"
    folder: str = ""  # Speech Commands layout; used by source = "folder"
    name: str = ""  # what the data is called, for the manifest
    licence: str = ""  # likewise
    # With source = "synth": own recordings in the same layout that go into all splits, each speaker into one. A path
    # relative to the configuration's file.
    recordings: str = ""
    # The model is for those alone who recorded: three of five takes of each are heard in training, one in validation,
    # one in testing. Otherwise each speaker's takes are all in one split, and the test tells about other people.
    personal: bool = False
    # Another data folder whose training clips are added, for words that the recordings lack; "synth": made by the
    # [synth] part when training begins.
    extra: str = ""
    extra_share: float = Field(0.4, ge=0, le=1)  # of the unknown words in an epoch
    unknown_percent: int = Field(0, ge=0, le=100)  # of all keyword clips; 0: as many as a mean keyword
    silence_percent: int = Field(0, ge=0, le=100)  # likewise


class ShapeConfig(Strict):
    """Sizes of architecture ``tcn``; the others have their own. `kws search` finds good ones."""

    front: int = Field(16, ge=1, le=256)  # channels of the front, which still has a frequency axis
    body: int = Field(64, ge=1, le=1024)  # channels of the sequence after it
    blocks: int = Field(5, ge=0, le=32)
    kernel: int = Field(7, ge=1, le=64)  # steps of a block's depthwise convolution
    # Frames of a step of the sequence. More than one: more weights for the same work, and no plan for single hops.
    step: int = Field(1, ge=1, le=8)

    @property
    def frames(self) -> int:
        """Frames of the shortest window that these unpadded convolutions fit into."""
        return 3 + self.step * (2 + self.blocks * (self.kernel - 1))


class TrainConfig(Strict):
    """Training, by epochs over the training split."""

    architecture: str = "ds_tcn"
    width: float = Field(1.0, gt=0, le=8)
    shape: ShapeConfig = ShapeConfig()  # read by architecture tcn alone, instead of width
    epochs: int = Field(30, ge=1, le=10000)
    batch: int = Field(100, ge=1, le=65536)
    learning_rate: float = Field(2e-3, gt=0, le=1)
    weight_decay: float = Field(1e-4, ge=0, le=1)
    warmup_epochs: int = Field(2, ge=0)  # the rate rises, then falls along a cosine
    average: float = Field(0.998, ge=0, lt=1)  # of the weights, over steps; 0: none
    label_smoothing: float = Field(0.05, ge=0, lt=0.5)
    unknown_ratio: float = Field(2.0, ge=0, le=20)  # clips an epoch, times those of a mean keyword
    silence_ratio: float = Field(1.0, ge=0, le=20)  # likewise
    # The weights that the network begins with: a shipped base ("words") or a file that `training.distill` made.
    base: str = ""
    # A teacher is trained first by the same recipe, then the network learns its answers too (knowledge distillation).
    teacher_width: float = Field(0.0, ge=0, le=16)  # 0: no teacher
    teacher_epochs: int = Field(40, ge=1, le=10000)
    teacher_share: float = Field(0.7, ge=0, le=1)  # of the loss
    temperature: float = Field(2.0, gt=0, le=20)
    # How far the labels' shares of the examples are taken out of what is learnt: 0: not, 1: as if all were as frequent
    # (logit adjustment; Menon and others, arXiv:2007.07314).
    balance: float = Field(0.0, ge=0, le=2)
    # A label to which a pool's teacher gives a smaller probability is taken for a mistake; it alone is believed then.
    distrust: float = Field(0.0, ge=0, lt=1)
    seed: int = 1


class AugmentConfig(Strict):
    """How training examples are changed, anew in every epoch."""

    shift_ms: int = Field(100, ge=0, le=500)
    speed_percent: float = Field(12.0, ge=0, le=40)  # slower or faster by resampling, so pitch goes with it
    gain_db: float = Field(10.0, ge=0, le=40)
    noise_probability: float = Field(0.7, ge=0, le=1)
    noise_snr_db: tuple[float, float] = (0.0, 30.0)
    spec_augment: bool = True
    spec_frames: int = Field(6, ge=0)  # the widest mask in time
    spec_channels: int = Field(5, ge=0)  # the widest mask in frequency
    spec_masks: int = Field(1, ge=1, le=10)  # of each kind
    # Features that were made once (of [scenes] or a sharded set) are also stretched in time, and moved by frames and
    # along frequency by channels: at most so much.
    warp_percent: float = Field(0.0, ge=0, le=40)
    warp_frames: float = Field(0.0, ge=0, le=20)
    warp_channels: float = Field(0.0, ge=0, le=8)
    # They are also made louder or softer by at most so much, and heard by other microphones, whose responses have this
    # standard deviation. For front ends without noise reduction and PCAN.
    level_db: float = Field(0.0, ge=0, le=40)
    colour_db: float = Field(0.0, ge=0, le=20)
    mixup: float = Field(0.0, ge=0, le=2)  # both parameters of the beta distribution of the shares; 0: none


class QuantizeConfig(Strict):
    """How the float network becomes an int8 one."""

    method: Literal["ptq", "qat", "best"] = "best"  # post-training, quantisation-aware, or the better of both
    qat_epochs: int = Field(6, ge=1, le=1000)
    qat_learning_rate: float = Field(2e-4, gt=0, le=1)
    # How much of train.balance is put back: more of unknown, so fewer false accepts and fewer words heard.
    lean: float = Field(0.0, ge=-1, le=2)


class DevicesConfig(Strict):
    """Where training runs (docs/training.md); none of it changes the recipe."""

    strategy: Literal["auto", "mirrored", "multiworker"] = "auto"
    replicas: int = Field(0, ge=0, le=64)  # devices of this machine; 0: all GPUs, or one CPU
    buffer_clips: int = Field(0, ge=0)  # of a sharded data set held in memory; 0: a quarter of the memory
    worker_deadline_s: int = Field(300, ge=5, le=86400)  # the longest wait for another worker


# Keys that have moved: what older files and command lines call them, and what they are now.
_MOVED = {
    **{f"train.{key}": f"augment.{key}" for key in AugmentConfig.model_fields},
    **{f"train.{key}": f"quantize.{key}" for key in QuantizeConfig.model_fields},
    **{f"train.{key}": f"devices.{key}" for key in DevicesConfig.model_fields},
    "train.quantization": "quantize.method",
    "streaming": "hop_frames",
}
del _MOVED["train.method"]


class CorpusConfig(Strict):
    """A folder of connected speech, of noise or of impulse responses (`model_pipeline.data.corpora`)."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,80}$")
    folder: str  # "talk": the training voices of [talk], made when training begins
    kind: Literal["speech", "noise", "response"] = "speech"
    licence: str = ""
    # Shares of its speakers (of its files, where names tell no speaker) that training hears and that thresholds are
    # chosen on; all others are for reporting.
    training: float = Field(0.25, ge=0, le=1)
    calibration: float = Field(0.25, ge=0, le=1)
    weight: float = Field(1.0, ge=0)  # how often training hears it among those of its kind
    # Whether it is sure that no keyword is said in it. Of what is not, the teacher may say that one was.
    sure: bool = False
    exclude: list[str] = Field(default_factory=list)  # speakers or files' names (without ending) that are left out

    @model_validator(mode="after")
    def _parts(self) -> CorpusConfig:
        if self.training + self.calibration > 1:
            raise ValueError("training and calibration are more than all of it")
        return self


class ScenesConfig(Strict):
    """Training examples as a device hears them (`model_pipeline.training.scenes`), made once, before training."""

    examples: int = Field(0, ge=0, le=100_000_000)  # 0: none; each clip by itself, augmented anew every epoch
    folder: str = ""  # where they are kept, for several trainings; empty: beside the trained network
    # Connected speech, noise and impulse responses of rooms, of which one part is heard in training.
    corpora: list[CorpusConfig] = Field(default_factory=list)
    # Words of people that are drawn so many times as often as their number of clips gives: "off" has 14.
    often: dict[Word, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    # A network that learns these examples first; the model then learns its answers to them.
    # speech_embedding is trained whole; embedding_head is the same network as it is, with a linear head: for words that
    # only synthetic voices say.
    teacher: Literal["none", "speech_embedding", "embedding_head"] = "none"
    head_decay: float = Field(0.01, ge=0, le=10)  # how much the head's weights are held back
    teacher_steps: int = Field(3000, ge=1)
    teacher_examples: int = Field(100_000, ge=1)  # the first so many; what it hears of each is kept, 8 KB
    teacher_learning_rate: float = Field(4e-4, gt=0, le=1)
    # So many of its first convolutions stay as they are (of 20; 10 of them are three quarters of the work).
    teacher_frozen: int = Field(0, ge=0, le=20)
    seed: int = Field(1, ge=0)
    # Shares of the examples; those without clips fall away.
    keywords: float = Field(0.53, ge=0)
    synthetic_keywords: float = Field(0.03, ge=0)
    unknown: float = Field(0.12, ge=0)
    synthetic_unknown: float = Field(0.10, ge=0)
    connected_speech: float = Field(0.12, ge=0)
    silence: float = Field(0.10, ge=0)
    as_clip: float = Field(0.5, ge=0, le=1)  # of the words; the others come as in a stream
    clip_noise: float = Field(0.6, ge=0, le=1)
    clip_snr_db: tuple[float, float] = (3.0, 35.0)
    stream_snr_db: tuple[float, float] = (-2.0, 28.0)
    speech_dbfs: tuple[float, float] = (-38.0, -14.0)
    cut_words: float = Field(0.4, ge=0, le=1)  # of those, so many lie anywhere, also beyond the window's edges
    word_before: float = Field(0.55, ge=0, le=1)
    room: float = Field(0.25, ge=0, le=1)
    measured: float = Field(0.5, ge=0, le=1)  # of the rooms, by an impulse response of the corpora, if they have any
    speed_percent: float = Field(12.0, ge=0, le=40)

    def recipe(self) -> dict[str, Any]:
        """What the examples depend on, as JSON values."""
        unused = set() if self.teacher == "embedding_head" else {"head_decay"}
        return self.model_dump(mode="json", exclude={"folder"} | unused)


class MineConfig(Strict):
    """Training on with the connected speech that the network falls for (`model_pipeline.training.mine`)."""

    rounds: int = Field(0, ge=0, le=5)  # 0: none
    # So many of the examples are learnt by the first network, which only has to show where it is hard; 0: all.
    begin: int = Field(0, ge=0)
    score: float = Field(0.25, gt=0, lt=1)  # a keyword of at least this probability where none is said is a hard place
    # Scenes of hard places, beside all others, of each round; the last stands for all after it.
    examples: list[Annotated[int, Field(ge=1)]] = Field([40_000], min_length=1)
    # Of each round; the last stands for all after it.
    epochs: list[Annotated[int, Field(ge=1, le=1000)]] = Field([3], min_length=1)
    learning_rate: float = Field(1e-3, gt=0, le=1)


class DetectorConfig(Strict):
    """What turns posteriors into events."""

    # False accepts an hour that are wanted: `kws run` then chooses window, thresholds, count, refractory time and
    # stride by voices and recordings that training has not heard. 0: those given here.
    rate: float = Field(0.0, ge=0, le=1000)
    window_ms: int = Field(400, ge=0, le=5000)
    threshold: float = Field(0.7, gt=0, lt=1)
    min_count: int = Field(2, ge=1, le=20)
    refractory_ms: int = Field(800, ge=0, le=10000)
    stride_hops: int = Field(5, ge=1, le=50)  # hops between inferences in continuous mode


Packing = Literal["speed", "size", "portable"]


class CompileConfig(Strict):
    """How the compiler keeps weights in flash (docs/kernels.md)."""

    # speed: as the inner loops want them, two bytes a weight; size: one byte, for a little more time; portable: the
    # plain kernels' layout, one byte.
    packing: Packing = "speed"
    # Bytes; where "speed" would take more, only the layers that gain most keep two bytes. 0: no limit.
    max_constants: int = Field(0, ge=0)


class MeasureConfig(Strict):
    """What is streamed to the device."""

    clips: int = Field(60, ge=1)  # spread evenly over the labels of the test split
    near_takes: int = Field(4, ge=0)  # of each near word, by held-out voices; 0: they are not tried
    # Test keywords said in noise, for misses and false accepts in a stream; 0: none.
    session_keywords: int = Field(400, ge=0)


class Config(Strict):
    """One run. See model_pipeline/configs/*.toml for commented examples."""

    name: str = Field("demo", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,40}$")
    keywords: list[Word] = Field(
        ["yes", "no", "up", "down", "left", "right", "stop", "go"], min_length=1, max_length=28
    )
    board: str = "disco_f407vg"
    engine: Literal["aot", "tflm"] = "aot"
    # Engine aot: 0, each inference takes the whole window; n, it computes only what n new feature frames change
    # (n divides the window; docs/streaming-plan.md).
    hop_frames: int = Field(0, ge=0)
    frontend: FrontendConfig = FrontendConfig()
    synth: SynthConfig = SynthConfig()
    talk: TalkConfig = TalkConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    augment: AugmentConfig = AugmentConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    devices: DevicesConfig = DevicesConfig()
    scenes: ScenesConfig = ScenesConfig()
    mine: MineConfig = MineConfig()
    detector: DetectorConfig = DetectorConfig()
    compile: CompileConfig = CompileConfig()
    measure: MeasureConfig = MeasureConfig()

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, values: Any) -> Any:
        return _with_moved_keys(values) if isinstance(values, dict) else values

    def recipe(self) -> dict[str, Any]:
        """What of [train] and [augment] the float network depends on, as JSON values."""
        train = self.train.model_dump(mode="json", exclude=set() if self.train.base else {"base"})
        return train | self.augment.model_dump(mode="json")

    @model_validator(mode="after")
    def _plain(self) -> Config:
        if (self.augment.level_db or self.augment.colour_db) and (self.frontend.noise_reduction or self.frontend.pcan):
            raise ValueError(
                "augment.level_db and augment.colour_db need frontend.noise_reduction = false and frontend.pcan = false"
            )
        return self

    @field_validator("keywords")
    @classmethod
    def _distinct(cls, words: list[str]) -> list[str]:
        if len(set(words)) != len(words):
            raise ValueError("a keyword is given twice")
        reserved = {UNKNOWN, SILENCE} & set(words)
        if reserved:
            raise ValueError(f"{', '.join(sorted(reserved))} is a label of every model, not a keyword")
        return words

    @property
    def labels(self) -> list[str]:
        """The model's outputs in order: the keywords, then unknown, then silence."""
        return [*self.keywords, UNKNOWN, SILENCE]


def _with_moved_keys(values: dict[str, Any]) -> dict[str, Any]:
    """Puts keys of older files where they are now, and notes it.

    Raises:
        ValueError: a key is there by both names.
    """
    if "streaming" in values:
        if "hop_frames" in values:
            raise ValueError("streaming is hop_frames now, which is there too")
        values = {("hop_frames" if key == "streaming" else key): value for key, value in values.items()}
        _LOG.warning("streaming is hop_frames now")
    train = values.get("train")
    if not isinstance(train, dict):
        return values
    old = {key: new for key in train if (new := _MOVED.get(f"train.{key}"))}
    if not old:
        return values
    result = {**values, "train": {key: value for key, value in train.items() if key not in old}}
    for key, new in old.items():
        section, _, name = new.partition(".")
        there = result.get(section, {})
        if not isinstance(there, dict) or name in there:
            raise ValueError(f"train.{key} is {new} now, which is there too")
        result[section] = {**there, name: train[key]}
    _LOG.warning("%s", "; ".join(f"train.{key} is {new} now" for key, new in sorted(old.items())))
    return result


def load_config(path: str | Path | None = None, **overrides: object) -> Config:
    """Reads a configuration; ``None`` is the built-in demo, a bare name one of model_pipeline/configs, a folder one
    that `kws new` made.

    Args:
        overrides: top-level keys that replace the file's.

    Raises:
        KwsError: no such file, broken TOML, or a wrong key or value (named).
    """
    source = Path(path) if path is not None else CONFIGS / "demo.toml"
    if source.is_dir():
        source = source / PROJECT_FILE
    if not source.exists() and (CONFIGS / f"{source}.toml").exists():
        source = CONFIGS / f"{source}.toml"
    try:
        values = tomllib.loads(source.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        known = ", ".join(sorted(p.stem for p in CONFIGS.glob("*.toml")))
        raise KwsError(f"no configuration {source}", hint=f"built-in ones: {known}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KwsError(f"can't read {source}: {error}") from error
    values.update({k: v for k, v in overrides.items() if v is not None})
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("recordings"), str) and data["recordings"]:
        values["data"] = {**data, "recordings": str((source.parent / data["recordings"]).resolve())}
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"{source}: {explain(error, Config)}") from error


def with_settings(config: Config, settings: list[str]) -> Config:
    """``config`` with single values replaced: ``["train.epochs=5", "keywords=['on', 'off']"]`` (TOML values; a bare
    word is text).

    Raises:
        KwsError: not ``key=value``, no such key, or a wrong value (named).
    """
    values = config.model_dump(mode="json")
    for setting in settings:
        key, equals, text = setting.partition("=")
        moved = _MOVED.get(key.strip())
        if moved:
            _LOG.warning("%s is %s now", key.strip(), moved)
        *path, last = (moved or key.strip()).split(".")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text.strip()
        place: Any = values
        for part in path:
            place = place.get(part) if isinstance(place, dict) else None
        if not equals or not isinstance(place, dict) or last not in place:
            raise KwsError(
                f"no setting {key.strip()!r}",
                hint=_meant(Config, key.strip().split("."))
                or "as in train.epochs=5; docs/configuration.md lists the keys",
            )
        place[last] = value
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise KwsError(f"settings: {explain(error, Config)}") from error


def explain(error: ValidationError, model: type[BaseModel] | None = None) -> str:
    """A pydantic error as one line that names each key.

    Args:
        model: what was validated; for a key that it lacks, the most similar one is named.
    """
    parts = []
    for found in error.errors():
        path = [str(p) for p in found["loc"]]
        text = found["msg"].removeprefix("Value error, ")
        meant = _meant(model, path) if model is not None and found["type"] == "extra_forbidden" else ""
        parts.append(f"{'.'.join(path) or 'file'}: {text}{f' ({meant})' if meant else ''}")
    return "; ".join(parts)


def _meant(model: type[BaseModel], path: list[str]) -> str:
    """``did you mean …?`` with the most similar of the model's keys, the same section's first; empty without one."""
    keys = _keys(model)
    *section, last = path
    beside = {key.rpartition(".")[2]: key for key in keys if key.split(".")[:-1] == section}
    near = [beside[name] for name in difflib.get_close_matches(last, beside, n=1)]
    near += [key for key in keys if key.rpartition(".")[2] == last]  # the right name in another section
    near += difflib.get_close_matches(".".join(path), keys, n=1, cutoff=0.75)
    return f"did you mean {near[0]}?" if near else ""


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(prefix + name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += _keys(field.annotation, f"{prefix}{name}.")
    return found
