"""Numbers that cross the link have names on both sides, and the same ones."""

from __future__ import annotations

import re
from enum import IntEnum

import pytest

from host_tools.link import codes
from model_pipeline.native import FIRMWARE

LINK, PORT = FIRMWARE / "core/link/kws_link.h", FIRMWARE / "ports/port.h"


@pytest.mark.parametrize(
    ("header", "prefix", "names"),
    [
        (LINK, "KWS_CMD_", codes.Command),
        (LINK, "KWS_EVT_", codes.EventType),
        (LINK, "KWS_NAK_", codes.Reason),
        (LINK, "KWS_ERROR_", codes.ErrorCode),
        (LINK, "KWS_LOG_", codes.LogLevel),
        (LINK, "KWS_INFO_", codes.InfoTag),
        (PORT, "PORT_FAULT_", codes.FaultKind),
        (PORT, "PORT_DIE_", codes.Die),
    ],
)
def test_both_sides_give_the_same_names_to_the_same_numbers(header, prefix: str, names: type[IntEnum]) -> None:
    found = re.findall(rf"\b{prefix}(\w+) = (0x[0-9A-Fa-f]+|\d+)", header.read_text(encoding="utf-8"))
    assert {name: int(value, 0) for name, value in found} == {member.name: member.value for member in names}


def test_reset_reasons_are_those_of_the_port() -> None:
    found = re.findall(r"PORT_RESET_(\w+) = (\d+)", PORT.read_text(encoding="utf-8"))
    assert [name.lower() for name, _ in sorted(found, key=lambda pair: int(pair[1]))] == list(codes.RESET_REASONS)


def test_every_code_has_words_for_people() -> None:
    assert all(code.text for code in codes.ErrorCode)
    assert len({codes.FaultKind.name_of(kind) for kind in codes.FaultKind}) == len(codes.FaultKind)
    assert codes.FaultKind.name_of(99) == "fault of kind 99"
