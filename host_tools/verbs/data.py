"""``kws data``: make, take in, fetch and look at speech data."""

from __future__ import annotations

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from host_tools import ui
from host_tools.options import common
from host_tools.options.recipe import Settings
from model_pipeline.errors import KwsError
from model_pipeline.rate import CLIP_MS, LONGEST_CLIP_MS

Out = Annotated[Path, typer.Option("--out", "-o", help="The data folder to make; replaced if it exists.")]
ConfigOption = Annotated[str, typer.Option("--config", "-c", help="TOML file, or the name of a built-in one.")]
_SURE = 0.8  # of the draws


GROUP = typer.Typer(
    name="data",
    help="Make, take in, fetch and look at speech data.",
    no_args_is_help=True,
    epilog="Example: kws data synth --out data/demo",
)


_MENDED = {
    "opposite_phase": "with channels that cancel each other out: the loudest was taken",
    "scaled_down": "with values beyond full scale: made smaller as a whole",
    "header_without_size": "whose header says that they are empty: read to their end",
}


@GROUP.command(epilog="Example: kws data synth --config demo --out data/demo")
def synth(out: Out, config: ConfigOption = "demo", settings: Settings = None, json: common.Json = False) -> None:
    """Make a data set with this machine's speech synthesisers."""
    from model_pipeline.config import load_config, with_settings
    from model_pipeline.data.described import Synthesized
    from model_pipeline.data.synth import synthesize

    with ui.progress("synthesising") as progress:
        result = synthesize(with_settings(load_config(config), settings or []), out, progress)

    def human(values: Synthesized) -> None:
        clips, speakers = values.clips, values.speakers
        ui.out.say("{}: {} clips", out, sum(clips.values()))
        for split, count in clips.items():
            ui.out.say("  {}: {} clips of {} speakers", split, count, speakers[split])
        for engine, found in values.engines.items():
            ui.out.say("  {} {}: {} voices", engine, found.version, found.voices)
        if values.missing_engines:
            ui.out.say("  not installed, done without: {}", ", ".join(values.missing_engines))
        if values.failed:
            ui.out.say("  {} clips could not be spoken", values.failed)

    ui.emit(result, json, human)


@GROUP.command(epilog='Example: kws data spelling lumos "loo moss" "loo mose" --config lumos')
def spelling(
    word: Annotated[str, typer.Argument(help="A word that people recorded.", show_default=False)],
    texts: Annotated[list[str], typer.Argument(help="Ways to write it, or espeak-ng's [[…]].", show_default=False)],
    config: ConfigOption = "kws.toml",
    takes: Annotated[
        Path | None, typer.Option(help="Its recordings; else the word's folder of the configuration's.")
    ] = None,
    settings: Settings = None,
    json: common.Json = False,
) -> None:
    """Find how to write a word so that synthesisers say it as your takes do (synth.spoken)."""
    from host_tools.run.steps import toml_value
    from model_pipeline.child import run_step
    from model_pipeline.config import load_config, with_settings
    from model_pipeline.outcomes import Spellings
    from model_pipeline.words import folder_name

    c = with_settings(load_config(config), settings or [])
    if takes is None and not c.data.recordings:
        raise KwsError("where are takes of the word?", hint="--takes FOLDER, or data.recordings of a project")
    folder = takes or Path(c.data.recordings) / folder_name(word)
    written = list(dict.fromkeys([c.synth.text_of(word), *texts]))
    arguments = ["--config", config, *(f"--set={setting}" for setting in settings or [])]
    arguments += ["--data", str(folder), "--texts", dumps(written)]
    with ui.progress("comparing spellings") as progress:
        result = run_step("model_pipeline.training.spelling", arguments, Spellings, progress)

    def human(values: Spellings) -> None:
        ui.out.say("how near voices come to {} takes of {} (1: the same)", values.takes, word)
        for row in values.spellings:
            ui.out.say("  {}  nearest in {} of draws  {}", f"{row.near:6.3f}", f"{100 * row.first:3.0f} %", row.text)
        for text in values.unspoken:
            ui.out.say("  no voice can say {}", text)
        best = values.spellings[0]
        if best.first < _SURE:
            ui.out.say("these takes do not tell the first ones apart: listen to them, or record more")
        if best.text == c.synth.text_of(word):
            ui.out.say("it is said so already")
        else:
            ui.out.say("in kws.toml: synth.spoken = {}", toml_value({word: best.text}))
            ui.out.say("its near words are those of how it was said before: kws new --spoken finds this one's")

    ui.emit(result, json, human)


@GROUP.command("import", epilog="Example: kws data import ~/recordings --out data/mine")
def import_(
    source: Annotated[Path, typer.Argument(help="A folder with one folder a word.", show_default=False)],
    out: Out,
    name: Annotated[str, typer.Option(help="What the data is called, for the model's manifest.")] = "",
    licence: Annotated[str, typer.Option(help="Its licence, for the manifest.")] = "",
    clip_ms: Annotated[
        int, typer.Option(min=CLIP_MS, max=LONGEST_CLIP_MS, help="How long clips become, as data.clip_ms.")
    ] = CLIP_MS,
    json: common.Json = False,
) -> None:
    """Take in recordings (wav, flac, ogg, mp3; any rate and length) as a data folder."""
    from model_pipeline.data.described import Imported
    from model_pipeline.data.importer import import_folder
    from model_pipeline.data.sources import check_folder

    check_folder(source)
    with ui.progress("importing") as progress:
        result = import_folder(source, out, progress, name=name, licence=licence, clip_ms=clip_ms)

    def human(values: Imported) -> None:
        ui.out.say("{}: {} clips of {} words", out, values.clips, len(values.words))
        ui.out.say(
            "  resampled {}, padded {}, cut {}; splits by {}",
            values.resampled,
            values.padded,
            values.cut,
            {"lists": "the *_list.txt", "folders": "the source's folders"}.get(
                values.split_rule, "the hash of the speaker"
            ),
        )
        for word, said in values.spellings.items():
            ui.out.say("  {} is what was called {}", word, ", ".join(said))
        for split, use in values.lists.items():
            if use.unmatched:
                some = ", ".join(use.first_unmatched)
                ui.out.say("  {}_list.txt: {} of {} lines name no clip: {}", split, use.unmatched, use.lines, some)
        for key, text in _MENDED.items():
            if number := getattr(values, key):
                ui.out.say("  {} {}", number, text)
        if values.skipped:
            ui.out.say("  left out {} files:", values.skipped)
            for item in values.skipped_files[:10]:
                ui.out.say("    {}: {}", item.file, item.reason)
            if values.skipped > 10:
                ui.out.say("    … more in {}", out / "dataset.json")
        for warning in values.warnings:
            ui.out.say("  warning: {}", warning)

    ui.emit(result, json, human)


@GROUP.command(epilog="Example: kws data info data/demo   or   kws data info data/speech-commands --config default")
def info(
    folder: Annotated[Path, typer.Argument(help="A data folder.", show_default=False)],
    config: Annotated[
        str | None,
        typer.Option("--config", "-c", help="Count under its keywords.", show_default="the folder's own words"),
    ] = None,
    settings: Settings = None,
    json: common.Json = False,
) -> None:
    """Show what is in a data folder: clips and speakers of each word by split, noise."""
    from host_tools.report import folder as report
    from model_pipeline.config import load_config, with_settings
    from model_pipeline.data.dataset import Dataset, own_words

    if config is None and not settings:
        dataset = Dataset.open(folder, own_words(folder))
    else:
        wanted = with_settings(load_config(config), settings or [])
        dataset = Dataset.open(folder, wanted.keywords, wanted.data)
    ui.emit(report.counted(dataset), json, report.show)


@GROUP.command(epilog="Example: kws data download librispeech-dev --out data/librispeech-dev")
def download(
    name: Annotated[str, typer.Argument(help="speech-commands, librispeech-dev or musan.")] = "speech-commands",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder to make; must not exist yet.", show_default="data/<name>"),
    ] = None,
    url: Annotated[str, typer.Option(help="Another place of the archive.")] = "",
    json: common.Json = False,
) -> None:
    """Fetch recordings of words (2.3 GB), connected speech (0.3 GB) or noise (11 GB); goes on where it stopped."""
    from dataclasses import replace

    from model_pipeline.data import download as step

    if name not in step.ARCHIVES:
        raise KwsError(f"there is nothing to download called {name!r}", hint=", ".join(step.ARCHIVES))
    archive = step.ARCHIVES[name]
    folder = out or Path("data") / name
    with ui.progress(f"downloading {archive.size}") as progress:
        result = step.download(folder, progress, archive=replace(archive, url=url or archive.url))
    ui.emit(result, json, lambda values: ui.out.say("{}: {}, {}", folder, values.name, values.licence))


@GROUP.command(epilog="Example: kws data shard data/speech-commands --config default --out data/sharded")
def shard(
    source: Annotated[str, typer.Argument(help="A data folder, or another sharded set.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The sharded set to make; goes on where it stopped.")],
    config: ConfigOption = "demo",
    settings: Settings = None,
    per_shard: Annotated[int, typer.Option(min=1, help="Clips of a file (3000: about 100 MB).")] = 3000,
    epochs: Annotated[
        int, typer.Option(min=0, help="Make this many augmented epochs as features; 0: keep the audio.")
    ] = 0,
    json: common.Json = False,
) -> None:
    """Pack a data folder, its noise and the configuration's extra data into TFRecord shards for kws train."""
    from model_pipeline.child import run_step
    from model_pipeline.outcomes import Sharded

    arguments = ["--config", config, "--data", source, "--out", str(out)]
    arguments += [f"--per-shard={per_shard}", f"--epochs={epochs}", *(f"--set={s}" for s in settings or [])]
    with ui.progress("sharding") as progress:
        result = run_step("model_pipeline.training.shard", arguments, Sharded, progress)

    def human(made: Sharded) -> None:
        ui.out.say("{}: {} files, {:.0f} MB ({} were there already)", out, made.files, made.bytes / 1e6, made.kept)
        for split, count in made.clips.items():
            ui.out.say("  {}: {} clips of {} speakers", split, count, made.speakers[split])
        if made.extra:
            ui.out.say("  extra: {} clips", made.extra)
        if made.epochs:
            ui.out.say("  training as {} epochs of features, augmented", made.epochs)

    ui.emit(result, json, human)
