"""What a worker process of ``make fuzz`` does (a module of its own, because spawned processes import it by name)."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field

from model_pipeline.compiler import Program, emit

from .check import Failure, attempt, case, run, worth_running

BATCH = 12  # programs in one executable
MEMORY = 4 << 30  # address space: a file may not make it large


@dataclass
class Part:
    """What became of one chunk."""

    refused: int = 0
    compiled: int = 0
    ran: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)


_bases: list[bytes] = []


def start(bases: list[bytes]) -> None:
    _bases[:] = bases


def work(job: tuple[int, int, int, int]) -> Part:
    """Cases ``first`` to ``first + count - 1``, and at most ``batches`` batches of survivors."""
    first, count, seed, batches = job
    part = Part()
    survivors: dict[str, tuple[int, Program]] = {}
    # Not for the sanitized programs: their shadow memory alone is many terabytes of addresses.
    unlimited = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, unlimited[1]))
    for number in range(first, first + count):
        data = case(_bases, number, seed)
        try:
            program = attempt(data, number)
        except Failure as error:
            part.failures.append((number, str(error)))
            continue
        if program is None:
            part.refused += 1
            continue
        part.compiled += 1
        if batches and worth_running(program):
            survivors.setdefault(emit(program)["model_aot.c"], (number, program))
    resource.setrlimit(resource.RLIMIT_AS, unlimited)
    chosen = list(survivors.values())[: batches * BATCH]
    for start in range(0, len(chosen), BATCH):
        group = chosen[start : start + BATCH]
        try:
            run([program for _, program in group])
        except Failure:
            for number, program in group:  # which one
                try:
                    run([program])
                except Failure as error:
                    part.failures.append((number, str(error)))
        part.ran += len(group)
    return part
