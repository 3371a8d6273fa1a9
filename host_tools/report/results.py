"""``results.json``: a measurement, and what a run adds to it, checked when it is written and when it is read."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationError

from host_tools.image.build import BuildResult
from host_tools.measure.boards import BoardCost
from host_tools.measure.results import ClipShare, Measurement
from model_pipeline.config import explain
from model_pipeline.errors import KwsError
from model_pipeline.files import read_json
from model_pipeline.intervals import Share
from model_pipeline.listening.results import CorpusFigures, Heard, Near, NearCost
from model_pipeline.score import Counts
from model_pipeline.strict import Strict


class Told(BaseModel):
    """A part as a step of a run wrote it. Steps of other versions write more or less: here is what is shown of it, and
    what stands for it where it was not told."""

    model_config = ConfigDict(frozen=True)


class StepRow(Told):
    """A step of the run: what it took, or had taken before (``reused``)."""

    name: str = ""
    title: str
    seconds: float
    reused: bool = False


class Epoch(Told):
    """A line of the training's log."""

    epoch: float
    validation_accuracy: float


class TrainingTold(Told):
    """Of a `model_pipeline.outcomes.Trained`, with its epochs."""

    data_hash: str = ""
    parameters: int | None = None
    epochs: int | None = None
    validation_accuracy: float | None = None
    validation_clips: int = 0
    validation_loss: float | None = None
    warnings: list[str] = []
    history: list[Epoch] = []


class WishTold(Told):
    """Of a `model_pipeline.listening.results.Wished`."""

    rate: float


class ExpectedTold(Told):
    """Of a `model_pipeline.listening.results.Expected`."""

    said: int | None = None
    errors_at_wish: float | None = None
    false_accepts_per_hour: float = 0.0
    near: Share | None = None
    near_costs: list[NearCost] = []


class CalibrationTold(Told):
    """Of a `model_pipeline.listening.results.CalibrationKept`."""

    wish: WishTold
    expected: ExpectedTold


class AccuracyTold(Told):
    """Of what the manifest keeps of accuracies."""

    calibration: CalibrationTold | None = None


class ModelTold(Told):
    """Of the `model_pipeline.manifest.Manifest`."""

    architecture: str = ""
    quantization: str = ""
    parameters: int = 0
    tools: dict[str, str] = {}
    accuracy: AccuracyTold = AccuracyTold()


class SpeakersTold(Told):
    """Of a `model_pipeline.score.Speakers`."""

    groups: dict[str, Counts] = {}


class OnHost(Told):
    """The model on this computer, on all test clips; ``confusion``: rows said, columns heard."""

    engine: str
    accuracy: ClipShare
    confusion: list[list[int]]
    speakers: SpeakersTold = SpeakersTold()


class Expectation(Strict):
    """What `host_tools.run.expect.expect` finds. ``streaming``: over long audio of the test split, None if not asked
    for; ``rows``: words in a row, where sentences of a text are said too; ``near``: None if not asked for or without a
    synthesiser."""

    streaming: Heard | None
    near: Near | None
    boards: list[BoardCost]
    rows: CorpusFigures | None = None


class Results(Measurement):
    """A measurement, and what a run adds to it.

    Attributes:
        where: the device; "" for one that is plugged in.
        created, kws: when, and by which version.
        config: of the run, as JSON has it; empty for a measurement alone.
        expect: as the run's step wrote it; `expected` reads it.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    name: str = ""
    where: str = ""
    created: str = ""
    kws: str = ""
    config: dict[str, Any] | None = None
    steps: list[StepRow] | None = None
    training: TrainingTold | None = None
    model: ModelTold | None = None
    host: OnHost | None = None
    expect: dict[str, Any] | None = None
    data_folder: str = ""
    build: BuildResult | None = None
    _json: dict[str, Any] = PrivateAttr()

    @classmethod
    def of(cls, values: dict[str, Any]) -> Results:
        """What ``values`` (JSON) say.

        Raises:
            ValidationError: something in them is not as it should be.
        """
        made = cls.model_validate(values)
        made._json = values
        return made

    def to_json(self) -> dict[str, Any]:
        """As results.json holds it: all that it was made of, as it was written, in its order."""
        return dict(self._json)

    @cached_property
    def expected(self) -> Expectation | None:
        """What is to be expected of the model; None for a measurement alone.

        Raises:
            ValidationError: another version wrote it, in another form.
        """
        return Expectation.model_validate(self.expect) if self.expect else None

    @property
    def heard(self) -> Heard | None:
        """What is to be expected in a stream."""
        return self.expected.streaming if self.expected else None

    @property
    def synthetic(self) -> bool:
        """Whether the run made its speech itself."""
        return bool((self.config or {}).get("data", {}).get("source") == "synth")

    @property
    def seconds(self) -> float | None:
        """What the steps took; None for a measurement alone."""
        return round(sum(step.seconds for step in self.steps), 1) if self.steps else None


def read_results(folder: Path) -> Results:
    """``results.json`` of a run's folder (or the file itself).

    Raises:
        KwsError: it is not there, or is not a results file.
    """
    path = Path(folder) / "results.json" if Path(folder).is_dir() else Path(folder)
    try:
        return Results.of(read_json(path, hint="kws run again, or kws stream --out DIR"))
    except FileNotFoundError as error:
        raise KwsError(f"there is no {path}", hint="kws run or kws stream --out DIR makes one") from error
    except ValidationError as error:
        raise KwsError(
            f"{path} is not a results file of kws: {explain(error)[:200]}",
            hint="kws run or kws stream --out DIR makes one",
        ) from error
