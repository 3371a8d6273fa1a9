"""``make fuzz``: many damaged models through the compiler, and what survives under sanitizers."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

from host_tools import ui
from model_pipeline.files import write_bytes
from model_pipeline.native import cache_dir

from .check import case
from .mutate import seeds
from .worker import Part, start, work

CHUNK = 500


def main() -> None:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__, epilog='make fuzz ARGS="--cases 1000"')
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--run-every", type=int, default=5, metavar="N", help="run survivors of each Nth chunk")
    arguments = parser.parse_args()
    started = time.monotonic()
    bases = seeds()
    starts = range(0, arguments.cases, CHUNK)
    jobs = [
        (first, min(CHUNK, arguments.cases - first), arguments.seed, int(number % arguments.run_every == 0))
        for number, first in enumerate(starts)
    ]
    total = Part()
    with (
        ui.progress(f"{arguments.cases:,} damaged models") as progress,
        # spawned: the parent's threads and TFLite Micro are not to be forked
        multiprocessing.get_context("spawn").Pool(arguments.jobs, start, (bases,)) as pool,
    ):
        for number, part in enumerate(pool.imap_unordered(work, jobs)):
            total.refused += part.refused
            total.compiled += part.compiled
            total.ran += part.ran
            total.failures += part.failures
            progress(number + 1, len(jobs), f"{total.compiled:,} compiled, {len(total.failures)} failures")
    folder = cache_dir() / "fuzz"
    for number, text in sorted(total.failures)[:20]:
        path = Path(folder) / f"{arguments.seed}-{number}.tflite"
        write_bytes(path, case(bases, number, arguments.seed))
        print(f"case {number}: {text}\n  kept as {path}")
    print(
        f"{arguments.cases:,} files from {len(bases)} models: {total.refused:,} refused, {total.compiled:,} compiled, "
        f"{total.ran:,} of these run under ASan and UBSan, {len(total.failures)} failures, "
        f"{time.monotonic() - started:.0f} s"
    )
    sys.exit(1 if total.failures else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
