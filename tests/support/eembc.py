"""EEMBC's serial protocol for tests: what the official runner does and waits for, and what a device answers.

The runner's half follows github.com/mlcommons/tiny, benchmark/runner (serial_device.py, device_under_test.py,
script.py): commands end with %, a reply's lines are what stands between line feeds without CR and NUL, a line with
m-ready in it is the last, and nothing within 5 s (30 s of infer) ends the run. The device's half is written anew from
the protocol, apart from the firmware.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Sequence

COMMAND_CHARS = 80
BOOT = ["m-timestamp-mode-performance", "m-lap-us-#", "m-init-done"]
LAP = "m-lap-us-#"
PROFILE = "ULPMark for tinyML Firmware V0.0.1"


class TcpPort:
    """A serial port over TCP, which drops nothing that came before it was opened (pyserial's does)."""

    def __init__(self, url: str) -> None:
        place, _, number = url.removeprefix("socket://").partition(":")
        self._line = socket.create_connection((place, int(number)))
        self._line.settimeout(0.1)
        self._came = b""

    def __enter__(self) -> TcpPort:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def write(self, data: bytes) -> None:
        self._line.sendall(data)

    def read(self) -> bytes:
        """A byte, or none for a tenth of a second."""
        if not self._came:
            with contextlib.suppress(TimeoutError):
                self._came = self._line.recv(4096)
                assert self._came, "the device has hung up"
        byte, self._came = self._came[:1], self._came[1:]
        return byte


class OfficialRunner:
    """Drives a device as the official runner does, more strictly: an unexpected line is a failure."""

    def __init__(self, port: TcpPort, patience: float = 1.0) -> None:
        """``patience``: factor of the runner's time-outs."""
        self.port = port
        self.patience = patience

    def send(self, command: str, timeout: float = 5.0) -> list[str]:
        """The reply's lines, without the last."""
        self.port.write(f"{command}%".encode())
        return self.reply(command, timeout)

    def reply(self, command: str, timeout: float = 5.0) -> list[str]:
        """What comes up to m-ready, at the start or after a command."""
        lines: list[str] = []
        text = ""
        deadline = time.monotonic() + timeout * self.patience
        while time.monotonic() < deadline:
            character = self.port.read().decode("ascii")  # the runner skips what is not text; here it is a failure
            if character and character not in "\n\r\0":
                text += character
            elif character == "\n":
                deadline = time.monotonic() + timeout * self.patience
                if "m-ready" in text:
                    assert text == "m-ready"
                    return lines
                if text:
                    lines.append(text)
                text = ""
        raise AssertionError(f"No response to command {command}: {lines}")

    def handshake(self) -> tuple[str, str, str]:
        """Name, profile and model."""
        (name,) = self.send("name")
        profile, model = self.send("profile")
        found = [
            re.fullmatch(pattern, line)
            for pattern, line in (
                (r"m-name-dut-\[([^]]+)]", name),
                (r"m-profile-\[([^]]+)]", profile),
                (r"m-model-\[([^]]+)]", model),
            )
        ]
        assert all(found), (name, profile, model)
        return tuple(match[1] for match in found if match)  # type: ignore[return-value]

    def download(self, data: bytes) -> None:
        assert self.send(f"db load {len(data)}") == [f"m-[Expecting {len(data)} bytes]"]
        parts = [data[i : i + 31] for i in range(0, len(data), 31)]
        for part in parts[:-1]:
            assert self.send(f"db {part.hex()}") == []
        assert self.send(f"db {parts[-1].hex()}") == ["m-load-done"]

    def infer(self, iterations: int, warm_up: int) -> tuple[int, list[float]]:
        """Microseconds and the results, of whose digits the runner makes floats."""
        lines = self.send(f"infer {iterations} {warm_up}", 30.0)
        laps = [int(match[1]) for line in lines if (match := re.fullmatch(r"m-lap-us-([0-9]+)", line))]
        results = [match[1] for line in lines if (match := re.fullmatch(r"m-results-\[([^]]+)\]", line))]
        assert masked(lines[:-1]) == [
            f"m-warmup-start-{warm_up}", "m-warmup-done", f"m-infer-start-{iterations}", LAP, LAP, "m-infer-done"
        ]  # fmt: skip
        assert len(laps) == 2 and laps[0] <= laps[1] and len(results) == 1
        assert re.fullmatch(r"0\.\d{3}(,0\.\d{3})*", results[0])
        return laps[1] - laps[0], [float(word) for word in results[0].split(",")]


def masked(lines: Sequence[str]) -> list[str]:
    """Without what no two runs have alike."""
    return [re.sub(r"^m-lap-us-\d+$", LAP, line) for line in lines]


class Expected:
    """What our firmware answers, line by line; values of results are left open (``m-results``)."""

    def __init__(self, input_bytes: int) -> None:
        self.room = input_bytes
        self.expected = 0
        self.buffer = bytearray(input_bytes)
        self.filled = 0
        self.inferred = False
        self.command = b""
        self.lines: list[str] = []

    def feed(self, data: bytes) -> None:
        for byte in data:
            if byte in b"\r\n":
                continue
            if byte != ord("%"):
                self.command += bytes([byte])
                continue
            if len(self.command) > COMMAND_CHARS:
                self.lines.append(f"e-[A command has at most {COMMAND_CHARS} characters]")
            else:
                self._run([word for word in self.command.replace(b"\0", b"?").split(b" ") if word])
            self.command = b""
            self.lines.append("m-ready")

    def _run(self, words: list[bytes]) -> None:
        if not words:
            return
        say, name = self.lines.append, words[0]
        if name == b"name":
            say("m-name-dut-[micro-kws]")
        elif name == b"timestamp":
            say(LAP)
        elif name == b"profile":
            self.lines += [f"m-profile-[{PROFILE}]", "m-model-[kws01]"]
        elif name == b"db":
            self._db(words[1:])
        elif name == b"infer":
            self._infer(words[1:])
        elif name == b"results":
            say("m-results" if self.inferred else "e-[There are no results before the first inference]")
        else:
            text = "".join(chr(byte) if 32 <= byte <= 126 else "?" for byte in name)
            say(f"e-[Unknown command: {text}]")

    def _db(self, words: list[bytes]) -> None:
        say = self.lines.append
        if not words:
            say("e-[db takes load, print or bytes]")
        elif words[0] == b"load":
            count = number(words[1]) if len(words) > 1 else 0
            if count <= 0:
                say("e-[db load takes a number of bytes]")
            elif count > self.room:
                say(f"e-[There is room for {self.room} bytes]")
            else:
                self.expected, self.filled = count, 0
                say(f"m-[Expecting {count} bytes]")
        elif words[0] == b"print":
            shown = self.buffer[: self.expected]
            self.lines += ["m-buffer-" + shown[i : i + 8].hex("-") for i in range(0, len(shown), 8)]
            self.lines += [""] if self.expected % 8 else []
        elif not re.fullmatch(rb"[0-9a-fA-F]+", words[0]):
            say("e-[Not a hexadecimal digit]")
        elif len(words[0]) % 2:
            say("e-[Half a byte]")
        elif self.filled == self.expected:
            say("e-[No bytes are expected: db load comes first]")
        else:
            data = bytes.fromhex(words[0].decode())[: self.expected - self.filled]
            self.buffer[self.filled : self.filled + len(data)] = data
            self.filled += len(data)
            if self.filled == self.expected:
                say("m-load-done")

    def _infer(self, words: list[bytes]) -> None:
        count = number(words[0]) if words else 1
        warm_up = number(words[1]) if len(words) > 1 else 10
        if count <= 0:
            self.lines.append("e-[At least one inference]")
        elif warm_up < 0:
            self.lines.append("e-[No fewer than 0 inferences to warm up]")
        elif self.filled != self.room:
            self.lines.append(f"e-[An input has {self.room} bytes: load them first]")
        else:
            self.inferred = True
            self.lines += [f"m-warmup-start-{warm_up}", "m-warmup-done", f"m-infer-start-{count}"]
            self.lines += [LAP, LAP, "m-infer-done", "m-results"]


def number(word: bytes) -> int:
    """As C's atoi(), within int32."""
    match = re.match(rb"[-+]?\d*", word)
    digits = match[0] if match else b""
    value = int(digits) if re.search(rb"\d", digits) else 0
    return max(-(2**31) + 1, min(2**31 - 1, value))
