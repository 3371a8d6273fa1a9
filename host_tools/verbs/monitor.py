"""``kws monitor``"""

from __future__ import annotations

import json as json_module
import time
from typing import Annotated, Any

import typer

from host_tools import ui

EXAMPLE = "Example: kws monitor --port /dev/ttyACM0"
_LEVELS = ("debug", "info", "warning", "error")


def register(app: typer.Typer) -> None:
    """Adds the verb."""

    @app.command(epilog=EXAMPLE)
    def monitor(
        port: Annotated[str, typer.Option(help="Serial port or URL such as socket://127.0.0.1:3456.")],
        seconds: Annotated[float | None, typer.Option(help="Stop after so long.", show_default="Ctrl-C")] = None,
        microphone: Annotated[
            bool, typer.Option("--microphone", help="Let the board listen to its own microphone.")
        ] = False,
        baud: Annotated[int | None, typer.Option(help="Baud rate of a serial port.", show_default="500000")] = None,
        json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    ) -> None:
        """Show what a device is and what it says: logs, detections, the record of a fault."""
        from host_tools.link import stream
        from host_tools.link.session import Link

        def say(event: Any) -> None:
            if json:
                print(json_module.dumps({"event": type(event).__name__, **event.as_dict()}, default=str), flush=True)
            else:
                ui.out.print(describe(event, labels))

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


def describe(event: Any, labels: tuple[str, ...]) -> str:
    """One line for people."""
    from host_tools.link import protocol as p

    match event:
        case p.HelloReply():
            reason = (
                p.RESET_REASONS[event.reset_reason]
                if event.reset_reason < len(p.RESET_REASONS)
                else f"code {event.reset_reason}"
            )
            return f"[green]connected[/]: protocol {event.protocol}, window {event.window} frames, last reset: {reason}"
        case p.Info():
            return (
                f"{ui.plain(event.board)}, firmware {ui.plain(event.firmware)}, engine {ui.plain(event.engine)}, model "
                f"{ui.plain(event.model_hash)}: {ui.plain(', '.join(event.labels))}"
            )
        case p.Log():
            level = _LEVELS[min(event.level, 3)]
            colour = {"warning": "yellow", "error": "red"}.get(level, "dim")
            return f"[{colour}]{level}[/]: {ui.plain(event.text)}"
        case p.Detection():
            label = labels[event.label] if event.label < len(labels) else f"label {event.label}"
            return f"[bold green]{label}[/] at {event.position / 16000:.2f} s, score {event.score / 256:.2f}"
        case p.Fault():
            return (
                f"[red]fault[/] in the run before: kind {event.kind}, pc {event.pc:#010x}, lr {event.lr:#010x}, "
                f"cfsr {event.cfsr:#010x}, hfar {event.hfar:#010x}, sp {event.sp:#010x}, after {event.uptime_ms} ms"
            )
        case p.Result():
            best = max(range(len(event.output)), key=event.output.__getitem__, default=0)
            label = labels[best] if best < len(labels) else f"label {best}"
            score = (event.output[best] + 128) / 256 if event.output else 0.0
            return f"[dim]{event.position / 16000:8.2f} s[/]  {label} {score:.2f}"
        case _:
            return ui.plain(str(event))
