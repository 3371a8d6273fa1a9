"""Federated training: who the clients are, what each of them does in a round, and what is made of their answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from model_pipeline.strict import Strict

Strategy = Literal["fedavg", "fedprox", "fedadam", "fedavgm"]
Upload = Literal["float32", "int8", "topk"]


class FederateConfig(Strict):
    """Training by `kws federate` (docs/federated.md): rounds over clients, each with the speech of its own speakers."""

    rounds: int = Field(50, ge=1, le=100_000)
    fraction: float = Field(0.05, gt=0, le=1)  # of the clients, drawn anew in each round
    speakers_per_client: int = Field(1, ge=1, le=10_000)
    # Keywords that a client's speakers say, drawn by the seed; their clips of others are left out. 0: all.
    keywords_per_client: int = Field(0, ge=0, le=28)
    strategy: Strategy = "fedavg"
    proximal: float = Field(0.01, ge=0, le=100)  # fedprox: weight of the distance from the server's weights
    server_rate: float = Field(0.01, gt=0, le=10)  # fedadam: the step of the server
    momentum: float = Field(0.9, ge=0, lt=1)  # fedavgm: of the server
    epochs: int = Field(2, ge=1, le=1000)  # over a client's clips, in a round
    batch: int = Field(16, ge=1, le=65536)  # of a client
    learning_rate: float = Field(0.1, gt=0, le=10)  # of a client's plain gradient descent
    client_momentum: float = Field(0.0, ge=0, lt=1)  # of that descent; it begins anew in each round, and is not sent
    half_life: float = Field(0.0, ge=0, le=100_000)  # rounds in which that rate halves; 0: it stays
    # How a client sends what it has learnt: the differences as they are; in a byte each, with a scale an array; or the
    # largest of them alone, with their places.
    upload: Upload = "int8"
    top: float = Field(0.1, gt=0, le=1)  # topk: the share that is sent
    # Differential privacy of clients: each one's difference is cut to this length (0: no privacy), and the mean of n
    # gets Gaussian noise of this times the length / n.
    clip: float = Field(0.0, ge=0, le=1e6)
    noise: float = Field(0.0, ge=0, le=1000)
    secure: bool = False  # secure aggregation (SecAgg+): the server sees sums alone
    head_only: bool = False  # the last layer alone is trained, the others stay as they begin
    # A head for each client, by the steps of a device: this share of a client's clips is heard in no round, and says
    # what its own head is worth (0: none is taught); times that it goes over the others, and its learning rate.
    held_out: float = Field(0.0, ge=0, le=0.9)
    head_epochs: int = Field(5, ge=1, le=1000)
    head_rate: float = Field(0.01, gt=0, le=10)
    begin: str = ""  # a folder of `kws train` whose network is the first; empty: random weights, or train.base
    # Machines that `flwr run` waits for, each a client; 0: as many as the server's data has groups of speakers.
    nodes: int = Field(0, ge=0, le=100_000)
    workers: int = Field(1, ge=1, le=256)  # processes of the simulation
    seed: int = Field(1, ge=0, le=2**31 - 1)

    def rate_of(self, number: int) -> float:
        """A client's learning rate in round ``number`` (from 1). It knows nothing of how many rounds there will be, so
        that a training goes on for more rounds as if they had been asked for at first."""
        return self.learning_rate * (0.5 ** ((number - 1) / self.half_life) if self.half_life else 1.0)

    @model_validator(mode="after")
    def _together(self) -> FederateConfig:
        if bool(self.clip) != bool(self.noise):
            raise ValueError("clip and noise go together: --dp NOISE CLIP")
        if self.clip and self.strategy not in ("fedavg", "fedprox"):
            raise ValueError(f"the noise of differential privacy is made for a mean, not for {self.strategy}")
        if self.secure and self.upload != "float32":
            raise ValueError('secure aggregation sends masked numbers of 32 bits: upload = "float32"')
        if self.secure and self.clip:
            raise ValueError("the server can't cut what it does not see: differential privacy or secure aggregation")
        return self
