"""A child for the tests of `model_pipeline.child.Worker`."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from model_pipeline import child
from model_pipeline.errors import CheckFailed
from model_pipeline.strict import Strict


class Sum(Strict):
    """What a job gives."""

    sum: int
    pid: int


def job(values: dict[str, Any], progress: child.ProgressCallback, ask: child.Ask) -> Sum:
    print("noise of a library")
    if values["do"] == "refuse":
        raise CheckFailed("not today", hint="tomorrow")
    if values["do"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    progress(1, 1, "half way")
    return Sum(sum=sum(ask({"number": n}) for n in range(values["count"])), pid=os.getpid())


if __name__ == "__main__":
    sys.exit(child.serve(job))
