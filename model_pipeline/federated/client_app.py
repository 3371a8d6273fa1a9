"""The half of Flower that runs where the speech is: one message is one client's round."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import tensorflow as tf
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod

from model_pipeline.errors import KwsError
from model_pipeline.federated import upload
from model_pipeline.federated.clients import Household
from model_pipeline.federated.job import Job
from model_pipeline.federated.local import Learner, Learnt
from model_pipeline.federated.records import ACCURACY, ARRAYS, CONFIG, EXAMPLES, LOSS, METRICS, NUMBER, UPDATE


def client_app(job: Job | None = None, *, secure: bool = False) -> ClientApp:
    """The application.

    Args:
        job: None: each run brings its own (``flwr run``).
        secure: it answers in the stages of secure aggregation (SecAgg+).
    """
    mods: list[Mod] = []
    if secure:
        from model_pipeline.federated.masks import masked

        mods.append(masked)
    app = ClientApp(mods=mods)
    text = job.model_dump_json() if job else ""

    @app.query()
    def who(message: Message, context: Context) -> Message:
        return Message(RecordDict({METRICS: MetricRecord({NUMBER: number_of(context)})}), reply_to=message)

    @app.train()
    def learn(message: Message, context: Context) -> Message:
        return learn_round(text or str(context.run_config["job"]), message, context)

    return app


def number_of(context: Context) -> int:
    """Which client this node is.

    Raises:
        KwsError: nobody has told it.
    """
    for name in ("client", "partition-id"):
        if name in context.node_config:
            return int(context.node_config[name])
    raise KwsError("this node has no number", hint="flower-supernode --node-config 'client=0 data=\"/home/me/speech\"'")


def learn_round(text: str, message: Message, context: Context) -> Message:
    """Takes the server's weights, learns, and answers with what was learnt."""
    number = number_of(context)
    start = [array.numpy() for array in message.content.array_records[ARRAYS].values()]
    config = message.content.config_records[CONFIG]
    round_number = int(config["round"])  # type: ignore[arg-type]
    own = str(context.node_config.get("data", ""))
    job, learner = _learner(text)
    household = _household(text, own, number if own else None)
    found = learn_one(job, learner, household, start, number, round_number, config)
    c = job.recipe.federate
    metrics = MetricRecord({NUMBER: number, EXAMPLES: found.examples, LOSS: found.loss, ACCURACY: found.accuracy})
    if c.secure:
        names = message.content.array_records[ARRAYS].keys()
        arrays = ArrayRecord(dict(zip(names, (Array(w) for w in found.weights), strict=True)))
    else:
        rng = np.random.default_rng([c.seed, 6, number, round_number])
        sent = upload.encode(start, found.weights, c.upload, c.top, rng)
        arrays = ArrayRecord({"0": Array(np.frombuffer(sent, np.uint8))})
    return Message(RecordDict({UPDATE: arrays, METRICS: metrics}), reply_to=message)


def learn_one(
    job: Job,
    learner: Learner,
    household: Household,
    start: list[np.ndarray],
    number: int,
    round_number: int,
    config: ConfigRecord | dict[str, float],
) -> Learnt:
    """Client ``number``'s round. ``config``: the server's, which has FedProx's weight."""
    return learner.learn(
        start,
        household.examples(number, round_number),
        [job.recipe.federate.seed, 5, number, round_number],
        job.recipe.federate.rate_of(round_number),
        float(config.get("proximal-mu", 0.0)),  # type: ignore[arg-type]
    )


@functools.lru_cache(maxsize=1)
def _learner(text: str) -> tuple[Job, Learner]:
    one_thread()
    job = Job.model_validate_json(text)
    recipe = job.recipe
    if recipe.federate.begin and not recipe.federate.head_only:
        # All weights come from the server; the folder is on its machine.
        recipe = recipe.model_copy(update={"federate": recipe.federate.model_copy(update={"begin": ""})})
    return job, Learner(recipe)


@functools.lru_cache(maxsize=1)
def _household(text: str, own: str, whole: int | None) -> Household:
    job = Job.model_validate_json(text)
    return Household(job.recipe, own or job.data, None if own else job.audio_path, whole)


def one_thread() -> None:
    """TensorFlow with one thread adds in the same order each time. To be called before anything of it runs."""
    with contextlib.suppress(RuntimeError):  # it runs already, with what it was given first
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
