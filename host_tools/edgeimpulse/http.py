"""Requests to one of Edge Impulse's servers: bounded, repeated where that is safe, the key in one header alone.

Plain HTTP over Python's own client. The official bindings (edgeimpulse-api) take five seconds to load, do not know the
server that takes recordings, keep whole replies in memory, and wait as long as a server asks them to.
"""

from __future__ import annotations

import http.client
import io
import secrets
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, TypedDict, Unpack

from host_tools.edgeimpulse.address import Key, Server
from host_tools.edgeimpulse.wire import LASTING, SAID, connect, cut, read_body, retry_after, why
from model_pipeline.errors import KwsError
from model_pipeline.files import parse_json
from model_pipeline.text import shown

TRIES = 5  # of a request
LONGEST_WAIT_S = 120.0  # that a server may ask for before the next try
DEADLINE_S = 60.0  # of a try, from the first byte sent to the last one received
JSON_BYTES = 32 << 20
_TOO_MANY, _GONE = 429, (500, 502, 503, 504)


@dataclass(frozen=True)
class Reply:
    """``body`` is empty where it went into a file. ``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Asked(TypedDict, total=False):
    """What a request may have beside its path. ``repeat``: whether it may be asked again where it is not known if it
    was done; by default GET alone."""

    query: Mapping[str, Any] | None
    headers: Mapping[str, str] | None
    body: bytes | None
    repeat: bool | None


class Broken(Exception):
    """A try that failed by the link. ``sent``: the server may have done what it was asked."""

    def __init__(self, text: str, *, sent: bool, lasting: bool = False) -> None:
        super().__init__(text)
        self.sent, self.lasting = sent, lasting


class Http:
    """One server, from any number of threads, each with a connection of its own that is kept.

    Args:
        pause: seconds before the second try, doubled from try to try.
        wait: what waits; tests give another.
    """

    def __init__(
        self, server: Server, key: Key, *, pause: float = 1.0, wait: Callable[[float], None] = time.sleep
    ) -> None:
        self.server, self.key = server, key
        self._pause, self._wait = pause, wait
        self._mine = threading.local()
        self._all: set[http.client.HTTPConnection] = set()
        self._lock = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Ends all connections, also those on which another thread waits."""
        with self._lock:
            self._closed = True
            connections, self._all = self._all, set()
        for connection in connections:
            cut(connection)

    def json(self, method: str, path: str, **asked: Unpack[Asked]) -> dict[str, Any]:
        """The JSON object that a request is answered with.

        Raises:
            KwsError: as `request`; or the answer is not a JSON object, or says that it failed.
        """
        reply = self.request(method, path, **asked)
        value = self.parsed(reply.body, path)
        if value.get("success") is not True:
            raise KwsError(f"Edge Impulse refuses {_plain(path)}: {self.said(reply.body) or 'without a reason'}")
        return value

    def parsed(self, body: bytes, path: str) -> dict[str, Any]:
        """``body`` as a JSON object.

        Raises:
            KwsError: it is none.
        """
        try:
            return parse_json(body, "it")
        except KwsError as error:
            why, said = str(error).removeprefix("it is broken: "), self.shown(body[:80]) or "empty"
            raise KwsError(
                f"the answer of {self.server} to {_plain(path)} is not JSON ({why}): {said}",
                hint="a proxy or a login page may stand between; try again later",
                exit_code=4,
            ) from error

    def request(
        self,
        method: str,
        path: str,
        *,
        most: int = JSON_BYTES,
        into: BinaryIO | None = None,
        deadline: float = DEADLINE_S,
        refusals: tuple[int, ...] = (),
        **asked: Unpack[Asked],
    ) -> Reply:
        """One request, tried again after 429, a server's fault and a broken connection.

        Args:
            path: below the server's; parts that are data are quoted already.
            most: bytes of the answer.
            into: an empty file that the answer is written into.
            refusals: other statuses that are an answer, not an error.

        Raises:
            KwsError: exit code 2 where the key or the request is not accepted, 4 where server or link fail.
        """
        repeat, query = asked.get("repeat"), asked.get("query")
        again = method == "GET" if repeat is None else repeat
        target = f"{self.server.path}{path}"
        if query:
            target += "?" + urllib.parse.urlencode({k: v for k, v in query.items() if v is not None})
        problem = ""
        for number in range(1, TRIES + 1):
            pause = self._pause * 2 ** (number - 1)
            try:
                # On a connection that the server may have closed it would not be known whether it was done.
                if not again:
                    self._drop(self._connection())
                reply = self._try(method, target, asked.get("headers") or {}, asked.get("body"), most, into, deadline)
            except Broken as error:
                problem = str(error)
                if error.lasting or self._closed or (error.sent and not again):
                    break
            else:
                problem = f"the server says {reply.status}"
                if said := self.said(reply.body):
                    problem += f": {said}"
                if reply.status == _TOO_MANY or (reply.status == 503 and "retry-after" in reply.headers):
                    pause = max(pause, retry_after(reply.headers.get("retry-after", "")))
                    if pause > LONGEST_WAIT_S:
                        raise KwsError(
                            f"{self.server} wants no requests for {pause:,.0f} s",
                            hint="run again then: what is done stays done",
                            exit_code=4,
                        )
                elif reply.status in _GONE:
                    if not again:
                        break
                elif reply.status == 200 or reply.status in refusals:
                    return reply
                else:
                    raise self._refused(reply, path, problem)
            if number < TRIES:
                self._wait(pause)
        raise KwsError(
            f"{self.server} does not answer {_plain(path)}: {problem}",
            hint="check the network and run again: what is done stays done",
            exit_code=4,
        )

    def _refused(self, reply: Reply, path: str, problem: str) -> KwsError:
        if reply.status in (401, 403):
            return KwsError(
                f"Edge Impulse does not accept the key in EI_API_KEY for {_plain(path)} ({reply.status})",
                hint="Studio shows a project's keys under Dashboard, Keys; export EI_API_KEY=…",
            )
        if 300 <= reply.status < 400:
            return KwsError(f"{self.server} sends {_plain(path)} elsewhere, where the key does not go", exit_code=4)
        return KwsError(f"{_plain(path)}: {problem}", exit_code=2 if 400 <= reply.status < 500 else 4)

    def _try(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        most: int,
        into: BinaryIO | None,
        deadline: float,
    ) -> Reply:
        """
        Raises:
            Broken: by the link, or the answer is longer than ``most``.
        """
        end = time.monotonic() + deadline
        connection = self._connection()
        watch = threading.Timer(deadline, cut, [connection])
        watch.daemon = True
        watch.start()
        sent = False
        try:
            if into is not None:
                into.seek(0)
                into.truncate()
            if connection.sock is None:
                connection.connect()
            sent = True
            connection.request(
                method,
                target,
                body,
                {"Accept": "*/*", "User-Agent": "micro-kws", **headers, **self.key.headers()},
            )
            answer = connection.getresponse()
            data = read_body(answer, most, into if answer.status == 200 else None, end)
            kept = {name.lower(): value for name, value in answer.getheaders()}
            if answer.will_close:
                self._drop(connection)
            return Reply(answer.status, kept, data)
        except (OSError, http.client.HTTPException) as error:
            self._drop(connection)
            text = f"no whole answer within {deadline:.0f} s" if time.monotonic() >= end else why(error)
            raise Broken(text, sent=sent, lasting=isinstance(error, LASTING)) from error
        except BaseException:
            self._drop(connection)
            raise
        finally:
            watch.cancel()

    def _connection(self) -> http.client.HTTPConnection:
        kept: http.client.HTTPConnection | None = getattr(self._mine, "connection", None)
        if kept is None:
            kept = self._mine.connection = connect(self.server)
        with self._lock:
            if self._closed:
                raise Broken("stopped", sent=False, lasting=True)
            self._all.add(kept)
        return kept

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        connection.close()
        self._mine.connection = None
        with self._lock:
            self._all.discard(connection)

    def said(self, body: bytes) -> str:
        """A server's own reason, if it gives one."""
        try:
            value = parse_json(body, "it").get("error", "")
        except KwsError:
            value = body[:SAID].decode("utf-8", "replace")
            if "<" in value:  # a page for browsers
                return ""
        return self.shown(value) if isinstance(value, str) else ""

    def shown(self, text: str | bytes) -> str:
        """What a server says, for people: without the key, bounded, on one line."""
        text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return shown(self.key.taken_out(text).strip(), SAID)


def multipart(fields: Mapping[str, str], files: Mapping[str, tuple[str, bytes]]) -> tuple[dict[str, str], bytes]:
    """Headers and body of a form: ``files`` by field, each with its plain ASCII name and its bytes."""
    edge = f"kws-{secrets.token_hex(16)}"
    out = io.BytesIO()
    for field, text in fields.items():
        out.write(f'--{edge}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{text}\r\n'.encode())
    for field, (name, data) in files.items():
        plain = urllib.parse.quote(name, safe=" ()'!,;=@+$&~")  # as browsers do; no quote, line end or slash is left
        head = f'--{edge}\r\nContent-Disposition: form-data; name="{field}"; filename="{plain}"\r\n'
        out.write(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode("ascii") + data + b"\r\n")
    out.write(f"--{edge}--\r\n".encode("ascii"))
    return {"Content-Type": f"multipart/form-data; boundary={edge}"}, out.getvalue()


def _plain(path: str) -> str:
    return shown(path.partition("?")[0], 200)
