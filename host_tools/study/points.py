"""The networks and the points of a compression study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from host_tools.search.space import narrower
from model_pipeline.config import Config, ShapeConfig
from model_pipeline.strict import Strict

Way = Literal["base", "narrow", "pruned", "distilled"]
Quantization = Literal["ptq", "qat"]
StudyPacking = Literal["speed", "size"]
SHARES = (0.75, 0.5, 0.25)  # of the base's channels
WAYS: dict[Way, str] = {
    "base": "the configuration's own network",
    "narrow": "begins at random, and learns as the base did",
    "pruned": "begins with the base's most important channels; half the epochs at half the rate",
    "distilled": "begins at random, and learns the base's answers",
}
BASE = "base"


class Network(Strict):
    """A float network of the study. ``share``: of the base's channels."""

    way: Way
    share: float

    @property
    def name(self) -> str:
        """Also its folder's."""
        return BASE if self.way == "base" else f"{self.way}-{round(100 * self.share)}"

    @property
    def text(self) -> str:
        """For people."""
        return BASE if self.way == "base" else f"{self.way}, {100 * self.share:g} % of the channels"


class Point(Strict):
    """A network in int8 and packed in flash: what is built into a firmware."""

    network: Network
    quantization: Quantization
    packing: StudyPacking

    @property
    def model(self) -> str:
        """The name of its int8 model."""
        return f"{self.network.name}-{self.quantization}"

    @property
    def name(self) -> str:
        """Also its folder's."""
        return f"{self.model}-{self.packing}"

    @property
    def text(self) -> str:
        """How it came about, for people."""
        return f"{self.network.text}; {self.quantization}; packed for {self.packing}"


def networks(config: Config, shares: Sequence[float]) -> list[Network]:
    """The base, then each way at each of ``shares``; those that would be as wide as the base or as a wider one of them
    are left out."""
    base = Network(way="base", share=1.0)
    distinct: list[float] = []
    seen = [_size(config)]
    for share in sorted(set(shares), reverse=True):
        size = _size(_at_share(config, share))
        if size not in seen:
            seen.append(size)
            distinct.append(share)
    ways: tuple[Way, ...] = ("narrow", "pruned", "distilled")
    return [base, *(Network(way=way, share=share) for way in ways for share in distinct)]


def points(some: Sequence[Network], *, aware: bool) -> list[Point]:
    """All points over networks, each network's together. ``aware``: base and pruned networks are also trained on with
    quantisation in the loop."""
    packings: tuple[StudyPacking, ...] = ("speed", "size")
    return [
        Point(network=network, quantization=way, packing=packing)
        for network in some
        for way in _quantizations(network, aware)
        for packing in packings
    ]


def configuration(config: Config, network: Network, epochs: int = 0) -> Config:
    """The recipe of a network. What a study leaves out of any recipe: rounds of [mine].

    Args:
        epochs: instead of the recipe's; 0: the recipe's.
    """
    train = config.train
    changes: dict[str, Any] = {"epochs": epochs or train.epochs}
    if network.way != "base":
        # A base is of one shape; a teacher that the recipe trains is the base's.
        changes |= {"base": "", "teacher_width": 0.0}
    if network.way == "pruned":  # it has had the base's training
        half = max(1, changes["epochs"] // 2)
        changes |= {"epochs": half, "learning_rate": train.learning_rate / 2, "warmup_epochs": 0}
    changes["warmup_epochs"] = min(changes.get("warmup_epochs", train.warmup_epochs), changes["epochs"] - 1)
    narrow = _at_share(config, network.share)
    mine = config.mine.model_copy(update={"rounds": 0})
    return narrow.model_copy(update={"train": narrow.train.model_copy(update=changes), "mine": mine})


def of_point(config: Config, point: Point, epochs: int = 0) -> Config:
    """The whole recipe of a point."""
    found = configuration(config, point.network, epochs)
    quantize = found.quantize.model_copy(update={"method": point.quantization})
    if epochs:
        quantize = quantize.model_copy(update={"qat_epochs": min(quantize.qat_epochs, epochs)})
    pack = found.compile.model_copy(update={"packing": point.packing})
    return found.model_copy(update={"quantize": quantize, "compile": pack})


def _quantizations(network: Network, aware: bool) -> tuple[Quantization, ...]:
    return ("ptq", "qat") if aware and network.way in ("base", "pruned") else ("ptq",)


def _at_share(config: Config, share: float) -> Config:
    train = config.train
    if train.architecture == "tcn":
        shape = ShapeConfig(**narrower(train.shape.model_dump(), (share, share)))
        return config.model_copy(update={"train": train.model_copy(update={"shape": shape})})
    return config.model_copy(update={"train": train.model_copy(update={"width": train.width * share})})


def _size(config: Config) -> Any:
    train = config.train
    if train.architecture == "tcn":
        return train.shape
    # As the architectures round it (`model_pipeline.models.ds_tcn`).
    return [max(8, round(channels * train.width / 8) * 8) for channels in (16, 64)]
