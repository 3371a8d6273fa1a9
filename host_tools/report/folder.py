"""What is in a data folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from host_tools import ui
from model_pipeline.config import SILENCE, UNKNOWN
from model_pipeline.data.dataset import SPLITS, Dataset
from model_pipeline.data.described import Summary


class Counted(Summary):
    """``judged``: by split and label, the clips that a split is judged on (`Dataset.evaluation`)."""

    judged: dict[str, dict[str, int]]


def counted(dataset: Dataset) -> Counted:
    """The folder's summary, and what its splits are judged on."""
    found = {split: Counter(clip.label for clip in dataset.evaluation(split)) for split in SPLITS}
    judged = {split: {name: n[label] for label, name in enumerate(dataset.labels)} for split, n in found.items()}
    return Counted(**dict(dataset.summary()), judged=judged)


def show(values: Counted) -> None:
    """Prints clips and speakers by label and split, noise, and warnings."""
    table = ui.Table(title=values.folder, title_justify="left")
    splits, judged = values.splits, values.judged

    def row(name: str, counts: Mapping[str, int]) -> None:
        table.add_row(name, *(str(counts[split]) for split in splits))

    table.add_column("label")
    for split in splits:
        table.add_column(split, justify="right")
    for label in splits["training"].labels:
        row(label, {split: counts.labels[label] for split, counts in splits.items()})
    recorded = {split: counts.recorded_silence or 0 for split, counts in splits.items()}
    if any(recorded.values()):
        row(SILENCE, recorded)
    table.add_section()
    row("clips", {split: counts.clips for split, counts in splits.items()})
    row("speakers", {split: counts.speakers for split, counts in splits.items()})
    table.add_section()
    row("judged on", {split: sum(judged[split].values()) for split in splits})
    for label in (UNKNOWN, SILENCE):
        row(f"  of them {label}", {split: judged[split][label] for split in splits})
    ui.out.show(table)
    ui.out.say(
        "[dim]judged on (kws evaluate clips): all keyword clips; unknown and silence, each as many as a mean keyword "
        "has, or as the configuration says. Silence that is not recorded is cut from the noise.[/]"
    )
    ui.out.say(
        "noise: {:.0f} s in {} files; {} words", sum(values.noise.values()), len(values.noise), len(values.words)
    )
    if values.unused_clips:
        ui.out.say("{} clips are on none of the lists and are not used", values.unused_clips)
    ui.out.say("hash {}", values.hash)
    for warning in values.warnings:
        ui.out.say("warning: {}", warning)
