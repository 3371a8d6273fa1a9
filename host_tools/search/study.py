"""The search itself: an Optuna study with two objectives in ``study.db``, which any kill leaves fit to go on.

Optuna prunes no study of two objectives, and a rule that looks at accuracy alone would end every small network. So
intermediate accuracies are kept as the trial's attribute ``accuracies``, and a trial is ended by `falls_behind`: it is
compared with those alone that cost no more, which are the ones that must not be better if it is to be on the front.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, TrialState

from host_tools.run.steps import write_config
from host_tools.search.cost import Infeasible, Limits, NetworkCost
from host_tools.search.space import SPACE, narrower
from model_pipeline import record
from model_pipeline.config import Config, ScenesConfig, ShapeConfig
from model_pipeline.errors import KwsError
from model_pipeline.progress import ProgressCallback

SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)  # of the channels that pruning keeps
PRUNE_EVERY = 4  # trained trials
PEERS = 4  # trials that cost no more, below which none is ended early
RANDOM = 8  # trials before the sampler uses what it has learnt
FRUITLESS = 100  # proposals in a row that were infeasible or known


class Train(Protocol):
    """Trains by ``folder``/config.toml into ``folder``/train, from ``parent``'s channels if there is one, calling
    ``go_on`` with the accuracies so far after each epoch. Returns those of all epochs, or why it failed."""

    def __call__(
        self,
        folder: Path,
        parent: Path | None,
        go_on: Callable[[list[float]], bool],
        progress: ProgressCallback,
    ) -> list[float] | str: ...


def falls_behind(accuracies: Sequence[float], cost: float, others: Sequence[tuple[Sequence[float], float]]) -> bool:
    """Whether a trial's best accuracy so far is below the median of those that cost no more at the same epoch.

    Args:
        others: (accuracies, cost) of trials that were trained, ended early or not; at least `PEERS` that cost no more
            must have come as far. The first epoch decides nothing.
    """
    epoch = len(accuracies)
    peers = [max(theirs[:epoch]) for theirs, price in others if price <= cost and len(theirs) >= epoch]
    return epoch > 1 and len(peers) >= PEERS and max(accuracies) < statistics.median(peers)


class Search:
    """One study in a folder: ``study.db``, and ``candidates/<key>`` for each network that was looked at."""

    def __init__(
        self,
        config: Config,
        data_hash: str,
        out: Path,
        limits: Limits,
        epochs: int,
        cost: Callable[[Config, Path], NetworkCost],
        train: Train,
    ) -> None:
        """
        Args:
            config: the recipe; its front end and its `ShapeConfig` are where the search begins.
            data_hash: of the data folder's content.
            epochs: of a trial.
            cost: raises `Infeasible` where a limit is broken.

        Raises:
            KwsError: the study in ``out`` was begun with other settings, or is broken.
        """
        self.config, self.out, self.epochs = config, out, epochs
        self.cost, self.train = cost, train
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        url = sqlalchemy.URL.create("sqlite", database=str(out / "study.db")).render_as_string()
        try:
            self.study = optuna.create_study(
                storage=url, study_name="kws", directions=["maximize", "minimize"], load_if_exists=True
            )
            begun = self.study.user_attrs.get("recipe")
        except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError) as error:
            raise KwsError(f"{out / 'study.db'} can't be used: {error}", hint="another folder by --out") from error
        recipe = {**config.model_dump(mode="json", exclude={"name"}), "data_hash": data_hash, "epochs": epochs}
        digest = hashlib.sha256(json.dumps({**recipe, **asdict(limits)}, sort_keys=True).encode()).hexdigest()
        if begun not in (None, digest):
            raise KwsError(
                f"the study in {out} was begun with another configuration, other data or other limits",
                hint="the same options go on with it; another --out begins a new one",
            )
        self.study.set_user_attr("recipe", digest)
        # Another draw after each start, and the same for the same history.
        self.seed = config.train.seed
        self.study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=RANDOM, seed=self.seed + len(self.study.get_trials(deepcopy=False))
        )
        self._revive()
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self._start(), user_attrs={"origin": "start"})

    def run(
        self,
        trials: int,
        minutes: float,
        progress: ProgressCallback,
        after: Callable[[], object] = lambda: None,
    ) -> None:
        """Goes on until ``trials`` were trained in all, or ``minutes`` have passed (0: no limit) and the trial that is
        then under way is finished; ``after`` is called when one was trained.

        Raises:
            KwsError: nothing within the limits was found.
        """
        started, fruitless = time.monotonic(), 0
        while fruitless < FRUITLESS:
            trained, passed = len(self.trained()), (time.monotonic() - started) / 60
            if (trials and trained >= trials) or (minutes and passed >= minutes):
                return

            def part(done: int, total: int, text: str, base: int = trained) -> None:
                passed = (time.monotonic() - started) / 60
                by_trials = (base + done / max(1, total)) / trials if trials else 0.0
                share = max(by_trials, passed / minutes if minutes else 0.0)
                progress(min(999, round(1000 * share)), 1000, text)

            fruitless += 1
            if self._one(part):
                fruitless = 0
                after()
        if not self.trained():
            reasons = [t.user_attrs["end"] for t in self.finished() if "end" in t.user_attrs]
            raise KwsError(
                f"no network within the limits among {FRUITLESS} (the last: {reasons[-1]})",
                hint="higher limits, or another board",
                exit_code=1,
            )

    def finished(self) -> list[FrozenTrial]:
        """All trials that came to an end, in order."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def trained(self) -> list[FrozenTrial]:
        """Those that were trained, to the end or not; a network that was proposed again counts once."""
        return [t for t in self.finished() if "accuracies" in t.user_attrs and "same_as" not in t.user_attrs]

    def front(self) -> list[FrozenTrial]:
        """The trials that no other beats in accuracy and instructions both, cheapest first."""
        best: dict[tuple[float, ...], FrozenTrial] = {}
        for trial in self.study.best_trials:
            best.setdefault(tuple(trial.values), trial)  # of equals the first
        return sorted(best.values(), key=lambda t: t.values[1])

    def folder(self, trial: FrozenTrial) -> Path:
        """Where a trial's files are."""
        return self.out / "candidates" / trial.user_attrs["key"]

    def configuration(self, params: dict[str, int], name: str = "") -> Config:
        """The whole recipe for a network of these parameters."""
        base, hop = self.config, params["hop_ms"]
        stride = max(1, round(base.detector.stride_hops * base.frontend.hop_ms / hop))  # about as often a second
        shape = ShapeConfig(**{key: params[key] for key in ShapeConfig.model_fields})
        return base.model_copy(
            update={
                "name": name or base.name,
                "frontend": base.frontend.model_copy(update={"hop_ms": hop, "channels": params["channels"]}),
                "detector": base.detector.model_copy(update={"stride_hops": stride}),
                "train": base.train.model_copy(update={"architecture": "tcn", "shape": shape}),
            }
        )

    def _start(self) -> dict[str, int]:
        """The configuration's own network, moved into the space."""
        shape = self.config.train.shape.model_dump()
        own = {**shape, "hop_ms": self.config.frontend.hop_ms, "channels": self.config.frontend.channels}
        result = {}
        for name, (low, high, step) in self._space().items():
            result[name] = low + round((min(high, max(low, own[name])) - low) / step) * step
        return result

    def _space(self) -> dict[str, tuple[int, int, int]]:
        low, high, step = SPACE["hop_ms"]
        return {**SPACE, "hop_ms": (low, max(low, min(high, self.config.frontend.window_ms) // step * step), step)}

    def _revive(self) -> None:
        """What was under way when the last process was killed is begun again; training goes on by its checkpoint."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(trial.number, state=TrialState.FAIL)
            kept = {k: v for k, v in trial.user_attrs.items() if k in ("origin", "parent")}
            self.study.enqueue_trial(trial.params, user_attrs=kept)

    def _one(self, progress: ProgressCallback) -> bool:
        """One trial, from proposal to verdict; whether it was trained."""
        self._propose_pruning()
        trial = self.study.ask()
        params = {name: trial.suggest_int(name, a, b, step=step) for name, (a, b, step) in self._space().items()}
        parent = trial.user_attrs.get("parent")
        config = self._short(params, parent is not None)
        key = _key(params, parent)
        trial.set_user_attr("key", key)
        number = f"trial {trial.number}"
        if known := next((t for t in self.finished() if t.user_attrs["key"] == key), None):
            self._repeat(trial, known)
            return False
        folder = self.out / "candidates" / key
        folder.mkdir(parents=True, exist_ok=True)
        write_config(config, folder / "config.toml")
        progress(0, 1, f"{number}: cost")
        try:
            cost = self.cost(config, folder)
        except Infeasible as broken:
            for name, share in broken.excess.items():
                trial.set_constraint(name, share)
            trial.set_user_attr("end", str(broken))
            self.study.tell(trial, state=TrialState.PRUNED)
            return False
        trial.set_constraint("limits", 0.0)
        trial.set_user_attr("cost", cost.model_dump())
        others = [(t.user_attrs["accuracies"], t.user_attrs["cost"]["per_second"]) for t in self.trained()]

        def go_on(accuracies: list[float]) -> bool:
            trial.set_user_attr("accuracies", accuracies)
            # A pruned network starts where its parent ended: its early epochs compare with nothing.
            return bool(parent) or not falls_behind(accuracies, cost.per_second, others)

        result = self.train(
            folder,
            self.out / "candidates" / parent / "train" if parent else None,
            go_on,
            lambda done, total, text: progress(done, total, f"{number}: {text}"),
        )
        if isinstance(result, str) or len(result) < config.train.epochs:
            trial.set_user_attr("accuracies", result if isinstance(result, list) else [])
            trial.set_user_attr("end", result if isinstance(result, str) else f"ended at epoch {len(result)}")
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("accuracies", result)
            self.study.tell(trial, [max(result), cost.per_second])
        self._record(trial, config, cost, folder)
        return True

    def _record(self, trial: optuna.Trial, config: Config, cost: NetworkCost, folder: Path) -> None:
        """Beside the candidate, for `kws runs`. A training that diverged has no accuracy."""
        accuracies = trial.user_attrs["accuracies"]
        accuracy = max(accuracies) if accuracies else None
        figures = cost.figures() | record.exactly(validation_accuracy=accuracy, epochs=len(accuracies))
        about = {"parent": str(self.out), "origin": trial.user_attrs.get("origin", "sampled"), "board": config.board}
        record.write(
            record.new("trial", f"trial-{trial.number}", config.model_dump(mode="json"), figures, **about), folder
        )

    def _short(self, params: dict[str, int], pruned: bool) -> Config:
        """A trial's training: few epochs over single clips, no teacher; a pruned network needs half of them, at half
        the rate."""
        config = self.configuration(params)
        changes: dict[str, Any] = {"epochs": self.epochs, "teacher_width": 0.0, "base": ""}
        if pruned:
            rate = config.train.learning_rate / 2
            changes |= {"epochs": max(1, self.epochs // 2), "learning_rate": rate, "warmup_epochs": 0}
        return config.model_copy(update={"train": config.train.model_copy(update=changes), "scenes": ScenesConfig()})

    def _repeat(self, trial: optuna.Trial, known: FrozenTrial) -> None:
        """The same network again has the same end."""
        for name, share in known.constraints.items():
            trial.set_constraint(name, share)
        for name in ("cost", "accuracies", "end"):
            if name in known.user_attrs:
                trial.set_user_attr(name, known.user_attrs[name])
        trial.set_user_attr("same_as", known.number)
        if known.values:
            self.study.tell(trial, known.values)
        else:
            self.study.tell(trial, state=TrialState.PRUNED)

    def _propose_pruning(self) -> None:
        """Each `PRUNE_EVERY` trained trials, the next is a network of the front with some of its channels left."""
        trained = len(self.trained())
        waiting = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if waiting or trained % PRUNE_EVERY != PRUNE_EVERY - 1:
            return
        parents = [t for t in self.front() if (self.folder(t) / "train" / "model.keras").exists()]
        rng = np.random.default_rng([self.seed, len(self.study.get_trials(deepcopy=False))])
        moves = [(parent, (a, b)) for parent in parents for a in SHARES for b in SHARES]
        seen = {t.user_attrs["key"] for t in self.finished()}
        for index in rng.permutation(len(moves)):
            parent, shares = moves[index]
            params = narrower(parent.params, shares)
            if params != parent.params and _key(params, parent.user_attrs["key"]) not in seen:
                origin = {"origin": f"pruned from {parent.number}", "parent": parent.user_attrs["key"]}
                self.study.enqueue_trial(params, user_attrs=origin)
                return


def _key(params: dict[str, int], parent: str | None) -> str:
    text = json.dumps([params, parent], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
