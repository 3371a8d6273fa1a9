"""Where requests go, and the key that goes with them."""

from __future__ import annotations

import ipaddress
import urllib.parse
from dataclasses import dataclass

from model_pipeline.errors import KwsError
from model_pipeline.text import shown


class Key:
    """A secret that no text shows: neither repr nor str nor a format of it."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Key(hidden)"

    def headers(self) -> dict[str, str]:
        """What a request bears."""
        return {"x-api-key": self._secret}

    def taken_out(self, text: str) -> str:
        """``text`` without the key, for what a server says."""
        return text.replace(self._secret, "(the key)")


@dataclass(frozen=True)
class Server:
    """Where requests go. ``path`` is before every request's own; no slash at its end."""

    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str, name: str) -> Server:
        """
        Args:
            name: of the variable that has the address, for the error.

        Raises:
            KwsError: it is not an address, or one to which the key would go in the clear.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
            good = parts.scheme in ("http", "https") and parts.hostname and url.isascii() and url.isprintable()
            good = good and not (" " in url or parts.username or parts.password or parts.query or parts.fragment)
        except ValueError:
            good = False
        if not good:
            raise KwsError(f"{name} is not the address of a server", hint="https://studio.edgeimpulse.com/v1")
        if parts.scheme == "http" and not _is_here(parts.hostname or ""):
            raise KwsError(
                f"{name} is {shown(url, 200)}: the key would go over the network for all to read",
                hint="an address that begins with https://",
            )
        return cls(parts.scheme, parts.hostname or "", port or _port(parts.scheme), parts.path.rstrip("/"))

    def __str__(self) -> str:
        where = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{where}" + (f":{self.port}" if self.port != _port(self.scheme) else "")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
