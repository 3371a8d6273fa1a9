"""``kws live``"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import KwsError

if TYPE_CHECKING:
    from host_tools.link.info import Info
    from host_tools.link.session import Link
    from host_tools.live.feed import Source
    from host_tools.live.screen import Picture
    from host_tools.live.state import State
    from host_tools.live.tune import Tuner

EXAMPLE = (
    "Example: kws live --port /dev/ttyACM0   or   kws live --pc   or   kws live --board disco_f407vg --wav speech.wav"
)
_BLOCK = 320  # 20 ms
_FRAMES_A_SECOND = 15


@dataclass(frozen=True)
class Summary:
    """What came of a live stream."""

    detections: int
    seconds: float  # of sound
    clipped_samples: int
    lost_samples: int
    lost_frames: int


def live(
    port: Annotated[str | None, typer.Option(help="A board: it listens to its own microphone.")] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    pc: Annotated[bool, typer.Option("--pc", help="No board: the same C code on this computer.")] = False,
    mic: Annotated[bool, typer.Option("--mic", help="Listen to this computer's microphone.")] = False,
    wav: Annotated[Path | None, typer.Option(help="Listen to this recording, at its pace.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="With --wav: as fast as the device takes it.")] = False,
    projector: Annotated[bool, typer.Option("--projector", help="Begin with the word alone (key p).")] = False,
    model: common.Models = None,
    engine: Annotated[str, typer.Option(help="Engine to build with --board: aot or tflm.")] = "aot",
    elf: Annotated[Path | None, typer.Option(help="Emulate this image for --board instead of building one.")] = None,
    threshold: common.Thresholds = None,
    dump_audio: common.DumpAudio = None,
    keep_detections: common.KeepDetections = None,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Stop after so long.", show_default="q")] = None,
    baud: common.Baud = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of the picture.")] = False,
) -> None:
    """Hear with the model, live: level, spectrogram, posteriors, words; keys move the thresholds on the device."""
    if (port is not None) + (board is not None) + pc != 1:
        raise KwsError("give one of --port URL, --board ID and --pc", hint=EXAMPLE.removeprefix("Example: "))
    if mic and wav:
        raise KwsError("give either --mic or --wav", hint="without both a board listens to its own microphone")
    if fast and not wav:
        raise KwsError("--fast is for --wav", hint="a microphone has a pace of its own")
    from host_tools.image import targets
    from host_tools.live import tune

    with contextlib.ExitStack() as stack:
        overflows: list[int] = []
        source = stack.enter_context(_source(pc, mic, wav, fast, lambda: overflows.append(1)))
        link, _ = stack.enter_context(
            targets.target(port, "host" if pc else board, model=model, engine=engine, baud=baud, elf=elf)
        )
        info = link.info()
        if threshold:
            link.set_detector(tune.asked(threshold, info))
            info = link.info()
        only = model[0] if model and len(model) == 1 else None  # key s saves thresholds there
        summary = _run(link, info, source, only, dump_audio, keep_detections, seconds, projector, json)
    if json:
        ui.emit_line({"event": "Summary", **asdict(summary), "microphone_overflows": len(overflows)})
    else:
        ui.out.say(
            "{} detections in {:.1f} s of sound; {} samples and {} frames lost",
            summary.detections,
            summary.seconds,
            summary.lost_samples,
            summary.lost_frames,
        )


@contextlib.contextmanager
def _source(pc: bool, mic: bool, wav: Path | None, fast: bool, overflow: Callable[[], None]) -> Iterator[Source]:
    """The sound, before there is a device: what is missing here is told at once."""
    from host_tools.live.feed import Source
    from host_tools.words import microphone
    from model_pipeline.data.audio import recording_blocks

    if wav:
        yield Source(wav.name, recording_blocks(wav, _BLOCK), paced=not fast)
    elif mic or pc:
        with microphone.blocks(overflow) as blocks:
            yield Source("this computer's microphone", blocks)
    else:
        yield Source("its own microphone")


def _run(
    link: Link,
    info: Info,
    source: Source,
    model: Path | None,
    dump: Path | None,
    keep: Path | None,
    seconds: float | None,
    projector: bool,
    json: bool,
) -> Summary:
    from host_tools.link.stream import SEND_FEATURES
    from host_tools.live import lines, tune
    from host_tools.live.feed import Feed
    from host_tools.live.keep import kept
    from host_tools.live.screen import Picture
    from host_tools.live.state import State

    state = State(info, source.name, fed=source.blocks is not None)
    state.lost_frames = lambda: link.counters.lost + link.counters.bad
    drawn = ui.out.is_terminal and not json
    tuner = tune.Tuner(link, info, model) if drawn and info.detector else None
    picture = Picture(state, tuner)
    picture.projector = projector
    deadline = None if seconds is None else time.monotonic() + seconds
    with kept(dump, keep, info) as sinks, contextlib.ExitStack() as stack:
        tick = stack.enter_context(_shown(picture, state, tuner)) if drawn else lambda: False
        feed = Feed(link, source, [state, *sinks])
        state.lost_samples = lambda: feed.lost

        def ends() -> bool:
            return tick() or (deadline is not None and time.monotonic() >= deadline)

        # Ctrl-C is one of the ways to end it: what came is kept.
        with contextlib.suppress(KeyboardInterrupt):
            for event in feed.events(also=SEND_FEATURES if drawn else 0, tick=ends, with_sound=drawn or bool(sinks)):
                if json:
                    if (line := lines.as_line(event, info)) is not None:
                        ui.emit_line(line)
                elif not drawn and type(event).__name__ == "Detection":
                    heard = state.found[-1]
                    ui.out.say("{:8.2f} s  [bold green]{}[/]  {:.2f}", heard.second, heard.word, heard.score)
    return Summary(state.count, round(state.seconds, 3), state.clipped, feed.lost, state.lost_frames())


@contextlib.contextmanager
def _shown(picture: Picture, state: State, tuner: Tuner | None) -> Iterator[Callable[[], bool]]:
    """The picture on the whole terminal, and a function that draws it and obeys keys: True ends all."""
    from host_tools.live.keys import keys

    drawn_at = 0.0
    with keys() as pressed, ui.whole_screen(picture) as show:

        def tick() -> bool:
            nonlocal drawn_at
            came = pressed()
            if any(_obey(key, picture, state, tuner) for key in came):
                return True
            now = time.monotonic()
            if came or now - drawn_at >= 1 / _FRAMES_A_SECOND:
                drawn_at = now
                show()
            return False

        yield tick


def _obey(key: str, picture: Picture, state: State, tuner: Tuner | None) -> bool:
    """Carries out a key; True: the end."""
    if key == "p":
        picture.projector = not picture.projector
    elif tuner and key in ("up", "down", "k", "j"):
        tuner.choose(-1 if key in ("up", "k") else 1)
    elif tuner and key in ("left", "right", "-", "+"):
        tuner.move(-4 if key in ("left", "-") else 4, all_words=picture.all_words)
        state.detector_changed(tuner.detector.thresholds)
    elif key == "a":
        picture.all_words = not picture.all_words
    elif tuner and key == "u":
        tuner.undo()
        state.detector_changed(tuner.detector.thresholds)
    elif tuner and key == "s":
        tuner.save()
    return key in ("q", "Q")
