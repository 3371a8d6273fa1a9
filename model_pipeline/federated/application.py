"""Flower's application as a folder, for ``flwr run`` on machines on which micro-kws is installed.

python -m model_pipeline.federated.application --config tiny --data DIR --out DIR
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from model_pipeline import child
from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.federated.job import Job
from model_pipeline.folders import atomic_dir
from model_pipeline.outcomes import FederatedApp

KIND = "kws federate --app"


def write(config: Config, data: str | Path, out: Path) -> FederatedApp:
    """Writes folder ``out``, whole or not at all. Its server judges by the validation clips of ``data`` and leaves what
    `kws federate` leaves in ``out/trained``.

    Raises:
        KwsError: ``out`` holds what this did not make, or clients' own heads are asked for, which stay where they are.
    """
    if config.federate.held_out:
        raise KwsError("heads of clients' own are measured on this machine alone", hint="--personal without --app")
    trained = out.resolve() / "trained"
    job = Job(recipe=config.of_clips(), data=str(Path(data).resolve()), out=str(trained), nodes=config.federate.nodes)
    with atomic_dir(out, KIND, sources=[data]) as folder:
        package = folder / "kws_federate"
        package.mkdir()
        (folder / "pyproject.toml").write_text(
            _PROJECT.replace("JOB", json.dumps(job.model_dump_json())), encoding="utf-8"
        )
        (folder / "LICENSE").write_text("Apache-2.0, as micro-kws itself.\n", encoding="utf-8")
        (package / "__init__.py").write_text("", encoding="utf-8")
        (package / "app.py").write_text(_CODE.format(secure=config.federate.secure), encoding="utf-8")
    return FederatedApp(app=str(out), trained=str(trained))


_PROJECT = """# Made by kws federate --app. flwr run . SUPERLINK
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "kws-federate"
version = "1.0.0"
description = "Keyword spotting, learnt where the speech is."
license = { file = "LICENSE" }
dependencies = ["flwr>=1.42,<1.43"]

[tool.flwr.app]
publisher = "micro-kws"
fab-format-version = 1
flwr-version-target = "1.42.0"

[tool.flwr.app.components]
serverapp = "kws_federate.app:server"
clientapp = "kws_federate.app:client"

[tool.flwr.app.config]
job = JOB
"""
_CODE = '''"""The two halves of `kws federate`. Made by kws federate --app."""

from model_pipeline.federated.client_app import client_app
from model_pipeline.federated.server_app import server_app

client = client_app(secure={secure})
server = server_app()
'''


def main() -> int:
    """The command line of the child process."""
    a = child.parser("Write Flower's application.", "data", "out").parse_args()
    return child.main(a, lambda progress: write(child.config_of(a), a.data, a.out))


if __name__ == "__main__":
    sys.exit(main())
