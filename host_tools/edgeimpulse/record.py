"""What went up: a file beside the data folder that only grows, a line before each recording and one after it.

A kill loses nothing: a line that is half written is ignored, and where a recording was begun and nothing tells how that
ended, the project itself is asked.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from model_pipeline.errors import KwsError
from model_pipeline.files import disk_error, parse_json, try_lock

_FORMAT = 1
_MOST = 1 << 30  # bytes


def beside(folder: Path, project: int, ending: str = "") -> Path:
    """What belongs to a folder and a project: beside the folder, which stays as it is."""
    real = Path(os.path.realpath(folder))
    return real.with_name(f"{real.name}.edgeimpulse-{project}{ending}")


class Record:
    """Of one folder and one project; recordings are named by the SHA-256 of what is sent.

    Raises:
        KwsError: another upload has it, or the file is not such a record.
    """

    def __init__(self, path: Path, project: int, server: str) -> None:
        self.path = path
        self.done: set[str] = set()
        self.open: set[str] = set()
        self.is_whole = False  # what the project had before is in it
        self._lock = threading.Lock()
        head = {"format": _FORMAT, "project": project, "server": server}
        try:
            self._stream: BinaryIO = path.open("a+b")
        except OSError as error:
            raise disk_error(error, path) from error
        try:
            if not try_lock(self._stream):
                raise KwsError(f"another upload is at work with {path}", hint="wait until it has ended")
            if not self._read(head):
                self._add(head)
        except BaseException:
            self._stream.close()
            raise

    def _read(self, head: dict[str, Any]) -> bool:
        """Whether there was a record; what a kill left of a last line is cut off."""
        self._stream.seek(0)
        first, end = True, 0
        for line in self._stream:
            if not line.endswith(b"\n"):
                break
            try:
                value = parse_json(line, "a line")
                if first and value != head:
                    raise ValueError("of another project or server")
                if not first:
                    (state, digest), *_ = value.items()
                    self._note(str(state), str(digest))
            except (KwsError, ValueError) as error:
                raise KwsError(
                    f"{self.path} is not the record of this project: {error}",
                    hint="move it away; the project is asked then",
                ) from error
            first, end = False, end + len(line)
            if end > _MOST:
                raise KwsError(f"{self.path} has more than {_MOST >> 30} GB", hint="move it away")
        self._stream.truncate(end)
        return not first

    def _note(self, state: str, digest: str) -> None:
        if state == "asked":
            self.is_whole = True
        elif state == "begin":
            self.open.add(digest)
        else:
            self.open.discard(digest)
            if state != "refused":
                self.done.add(digest)

    def asked(self, digests: Iterable[str]) -> None:
        """The project has these: what it said when it was asked."""
        new = [{"known": digest} for digest in sorted({*digests} - self.done)]
        with self._lock:
            self._add(*new, {"asked": ""})
        for value in [*new, {"asked": ""}]:
            (state, digest), *_ = value.items()
            self._note(state, digest)

    def begin(self, digest: str) -> None:
        """Before it is sent."""
        self._write({"begin": digest})

    def end(self, state: str, digest: str, **more: Any) -> None:
        """``state``: taken or known (never to be sent again), or refused."""
        self._write({state: digest, **more})

    def _write(self, value: dict[str, Any]) -> None:
        with self._lock:
            if self._stream.closed:  # a thread that was too late; the project will tell
                return
            self._add(value)
            (state, digest), *_ = value.items()
            self._note(state, digest)

    def _add(self, *values: dict[str, Any]) -> None:
        try:
            self._stream.write(b"".join(json.dumps(value).encode("ascii") + b"\n" for value in values))
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise disk_error(error, self.path) from error

    def close(self) -> None:
        """No line is written after this."""
        with self._lock:
            self._stream.close()
