"""Text from outside (of a device, a file, a label) as people and scripts may see it: nothing of it commands a terminal.

Escape sequences of a terminal can set its title, its clipboard (OSC 52) or what is typed next, and invisible characters
can turn the order of a line round, so both are shown for what they are.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

LIMIT = 2000  # characters of one value in a line
LINES = 8000  # of an error that comes in several lines
PICTURES: Any = {"text.parse_math": False}  # for matplotlib's rc_context: a label with two dollars is not a formula
_JOINERS = "\u200c\u200d"  # invisible, but part of how some scripts are written
# What JSON leaves as it is and a terminal may obey or not show.
_HIDDEN = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)


def shown(text: object, limit: int = LIMIT, *, lines: bool = False) -> str:
    r"""``text`` on one line: control, format and unassigned characters as ``\n``, ``\x1b``, ``\u202e``, and where it is
    longer than ``limit`` characters, the first of them, an ellipsis and how many more there are.

    Args:
        lines: line ends stay (for errors of compilers).
    """
    text = str(text)
    cut = text[:limit]
    result = cut if cut.isascii() and cut.isprintable() else "".join(_shown(c, lines) for c in cut)
    return result if len(text) <= limit else f"{result}… ({len(text) - limit:,} characters more)"


def to_json(value: object, indent: int | None = None) -> str:
    """``value`` as JSON with its letters as they are, and every character that a terminal may obey as ``\\u…``."""
    text = json.dumps(value, indent=indent, ensure_ascii=False, default=str)
    return _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _shown(character: str, lines: bool) -> str:
    if character == " " or (lines and character == "\n") or character in _JOINERS:
        return character
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"):
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
