"""What a search found: rows for a table and JSON, a picture, and a configuration for each network of the front."""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from optuna.trial import FrozenTrial

from host_tools.report import pictures
from host_tools.run.steps import write_config
from host_tools.search.cost import NetworkCost
from host_tools.search.study import Search
from model_pipeline.files import write_json
from model_pipeline.folders import atomic_dir
from model_pipeline.strict import Sparse, Strict

FRONT = "front"  # the folder with results, below the search's


class TrainedTrial(Sparse):
    """A network that was trained: how it came about, what it is (`study.SPACE`), its accuracy on the validation
    clips."""

    trial: int
    origin: str
    hop_ms: int
    channels: int
    front: int
    body: int
    blocks: int
    kernel: int
    step: int
    accuracy: float


class Candidate(NetworkCost, TrainedTrial):
    """The same with its cost, why it was ended early, and of those of the front the file with its configuration."""

    end: str | None = None
    config: str | None = None


class Found(Strict):
    """``front.json``: the front and all others that were trained, and how many trials there were: trained, ended
    early, over a limit, the same network again."""

    front: list[Candidate]
    trials: int
    trained: int
    ended_early: int
    infeasible: int
    repeated: int
    plot: str
    study: str
    others: list[Candidate]


def write(search: Search) -> Found:
    """Writes ``front/``: ``front.svg``, ``front.json`` and a TOML a network, and returns what is in the JSON."""
    front, trained, finished = search.front(), search.trained(), search.finished()
    folder = search.out / FRONT
    result = Found(
        front=[candidate(t, str(folder / f"{_name(search, t)}.toml")) for t in front],
        trials=len(finished),
        trained=len(trained),
        ended_early=len([t for t in trained if "end" in t.user_attrs]),
        infeasible=len([t for t in finished if "cost" not in t.user_attrs and "same_as" not in t.user_attrs]),
        repeated=len([t for t in finished if "same_as" in t.user_attrs]),
        plot=str(folder / "front.svg"),
        study=str(search.out / "study.db"),
        others=[candidate(t) for t in trained if t not in front and t.user_attrs["accuracies"]],
    )
    with atomic_dir(folder, "kws search", ours=_ours) as temporary:
        for trial in front:
            name = _name(search, trial)
            write_config(search.configuration(trial.params, name), temporary / f"{name}.toml")
        (temporary / "front.svg").write_text(picture(result.front, result.others), encoding="utf-8")
        write_json(temporary / "front.json", result.model_dump(mode="json"))
    return result


def candidate(trial: FrozenTrial, config: str | None = None) -> Candidate:
    """A trial that was trained."""
    return Candidate(
        trial=trial.number,
        origin=trial.user_attrs.get("origin", "sampled"),
        accuracy=max(trial.user_attrs["accuracies"]),
        end=trial.user_attrs.get("end"),
        config=config,
        **trial.params,
        **trial.user_attrs["cost"],
    )


def picture(front: list[Candidate], others: list[Candidate]) -> str:
    """The front as a stair over instructions, with all that were trained beside it: a whole SVG file."""

    def draw(axes: Axes) -> None:
        for rows, colour, size in ((others, pictures.MUTED, 14), (front, pictures.ACCENT, 30)):
            for pruned, marker in ((False, "o"), (True, "v")):
                some = [r for r in rows if r.origin.startswith("pruned") == pruned]
                label = f"{'front' if rows is front else 'others'}{', pruned' if pruned else ''}"
                if some:
                    x, y = [r.per_second for r in some], [100 * r.accuracy for r in some]
                    axes.scatter(x, y, s=size, marker=marker, color=colour, label=label, zorder=3)
        x, y = [r.per_second for r in front], [100 * r.accuracy for r in front]
        axes.step(x, y, where="post", color=pictures.ACCENT, linewidth=1.2)
        for r in front:
            at = (r.per_second, 100 * r.accuracy)
            axes.annotate(str(r.trial), at, (0, 6), textcoords="offset points", ha="center", color=pictures.INK)
        axes.set(xlabel="instructions a second of sound", ylabel="right on validation clips, %")
        axes.xaxis.set_major_formatter(lambda value, _: pictures.short(value))
        axes.margins(x=0.06, y=0.08)
        axes.grid(color=pictures.LINE, linewidth=0.6)
        if front or others:
            axes.legend(loc="best", labelcolor=pictures.INK)

    alt = f"Accuracy against instructions of {len(front) + len(others)} networks"
    return pictures.standalone(pictures.picture("front", alt, (6.4, 4.2), draw))


def _name(search: Search, trial: FrozenTrial) -> str:
    return f"{search.config.name[:32]}-{trial.number}"


def _ours(folder: Path) -> bool:
    """A front of before there were marks."""
    names = {p.name for p in folder.iterdir()}
    return "front.json" in names and all(name.endswith((".toml", ".svg", ".json")) for name in names)
