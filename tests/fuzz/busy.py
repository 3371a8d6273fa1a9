"""Files that are made to keep the compiler busy: each is compiled or refused, and how long that takes is printed.

python -m tests.fuzz.busy
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from model_pipeline.compiler import compile_model, emit
from model_pipeline.errors import KwsError
from tests.support.tflite_builder import ModelBuilder

_SHAPE = (1, 4)


def kept_alive(count: int, kept: int) -> bytes:
    """``count`` operators in a row, then ``kept`` that read what these gave, the last first: all of them are alive at
    once."""
    builder = ModelBuilder()
    last = first = builder.tensor(_SHAPE, 0.1)
    given = []
    for number in range(count + kept):
        after = builder.tensor(_SHAPE, 0.1)
        other = given[count - 1 - (number - count)] if number >= count else first
        builder.op("ADD", [last, other], [after], "AddOptions")
        given.append(after)
        last = after
    return builder.build([first], [last])


def cases() -> Iterator[tuple[str, bytes]]:
    """Names and files; the largest of each kind has about 0.5 MB."""
    for count in (1000, 4000):
        yield f"{count:,} operators in a row", kept_alive(count, 0)
    for kept in (300, 1000, 1350, 2000):
        yield f"{kept:,} results kept alive", kept_alive(kept, kept)
    yield "1,000 of 3,000 results kept alive", kept_alive(3000, 1000)


def main() -> None:
    """The command line."""
    argparse.ArgumentParser(prog="python -m tests.fuzz.busy", description=__doc__.partition("\n")[0]).parse_args()
    for name, data in cases():
        began = time.process_time()
        try:
            emit(compile_model(data))
            became = "compiled"
        except KwsError as error:
            became = f"refused: {error}"
        print(f"{name}, {len(data):,} bytes: {time.process_time() - began:.1f} s, {became}", flush=True)


if __name__ == "__main__":
    main()
