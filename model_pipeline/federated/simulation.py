"""All clients on this machine, by Flower's simulation: a process, or several of Ray's, stand for them by turns."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model_pipeline.config import Config
from model_pipeline.data.dataset import Dataset
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.federated.job import Job
from model_pipeline.files import atomic_path, read_text, write_text
from model_pipeline.folders import claim_dir
from model_pipeline.outcomes import Federated
from model_pipeline.packages import pip_install
from model_pipeline.progress import ProgressCallback, silent
from model_pipeline.rate import CLIP_MS

if TYPE_CHECKING:
    from flwr.clientapp import ClientApp
    from flwr.serverapp import ServerApp

KIND = "kws federate"
MADE = (
    "model.keras",
    "train.json",
    "log.csv",
    "checkpoint.npz",
    "federated.json",
    "record.json",
    "recipe.toml",
    "clips.npy",
    "clips.key",
    "rounds/**",
)
_STORE = 100_000_000  # bytes of Ray's store of objects: what travels is a few hundred KB
# They would call their makers' servers, and Ray would count this machine's memory as its own.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "OMP_NUM_THREADS": "1",
}


def federate(
    config: Config, data: str | Path, out: Path, progress: ProgressCallback | None = None, *, audio: Path | None = None
) -> Federated:
    """Trains by ``config`` over the speakers of ``data``, all of them on this machine. ``out`` then is what `train`
    leaves, and goes on from its last whole round after a stop.

    Args:
        audio: what `audio_of` made of ``data``, for several trainings.

    Raises:
        KwsError: no such data, too few speakers, ``out`` holds what this did not make, or clients that fail.
        KeyboardInterrupt: stopped; what was learnt so far is in ``out``.
    """
    os.environ.update(QUIET)
    from model_pipeline.federated.client_app import client_app
    from model_pipeline.federated.engine import simulate
    from model_pipeline.federated.rounds import Stopped
    from model_pipeline.federated.server_app import Server, server_app

    report = progress or silent
    config = config.of_clips()
    claim_dir(out, KIND, MADE, sources=[data], ours=lambda folder: (folder / "federated.json").is_file())
    audio = audio or audio_of(config, data, out, report)
    job = Job(recipe=config, data=str(Path(data).resolve()), out=str(out.resolve()), audio=str(audio.resolve()))
    stop = threading.Event()
    server = Server(job, report, stop.is_set)
    if config.federate.rounds > max(0, len(server.state.rounds) - 1):
        for name in ("flwr", "ray"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        server_half, client_half = server_app(server), client_app(job, secure=config.federate.secure)
        with _stopped_by_signals(stop):
            try:
                if config.federate.workers == 1:
                    simulate(server_half, client_half, server.clients(), stop.is_set)
                else:
                    _on_ray(server_half, client_half, server.clients(), config.federate.workers)
            except (KeyboardInterrupt, Stopped):
                stop.set()
            except KwsError:
                if not stop.is_set():
                    raise
    if stop.is_set():
        if server.state.rounds:
            server.finish(stopped=True)
        raise KeyboardInterrupt
    return server.finish(personal=server.heads())[1]


def _on_ray(server: ServerApp, client: ClientApp, clients: int, workers: int) -> None:
    """Flower's simulation with ``workers`` processes of Ray's, which end with it.

    Raises:
        KwsError: Ray is not there, did not start, or a process of it died.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingTool("Ray is not installed", hint=f"{pip_install(extra='federated')}; or --workers 1")
    import ray
    from flwr.simulation import run_simulation

    # Ray's own logs and sockets: in a short place, as a socket's name may have 107 bytes, and Flower waits on and on
    # where Ray refuses it.
    short = "/tmp" if os.path.isdir("/tmp") else None
    with tempfile.TemporaryDirectory(prefix="kws-ray-", dir=short, ignore_cleanup_errors=True) as folder:
        quiet = {"include_dashboard": False, "logging_level": logging.ERROR, "log_to_driver": False}
        try:
            run_simulation(
                server,
                client,
                clients,
                backend_config={
                    "init_args": {
                        "num_cpus": workers,
                        "object_store_memory": _STORE,
                        "_temp_dir": folder,
                        "address": "local",  # never somebody's cluster that happens to run
                        **quiet,
                    },
                    "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                },
            )
        except RuntimeError as error:
            cause = error.__cause__ or error
            raise KwsError(
                f"Flower's simulation ended: {cause}", hint="--workers 1 does without Ray", exit_code=1
            ) from error
        finally:
            ray.shutdown()  # where Flower has not come to it


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """A block in which Ctrl-C and SIGTERM let the client that learns end, and no other begin: Flower's threads hear no
    exception."""
    kept = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def audio_of(config: Config, data: str | Path, out: Path, report: ProgressCallback) -> Path:
    """``out/clips.npy``, int16 [n, samples] of all training clips, decoded once for all clients; made where it is not
    there yet.

    Raises:
        KwsError: no such data.
    """
    dataset = Dataset.open(data, config.keywords, config.data)
    path, keyed = out / "clips.npy", out / "clips.key"
    key = dataset.content_hash() + (f" {config.data.clip_ms} ms" if config.data.clip_ms != CLIP_MS else "")
    if path.is_file() and keyed.is_file() and read_text(keyed) == key:
        return path
    clips = dataset.clips("training")
    keyed.unlink(missing_ok=True)
    with atomic_path(path) as temporary:
        audio = np.lib.format.open_memmap(temporary, "w+", np.int16, (len(clips), dataset.clip_samples))
        for start in range(0, len(clips), 500):
            report(start, len(clips), "reading the clips")
            audio[start : start + 500] = dataset.audio(clips[start : start + 500])
        audio.flush()
    write_text(keyed, key)
    return path
