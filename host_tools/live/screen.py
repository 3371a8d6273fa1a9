"""The live picture: text for a terminal of any size, with or without colour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from host_tools import ui
from host_tools.live.letters import SIZE, large
from host_tools.live.lines import told
from host_tools.live.state import State
from host_tools.live.tune import Tuner
from host_tools.ui import Text, cell_len, set_cell_size
from model_pipeline.text import shown

_SHADES = " ░▒▓█"
_QUIET, _FULL = 200, 670  # features of a quiet room, and what fills the input's range (26 of 0.0390625)
_FLOOR_DB = -80
_LARGE_S, _PROJECTOR_S = 3.0, 6.0  # that a word stays bright
_PLAIN = str.maketrans("█▓▒░·│▸≥–…←→↑↓", "#*+.-|>>-.<>^v")
_KEYS = "↑↓ word  ←→ threshold  a all  u undo  s save  p projector  q quit"
_ALL = " (all words)"


class Picture:
    """Rich draws it anew as large as the terminal is at the moment."""

    def __init__(self, state: State, tuner: Tuner | None = None) -> None:
        self.state, self.tuner = state, tuner
        self.projector = self.all_words = False

    def __rich_console__(self, console: Any, options: Any) -> Iterator[Text]:
        text = self.text(options.max_width, options.height or console.height)
        yield (
            Text.assemble(*(_plain(line) for line in text.split("\n", include_separator=True)))
            if (options.ascii_only)
            else text
        )

    def text(self, width: int, height: int) -> Text:
        """All of it, in at most ``height`` lines of at most ``width`` cells."""
        lines = self._projector(width, height) if self.projector else self._full(width, height)
        cut = []
        for line in lines[: max(1, height)]:
            line.truncate(width)
            line.no_wrap = True
            cut.append(line)
        return Text("\n").join(cut)

    def _full(self, width: int, height: int) -> list[Text]:
        state = self.state
        words = 10 if height >= 22 else max(3, height - 8)
        words = max(words, min(len(state.info.labels), height - 14))
        strip = max(0, min(8, height - words - 8))
        lines = [self._head(width), self._level(width)]
        if strip:
            lines += [Text(), *_mel(state.strip, width, strip)]
        lines.append(Text())
        across = min(46, width // 2 - 3)
        left, right = self._words(across, words), self._found(width - across - 3, words)
        lines += [Text.assemble(_padded(a, across), "   ", b) for a, b in zip(left, right, strict=True)]
        lines += [Text(), *self._foot(width)]
        return lines

    def _head(self, width: int) -> Text:
        state = self.state
        left = ui.styled("[bold]{}[/] · {} · model {}", state.info.board, state.source, state.info.model_hash[:8])
        right = f"{state.seconds:8.1f} s"
        return Text.assemble(_padded(left, width - len(right)), right)

    def _level(self, width: int) -> Text:
        state = self.state
        room = width - 24
        filled = _along(state.level_db, room)
        peak = min(room - 1, _along(state.peak_db, room))
        bar = list("█" * filled + "·" * (room - filled))
        if room > 0:
            bar[peak] = "│"
        text = "".join(bar)
        note = "[bold red]CLIPS[/]" if state.clipping else "     "
        return Text.assemble(
            ("level ", "bold"),
            (text[:filled], "green" if state.level_db < -6 else "yellow"),
            (text[filled:], "dim"),
            f" {state.level_db:4.0f} dB  ",
            ui.styled(note),
        )

    def _words(self, width: int, count: int) -> list[Text]:
        """A row a label: its posterior, and where its threshold stands."""
        state = self.state
        labels = [shown(told(i, state.info)) for i in range(len(state.info.labels))]
        name = min(12, max(map(cell_len, labels), default=1))
        bar = max(4, width - name - 14)
        chosen = self.tuner.label if self.tuner else None
        first = max(0, min((chosen or 0) - count + 2, len(labels) - count))
        rows = []
        for label in range(first, min(first + count, len(labels))):
            score, threshold = state.scores[label], state.thresholds[label] / 256
            filled = round(score * bar)
            cells = list("█" * filled + "·" * (bar - filled))
            if threshold:
                cells[min(bar - 1, int(threshold * bar))] = "│"
            over = bool(threshold) and score >= threshold
            mark = "▸" if self.tuner and (label == chosen or (self.all_words and threshold)) else " "
            rows.append(
                Text.assemble(
                    (f"{mark} ", "bold"),
                    (set_cell_size(labels[label], name), "bold green" if over else ""),
                    " ",
                    ("".join(cells), "green" if over else "cyan" if threshold else "dim"),
                    f" {score:.2f}",
                    (f" ≥{threshold:.2f}" if threshold else "     –", "dim"),
                )
            )
        return rows + [Text()] * (count - len(rows))

    def _found(self, width: int, count: int) -> list[Text]:
        """The last word in large letters, and under it the detections, the newest first."""
        state = self.state
        rows = self._large(width, min(SIZE, count), _LARGE_S)
        rows += [Text()]
        for heard in reversed(state.found):
            rows.append(ui.styled("{:7.2f} s  [bold]{}[/] {:.2f}", heard.second, heard.word, heard.score))
        return (rows + [Text()] * count)[:count]

    def _large(self, width: int, height: int, bright_s: float) -> list[Text]:
        state = self.state
        if not state.found:
            rows = [Text("listening …", style="dim")]
        else:
            word = state.found[-1].word
            style = "bold green" if state.fresh(bright_s) else "dim"
            lines = large(word, width, height)
            rows = [Text(line, style=style) for line in lines or [" ".join(word.upper())]]
        return rows + [Text()] * (height - len(rows))

    def _foot(self, width: int) -> list[Text]:
        state, tuner = self.state, self.tuner
        parts = [cost(state)]
        if state.lag_s is not None:
            parts.append(f"lag {1000 * state.lag_s:.0f} ms" + ("" if state.fed else " over the least"))
        lost = state.lost_samples()
        parts.append(f"lost: {lost} samples, {state.lost_frames()} frames")
        figures = Text(" · ".join(part for part in parts if part), style="red bold" if lost else "")
        message = (tuner.message if tuner else "") or state.message
        if not message and tuner and tuner.changed:
            message = "thresholds were moved on the device" + (_ALL if self.all_words else "") + "; s saves them"
        return [figures, ui.styled("[yellow]{}[/]", message), Text(_KEYS if tuner else "Ctrl-C ends it", style="dim")]

    def _projector(self, width: int, height: int) -> list[Text]:
        """One word as large as the terminal, for who sits in the last row."""
        state = self.state
        room = max(SIZE, height - 5)
        rows = self._large(width, room, _PROJECTOR_S)
        while rows and not rows[-1].plain:
            rows.pop()
        longest = max((cell_len(row.plain) for row in rows), default=0)
        indent, above = " " * max(0, (width - longest) // 2), (room - len(rows)) // 2
        lines = [Text()] * above + [Text.assemble(indent, row) for row in rows]
        lines += [Text()] * (room - len(lines))
        said = state.found[-1] if state.found else None
        last = f"{said.word} {said.score:.2f} at {said.second:.1f} s" if said else ""
        return [self._level(width), Text(), *lines, Text(), ui.styled("{}", last.center(width).rstrip())]


def cost(state: State) -> str:
    """What listening takes of the device, in the unit that is known."""
    ticks = state.ticks_a_second
    if ticks is None:
        return ""
    if state.unit.name == "instructions":
        return f"{ticks / 1e6:.1f} M instructions a second"
    share = state.share
    return f"busy {100 * share:.1f} %" if share is not None else f"{ticks / 1e6:.1f} M ticks a second"


def _mel(frames: Iterable[tuple[int, ...]], width: int, rows: int) -> list[Text]:
    """The last frames as shades, low bands below, the newest at the right."""
    shown_frames = list(frames)[-width:]
    lines = []
    for row in range(rows - 1, -1, -1):
        cells = []
        for frame in shown_frames:
            band = frame[row * len(frame) // rows : max(row * len(frame) // rows + 1, (row + 1) * len(frame) // rows)]
            level = (max(band, default=0) - _QUIET) / (_FULL - _QUIET)
            cells.append(_SHADES[max(0, min(4, int(level * 5)))])
        lines.append(Text("".join(cells).rjust(width), style="blue"))
    return lines


def _along(db: float, room: int) -> int:
    return max(0, min(room, round((db - _FLOOR_DB) / -_FLOOR_DB * room)))


def _padded(text: Text, width: int) -> Text:
    text = text.copy()
    text.truncate(width, pad=True)
    return text


def _plain(line: Text) -> Text:
    line = line.copy()
    line.plain = line.plain.translate(_PLAIN)
    return line
