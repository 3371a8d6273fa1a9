"""``make pictures``: docs/live.svg and docs/live-projector.svg, what `kws live` shows of the emulated board that hears
ten spoken words (of ../shared/data where that is, else flite's)."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from host_tools.check.device import Reference
from host_tools.image import targets
from host_tools.link.events import Detection, Result
from host_tools.link.stream import SEND_FEATURES
from host_tools.live.feed import Feed, Source
from host_tools.live.screen import Picture
from host_tools.live.state import State
from host_tools.live.tune import Tuner
from model_pipeline.files import write_text
from model_pipeline.native import FIRMWARE, ROOT
from tests.support import spoken

BOARD = "disco_f407vg"
_WORDS, _SHOWN = 10, 6  # words that are spoken; the one at which the picture is taken
_FONT_FACE = re.compile(r"@font-face \{[^}]*\}\s*")  # they would be fetched from elsewhere


def save(picture: Picture, path: Path, width: int = 80, height: int = 24) -> None:
    """The picture as SVG, as a terminal of that size shows it."""
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True)
    console.print(picture.text(width, height))
    title = "kws live --projector" if picture.projector else "kws live"
    svg = _FONT_FACE.sub("", console.export_svg(title=title, unique_id="kws-live"))
    write_text(path, svg)
    print(path)


def main() -> None:
    """Takes both."""
    people = ROOT.parent / "shared/data/speech_commands"
    speech, words = spoken.many(Reference(FIRMWARE / "model"), _WORDS, people if people.is_dir() else None)
    blocks = (speech[at : at + 320] for at in range(0, len(speech), 320))
    with targets.target(None, BOARD) as (link, _):
        info = link.info()
        source = Source("speech.wav", blocks, paced=True)
        state = State(info, source.name, fed=True)
        picture = Picture(state, Tuner(link, info, None))
        feed = Feed(link, source, [state])
        state.lost_samples = lambda: feed.lost
        heard, taken = [], False
        for event in feed.events(also=SEND_FEATURES):
            if isinstance(event, Detection):
                heard.append(info.labels[event.label])
            elif isinstance(event, Result) and len(heard) == _SHOWN and not taken:  # the next one after it
                taken = True
                save(picture, ROOT / "docs/live.svg")
                picture.projector = True
                save(picture, ROOT / "docs/live-projector.svg")
                picture.projector = False
    if heard != words or not taken:
        raise SystemExit(f"the board heard {heard}, not {words}")


if __name__ == "__main__":
    main()
