"""``kws monitor``"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.ui import Text
from model_pipeline.rate import SAMPLE_RATE

EXAMPLE = "Example: kws monitor --port /dev/ttyACM0"


def monitor(
    port: Annotated[str, typer.Option(help="Serial port or URL such as socket://127.0.0.1:3456.")],
    seconds: Annotated[float | None, typer.Option(help="Stop after so long.", show_default="Ctrl-C")] = None,
    microphone: Annotated[
        bool, typer.Option("--microphone", help="Let the board listen to its own microphone.")
    ] = False,
    baud: common.Baud = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Show what a device is and what it says: logs, detections, the record of a fault."""
    from host_tools.link import stream
    from host_tools.link.session import Link

    def say(event: Any) -> None:
        if json:
            ui.emit_line({"event": type(event).__name__, **event.as_dict()})
        else:
            ui.out.show(describe(event, labels))

    labels: tuple[str, ...] = ()
    with Link.open(port, **({"baud": baud} if baud else {})) as link:
        if link.device:
            say(link.device)
        info = link.info()
        labels = info.labels
        say(info)
        deadline = None if seconds is None else time.monotonic() + seconds
        events = stream.listen(link) if microphone else None
        try:
            while deadline is None or time.monotonic() < deadline:
                event = next(events) if events else link.next_event(0.2)
                if event is not None:
                    say(event)
        finally:
            if events:
                events.close()


def describe(event: Any, labels: tuple[str, ...]) -> Text:
    """One line for people."""
    from host_tools.link import protocol as p

    match event:
        case p.HelloReply():
            reason = (
                p.RESET_REASONS[event.reset_reason]
                if event.reset_reason < len(p.RESET_REASONS)
                else f"code {event.reset_reason}"
            )
            return ui.styled(
                "[green]connected[/]: protocol {}, window {} frames, last reset: {}",
                event.protocol,
                event.window,
                reason,
            )
        case p.Info():
            return ui.styled(
                "{}, firmware {}, engine {}, model {}: {}",
                event.board,
                event.firmware,
                event.engine,
                event.model_hash,
                ", ".join(event.labels),
            )
        case p.Log():
            name = p.LogLevel(min(event.level, p.LogLevel.ERROR)).name.lower()
            level = Text(name, style={"warning": "yellow", "error": "red"}.get(name, "dim"))
            return ui.styled("{}: {}", level, event.text)
        case p.Detection():
            label = labels[event.label] if event.label < len(labels) else f"label {event.label}"
            return ui.styled(
                "[bold green]{}[/] at {:.2f} s, score {:.2f}", label, event.position / SAMPLE_RATE, event.score / 256
            )
        case p.Fault():
            return ui.styled(
                "[red]{}[/] in the run before: pc {:#010x}, lr {:#010x}, cfsr {:#010x}, hfar {:#010x}, "
                "sp {:#010x}, after {} ms",
                p.FaultKind.name_of(event.kind),
                event.pc,
                event.lr,
                event.cfsr,
                event.hfar,
                event.sp,
                event.uptime_ms,
            )
        case p.Result():
            best = max(range(len(event.output)), key=event.output.__getitem__, default=0)
            label = labels[best] if best < len(labels) else f"label {best}"
            score = (event.output[best] + 128) / 256 if event.output else 0.0
            return ui.styled("[dim]{:8.2f} s[/]  {} {:.2f}", event.position / SAMPLE_RATE, label, score)
        case _:
            return ui.styled("{}", event)
