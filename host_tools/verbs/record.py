"""``kws record``"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools import ui
from host_tools.options import common
from model_pipeline.errors import CheckFailed, KwsError
from model_pipeline.rate import SAMPLE_RATE

if TYPE_CHECKING:
    import numpy as np

    from host_tools.link.audio import Track
    from host_tools.words.takes import Take
    from model_pipeline.data.split import Split
    from model_pipeline.outcomes import Curve

EXAMPLE = (
    "Example: kws record hey_robot --folder hey_robot --speaker anna   or, by a board's microphone,   "
    "kws record hey_robot --folder hey_robot --port /dev/ttyACM0   or   "
    "kws record hey_robot --folder hey_robot --from-file long.wav"
)
_CURVE_FROM = 8  # takes of two words: with fewer a learning curve is noise
_METER = 40  # characters, from -80 to 0 dB


@dataclass(frozen=True)
class Refused:
    """A take that was not kept: at which second, and why."""

    second: float
    reason: str


@dataclass(frozen=True)
class Recorded:
    """What was recorded of a word. ``keyword``: whether it is one of the project; ``split``: where all that the speaker
    says goes, None where takes are shared out (`data.personal`); ``speakers`` of the project by split, with this one;
    ``takes``: by this speaker in all; ``kept``: the files of now."""

    word: str
    keyword: bool
    folder: str
    speaker: str
    split: Split | None
    speakers: dict[Split, int]
    takes: int
    kept: list[str]
    lost_samples: int
    refused: list[Refused]


def record(
    word: Annotated[str, typer.Argument(help="The word; one that is not a keyword teaches what is not meant.")],
    count: Annotated[int, typer.Option(min=1, help="Takes of this word by this speaker, old ones included.")] = 20,
    speaker: Annotated[
        str | None, typer.Option(help="Who speaks; a hash of it is kept.", show_default="the user's name")
    ] = None,
    folder: Annotated[Path, typer.Option(help="The project that kws new made.")] = Path("."),
    port: Annotated[str | None, typer.Option(help="Record by the microphone of the board on this port.")] = None,
    from_file: Annotated[
        Path | None, typer.Option(help="Cut this recording into takes, all of them, instead of the microphone.")
    ] = None,
    baud: common.Baud = None,
    seconds: Annotated[float, typer.Option(min=1, help="Give up after so long without a word.")] = 20.0,
    curve: Annotated[
        bool,
        typer.Option("--curve/--no-curve", help="Say whether more takes would help."),
    ] = True,
    json: common.Json = False,
) -> None:
    """Record takes of a word: each is found by its energy, checked and cut to one second, or
    as long as the project's clips are.

    Twenty takes of each word by three or more speakers are a good start. All that
    a speaker says goes into one split, by a hash of the name (Speech Commands'):
    of ten speakers eight train the model, one chooses it and one measures it. If
    you are the only one: kws new --personal, and ten takes of each word.
    """
    import getpass

    from host_tools.words import project
    from host_tools.words.takes import Shelf, speakers

    if port and from_file:
        raise KwsError("give either --port or --from-file", hint="--port is the board's microphone")
    config, recordings = project.recordings_of(folder)
    project.check_spelling(word)
    shelf = Shelf(recordings, word, speaker if speaker is not None else getpass.getuser())
    split = None if config.data.personal else shelf.split
    heard = speakers(recordings, shelf)
    kept: list[str] = []
    counts: Track | None = None
    refused: list[Refused] = []

    def judge(take: Take) -> bool:
        seconds = round(take.start / SAMPLE_RATE, 2)
        if take.reason:
            refused.append(Refused(seconds, take.reason))
            ui.err.say("[yellow]{:7.2f} s[/] not kept: {}", seconds, take.reason)
            return False
        path = shelf.keep(take)
        kept.append(str(path))
        ui.err.say("[green]{:7.2f} s[/] {}  {:.0f} dB", seconds, path, take.level_db)
        return True

    _say_use(split, heard)
    try:
        if from_file:
            _cut(from_file, judge, config.data.clip_samples)
        else:
            missing = count - len(shelf.taken())
            if missing <= 0:
                raise KwsError(f"{len(shelf.taken())} takes are there already", hint=f"--count {count + 20} for more")
            with _sound(port, baud) as (blocks, counts):
                _listen(blocks, word, missing, seconds, judge, config.data.clip_samples)
    except KeyboardInterrupt:
        ui.err.say("stopped; what was kept stays, and the next call goes on from it")
    found = _curve(folder, recordings) if curve and kept else None
    done = Recorded(
        word=word,
        keyword=word in config.keywords,
        folder=str(shelf.folder),
        speaker=shelf.speaker,
        split=split,
        speakers=heard,
        takes=len(shelf.taken()),
        kept=kept,
        lost_samples=counts.lost + counts.dropped if counts else 0,
        refused=refused,
    )
    result = {**asdict(done), "curve": found.model_dump() if found else None}
    ui.emit(result, json, lambda _: _human(done, found))
    if not kept and refused:
        raise CheckFailed("no take could be kept", hint="the reasons are above")


def _human(done: Recorded, found: Curve | None) -> None:
    ui.out.say(
        "{} takes kept, {} refused; {} of {} by this speaker in {}",
        len(done.kept),
        len(done.refused),
        done.takes,
        done.word,
        done.folder,
    )
    if done.lost_samples:
        ui.out.say("  [yellow]{} samples were lost[/] on the way from the board", done.lost_samples)
    if found:
        _say_curve(found)
    if not done.keyword:
        ui.out.say("  no keyword of this project: the model learns it as another word")


def _say_use(split: Split | None, speakers: dict[Split, int]) -> None:
    """What the speaker's takes are for, and who else has recorded."""
    if split is None:
        ui.err.say(
            "takes are shared out: eight of ten train the model, one chooses it, one measures it (data.personal)"
        )
        return
    use = {"training": "trains the model", "validation": "chooses the model", "testing": "measures the model"}
    ui.err.say("all that this speaker says {} ({}, by a hash of the name)", use[split], split)
    counts = ", ".join(f"{name} {count}" for name, count in speakers.items())
    ui.err.say("speakers with this one: {}", counts)
    if not speakers["testing"]:
        ui.err.say("nobody tells yet how well people are understood: record more speakers; one of ten is for testing")


def _curve(folder: Path, recordings: Path) -> Curve | None:
    """What `model_pipeline.training.curve` finds; None where there are too few takes yet, or nothing to tell by."""
    import importlib.util

    from model_pipeline.child import run_step
    from model_pipeline.data.audio import is_sound
    from model_pipeline.outcomes import Curve

    takes = [sum(is_sound(path.name) for path in word.iterdir()) for word in recordings.iterdir() if word.is_dir()]
    enough = sum(count >= _CURVE_FROM for count in takes) >= 2
    if not enough or not importlib.util.find_spec("pyopen_wakeword"):
        return None
    arguments = ["--config", str(folder), "--data", str(recordings)]
    with ui.progress("would more takes help?") as progress:
        return run_step("model_pipeline.training.curve", arguments, Curve, progress)


def _say_curve(found: Curve) -> None:
    points = "  ".join(f"{n}: {100 * right:.0f} %" for n, right in zip(found.takes, found.right, strict=True))
    who = "other speakers'" if found.by_speaker else "these speakers'"
    ui.out.say("  {} takes understood, by takes of a word that were heard: {}", who, points)
    if found.gain is None:
        return
    if found.enough:
        ui.out.say("  more takes of these speakers will hardly help; takes of others may")
    else:
        ui.out.say("  more takes help: the last doubling brought {:.0f} points", 100 * found.gain)


def _cut(path: Path, judge: Callable[[Take], bool], clip: int) -> None:
    from host_tools.words import takes
    from model_pipeline.data.audio import read_audio, resample, to_int16

    with ui.progress(f"cut {path.name}"):
        found = list(takes.find(to_int16(resample(*read_audio(path))), ended=True, clip=clip))
    if not found:
        raise KwsError(f"no word in {path}", hint="words need pauses of a third of a second between them")
    for take in found:
        judge(take)


@contextlib.contextmanager
def _sound(port: str | None, baud: int | None) -> Iterator[tuple[Iterator[np.ndarray], Track | None]]:
    """Blocks of int16 of this computer's microphone, or of the board's with what was lost of them."""
    from host_tools.words import microphone

    if port is None:
        with microphone.blocks() as blocks:
            yield blocks, None
        return
    from host_tools.link.audio import Track, board_microphone
    from host_tools.link.session import Link

    track = Track()
    with Link.open(port, **({"baud": baud} if baud else {})) as link, board_microphone(link, track) as blocks:
        yield blocks, track


def _listen(
    blocks: Iterator[np.ndarray], word: str, missing: int, patience: float, judge: Callable[[Take], bool], clip: int
) -> None:
    from dataclasses import replace

    import numpy as np

    from host_tools.words import takes

    text = word.replace("_", " ")
    with ui.live(12) as live:
        sound = np.zeros(0, np.int16)
        dropped = quiet = 0  # samples in front of ``sound``; samples since the last word
        for number, block in enumerate(blocks):
            sound = np.concatenate([sound, block])
            quiet += len(block)
            level = takes.level_db(block)
            filled = int(np.clip((level + 80) / 80, 0, 1) * _METER)
            line = "say [bold]{}[/]  [cyan]{}[/][dim]{}[/] {:4.0f} dB  {} to go"
            live.update(ui.styled(line, text, "█" * filled, "·" * (_METER - filled), level, missing))
            if quiet > patience * SAMPLE_RATE:
                raise KwsError(
                    f"heard no word in {patience:g} s",
                    hint="python -m sounddevice lists the microphones",
                )
            take = next(takes.find(sound, ended=False, clip=clip), None) if number % 5 == 4 else None
            if take is None:
                continue
            missing -= judge(replace(take, start=take.start + dropped))
            if not missing:
                return
            # The word goes; some of the room before it stays, or its level would be unknown.
            room = sound[max(0, take.start - 6 * SAMPLE_RATE) : take.start]
            sound, dropped, quiet = np.concatenate([room, sound[take.end :]]), dropped + take.end - len(room), 0
