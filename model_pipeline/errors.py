"""Errors that a user can cause and mend: one line that says what is wrong and what to do, never a traceback."""

from __future__ import annotations


class KwsError(Exception):
    """Something that the user can mend. ``exit_code``: 1 a check failed, 2 bad input, 3 a tool is missing,
    4 the device or the link."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if exit_code is not None:
            self.exit_code = exit_code


class CheckFailed(KwsError):
    """A measured result is not what was asked for."""

    exit_code = 1


class MissingTool(KwsError):
    """A program or package that this step needs is not installed."""

    exit_code = 3


class DeviceError(KwsError):
    """The port, the link or the firmware behind it."""

    exit_code = 4
