"""Flower's simulation with its clients in this process: a pool of Ray's takes half a minute and another TensorFlow to
start, which a network of 100 KB does not earn back.

All but the pool is Flower's: the in-memory link, the grid, the loop that hands messages to clients and takes their
answers. With more than one worker the pool is Ray's, too.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from queue import Empty, Queue

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import RUN_ID_NUM_BYTES, SUPERLINK_NODE_ID, TASK_ID_NUM_BYTES
from flwr.proto.task_pb2 import Task
from flwr.server.superlink.fleet.vce import vce_api
from flwr.server.superlink.fleet.vce.backend import Backend
from flwr.server.superlink.fleet.vce.metrics import VceMetrics
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.server.superlink.linkstate.in_memory_linkstate import RunRecord
from flwr.server.superlink.linkstate.utils import generate_rand_int_from_bytes
from flwr.serverapp import ServerApp
from flwr.simulation.run_simulation import run_serverapp_th
from flwr.supercore.constant import FLWR_IN_MEMORY_DB_NAME, NOOP_FEDERATION_ID
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid


class Here(Backend):
    """A pool of one: clients are run by turns where they are called."""

    def __init__(self, ended: Callable[[], bool]) -> None:
        """
        Args:
            ended: whether no client is to begin any more.
        """
        super().__init__({})
        self._app: ClientApp | None = None
        self._ended = ended

    def build(self, app_fn: Callable[[], ClientApp]) -> None:
        self._app = app_fn()

    @property
    def num_workers(self) -> int:
        return 1

    def is_worker_idle(self) -> bool:
        return True

    def terminate(self) -> None:
        self._app = None

    def process_message(self, message: Message, context: Context) -> tuple[Message, Context]:
        assert self._app is not None
        if self._ended():
            raise RuntimeError("the training is to stop")  # which the loop answers for the client
        # As between processes: what a client does to its message is seen by nobody else.
        return self._app(message=pickle.loads(pickle.dumps(message)), context=context), context


def simulate(server: ServerApp, client: ClientApp, clients: int, ended: Callable[[], bool]) -> None:
    """Runs both applications, with as many ``clients``, until the server's is done. Once ``ended``, no client begins.

    Raises:
        BaseException: what the server's application raised.
    """
    run = Run.create_empty(run_id=generate_rand_int_from_bytes(RUN_ID_NUM_BYTES))
    run.primary_task_id = generate_rand_int_from_bytes(TASK_ID_NUM_BYTES)
    run.federation_id = NOOP_FEDERATION_ID
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run.run_id, SUPERLINK_NODE_ID
    factory = LinkStateFactory(FLWR_IN_MEMORY_DB_NAME, NoOpFederationManager(), ObjectStoreFactory())
    state = factory.state()
    state.run_ids[run.run_id] = RunRecord(run=run)  # type: ignore[attr-defined]
    state.task_store[run.primary_task_id] = Task(task_id=run.primary_task_id, run_id=run.run_id)  # type: ignore[attr-defined]
    grid = InMemoryGrid(state_factory=factory)
    grid.set_run(run)
    nodes = vce_api._register_nodes(num_nodes=clients, state_factory=factory)
    stores = vce_api._register_node_info_stores(nodes_mapping=nodes, run=run)
    stop, raised, done = threading.Event(), Queue[BaseException](), Queue[Context]()
    context = Context(run_id=run.run_id, node_id=0, node_config={}, state=RecordDict(), run_config={})
    thread = run_serverapp_th(None, server, context, grid, "", stop, raised, False, done)
    try:
        vce_api.run_api(lambda: client, lambda: Here(ended), nodes, factory, stores, stop, VceMetrics())
    finally:
        stop.set()
        thread.join()
    try:
        error = raised.get_nowait()
    except Empty:
        return
    raise error
