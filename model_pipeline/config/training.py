"""What is learnt, how, from which examples, and on which devices."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from model_pipeline.config.speech import Word
from model_pipeline.strict import Strict


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
    silence_ratio: float = Field(1.0, ge=0, le=20)  # silent clips, in the same way
    # The weights that the network begins with: a shipped base ("heard"; "people", which has not heard the
    # words of `make bench-words`; "words" of 60 channels) or a file that `training.distill` made.
    base: str = ""
    # How much of it stays: the network that is kept is so much of what it began with, and the rest of what it became
    # (Wortsman and others, arXiv:2109.01903). It goes on understanding people whom the examples do not have.
    base_share: float = Field(0.0, ge=0, le=1)
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
    # How much of train.balance is put back: more of unknown, so fewer false accepts and fewer words heard. Below 0 it
    # weighs less than if all labels were as frequent.
    lean: float = Field(0.0, ge=-1, le=2)


class DevicesConfig(Strict):
    """Where training runs (docs/training.md); none of it changes the recipe."""

    strategy: Literal["auto", "mirrored", "multiworker"] = "auto"
    replicas: int = Field(0, ge=0, le=64)  # devices of this machine; 0: all GPUs, or one CPU
    buffer_clips: int = Field(0, ge=0)  # of a sharded data set held in memory; 0: a quarter of the memory
    worker_deadline_s: int = Field(300, ge=5, le=86400)  # the longest wait for another worker


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
    # Words of people that are drawn N times as often as their number of clips gives: "off" has 14.
    often: dict[Word, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    # A network that learns these examples first; the model then learns its answers to them.
    # speech_embedding is trained whole; embedding_head is the same network as it is, with a linear head: for words that
    # only synthetic voices say.
    teacher: Literal["none", "speech_embedding", "embedding_head"] = "none"
    head_decay: float = Field(0.01, ge=0, le=10)  # how much the head's weights are held back
    teacher_steps: int = Field(3000, ge=1)
    teacher_examples: int = Field(100_000, ge=1)  # the first N examples; what it hears of each is kept, 8 KB
    teacher_learning_rate: float = Field(4e-4, gt=0, le=1)
    # Number of its first convolutions that stay as they are (of 20; 10 of them are three quarters of the work).
    teacher_frozen: int = Field(0, ge=0, le=20)
    seed: int = Field(1, ge=0)
    # Shares of the examples; those without clips fall away.
    keywords: float = Field(0.53, ge=0)
    synthetic_keywords: float = Field(0.03, ge=0)
    unknown: float = Field(0.12, ge=0)
    synthetic_unknown: float = Field(0.10, ge=0)
    connected_speech: float = Field(0.12, ge=0)
    silence: float = Field(0.10, ge=0)
    # Parts of two takes of keywords, joined to what is none: who records nothing but keywords would else have whatever
    # sounds recorded heard as one.
    joined: float = Field(0.0, ge=0)
    # The share of all noise that is voices saying other words at once, few and many; 0: one noise among the others.
    babble: float = Field(0.0, ge=0, le=0.9)
    as_clip: float = Field(0.5, ge=0, le=1)  # of the words; the others come as in a stream
    clip_noise: float = Field(0.6, ge=0, le=1)
    clip_snr_db: tuple[float, float] = (3.0, 35.0)
    stream_snr_db: tuple[float, float] = (-2.0, 28.0)
    speech_dbfs: tuple[float, float] = (-38.0, -14.0)
    cut_words: float = Field(0.4, ge=0, le=1)  # the share of those that lie anywhere, also beyond the window's edges
    word_before: float = Field(0.55, ge=0, le=1)
    room: float = Field(0.25, ge=0, le=1)
    measured: float = Field(0.5, ge=0, le=1)  # of the rooms, by an impulse response of the corpora, if they have any
    speed_percent: float = Field(12.0, ge=0, le=40)

    def recipe(self) -> dict[str, Any]:
        """What the examples depend on, as JSON values."""
        unused = set() if self.teacher == "embedding_head" else {"head_decay"}
        # Examples that were made before these were there stay.
        unused |= {name for name in ("babble", "joined") if not getattr(self, name)}
        return self.model_dump(mode="json", exclude={"folder"} | unused)


class MoreScenes(Strict):
    """A last round of training with further scenes, of other shares than the first ones: what learning to reject
    speech has cost of the words is won back there. What is None is as in `ScenesConfig`."""

    examples: int = Field(0, ge=0, le=100_000_000)  # beside all others; 0: no such round
    epochs: int = Field(4, ge=1, le=1000)
    learning_rate: float = Field(2.5e-3, gt=0, le=1)
    keywords: float | None = Field(None, ge=0)
    synthetic_keywords: float | None = Field(None, ge=0)
    unknown: float | None = Field(None, ge=0)
    synthetic_unknown: float | None = Field(None, ge=0)
    connected_speech: float | None = Field(None, ge=0)
    silence: float | None = Field(None, ge=0)
    as_clip: float | None = Field(None, ge=0, le=1)
    often: dict[Word, Annotated[float, Field(gt=0)]] | None = None

    def over(self, scenes: ScenesConfig) -> ScenesConfig:
        """``scenes`` with these shares, drawn by another seed."""
        changes = {k: v for k, v in self if v is not None and k not in ("epochs", "learning_rate")}
        return scenes.model_copy(update={**changes, "seed": scenes.seed + 2000})


class MineConfig(Strict):
    """Training on with the connected speech that the network falls for (`model_pipeline.training.mine`)."""

    rounds: int = Field(0, ge=0, le=5)  # 0: none
    # Number of the examples that are learnt by the first network, which only has to show where it is hard; 0: all.
    begin: int = Field(0, ge=0)
    score: float = Field(0.25, gt=0, lt=1)  # a keyword of at least this probability where none is said is a hard place
    # Scenes of hard places, beside all others, of each round; the last stands for all after it.
    examples: list[Annotated[int, Field(ge=1)]] = Field([40_000], min_length=1)
    # Of each round; the last stands for all after it.
    epochs: list[Annotated[int, Field(ge=1, le=1000)]] = Field([3], min_length=1)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    more: MoreScenes = MoreScenes()
