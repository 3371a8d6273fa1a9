"""What in a data set makes its figures say less than they seem to, each as one line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from model_pipeline.data.split import SPLITS, ListUse
from model_pipeline.intervals import wilson
from model_pipeline.text import shown

_FEW_TRAINING = 20  # clips of a keyword
_FEW_JUDGED = 10
_APART = 20  # times as many clips of one keyword as of another
_NAMED = 3


class Labelled(Protocol):
    """What is asked of a clip."""

    @property
    def label(self) -> int:
        """Place of its label."""

    @property
    def speaker(self) -> str:
        """Who speaks."""

    @property
    def split(self) -> str:
        """In which split it is."""


def warnings(clips: Sequence[Labelled], labels: Sequence[str], lists: Mapping[str, ListUse] | None = None) -> list[str]:
    """One line for each doubt.

    Args:
        labels: keywords, then unknown and silence.
    """
    found = []
    for split, use in (lists or {}).items():
        if use.unmatched:
            found.append(
                f"{split}_list.txt: {len(use.unmatched)} of {use.lines} lines name no clip ({_some(use.unmatched)}); "
                "if they are misspelt, their clips are in another split"
            )
    keywords = range(len(labels) - 2)
    counts: dict[str, Counter[int]] = {split: Counter(c.label for c in clips if c.split == split) for split in SPLITS}
    found += _few(counts, keywords, labels)
    totals = {k: sum(counts[split][k] for split in SPLITS) for k in keywords}
    if totals and min(totals.values()) and max(totals.values()) >= _APART * min(totals.values()):
        most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
        found.append(
            f"{totals[most]} clips of {labels[most]} and {totals[least]} of {labels[least]}: the model leans to the "
            "first, and the share of all clips that are right is mostly that of the first"
        )
    found += _speakers(clips)
    return found


def same_sound(digests: Mapping[str, tuple[str, str]]) -> list[str]:
    """Recordings that are there more than once.

    Args:
        digests: by the clip's name, a hash of its sound and its speaker.
    """
    by_sound: dict[str, list[str]] = defaultdict(list)
    for name, (digest, _) in digests.items():
        by_sound[digest].append(name)
    again = [names for names in by_sound.values() if len({digests[name][1] for name in names}) > 1]
    if not again:
        return []
    most = max(again, key=len)
    return [
        f"{sum(map(len, again))} clips are {len(again)} recordings under several speakers ({_some(most)}): the model "
        "is judged on sound that it has learnt, so its figures are too good"
    ]


def _few(counts: Mapping[str, Counter[int]], keywords: range, labels: Sequence[str]) -> list[str]:
    found = []
    none = [k for k in keywords if not counts["training"][k] and any(counts[split][k] for split in SPLITS)]
    if none:
        said = ", ".join(labels[k] for k in none[:_NAMED])
        found.append(
            f"no clips to learn {said} from: all are for validation and testing, by the folder's lists or, of few "
            "speakers, by the hash of their names"
        )
    few = [k for k in keywords if 0 < counts["training"][k] < _FEW_TRAINING]
    if few:
        said = ", ".join(f"{counts['training'][k]} of {labels[k]}" for k in few[:_NAMED])
        found.append(f"a handful of clips to learn from ({said}): the model knows these speakers' voices, not the word")
    for split in ("validation", "testing"):
        judged = {k: counts[split][k] for k in keywords}
        total = sum(judged.values())
        use = "chooses among models" if split == "validation" else "measures the model"
        if not total:
            found.append(f"no {split} clips of any keyword: nothing {use}, and there is no accuracy on that split")
        elif min(judged.values()) < _FEW_JUDGED:
            least = min(judged, key=judged.__getitem__)
            low, high = wilson(round(0.9 * total), total)
            found.append(
                f"{split} {use} by {total} clips ({judged[least]} of {labels[least]}): an accuracy of 90 % would mean "
                f"{100 * low:.0f} to {100 * high:.0f} %"
            )
    return found


def _speakers(clips: Sequence[Labelled]) -> list[str]:
    splits: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        splits[clip.speaker].add(clip.split)
    both = sorted(speaker for speaker, found in splits.items() if "training" in found and len(found) > 1)
    if not both:
        return []
    return [
        f"{len(both)} speakers are heard in training and in another split ({_some(both)}): the figures are those of "
        "known voices, and others will do worse"
    ]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(shown(name, 80) for name in names[:_NAMED]) + more
