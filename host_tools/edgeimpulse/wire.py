"""One connection's bytes: opened, by a proxy or not, read within bounds, cut from another thread, and why it broke."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import io
import socket
import ssl
import time
import urllib.parse
import urllib.request
from typing import BinaryIO

from host_tools.edgeimpulse.address import Server
from model_pipeline.errors import KwsError
from model_pipeline.files import disk_error
from model_pipeline.text import shown

SAID = 300  # characters of a server's own words in an error
_SILENCE_S = 30.0  # between two bytes
_BLOCK = 1 << 16


class TooLong(http.client.HTTPException):
    pass


LASTING = (TooLong, ssl.SSLCertVerificationError)


def connect(server: Server) -> http.client.HTTPConnection:
    """Not yet open. By the proxy that the environment names, if it names one."""
    kind = http.client.HTTPSConnection if server.scheme == "https" else http.client.HTTPConnection
    proxy = urllib.request.getproxies().get(server.scheme, "")
    if not proxy or urllib.request.proxy_bypass(server.host) or server.scheme == "http":  # http is this machine
        return kind(server.host, server.port, timeout=_SILENCE_S)
    parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if not parts.hostname:
        raise KwsError("the proxy that https_proxy names is not an address", hint="http://host:port")
    connection = http.client.HTTPSConnection(parts.hostname, parts.port or 3128, timeout=_SILENCE_S)
    connection.set_tunnel(server.host, server.port)
    return connection


def read_body(answer: http.client.HTTPResponse, most: int, into: BinaryIO | None, end: float) -> bytes:
    length = answer.length
    kept = io.BytesIO()
    got = 0
    if length is not None and length > most:
        raise TooLong(f"an answer of {length:,} bytes, more than {most:,}")
    while block := answer.read1(_BLOCK):
        got += len(block)
        if got > most:
            raise TooLong(f"an answer of more than {most:,} bytes")
        if time.monotonic() >= end:
            raise TimeoutError
        if into is None:
            kept.write(block)
            continue
        try:
            into.write(block)
            into.flush()
        except OSError as error:
            raise disk_error(error, into.name) from error  # type: ignore[arg-type]
    if length is not None and got != length:
        raise http.client.IncompleteRead(b"", length - got)
    answer.close()
    return kept.getvalue()


def cut(connection: http.client.HTTPConnection) -> None:
    if (sock := connection.sock) is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def retry_after(text: str) -> float:
    """Seconds, of a number or a date; 0 where it is neither."""
    if text.strip().isascii() and text.strip().isdigit():
        return float(text.strip()[:9])
    try:
        when = email.utils.parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def why(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection broke in the middle of the answer"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "the connection broke"
    if isinstance(error, TimeoutError):
        return f"nothing came for {_SILENCE_S:.0f} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted ({shown(error.verify_message, 100)})"
    return shown(getattr(error, "strerror", None) or str(error) or type(error).__name__, SAID)
