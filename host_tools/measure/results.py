"""What is measured on a device, as types. What a run adds to it is in `host_tools.report.results`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from model_pipeline.intervals import Share
from model_pipeline.limits import LIMITS, Labels
from model_pipeline.strict import Strict


class ClipShare(Strict):
    """`intervals.Share` of clips."""

    correct: int
    total: int
    value: float | None
    low: float
    high: float

    @property
    def share(self) -> Share:
        """The same as the others are, with its interval anew."""
        return Share.of(self.correct, self.total)


class LabelShare(ClipShare):
    """Of one label: recall or precision."""

    label: str


class Spread(Strict):
    """`metrics.spread`: of nothing, ``count`` alone."""

    count: int
    mean: float | None = None
    min: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class Ticks(Strict):
    """What a device's ticks may be called: "instructions", "cycles", "ns" or "ticks of SOURCE at N Hz"; ``note``: why,
    in one sentence."""

    name: str
    note: str
    source: str
    hz: int


class Cost(Strict):
    """Ticks of the parts."""

    frontend_frame: Spread
    frontend_clip: Spread
    inference: Spread
    detector: Spread


class Response(Strict):
    """Milliseconds from a clip's last sample to its answer: ``streaming`` sums up ``paced``, those at a microphone's
    pace."""

    streaming: Spread
    paced: list[float]
    burst: Spread


class LinkUse(Strict):
    """What both ends of the link counted."""

    lost: int
    repeated: int
    host: dict[str, int | float]
    device: dict[str, int]


class Agreement(Strict):
    """Clips whose outputs are equal on host and device, value by value; ``differ``: the names of some that are not."""

    compared: int
    equal: int
    differ: list[str]


class ClipRow(Strict):
    """One clip: numbers of labels, int8 outputs, ticks; None where its answer was lost."""

    name: str
    label: int
    predicted: int | None
    output: list[int] | None
    host_output: list[int] | None = None
    frontend_ticks: int | None = None
    frontend_frames: int | None = None
    inference_ticks: int | None = None
    detector_ticks: int | None = None
    response_ms: float | None = None


class Throughput(Strict):
    """Of clips at full speed."""

    seconds: float
    clips_per_second: float | None


class Classes(BaseModel):
    """What was said and what was heard; ``confusion``: rows said, columns heard."""

    model_config = ConfigDict(frozen=True)

    labels: Labels
    accuracy: ClipShare
    confusion: list[list[int]] = Field(max_length=LIMITS["LABELS"])
    recall: list[LabelShare] = Field(max_length=LIMITS["LABELS"])
    precision: list[LabelShare] = Field(max_length=LIMITS["LABELS"])


class Said(BaseModel):
    """A device's INFO (`host_tools.link.info.Info`, field by field); 0 or "" for what it does not say."""

    model_config = ConfigDict(frozen=True, extra="allow")  # of a firmware that says more

    firmware: str = ""
    board: str = ""
    engine: str = ""
    model_hash: str = ""
    labels: list[str] = []
    sample_rate: int = 0
    window_samples: int = 0
    hop_samples: int = 0
    channels: int = 0
    window_frames: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    default_stride: int = 0
    timer_hz: int = 0
    core_hz: int = 0
    calibration_expected: int = 0
    calibration_ticks: int = 0
    timer_source: str = ""
    arena_bytes: int = 0
    macs: int = 0
    stack_bytes: int = 0
    stack_used: int = 0
    free_ram: int = 0
    detector: SaidDetector | None = None
    build: str = ""
    parts: list[SaidPart] = []


class SaidDetector(Strict):
    """Its detector's settings, as `host_tools.link.info.Detector` has them."""

    window: int
    min_count: int
    refractory_samples: int
    thresholds: list[int]
    rest: int = 0


class SaidPart(Strict):
    """One of several models in its image, as `host_tools.link.info.Part` has it."""

    name: str
    labels: int
    role: int
    window: int
    rest: int
    hop_samples: int
    stride: int


class Measurement(Classes):
    """Labelled clips through a device. ``device``: its INFO; ``agreement``: where the host was asked too."""

    device: Said
    ticks: Ticks
    cost: Cost
    response_ms: Response
    link: LinkUse
    throughput: Throughput | None = None  # results of tests and of other tools may lack it
    clips: list[ClipRow]
    agreement: Agreement | None = None

    def to_json(self) -> dict[str, Any]:
        """As results.json holds it: without what was not measured."""
        return self.model_dump(mode="json", exclude_unset=True)


class PartCost(Strict):
    """Ticks of the parts, where no clip is timed as a whole."""

    frontend_frame: Spread
    inference: Spread
    detector: Spread


class Memory(Strict):
    """Flash or RAM in bytes: ``used`` of ``limit``, and named parts."""

    name: str
    used: int
    limit: int
    parts: list[tuple[str, int]]


class Burst(Strict):
    """Milliseconds to an answer at full speed; ``streaming``: at a microphone's pace, which is not tried."""

    burst: Spread
    streaming: Spread


class Bench(Strict):
    """What the parts take on a device, each separately."""

    device: Said
    ticks: Ticks
    cost: PartCost
    response_ms: Burst
    throughput_bytes_per_second: int
    link: LinkUse

    def to_json(self) -> dict[str, Any]:
        """For scripts: a spread of nothing is its count alone."""
        return self.model_dump(mode="json", exclude_unset=True)
