"""The page on localhost, and a board's bytes to it over a WebSocket: the page speaks the link's protocol itself.

Only this computer is served, and only the page itself: the socket is bound to the loopback interface, and a request
that names another host, or comes from another site's page, is refused.
"""

from __future__ import annotations

import contextlib
import http
import json
import logging
import mimetypes
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from host_tools.link import port as ports
from host_tools.link import transport
from host_tools.web.folder import MODEL_FILE
from model_pipeline.errors import KwsError, MissingTool
from model_pipeline.packages import pip_install
from model_pipeline.text import to_json

if TYPE_CHECKING:
    from websockets.http11 import Request, Response
    from websockets.sync.server import ServerConnection

HOST = "127.0.0.1"
LINK_PATH = "/link"
_TURN_S = 2.0
_MOST = 1 << 16  # bytes of one message from the page
_MOST_AT_ONCE = 24  # connections; a browser has six to a site
_OPENING_S = 10.0  # from a connection's first byte to its whole request
# As the page's own <meta> has it, which static hosts serve; what only a header can say stands here alone.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), serial=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}
_TYPES = {".wasm": "application/wasm", ".js": "text/javascript; charset=utf-8", ".json": "application/json"}


@dataclass(frozen=True)
class Board:
    """The board that the page may reach through this server.

    Attributes:
        name: for people.
        url: what pyserial opens.
        compact: whether its sound is to come as ADPCM (docs/protocol.md: over a UART).
        check: raises KwsError where what runs it has ended.
    """

    name: str
    url: str
    baud: int
    compact: bool
    check: Callable[[], None] = lambda: None

    def about(self) -> dict[str, object]:
        """What the page is told of it."""
        resend = transport.RESEND_TCP_S if self.url.startswith("socket://") else transport.RESEND_S
        return {"name": self.name, "resend_ms": round(1000 * resend), "compact": self.compact}


@contextlib.contextmanager
def serving(files: dict[str, bytes], board: Board | None, port: int = 0) -> Iterator[str]:
    """Serves the folder in ``files`` until the block is left, and gives its address.

    Args:
        port: on the loopback interface; 0: any free one.

    Raises:
        MissingTool: the package websockets is not installed.
        KwsError: the port is taken.
    """
    try:
        from websockets.sync.server import serve
    except ImportError as error:
        raise MissingTool("the package websockets is not installed", hint=pip_install(extra="web")) from error

    found = dict(files)
    if board:
        found[MODEL_FILE] = to_json({**json.loads(files[MODEL_FILE]), "board": board.about()}, indent=1).encode()
    bridge = _Bridge(board)
    names: set[str] = set()  # of this server, once its port is known

    def process(_: ServerConnection, request: Request) -> Response | None:
        return _answer(request, found, names, board is not None)

    try:
        server = serve(
            bridge.run,
            HOST,
            port,
            process_request=process,
            compression=None,
            max_size=_MOST,
            server_header=None,
            open_timeout=_OPENING_S,
            logger=_silent(),
        )
    except OSError as error:
        raise KwsError(
            f"the page can't be served on port {port}: {error.strerror}", hint="--http-port 0 takes a free one"
        ) from error
    few = server.handler = _Few(server.handler)
    number = server.socket.getsockname()[1]
    names |= {f"{name}:{number}" for name in (HOST, "localhost")}
    thread = threading.Thread(target=server.serve_forever, name="web", daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{number}/"
    finally:
        bridge.stop()
        few.stop()
        server.shutdown()
        thread.join(2)


def _answer(request: Request, files: dict[str, bytes], names: set[str], has_board: bool) -> Response | None:
    """The response to a request, or None for a WebSocket that may be opened."""
    from websockets.datastructures import Headers
    from websockets.http11 import Response

    def response(status: http.HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8") -> Response:
        headers = Headers({"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **_HEADERS})
        return Response(status.value, status.phrase, headers, body)

    hosts = request.headers.get_all("Host")
    origins = request.headers.get_all("Origin")
    if len(hosts) != 1 or hosts[0].lower() not in names:  # a name of another site that leads here
        return response(http.HTTPStatus.FORBIDDEN, b"this server is for this computer alone\n")
    if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins) or len(origins) > 1:
        return response(http.HTTPStatus.FORBIDDEN, b"this server is for its own page alone\n")
    path = request.path.split("?", 1)[0]
    if path == LINK_PATH:
        if not origins:  # browsers always say where a WebSocket is from
            return response(http.HTTPStatus.FORBIDDEN, b"this server is for its own page alone\n")
        return None if has_board else response(http.HTTPStatus.NOT_FOUND, b"no board: kws web --port\n")
    name = "index.html" if path == "/" else path.removeprefix("/")
    if name not in files:
        return response(http.HTTPStatus.NOT_FOUND, b"no such file\n")
    suffix = name[name.rfind(".") :]
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
    return response(http.HTTPStatus.OK, files[name], f"{kind}; charset=utf-8" if kind.startswith("text/html") else kind)


class _Few:
    """At most N connections at once: each takes a thread, and anybody on this computer can open one."""

    def __init__(self, handler: Callable[[socket.socket, object], None]) -> None:
        self._handler = handler
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._stopped = False

    def __call__(self, connection: socket.socket, address: object) -> None:
        """Serves it until its end; one too many gets no answer."""
        with self._lock:
            if self._stopped or len(self._open) >= _MOST_AT_ONCE:
                _shut(connection)
            self._open.add(connection)
        try:
            self._handler(connection, address)  # of one that is shut too, which it forgets then
        finally:
            with self._lock:
                self._open.discard(connection)

    def stop(self) -> None:
        """Ends those that have not sent their request yet, for whom the server would wait."""
        with self._lock:
            self._stopped = True
            for connection in self._open:
                _shut(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _silent() -> logging.Logger:
    """What clients do wrong is for nobody's terminal: websockets logs it with tracebacks."""
    logger = logging.Logger("kws.web")
    logger.addHandler(logging.NullHandler())
    return logger


class _Bridge:
    """Carries bytes between one page at a time and the board's port. What goes wrong is sent to the page as text,
    ``{"error", "hint", "retry"}``, before the WebSocket is closed."""

    def __init__(self, board: Board | None) -> None:
        self._board = board
        self._busy = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ends what is open."""
        self._stopped.set()

    def run(self, page: ServerConnection) -> None:
        """One page, from its WebSocket's opening to its end."""
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            if not self._busy.acquire(
                timeout=_TURN_S
            ):  # a page that is loaded anew comes before its old link has ended
                self._say(page, "The board is in use by another window of this page.", "Close that window.", False)
                return
            try:
                self._carry(page)
            except KwsError as error:
                self._say(page, f"{error}.", error.hint, True)
            finally:
                self._busy.release()

    @staticmethod
    def _say(page: ServerConnection, error: str, hint: str, retry: bool) -> None:
        page.send(json.dumps({"error": error, "hint": hint, "retry": retry}))

    def _carry(self, page: ServerConnection) -> None:
        board = self._board
        assert board is not None
        board.check()
        claim = ports.claim(board.url)
        try:
            with contextlib.closing(ports.open_port(board.url, board.baud)) as port:
                self._both_ways(page, port, board)
        finally:
            if claim:
                claim.close()

    def _both_ways(self, page: ServerConnection, port: ports.Port, board: Board) -> None:
        """Until either end is gone.

        Raises:
            DeviceError: the port went away.
        """
        read = ports.reader(port)
        ended = threading.Event()
        gone: list[Exception] = []

        def to_page() -> None:
            try:
                while not (ended.is_set() or self._stopped.is_set()):
                    if data := read():
                        page.send(data)
            except ports.PORT_ERRORS as error:
                gone.append(error)
            except Exception:  # the page is gone: the other direction ends too
                return
            finally:
                ended.set()

        thread = threading.Thread(target=to_page, name="web-link", daemon=True)
        thread.start()
        try:
            while not ended.is_set():
                try:
                    data = page.recv(timeout=0.1)
                except TimeoutError:
                    continue
                if isinstance(data, str):
                    page.close(1003)  # the page sends bytes alone
                    return
                port.write(data)
        except ports.PORT_ERRORS as error:
            gone.append(error)
        finally:
            ended.set()
            thread.join(2)
        if gone:
            board.check()  # why, if it was an emulator
            reason = str(gone[0]).strip() or type(gone[0]).__name__
            raise ports.CantOpen(f"{board.name} went away: {reason}", hint="check the cable or the emulator")
