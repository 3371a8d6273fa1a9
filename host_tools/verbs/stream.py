"""``kws stream``"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import KwsError
from model_pipeline.rate import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np

    from host_tools.link.session import Link
    from host_tools.measure.results import Measurement

EXAMPLE = (
    "Example: kws stream --port /dev/ttyACM0 --data runs/demo/data --clips 100   or   "
    "kws stream --board disco_f407vg --wav recording.wav   or   kws stream --port /dev/ttyACM0 --mic"
)
_BLOCK = 320  # 20 ms, as of the microphone


def stream(
    port: Annotated[str | None, typer.Option(help="Serial port or URL such as socket://127.0.0.1:3456.")] = None,
    board: Annotated[str | None, typer.Option(help="Build for this board and emulate it, instead.")] = None,
    data: Annotated[Path | None, typer.Option(help="Data folder whose labelled test clips are streamed.")] = None,
    clips: Annotated[int, typer.Option(min=1, help="How many of them, spread over the labels.")] = 100,
    wav: Annotated[Path | None, typer.Option(help="A recording to stream, of any length.")] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Stream this computer's microphone.")] = False,
    realtime: Annotated[bool, typer.Option("--realtime", help="Stream --wav at the pace of a microphone.")] = False,
    paced: Annotated[int, typer.Option(min=0, help="Clips to repeat at that pace, for the response time.")] = 8,
    model: common.Models = None,
    engine: Annotated[str, typer.Option(help="Engine to build with --board: aot or tflm.")] = "aot",
    elf: Annotated[Path | None, typer.Option(help="Emulate this image for --board instead of building one.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results.json and report.html.")] = None,
    threshold: common.Thresholds = None,
    baud: common.Baud = None,
    json: Annotated[
        bool, typer.Option("--json", help="The result as JSON; of --wav and --mic one object a line, as they come.")
    ] = False,
) -> None:
    """Stream speech to a device: labelled clips for accuracy and cost, a recording or a microphone for a look."""
    if sum((data is not None, wav is not None, mic)) != 1:
        raise KwsError("give one of --data DIR, --wav FILE and --mic", hint=EXAMPLE.removeprefix("Example: "))
    from host_tools.image import models, targets
    from host_tools.report.results import Results
    from host_tools.words import microphone
    from model_pipeline.data.audio import recording_blocks

    only = models.one(model, "kws stream --data") if data else None
    with contextlib.ExitStack() as stack:
        # First what may be missing, then the device.
        source = stack.enter_context(microphone.blocks()) if mic else recording_blocks(wav, _BLOCK) if wav else None
        link, build = stack.enter_context(targets.target(port, board, model=model, engine=engine, baud=baud, elf=elf))
        if threshold:
            from host_tools.live import tune

            link.set_detector(tune.asked(threshold, link.info()))
        if source is not None:
            _live(link, source, realtime=realtime, endless=mic, json=json)
            return
        assert data is not None
        measured = _clips(link, data, clips, paced, only)
    where = f"an emulated {board}" if board and board != "host" else ""
    results = Results.of(
        {
            **measured.to_json(),
            "build": build.to_json() if build else None,
            "data_folder": str(data.resolve()),
            "where": where,
        }
    )
    result = {key: value for key, value in results.to_json().items() if key != "clips"}
    if out:
        from host_tools.report import page as report

        with ui.progress("write the report"):
            paths = report.write_report(results, out)
        result |= {"results": str(paths[0]), "report": str(paths[1])}

    def human(_: object) -> None:
        from host_tools.report import tables as show

        show.results(results)
        if out:
            ui.out.say("report: [bold]{}[/]", out / "report.html")

    ui.emit(result, json, human)
    from host_tools.measure.clips import verdict

    verdict(results, out / "report.html" if out else "--out DIR, which keeps every clip's result")


def _clips(link: Link, data: Path, count: int, paced: int, model: Path | None) -> Measurement:
    from host_tools.measure import clips as measuring

    with ui.progress(f"stream {count} clips") as progress:
        if model is not None:
            return measuring.measure_model(link, model, data, count, paced, progress)
        info = link.info()
        dataset = measuring.open_dataset(data, info.labels)
        chosen = measuring.choose_clips(dataset, count)
        return measuring.measure_clips(link, info, dataset, chosen, realtime=paced, progress=progress)


def _live(link: Link, source: Iterator[np.ndarray], *, realtime: bool, endless: bool, json: bool) -> None:
    """Detections as they come, and under them the posteriors of the last result; or a line of JSON an event."""
    from host_tools.link import stream as streams
    from host_tools.link.events import Detection, Result, StreamDone
    from host_tools.live import lines
    from host_tools.measure import metrics
    from host_tools.report import tables as show

    before = link.stats()
    info = link.info()
    labels = info.labels
    detections = 0
    done: StreamDone | None = None
    with contextlib.nullcontext() if json else ui.live(12, screen=ui.out) as live:
        try:
            for event in streams.stream_continuous(link, source, realtime=realtime):
                detections += isinstance(event, Detection)
                done = event if isinstance(event, StreamDone) else done
                if live is None:
                    if (line := lines.as_line(event, info)) is not None:
                        ui.emit_line(line)
                elif isinstance(event, Detection):
                    seconds, score = event.position / SAMPLE_RATE, event.score / 256
                    word = lines.told(event.label, info)
                    ui.out.say("{:8.2f} s  [bold green]{}[/]  {:.2f}", seconds, word, score)
                elif isinstance(event, Result):
                    live.update(show.posteriors(labels, event))
        except KeyboardInterrupt:
            if not endless:  # a microphone ends so
                raise
    link_use = metrics.link_summary(link.report(), before, link.stats())
    lost, repeated = link_use.lost, link_use.repeated
    if json:
        ui.emit_line({"event": "Summary", "detections": detections, "link": {"lost": lost, "repeated": repeated}})
    else:
        length = "" if done is None else f" in {done.total / SAMPLE_RATE:.1f} s of sound"
        ui.out.say("{} detections{}; {} frames lost", detections, length, lost)
