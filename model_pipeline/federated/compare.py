"""What federated training costs: the same recipe and data with other clients, uploads and privacy, and trained in one
place.

    python -m model_pipeline.federated.compare --config tiny --data DIR --out DIR
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_pipeline import child
from model_pipeline.config import Config
from model_pipeline.errors import KwsError
from model_pipeline.federated.simulation import QUIET, audio_of, federate
from model_pipeline.files import write_json
from model_pipeline.folders import claim_dir
from model_pipeline.outcomes import Federated, FederatedComparison, FederatedVariant
from model_pipeline.progress import ProgressCallback, silent

KIND = "kws federate --compare"
RESULT = "comparison.json"
_TARGET = 0.95  # of what training in one place reaches


def variants(config: Config) -> dict[str, dict[str, Any]]:
    """The settings that are changed, by name; the first are those of ``config``."""
    c = config.federate
    found: dict[str, dict[str, Any]] = {f"{c.strategy}, {c.upload}": {}}
    for upload in ("float32", "int8", "topk"):
        if upload != c.upload:
            found[f"{upload} upload"] = {"upload": upload}
    for strategy in ("fedavg", "fedprox", "fedadam", "fedavgm"):
        if strategy != c.strategy:
            found[strategy] = {"strategy": strategy}
    found[f"{2 * c.speakers_per_client} speakers a client"] = {"speakers_per_client": 2 * c.speakers_per_client}
    if c.speakers_per_client > 1:
        fewer = max(1, c.speakers_per_client // 4)
        found[f"{fewer} speaker{'s'[: fewer > 1]} a client"] = {"speakers_per_client": fewer}
    found["2 keywords a client"] = {"keywords_per_client": min(2, len(config.keywords))}
    found["differential privacy"] = {"strategy": "fedavg", "clip": c.clip or 1.0, "noise": c.noise or 0.5}
    return found


def compare(
    config: Config, data: str | Path, out: Path, progress: ProgressCallback | None = None, only: Sequence[str] = ()
) -> FederatedComparison:
    """Trains each of `variants` (or of ``only``) in a folder of its own under ``out``, and centrally with as many
    examples; what is there already goes on, or is taken as it is.

    Raises:
        KwsError: as `federate`; or a name in ``only`` is none.
    """
    report = progress or silent
    config = config.of_clips()
    names = ("central/**", "variants/**", "clips.npy", "clips.key", RESULT)
    claim_dir(out, KIND, names, sources=[data], ours=lambda folder: (folder / RESULT).is_file())
    known = variants(config)
    if unknown := sorted(set(only) - known.keys() - {"central"}):
        raise KwsError(f"there is nothing called {unknown[0]!r} to compare", hint="; ".join(["central", *known]))
    wanted = [name for name in known if not only or name in only]
    whole = len(wanted) + 1
    audio = audio_of(config, data, out, report)
    found: list[FederatedVariant] = []
    for place, name in enumerate(wanted):

        def say(done: int, total: int, text: str, place: int = place, name: str = name) -> None:
            report(place * 1000 + 1000 * done // max(1, total), whole * 1000, f"{name}: {text}")

        settings = config.federate.model_copy(update=known[name])
        changed = config.model_copy(update={"federate": type(settings).model_validate(settings.model_dump())})
        result = federate(changed, data, out / "variants" / _folder(name), say, audio=audio)
        found.append(variant(name, result))

    def central_says(done: int, total: int, text: str) -> None:
        report((whole - 1) * 1000 + 1000 * done // max(1, total), whole * 1000, f"central: {text}")

    accuracy, epochs, clips = _central(config, data, out, audio, found[0] if found else None, central_says)
    target = _TARGET * accuracy
    found = [v.model_copy(update={"rounds_to_target": v.reaches(target)}) for v in found]
    result_of = FederatedComparison(
        central=accuracy, central_epochs=epochs, validation_clips=clips, target=target, variants=found
    )
    write_json(out / RESULT, result_of.model_dump(mode="json"))
    return result_of


def variant(name: str, result: Federated) -> FederatedVariant:
    """What is told of a federated training."""
    played = [r for r in result.rounds if r.number]
    times = len(played) * result.sampled / result.clients  # that a client is asked
    return FederatedVariant(
        name=name,
        clients=result.clients,
        sampled=result.sampled,
        accuracy=result.rounds[-1].validation_accuracy,
        by_round={r.number: r.validation_accuracy for r in result.rounds},
        up_kb=sum(r.up for r in played) / max(1, len(played)) / 1000,
        up_mb=times * sum(r.up for r in played) / max(1, len(played)) / 1e6,
        down_mb=times * sum(r.down for r in played) / max(1, len(played)) / 1e6,
        epsilon=result.epsilon,
        delta=result.delta,
        seconds=round(sum(r.seconds for r in result.rounds), 1),
    )


def _folder(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


def _central(
    config: Config, data: str | Path, out: Path, audio: Path, like: FederatedVariant | None, report: ProgressCallback
) -> tuple[float, int, int]:
    """Accuracy of the recipe trained in one place with the examples that the clients of ``like`` heard, its epochs, and
    the number of validation clips."""
    import numpy as np

    from model_pipeline.data.dataset import Dataset
    from model_pipeline.train import train
    from model_pipeline.training.clips import FeatureStream
    from model_pipeline.training.prepare import Prepared
    from model_pipeline.training.sources import features_of, labelled

    c = config.federate
    share = like.sampled / like.clients if like else c.fraction
    epochs = max(1, round(c.rounds * share * c.epochs))
    central = config.model_copy(
        update={"train": config.train.model_copy(update={"epochs": epochs, "warmup_epochs": min(1, epochs - 1)})}
    )
    dataset = Dataset.open(data, config.keywords, config.data)
    clips = dataset.clips("training")
    speech = labelled(np.load(audio, mmap_mode="r"), [(False, clip) for clip in clips])  # type: ignore[arg-type]
    mean = float((speech.labels < len(config.keywords)).sum()) / len(config.keywords)
    each = round(mean * config.train.unknown_ratio), round(mean * config.train.silence_ratio)
    stream = FeatureStream(speech, dataset.noise_part("training"), central, each, workers=max(1, os.cpu_count() or 1))
    frames = config.frames
    heard = features_of(dataset, dataset.evaluation("validation"), config, frames)
    result = train(central, data, out / "central", report, prepared=Prepared(dataset, None, frames, stream, {}, heard))
    return result.validation_accuracy, epochs, result.validation_clips


def main() -> int:
    """The command line of the child process."""
    parser = child.parser("Compare federated training with training in one place.", "data", "out")
    parser.add_argument("--only", action="append", default=[])
    a = parser.parse_args()
    os.environ.update(QUIET)
    return child.main(a, lambda progress: compare(child.config_of(a), a.data, a.out, progress, a.only))


if __name__ == "__main__":
    sys.exit(main())
