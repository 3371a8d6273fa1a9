"""The page's server: this computer, this page, and a board's bytes, nothing else."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tools.cli import main
from host_tools.link.codes import Command
from host_tools.link.events import HelloReply
from host_tools.link.frames import Decoder, Frame
from host_tools.link.payloads import parse_event
from host_tools.link.session import Link
from host_tools.web import folder, server, wasm
from host_tools.web.server import Board
from model_pipeline.errors import DeviceError, KwsError, MissingTool
from model_pipeline.native import ROOT
from tests.support.fake_device import FakeFirmware, Faults, listening

pytest.importorskip("websockets", reason="the package websockets is not installed: run `make setup`")

FILES = {
    "index.html": b"<!doctype html>",
    "main.js": b"1;",
    "model.wasm": b"\0asm",
    "kws.json": b'{"format": 1}',
}


@pytest.fixture
def page() -> Iterator[str]:
    with server.serving(FILES, None) as url:
        yield url


def get(url: str, path: str = "/", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request, with the headers that are given in the place of a browser's."""
    host = url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    reply = connection.getresponse()
    return reply.status, dict(reply.getheaders()), reply.read()


def join(url: str, **changes: Any) -> Any:
    """A WebSocket as the page opens it."""
    from websockets.sync.client import connect

    return connect(url.replace("http", "ws") + "link", **{"origin": url.rstrip("/"), "proxy": None} | changes)


def test_files_and_their_types(page: str) -> None:
    kinds = {"/": "text/html; charset=utf-8", "/main.js": "text/javascript; charset=utf-8"}
    for path, kind in (kinds | {"/model.wasm": "application/wasm", "/kws.json?x=1": "application/json"}).items():
        status, headers, body = get(page, path)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert body == FILES[path.split("?")[0].removeprefix("/") or "index.html"]
        assert "default-src 'none'" in headers["Content-Security-Policy"] and "'unsafe" not in headers[
            "Content-Security-Policy"
        ].replace("'wasm-unsafe-eval'", "")
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/nothing", "/../pyproject.toml", "/%2e%2e/pyproject.toml", "//etc/passwd", "/link"])
def test_nothing_else_is_there(page: str, path: str) -> None:
    assert get(page, path)[0] in (403, 404)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8017", "127.0.0.1", "", "127.0.0.1.evil.example:1"])
def test_a_name_of_another_site_is_refused(page: str, host: str) -> None:
    """As after DNS rebinding."""
    assert get(page, Host=host)[0] == 403


def test_this_computers_two_names_are_taken(page: str) -> None:
    port = page.rstrip("/").rpartition(":")[2]
    assert get(page, Host=f"localhost:{port}")[0] == get(page, Host=f"127.0.0.1:{port}")[0] == 200
    assert get(page, Origin="http://evil.example")[0] == 403


def test_only_the_loopback_interface_is_bound(page: str) -> None:
    port = int(page.rstrip("/").rpartition(":")[2])
    own = socket.gethostbyname(socket.gethostname())
    if own.startswith("127."):
        own = "127.0.0.2"  # bound to 127.0.0.1 alone, not to the whole of this computer
    with socket.socket() as other, pytest.raises(OSError):
        other.settimeout(2)
        other.connect((own, port))


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null", "https://127.0.0.1"])
def test_a_link_is_for_the_page_alone(origin: str | None) -> None:
    from websockets.exceptions import InvalidStatus

    with listening(FakeFirmware()) as port, server.serving(FILES, Board("fake", port, 500000, False)) as url:
        with pytest.raises(InvalidStatus) as refused:
            join(url, origin=origin).close()
        assert refused.value.response.status_code == 403


def test_bytes_go_both_ways_and_the_page_knows_the_board() -> None:
    with listening(FakeFirmware()) as port, server.serving(FILES, Board("a <board>", port, 500000, False)) as url:
        about = json.loads(get(url, "/kws.json")[2])
        assert about == {"format": 1, "board": {"name": "a <board>", "resend_ms": 3000, "compact": False}}
        for _ in range(2):  # one session after another
            with join(url) as link:
                link.send(b"\0" + Frame(Command.HELLO, 7, b"\1\0").encode())
                decoder, found = Decoder(), []
                while not any(isinstance(event, HelloReply) for event in found):
                    found += [parse_event(frame) for frame in decoder.feed(link.recv(timeout=10))]


def ended(link: Any) -> dict[str, Any]:
    """What the server says at the end of a link."""
    from websockets.exceptions import ConnectionClosed

    said = None
    try:
        while True:
            message = link.recv(timeout=20)
            if isinstance(message, str):
                said = json.loads(message)
    except ConnectionClosed:
        assert said is not None
        return said


def test_what_is_wrong_with_a_port_is_a_sentence() -> None:
    with server.serving(FILES, Board("nowhere", "/dev/nowhere", 500000, True)) as url, join(url) as link:
        said = ended(link)
    assert said["error"] == "there is no port /dev/nowhere." and said["hint"] and said["retry"] is True


def test_a_second_window_is_told_so() -> None:
    with (
        listening(FakeFirmware()) as port,
        server.serving(FILES, Board("fake", port, 500000, False)) as url,
        join(url) as first,
    ):
        hello = b"\0" + Frame(Command.HELLO, 0, b"\1\0").encode()
        first.send(hello)
        assert first.recv(timeout=10)  # it has the board: who is served first is not who connected first
        with join(url) as second:
            assert "another window" in ended(second)["error"]
        first.send(hello)
        assert first.recv(timeout=10)


def test_a_port_that_another_kws_has_is_told_so() -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux holds TCP ports between processes of kws")
    with (
        listening(FakeFirmware()) as port,
        Link.open(port),
        server.serving(FILES, Board("fake", port, 500000, False)) as url,
        join(url) as link,
    ):
        assert "in use by another program of kws" in ended(link)["error"]


def test_a_port_that_goes_away_ends_the_link() -> None:
    firmware = FakeFirmware(Faults(vanish_after=1))
    with listening(firmware) as port, server.serving(FILES, Board("fake", port, 500000, False)) as url:
        with join(url) as link:
            link.send(b"\0" + Frame(Command.HELLO, 0, b"\1\0").encode())
            link.send(Frame(Command.INFO, 1, b"").encode())
            said = ended(link)
        assert said["error"].startswith("fake went away") and said["retry"] is True

        def check() -> None:
            raise DeviceError("the qemu of fake has ended")

        with server.serving(FILES, Board("fake", port, 500000, False, check)) as other, join(other) as link:
            assert ended(link)["error"] == "the qemu of fake has ended."


def test_those_who_open_connections_without_end_stand_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_OPENING_S", 5.0)
    with server.serving(FILES, None) as url:
        port = int(url.rstrip("/").rpartition(":")[2])
        idle = [socket.create_connection((server.HOST, port)) for _ in range(100)]
        assert all(one.recv(1) == b"" for one in idle[50:]), "one too many is closed at once"
        deadline = time.monotonic() + 30  # those that say nothing go after five seconds
        while time.monotonic() < deadline:
            try:
                assert get(url)[0] == 200
                break
            except OSError:
                time.sleep(0.2)
        else:
            raise AssertionError("nobody is served any more")
        waiting = [socket.create_connection((server.HOST, port)) for _ in range(5)]
    for one in [*idle, *waiting]:
        one.close()
    assert not [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]


@pytest.mark.parametrize(
    "junk",
    [
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(100),
        b"GET /\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 999999999999999999\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 2000 + b"\r\n",
    ],
)
def test_junk_gets_nothing_and_says_nothing_on_the_terminal(
    junk: bytes, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_OPENING_S", 3.0)  # what is no whole request is waited for so long
    with server.serving(FILES, None) as page:
        with socket.create_connection((server.HOST, int(page.rstrip("/").rpartition(":")[2]))) as one:
            one.settimeout(20)
            answer = b""
            with contextlib.suppress(ConnectionError):
                one.sendall(junk)
                while piece := one.recv(4096):
                    answer += piece
        assert b"200 OK" not in answer and b"doctype" not in answer
        assert get(page)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_text_from_the_page_is_not_for_a_board() -> None:
    from websockets.exceptions import ConnectionClosed

    firmware = FakeFirmware()
    with listening(firmware) as port, server.serving(FILES, Board("fake", port, 500000, False)) as url:
        with join(url) as link:
            link.send("text")
            with pytest.raises(ConnectionClosed):
                while True:
                    link.recv(timeout=10)
        assert not firmware.acted


def test_a_taken_port_of_the_page_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(KwsError, match=f"can't be served on port {number}"), server.serving(FILES, None, number):
            pass


# ---- the verb


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(["web", *arguments])
    return int(end.value.code or 0), capsys.readouterr().err


def test_without_a_compiler_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(wasm.shutil, "which", lambda name: None)
    monkeypatch.setattr(wasm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingTool):
        wasm.compiler()
    code, said = run(capsys, "--out", str(tmp_path / "site"))
    assert code == 3 and "no compiler for WebAssembly" in said and not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "a", "--board", "b"], "either --port URL or --board ID"),
        (["--elf", "a"], "--elf is a firmware to emulate"),
        (["--out", "x", "--board", "host"], "brings no board"),
        (["--model", "docs"], "is not an exported model"),
    ],
)
def test_what_makes_no_sense_is_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(ROOT)
    code, said = run(capsys, *arguments)
    assert code == 2 and words in " ".join(said.split())


def test_several_models_are_refused_with_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shipped, page = ROOT / "firmware" / "tiny", tmp_path / "page"
    code, said = run(capsys, "--model", str(shipped), "--model", str(shipped), "--out", str(page))
    assert code == 2 and "hears one model" in " ".join(said.split())
    both = tmp_path / "both"
    both.mkdir()
    plan = json.loads((shipped / "plan.json").read_text())
    (both / "plan.json").write_text(json.dumps({**plan, "models": 2}))
    code, said = run(capsys, "--model", str(both), "--out", str(page))
    said = " ".join(said.split())
    assert code == 2 and "has 2 models" in said and "kws live takes several" in said
    assert not page.exists()


def test_a_folder_of_somebody_is_not_replaced(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    code, said = run(capsys, "--out", str(tmp_path))
    assert code == 2 and "was not made by kws web" in " ".join(said.split())


def test_the_verb_serves_until_it_is_stopped(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "host_tools.cli", "web", "--http-port", "0", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(url + folder.MODULE_FILE) as reply:
            assert reply.read(4) == b"\0asm"
        process.terminate()
        began = time.monotonic()
        assert process.wait(20) == 130 and time.monotonic() - began < 20


# ---- the page's files


def test_the_policies_are_one() -> None:
    """What static hosts serve has it in the page itself."""
    html = (folder.PAGE / "index.html").read_text(encoding="utf-8")
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert found and found[1] == server.POLICY


def test_text_is_never_markup_and_nothing_comes_from_elsewhere() -> None:
    markup = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|setHTML"
    )
    for path in sorted(folder.PAGE.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not markup.search(text), path.name
        addresses = set(re.findall(r"(?:https?|wss?)://[^\s\"'`)]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, (path.name, addresses)
        assert not re.search(r"\son\w+=|style=\"|<style|javascript:", text) or path.suffix == ".js", path.name
