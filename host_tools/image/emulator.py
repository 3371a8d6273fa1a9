"""A running image, and the process that runs it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import IO

from model_pipeline.child import dying_with_us
from model_pipeline.errors import DeviceError


class Emulator:
    """A running image. ``url`` is what pyserial's ``serial_for_url`` takes. Whoever connects first lets the image
    start; it goes on over later connections."""

    def __init__(self, board: str, kind: str, url: str, process: subprocess.Popen[str], stderr: IO[bytes]) -> None:
        self.board = board
        self.kind = kind
        self.url = url
        self._process = process
        self._stderr = stderr

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def running(self) -> bool:
        """Whether the image still runs."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises:
        DeviceError: the image has ended (with what it said last).
        """
        if not self.running():
            raise DeviceError(f"the {self.kind} of {self.board} has ended ({self._ending()})")

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for the image to end; False if it still runs after ``timeout`` seconds."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Ends the child, whatever it does. May be called again."""
        if self.running():
            self._process.terminate()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):  # what was not read any more
                    stream.close()
        self._stderr.close()

    def _ending(self) -> str:
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        text = self.stderr_text()
        return f"{how}: {text.splitlines()[-1]}" if text else how

    def stderr_text(self) -> str:
        """What the child has written to stderr so far, without QEMU's remarks that are not errors."""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").splitlines()
        return "\n".join(line for line in lines if line.strip() and "info: QEMU waiting" not in line)


def popen(
    command: list[str], stderr: IO[bytes], *, stdin: int = subprocess.DEVNULL, **options: object
) -> subprocess.Popen[str]:
    """Starts a child that ends with this process and leaves Ctrl-C to us.

    Raises:
        DeviceError: it can't be started.
    """
    try:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command,
            stdin=stdin,
            stderr=stderr,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle
            preexec_fn=dying_with_us(),
            **options,
        )
    except OSError as error:
        stderr.close()
        raise DeviceError(f"can't start {command[0]}: {error.strerror or error}") from error


def checked(emulator: Emulator) -> Emulator:
    """The same, if it still runs.

    Raises:
        DeviceError: it has ended.
    """
    try:
        emulator.check()
    except DeviceError:
        emulator.stop()
        raise
    return emulator
