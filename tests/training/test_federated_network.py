"""Flower between processes: a superlink, two supernodes and `flwr run` over loopback, with the applications of the
simulation."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_pipeline.config import load_config, with_settings
from model_pipeline.native import ROOT
from tests.support import tiny_data
from tests.training.test_federated import SETTINGS

pytest.importorskip("tensorflow", reason="the training extra is not installed")
pytest.importorskip("flwr", reason="the extra 'federated' (Flower) is not installed")
if sys.platform != "linux":
    pytest.skip("its processes are ended by Linux's prctl", allow_module_level=True)

BIN = Path(sys.executable).parent
WAIT_S = 900


class Processes:
    """Flower's programs, with a home of their own."""

    def __init__(self, folder: Path) -> None:
        from model_pipeline.federated.simulation import QUIET

        self.folder, self.running = folder, list[subprocess.Popen[bytes]]()
        # The machine's proxy is not for this machine itself.
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
        here = {"FLWR_HOME": str(folder / "home"), "NO_PROXY": "*", "no_proxy": "*", "PATH": path}
        self.environment = {**os.environ, **QUIET, **here}
        (folder / "home").mkdir()

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.folder / f"{name}.log").open("wb")
        # They start others in sessions of their own: all end with this test, whatever ends it.
        guard = [sys.executable, "-m", "tests.support.guarded"]
        process = subprocess.Popen(
            [*guard, str(BIN / arguments[0]), *arguments[1:]],
            cwd=ROOT,
            env=self.environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        self.running.append(process)
        return process

    def logs(self) -> str:
        return "\n".join(f"== {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in self.folder.glob("*.log"))

    def end(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(timeout=60)


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    result = Processes(tmp_path)
    yield result
    result.end()


def _ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    found = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return found


@pytest.mark.slow
def test_two_nodes_on_loopback_train_by_the_same_applications(processes: Processes, tmp_path: Path) -> None:
    from model_pipeline.federated.application import write

    # Each node has a folder of its own, the server a third one to judge by.
    folders = [tiny_data.make(tmp_path / f"home{n}", speakers=5) for n in (0, 1)]
    server = tiny_data.make(tmp_path / "server", speakers=5)
    settings = [*SETTINGS, "federate.nodes=2", "federate.rounds=2", "federate.fraction=1"]
    recipe = with_settings(load_config("plain"), settings)
    write(recipe, server, tmp_path / "app")

    link, *nodes = _ports(3)
    processes.start(
        "superlink", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(link),
        "--disable-runtime-dependency-installation",
    )  # fmt: skip
    for number, (port, folder) in enumerate(zip(nodes, folders, strict=True)):
        processes.start(
            f"supernode{number}", "flower-supernode", "--insecure", "--superlink", f"127.0.0.1:{link}",
            "--port", str(port), "--node-config", f'client={number} data="{folder}"',
        )  # fmt: skip
    home = tmp_path / "home" / "config.toml"
    home.write_text(
        f'[superlink]\ndefault = "here"\n\n[superlink.here]\naddress = "127.0.0.1:{link}"\ninsecure = true\n'
    )
    deadline = time.monotonic() + WAIT_S
    _started(link, deadline)
    run = processes.start("run", "flwr", "run", str(tmp_path / "app"), "here")
    assert run.wait(timeout=WAIT_S) == 0, processes.logs()

    out = tmp_path / "app" / "trained"
    while not (out / "federated.json").exists() and time.monotonic() < deadline:
        assert "Traceback" not in processes.logs(), processes.logs()
        time.sleep(0.5)
    assert (out / "federated.json").exists(), processes.logs()
    found = json.loads((out / "federated.json").read_text())
    assert found["clients"] == found["sampled"] == 2
    assert [r["number"] for r in found["rounds"]] == [0, 1, 2]
    assert all(r["clients"] == 2 for r in found["rounds"][1:])
    assert json.loads((out / "train.json").read_text())["epochs"] == 2


def _started(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
