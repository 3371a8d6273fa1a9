"""Words in large letters, made of blocks: five rows of five a letter, and any whole multiple of it."""

from __future__ import annotations

import unicodedata

SIZE = 5  # rows of a letter, and columns; one column stands between two letters
_SHEET = (
    (
        "ABCDEFGHIJKLM",
        ".###. ####. .#### ####. ##### ##### .#### #...# .###. ..### #...# #.... #...#",
        "#...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #..#. #.... ##.##",
        "##### ####. #.... #...# ####. ####. #..## ##### ..#.. ...#. ###.. #.... #.#.#",
        "#...# #...# #.... #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...#",
        "#...# ####. .#### ####. ##### #.... .###. #...# .###. .##.. #...# ##### #...#",
    ),
    (
        "NOPQRSTUVWXYZ",
        "#...# .###. ####. .###. ####. .#### ##### #...# #...# #...# #...# #...# #####",
        "##..# #...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#.",
        "#.#.# #...# ####. #.#.# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#..",
        "#..## #...# #.... #..#. #..#. ....# ..#.. #...# .#.#. ##.## .#.#. ..#.. .#...",
        "#...# .###. #.... .##.# #...# ####. ..#.. .###. ..#.. #...# #...# ..#.. #####",
    ),
    (
        "0123456789'-",
        ".###. ..#.. .###. ####. #..#. ##### .###. ##### .###. .###. ..#.. .....",
        "#..## .##.. #...# ....# #..#. #.... #.... ...#. #...# #...# ..#.. .....",
        "#.#.# ..#.. ..##. .###. ##### ####. ####. ..#.. .###. .#### ..... .###.",
        "##..# ..#.. .#... ....# ...#. ....# #...# .#... #...# ....# ..... .....",
        ".###. .###. ##### ####. ...#. ####. .###. .#... .###. .###. ..... .....",
    ),
)
_LETTERS = {
    letter: [row.split()[at] for row in rows] for letters, *rows in _SHEET for at, letter in enumerate(letters)
} | {" ": ["....."] * SIZE}


def large(word: str, width: int, height: int, block: str = "█") -> list[str] | None:
    """The word in lines of at most ``width`` characters, as large as it fits ``height`` of them; None where it does not
    fit at all or has letters that are not in the sheet (accents go; other scripts are left to the terminal)."""
    plain = unicodedata.normalize("NFKD", word.replace("_", " ")).upper()
    letters = [_LETTERS.get(c) for c in plain if not unicodedata.combining(c)]
    if not letters or None in letters:
        return None
    columns = len(letters) * (SIZE + 1) - 1
    # A character is twice as high as it is wide: letters as wide as high take two columns a dot, where there is room.
    for scale in range(height // SIZE, 0, -1):
        for across in (2 * scale, scale):
            if columns * across <= width:
                rows = [".".join(letter[row] for letter in letters if letter) for row in range(SIZE)]
                return [
                    "".join((block if dot == "#" else " ") * across for dot in row).rstrip()
                    for row in rows
                    for _ in range(scale)
                ]
    return None
