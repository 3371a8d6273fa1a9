"""What Edge Impulse answers, as types: of each answer what we use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

Id = Annotated[StrictInt, Field(ge=1, le=10**12)]  # they become parts of addresses and of file names


class Answer(BaseModel):
    """Of a server's answer what we use; it says more, and more with time."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


class Project(Answer):
    """The project that the key belongs to."""

    id: Id
    name: StrictStr = ""


class Sample(Answer):
    """A recording of a project."""

    id: Id
    filename: StrictStr
    category: StrictStr
    label: StrictStr = ""
    sha256: StrictStr = Field("", alias="sha256Hash")
    metadata: dict[str, Any] | None = None
    is_disabled: StrictBool = Field(False, alias="isDisabled")
    chart_type: StrictStr = Field("chart", alias="chartType")
    labels: list[Any] | None = Field(None, alias="structuredLabelsList")

    def said(self, key: str) -> str:
        """A value of its metadata; empty where there is none."""
        value = (self.metadata or {}).get(key)
        return value if isinstance(value, str) else ""


class Page(Answer):
    samples: list[Sample]
    total: StrictInt = Field(alias="totalCount", ge=0)


class Taken(Answer):
    success: StrictBool = False
    sample_id: Id | None = Field(None, alias="sampleId")
    error: StrictStr = ""


class Files(Answer):
    files: list[Taken]


class Started(Answer):
    id: Id


class Job(Answer):
    """How far a job is. ``finished``: a date, or None."""

    finished: Any = None
    finished_successful: StrictBool | None = Field(None, alias="finishedSuccessful")


class JobReply(Answer):
    job: Job


class Block(Answer):
    """A block of an impulse. ``dsp``: of a learning block, whose features it takes."""

    id: Id
    type: StrictStr
    name: StrictStr = ""
    title: StrictStr = ""
    dsp: list[Id] = []
    window_ms: StrictInt | None = Field(None, alias="windowSizeMs")
    stride_ms: StrictInt | None = Field(None, alias="windowIncreaseMs")
    frequency: float | None = Field(None, alias="frequencyHz", gt=0, le=1e6)
    version: StrictInt | None = Field(None, alias="implementationVersion")


class Impulse(Answer):
    """What a project does with sound."""

    inputs: list[Block] = Field(alias="inputBlocks")
    dsp: list[Block] = Field(alias="dspBlocks")
    learn: list[Block] = Field(alias="learnBlocks")


class ImpulseReply(Answer):
    impulse: Impulse | None = None


class Parameter(Answer):
    param: StrictStr
    value: Any = None
    default: Any = Field(None, alias="defaultValue")


class Group(Answer):
    items: list[Parameter]


class DspConfig(Answer):
    config: list[Group] | None = None


class Trained(Answer):
    """A learning block's network. ``labels``: of its outputs, in order."""

    labels: list[StrictStr] = Field(alias="classNames")
    types: list[StrictStr] = Field(alias="availableModelTypes")
    is_trained: StrictBool = Field(alias="hasTrainedModel")
    metrics: list[dict[str, Any]] = Field([], alias="modelValidationMetrics")


class Download(Answer):
    """What a project offers to take away."""

    id: StrictStr | None = None
    name: StrictStr = ""
    type: StrictStr = ""
    link: StrictStr = ""


class Downloads(Answer):
    downloads: list[Download]


class Memory(Answer):
    """Bytes."""

    ram: StrictInt
    rom: StrictInt


class Estimate(Answer):
    """For one kind of processor."""

    description: StrictStr = ""
    ms: float | None = Field(None, alias="timePerInferenceMs")
    memory: dict[str, Memory | None] | None = None
    supported: StrictBool = True
    why_not: StrictStr | None = Field(None, alias="mcuSupportError")


class Table(Answer):
    """``variant``: int8 or float32."""

    variant: StrictStr = ""
    low_end: Estimate = Field(alias="lowEndMcu")
    high_end: Estimate = Field(alias="highEndMcu")
    accelerated: Estimate | None = Field(None, alias="highEndMcuPlusAccelerator")


class OnDevice(Answer):
    """For the device that was asked for."""

    device: StrictStr = ""
    ms: float | None = Field(None, alias="timePerInferenceMs")
    memory: dict[str, Memory | None] | None = None
    why_not: StrictStr | None = Field(None, alias="profilingError")


class Estimates(Answer):
    """What Edge Impulse says that a model costs."""

    table: Table
    int8: OnDevice | None = None
    float32: OnDevice | None = None


class OwnModel(Answer):
    file: StrictStr = Field("", alias="fileName")
    profile: Estimates | None = Field(None, alias="profileInfo")


class OwnModelReply(Answer):
    model: OwnModel | None = None


class Projects(Answer):
    projects: list[Project]


class LogItem(Answer):
    data: StrictStr = ""


class Log(Answer):
    stdout: list[LogItem]
