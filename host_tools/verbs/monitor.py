"""``kws monitor``"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.ui import Text
from model_pipeline.rate import SAMPLE_RATE

if TYPE_CHECKING:
    from host_tools.link.events import Event
    from host_tools.link.info import Info
    from host_tools.link.session import Link

EXAMPLE = (
    "Example: kws monitor --port /dev/ttyACM0   or   "
    "kws monitor --port /dev/ttyACM0 --microphone --dump-audio heard.wav --keep-detections kept"
)


def monitor(
    port: Annotated[str, typer.Option(help="Serial port or URL such as socket://127.0.0.1:3456.")],
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.", show_default="Ctrl-C")] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Let the board listen to its own microphone.")
    ] = False,
    dump_audio: common.DumpAudio = None,
    keep_detections: common.KeepDetections = None,
    threshold: common.Thresholds = None,
    baud: common.Baud = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what a device is and what it says: logs, detections, the record of a fault."""
    from host_tools.link.info import Info
    from host_tools.link.session import Link
    from host_tools.live import lines, tune

    def say(event: Event) -> None:
        if not json:
            ui.out.show(describe(event, info))
        elif (line := lines.as_line(event, info)) is not None:
            ui.emit_line(line)

    info = Info()
    with Link.open(port, **({"baud": baud} if baud else {})) as link:
        if link.device:
            say(link.device)
        info = link.info()
        if threshold:
            link.set_detector(tune.asked(threshold, info))
            info = link.info()
        say(info)
        deadline = None if seconds is None else time.monotonic() + seconds
        if microphone or dump_audio or keep_detections:
            _listen(link, info, dump_audio, keep_detections, deadline, say)
            return
        while deadline is None or time.monotonic() < deadline:
            event = link.next_event(0.2)
            if event is not None:
                say(event)


def _listen(
    link: Link, info: Info, dump: Path | None, keep: Path | None, deadline: float | None, say: Callable[[Event], None]
) -> None:
    """The board's own microphone until the deadline or Ctrl-C, which keeps what came."""
    from host_tools.live.feed import Feed, Source
    from host_tools.live.keep import kept

    def over() -> bool:
        return deadline is not None and time.monotonic() >= deadline

    with kept(dump, keep, info) as sinks:
        feed = Feed(link, Source("its microphone"), sinks)
        with contextlib.suppress(KeyboardInterrupt):  # one of the ways to end it: what came is kept
            for event in feed.events(tick=over, with_sound=bool(sinks)):
                say(event)
        if feed.lost:
            ui.err.say("[yellow]{} samples were lost[/]", feed.lost)


def describe(event: Event, info: Info) -> Text:
    """One line for people."""
    from host_tools.link import codes, events
    from host_tools.link import info as infos
    from host_tools.live.lines import told

    match event:
        case events.HelloReply():
            reason = (
                codes.RESET_REASONS[event.reset_reason]
                if event.reset_reason < len(codes.RESET_REASONS)
                else f"code {event.reset_reason}"
            )
            return ui.styled(
                "[green]connected[/]: protocol {}, window {} frames, last reset: {}",
                event.protocol,
                event.window,
                reason,
            )
        case infos.Info():
            return ui.styled(
                "{}, firmware {}, engine {}, model {}: {}",
                event.board,
                event.firmware,
                event.engine,
                event.model_hash,
                ", ".join(event.labels),
            )
        case events.Log():
            name = codes.LogLevel(min(event.level, codes.LogLevel.ERROR)).name.lower()
            level = Text(name, style={"warning": "yellow", "error": "red"}.get(name, "dim"))
            return ui.styled("{}: {}", level, event.text)
        case events.Detection():
            return ui.styled(
                "[bold green]{}[/] at {:.2f} s, score {:.2f}",
                told(event.label, info),
                event.position / SAMPLE_RATE,
                event.score / 256,
            )
        case events.Fault():
            return ui.styled(
                "[red]{}[/] in the run before: pc {:#010x}, lr {:#010x}, cfsr {:#010x}, hfar {:#010x}, "
                "sp {:#010x}, after {} ms",
                codes.FaultKind.name_of(event.kind),
                event.pc,
                event.lr,
                event.cfsr,
                event.hfar,
                event.sp,
                event.uptime_ms,
            )
        case events.Result():
            best = max(range(len(event.output)), key=event.output.__getitem__, default=0)
            label = told(best, info)
            score = (event.output[best] + 128) / 256 if event.output else 0.0
            return ui.styled("[dim]{:8.2f} s[/]  {} {:.2f}", event.position / SAMPLE_RATE, label, score)
        case events.StreamDone():
            return ui.styled(
                "{:.2f} s of sound, {} inferences, {} samples lost before the front end",
                event.total / SAMPLE_RATE,
                event.inferences,
                event.dropped,
            )
        case _:
            return ui.styled("{}", event)
