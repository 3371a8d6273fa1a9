"""The page's JavaScript speaks the protocol that Python speaks: the same vectors, by Node."""

from __future__ import annotations

from pathlib import Path

from host_tools.link import codes, payloads
from tests.support import link_vectors, node

HERE = Path(__file__).resolve().parent


def test_the_vectors() -> None:
    said = node.run(HERE / "protocol.mjs", link_vectors.PATH)
    assert said["wrong"] == []
    assert said["checks"] > 90 and said["version"] == codes.VERSION
    assert sorted(said["events"]) == sorted(payloads.EVENTS)
