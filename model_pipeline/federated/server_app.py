"""The half of Flower that asks the clients and keeps what comes of it, round by round."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import logging
import math
import shutil
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from model_pipeline import record
from model_pipeline.config import Config
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import KwsError
from model_pipeline.federated.client_app import one_thread
from model_pipeline.federated.clients import Household, chosen, split
from model_pipeline.federated.job import Job
from model_pipeline.federated.local import Learner
from model_pipeline.federated.personal import personalise
from model_pipeline.federated.records import from_record, to_record
from model_pipeline.federated.rounds import TIMEOUT_S, Rounds, nodes_of
from model_pipeline.files import atomic_path, check_archive, sha256_file, write_json, write_text
from model_pipeline.outcomes import Federated, FederatedHeads, FederatedRound, Trained
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.text import shown
from model_pipeline.training.sources import features_of

CHECKPOINT, RESULT, LOG, ROUNDS = "checkpoint.npz", "federated.json", "log.csv", "rounds"
_AROUND = 64 << 20
_BROKEN = (OSError, ValueError, LookupError, TypeError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile)
_FORMAT = 1


@dataclass
class Progress:
    """How far a federated training is: its server's weights, what the strategy remembers, and its rounds."""

    weights: list[np.ndarray] = field(default_factory=list)
    memory: dict[str, np.ndarray] = field(default_factory=dict)
    rounds: list[FederatedRound] = field(default_factory=list)


class Server:
    """The server's side of one training, which goes on from ``job.out``."""

    def __init__(self, job: Job, report: ProgressCallback = silent, stop: Callable[[], bool] = lambda: False) -> None:
        """
        Raises:
            KwsError: no such data, or a broken checkpoint.
        """
        one_thread()
        self.job, self.report, self.stop, self.out = job, report, stop, Path(job.out)
        recipe = job.recipe
        self.settings = recipe.federate
        self.dataset = Dataset.open(job.data, recipe.keywords, recipe.data)
        self.data_hash = self.dataset.content_hash()
        self.learner = Learner(recipe)
        clips = self.dataset.evaluation("validation")
        self.validation = features_of(self.dataset, clips, recipe, self.learner.frames)
        self.key = self._key()
        self.state = self._resume()
        if not self.state.rounds:
            shutil.rmtree(self.out / ROUNDS, ignore_errors=True)  # of another training that was here
        self.resumed_at = len(self.state.rounds) - 1 if self.state.rounds else 0

    def _key(self) -> str:
        recipe = self.job.recipe
        begin = Path(self.settings.begin) / "model.keras" if self.settings.begin else None
        parts = [
            _FORMAT,
            recipe.frontend.model_dump(mode="json"),
            recipe.recipe(),
            # A training may go on for more rounds, with other processes, from a network in another place.
            self.settings.model_dump(mode="json", exclude={"rounds", "workers", "begin", "head_epochs", "head_rate"}),
            sha256_file(begin) if begin else "",
            recipe.keywords,
            self.data_hash,
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def _resume(self) -> Progress:
        path, begin = self.out / CHECKPOINT, Progress(self.learner.weights())
        if not path.exists():
            return begin
        try:
            check_archive(path, sum(w.nbytes for w in begin.weights) * 4 + _AROUND)
            with np.load(path) as saved:
                if str(saved["key"]) != self.key:
                    return begin
                weights = [saved[f"w{i}"] for i in range(len(begin.weights))]
                memory = {name[1:]: saved[name] for name in saved.files if name.startswith("s")}
                rounds = [FederatedRound.model_validate(r) for r in json.loads(str(saved["rounds"]))]
            if [w.shape for w in weights] != [w.shape for w in begin.weights]:
                raise ValueError("its weights have other shapes")
            if not all(np.all(np.isfinite(w)) for w in [*weights, *memory.values()]):
                raise ValueError("its weights are not numbers")
        except _BROKEN as error:
            raise KwsError(f"{path} is broken: {error}", hint=f"rm {path} and train again") from error
        return Progress(weights, memory, rounds)

    def _save(self) -> None:
        values = {f"w{i}": w for i, w in enumerate(self.state.weights)}
        values |= {f"s{name}": value for name, value in self.state.memory.items()}
        rounds = json.dumps([r.model_dump(mode="json") for r in self.state.rounds])
        buffer = io.BytesIO()
        np.savez(buffer, key=np.array(self.key), rounds=np.array(rounds), **values)  # type: ignore[arg-type]
        # The log first: the checkpoint is what a training goes on from.
        write_text(self.out / LOG, _log(self.state.rounds))
        with atomic_path(self.out / CHECKPOINT) as path:
            path.write_bytes(buffer.getvalue())

    def run(self, grid: Grid) -> None:
        """Plays the rounds that are left, over the nodes of ``grid``; each is kept when it ends.

        Raises:
            KwsError: too many clients failed, or the training diverged.
            KeyboardInterrupt: it was to stop.
        """
        s = self.settings
        done = max(0, len(self.state.rounds) - 1)
        clients = self.job.nodes or self.clients()
        if done >= s.rounds:
            return
        self.report(done, s.rounds, f"looking for {clients} clients")
        nodes = nodes_of(grid, clients)
        rounds = Rounds(s, nodes, done, self.learner, self.stop)
        begin = to_record(self.state.weights)
        rounds.remember(begin, self.state.memory)
        if s.secure:
            from model_pipeline.federated.secure import play

            play(grid, rounds, begin, s.rounds - done, lambda number, arrays: self._judge(rounds, number, arrays))
            return
        rounds.start(
            grid,
            begin,
            s.rounds - done,
            TIMEOUT_S,
            evaluate_fn=lambda number, arrays: self._judge(rounds, number, arrays),
        )

    def clients(self) -> int:
        """How many clients there are."""
        return len(split(self.dataset.clips("training"), self.settings, len(self.job.recipe.keywords)))

    def _judge(self, rounds: Rounds, number: int, arrays: ArrayRecord) -> MetricRecord | None:
        """The new network on the validation clips, and all that is kept of the round."""
        if number == 0 and self.state.rounds:
            return None  # where it goes on, that was judged before
        weights = from_record(arrays)
        if not all(np.all(np.isfinite(w)) for w in weights):
            raise KwsError("training diverged: weights that are not numbers", hint="a lower --rate", exit_code=1)
        self.learner.put(weights)
        accuracy, loss = self.learner.judge(*self.validation)
        if not math.isfinite(loss):
            raise KwsError("training diverged: the loss is not finite", hint="a lower --rate", exit_code=1)
        known = dataclasses.asdict(rounds.asked)
        seconds = time.monotonic() - known.pop("begun")
        found = FederatedRound(
            number=number + rounds.done if number else 0,
            validation_accuracy=accuracy,
            validation_loss=loss,
            seconds=round(seconds, 2),
            **known,
        )
        self.state = Progress(weights, rounds.memory(), [*self.state.rounds, found])
        self._save()
        if found.number:
            self._record(found)
        self.report(found.number, self.settings.rounds, said(found))
        return MetricRecord({"accuracy": accuracy, "loss": loss})

    def _record(self, r: FederatedRound) -> None:
        """The round's own record, for `kws runs`."""
        folder = self.out / ROUNDS / f"{r.number:04}"
        folder.mkdir(parents=True, exist_ok=True)
        figures = record.exactly(
            loss=r.validation_loss,
            rounds=r.number,
            clients=r.clients,
            upload_bytes=r.up,
            download_bytes=r.down,
            seconds=r.seconds,
        ) | {"validation_accuracy": record.Figure.of_accuracy(r.validation_accuracy, len(self.validation[1]))}
        about = {"data_hash": self.data_hash, "seconds": r.seconds, "parent": str(self.out)}
        name = f"{self.job.recipe.name}, round {r.number}"
        made = record.new(
            "round", name, self.job.recipe.model_dump(mode="json"), figures, origin=self._origin(), **about
        )
        record.write(made, folder)

    def _origin(self) -> str:
        c = self.settings
        return f"{c.strategy}, {100 * c.fraction:g} % of clients of {c.speakers_per_client} speakers"

    def heads(self) -> FederatedHeads | None:
        """What the clients' own heads on the last round's network are worth; None: none are asked for.

        Raises:
            KwsError: see `personalise`.
        """
        if not self.settings.held_out:
            return None
        self.learner.put(self.state.weights)
        household = Household(self.job.recipe, self.job.data, self.job.audio_path)
        return personalise(self.learner, household, self.validation[0], self.report)

    def finish(self, *, stopped: bool = False, personal: FederatedHeads | None = None) -> tuple[Trained, Federated]:
        """Writes the network, ``train.json`` and ``federated.json``, so that `kws quantize` can go on.

        Raises:
            KwsError: no round is done.
        """
        if not self.state.rounds:
            raise KwsError("no round is done yet")
        self.learner.put(self.state.weights)
        with atomic_path(self.out / "model.keras") as path:
            self.learner.model.save(path)
        last, c, recipe = self.state.rounds[-1], self.settings, self.job.recipe
        trained = Trained(
            architecture=recipe.train.architecture,
            parameters=int(sum(np.prod(w.shape) for w in self.learner.model.trainable_weights)),
            macs=self.learner.net.macs,
            frames=self.learner.frames,
            labels=recipe.labels,
            data_hash=self.data_hash,
            data_folder=self.job.data,
            resumed_at=self.resumed_at,
            key=self.key,
            best_epoch=last.number,
            validation_accuracy=last.validation_accuracy,
            validation_clips=len(self.validation[1]),
            validation_loss=last.validation_loss,
            epochs=last.number,
            stopped=stopped,
            seconds=round(sum(r.seconds for r in self.state.rounds), 1),
            model_sha256=sha256_file(self.out / "model.keras"),
        )
        clients = self.job.nodes or self.clients()
        sampled = len(chosen(list(range(clients)), c, 1))
        spent, delta = None, None
        if c.clip:
            from model_pipeline.federated.privacy import epsilon, usual_delta

            delta = usual_delta(clients)
            spent = epsilon(c.noise, sampled, clients, last.number, delta) if last.number else 0.0
        result = Federated(
            key=self.key,
            clients=clients,
            sampled=sampled,
            weights=sum(w.size for w in self.state.weights),
            strategy=c.strategy,
            upload=c.upload,
            secure=c.secure,
            epsilon=spent,
            delta=delta,
            resumed_at=self.resumed_at,
            rounds=self.state.rounds,
            personal=personal,
        )
        write_json(self.out / RESULT, result.model_dump(mode="json"))
        write_json(self.out / "train.json", trained.model_dump(mode="json"))
        record.write(_record(recipe, trained, result, self._origin()), self.out)
        return trained, result


def _record(recipe: Config, trained: Trained, result: Federated, origin: str) -> record.Record:
    played = [r for r in result.rounds if r.number]
    figures = record.exactly(
        loss=trained.validation_loss,
        macs=trained.macs,
        parameters=trained.parameters,
        rounds=len(played),
        clients=result.sampled,
        epsilon=result.epsilon,
        seconds=trained.seconds,
    )
    if played:
        figures |= record.exactly(
            upload_bytes=float(np.mean([r.up for r in played])), download_bytes=float(np.mean([r.down for r in played]))
        )
    if own := result.personal:
        shares = {"held_out_accuracy": own.right_before, "personal_accuracy": own.right_after}
        figures |= {name: record.Figure.of_accuracy(right / own.held, own.held) for name, right in shares.items()}
    return record.new(
        "federated",
        recipe.name,
        recipe.model_dump(mode="json"),
        figures
        | {"validation_accuracy": record.Figure.of_accuracy(trained.validation_accuracy, trained.validation_clips)},
        seconds=trained.seconds,
        data_hash=trained.data_hash,
        model_hash=trained.model_sha256[:16],
        whole=not trained.stopped,
        origin=origin,
    )


def said(r: FederatedRound) -> str:
    """A round in a line."""
    if not r.number:
        return f"before the first round: {100 * r.validation_accuracy:.1f} %"
    return (
        f"round {r.number}: {r.clients} clients, loss {r.loss:.3f}, {100 * r.accuracy:.1f} % of theirs, "
        f"{100 * r.validation_accuracy:.1f} % on validation, {r.up / 1000:.1f} KB up"
    )


def _log(rounds: list[FederatedRound]) -> str:
    names = list(FederatedRound.model_fields)
    lines = [",".join(names)]
    for r in rounds:
        values = r.model_dump()
        lines.append(",".join(f"{values[n]:.6g}" if isinstance(values[n], float) else str(values[n]) for n in names))
    return "\n".join(lines) + "\n"


def server_app(server: Server | None = None) -> ServerApp:
    """The application. ``server``: None: each run brings its job (``flwr run``) and is finished here."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        if server:
            server.run(grid)
            return
        job = Job.model_validate_json(str(context.run_config["job"]))
        Path(job.out).mkdir(parents=True, exist_ok=True)
        own = Server(job, _printed)
        own.run(grid)
        own.finish()

    return app


def _printed(done: int, total: int, text: str) -> None:
    logging.getLogger("flwr").info("%s", shown(text))  # to where Flower writes what an app says
