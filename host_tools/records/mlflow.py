"""``--track mlflow``: the record of a run, told to MLflow's local store or server."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from host_tools.records.compare import flat
from host_tools.records.find import Found
from model_pipeline import record
from model_pipeline.errors import DeviceError, KwsError, MissingTool
from model_pipeline.files import damaged, read_text
from model_pipeline.packages import pip_install

EXPERIMENT = "micro-kws"
_LONGEST = 500  # characters of a parameter, which every store takes
_PARAMS, _METRICS = 100, 1000  # of one request, as MLflow limits them


class Tracker:
    """An experiment of MLflow's.

    The store is what MLFLOW_TRACKING_URI names, else ``mlflow.db`` in the folder of the call; the experiment is
    MLFLOW_EXPERIMENT_NAME, else ``micro-kws``.
    """

    def __init__(self, uri: str | None = None) -> None:
        """
        Raises:
            MissingTool: mlflow-skinny, or what its local store needs, is not installed.
            DeviceError: the store does not answer.
        """
        # A server that is not there is told within seconds, not after MLflow's minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MissingTool("MLflow is not installed", hint=pip_install(extra="mlflow")) from error
        self.uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').resolve()}"
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        with self._talking():
            self.client = MlflowClient(tracking_uri=self.uri)
            known = self.client.get_experiment_by_name(name)
            self.experiment = known.experiment_id if known else self.client.create_experiment(name)

    def write(self, found: Found) -> str:
        """Makes one run of MLflow's: settings as parameters, figures as metrics (with ``.low`` and ``.high``), the rest
        as tags; and, epoch by epoch, the training's log where there is one.

        Returns:
            The run's id.

        Raises:
            DeviceError: the store does not take it.
        """
        from mlflow.entities import Metric, Param, RunTag

        told, now = found.record, int(1000 * time.time())
        about = ("kind", "made", "kws", "config_hash", "data_hash", "model_hash", "board", "parent", "origin")
        tags = {f"kws.{key}": str(getattr(told, key)) for key in about if getattr(told, key)}
        tags |= {f"kws.tools.{tool}": version for tool, version in told.tools.items()}
        tags["kws.place"] = str(found.place.resolve())
        params = [Param(key, str(value)[:_LONGEST]) for key, value in flat(told.config).items()]
        metrics = []
        for name, figure in told.figures.items():
            for ending, value in (("", figure.value), (".low", figure.low), (".high", figure.high)):
                if value is not None:
                    metrics.append(Metric(name + ending, value, now, 0))
        metrics += [Metric(f"train.{key}", value, now, step) for step, key, value in _history(found.place)]
        with self._talking():
            run = self.client.create_run(self.experiment, start_time=now - int(1000 * told.seconds), run_name=told.name)
            one = run.info.run_id
            try:
                self.client.log_batch(one, tags=[RunTag(key, value) for key, value in tags.items()])
                for at in range(0, len(params), _PARAMS):
                    self.client.log_batch(one, params=params[at : at + _PARAMS])
                for at in range(0, len(metrics), _METRICS):
                    self.client.log_batch(one, metrics=metrics[at : at + _METRICS])
            except BaseException:
                with contextlib.suppress(Exception):  # what is half told shall not look whole; the first error counts
                    self.client.set_terminated(one, "FAILED")
                raise
            self.client.set_terminated(one, "FINISHED" if told.whole else "KILLED")
        return one

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except ImportError as error:  # the client alone can't use a local store
            raise MissingTool(f"MLflow's store needs {error.name}", hint=pip_install(extra="mlflow")) from error
        except (MlflowException, OSError) as error:
            line = str(error).strip().split("\n")[0][:300]
            raise DeviceError(
                f"MLflow at {self.uri} does not take it: {line}", hint="MLFLOW_TRACKING_URI names the store"
            ) from error


def tracker(name: str | None) -> Tracker | None:
    """What ``--track`` asks for; None for nothing.

    Raises:
        KwsError: there is no tracker of this name; or see `Tracker`.
    """
    if name is None:
        return None
    if name != "mlflow":
        raise KwsError(f"there is no tracker {name!r}", hint="--track mlflow")
    return Tracker()


def _history(place: Path) -> Iterator[tuple[int, str, float]]:
    """Epoch, column and value of a training's log.csv, in a run or by itself."""
    path = next((p for p in (place / "log.csv", place / "train" / "log.csv") if p.is_file()), None)
    if path is None:
        return
    text = read_text(path, record.MOST_BYTES)
    with damaged(path, "kws train makes one", (csv.Error,)):
        rows: list[dict[str, Any]] = list(csv.DictReader(io.StringIO(text, newline="")))
        told = [(int(float(row["epoch"])), key, float(row[key])) for row in rows for key in row if key != "epoch"]
    yield from told
