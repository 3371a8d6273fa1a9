"""What a path leads to before it is read: a file, a pipe, or something that can be waited for without end.

`open` waits for a pipe's writer as long as it takes. ``--config <(…)`` has one; a FIFO that lies in a folder of
recordings has none, and whoever reads it hangs without a word.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

PATIENCE_S = 10.0  # with a pipe into which nobody writes
_CHUNK = 1 << 16


def check_regular(path: Path | str) -> None:
    """For what is read by others' code, or looked for in a folder: a file, nothing else. What is not there is left to
    who opens it.

    Raises:
        OSError: it is a pipe, a device or a socket.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))


def read_upto(path: Path, most: int) -> bytes:
    """The first ``most`` bytes of a file, of a device, or of a pipe into which somebody writes.

    Raises:
        OSError: it can't be read; TimeoutError: nobody writes into the pipe.
        ValueError: the name has a NUL.
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):
        return _of_pipe(path, most)
    with Path(path).open("rb") as stream:
        data = stream.read(min(most, os.fstat(stream.fileno()).st_size))  # no more memory than there is to read
        return data + stream.read(most - len(data)) if len(data) < most else data  # what tells no size


def _of_pipe(path: Path, most: int) -> bytes:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    deadline = time.monotonic() + PATIENCE_S
    data, written = bytearray(), False
    try:
        while len(data) < most:
            select.select([handle], [], [], 0.05)
            try:
                chunk = os.read(handle, min(_CHUNK, most - len(data)))
            except BlockingIOError:  # there is a writer, who has nothing yet
                written = True
                continue
            if chunk:
                data += chunk
                written = True
            elif written:
                break
            elif time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "it is a pipe into which nobody writes", str(path))
            else:
                time.sleep(0.05)
    finally:
        os.close(handle)
    return bytes(data)
